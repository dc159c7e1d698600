//! The dashboard's page: files that are part of the program, served as they are.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Route, answers};

/// The files below `/assets/`: name, type, text.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", CSS, include_str!("assets/style.css")),
    ("content.css", CSS, include_str!("assets/content.css")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("app.js", JS, include_str!("assets/app.js")),
    ("ask.js", JS, include_str!("assets/ask.js")),
    ("artifacts.js", JS, include_str!("assets/artifacts.js")),
    ("detail.js", JS, include_str!("assets/detail.js")),
    ("dom.js", JS, include_str!("assets/dom.js")),
    ("drift.js", JS, include_str!("assets/drift.js")),
    ("feature.js", JS, include_str!("assets/feature.js")),
    ("grid.js", JS, include_str!("assets/grid.js")),
    ("history.js", JS, include_str!("assets/history.js")),
    ("live.js", JS, include_str!("assets/live.js")),
    ("overview.js", JS, include_str!("assets/overview.js")),
    ("plot.js", JS, include_str!("assets/plot.js")),
    ("words.js", JS, include_str!("assets/words.js")),
];
const INDEX: &str = include_str!("assets/index.html");
const LOCKED: &str = include_str!("assets/locked.html");
const OPENING: &str = include_str!("assets/opening.html");
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page's addresses.
pub(super) fn routes() -> Vec<Route> {
    vec![("/", get(index)), ("/assets/{name}", get(asset))]
}

async fn index() -> Response {
    file(HTML, INDEX)
}

async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => file(kind, text),
        None => answers::unknown().await.into_response(),
    }
}

/// What a browser sees that was just let in.
pub(super) fn opening() -> Response {
    file(HTML, OPENING)
}

/// What a browser sees that was not let in.
pub(super) fn locked() -> Response {
    (StatusCode::UNAUTHORIZED, file(HTML, LOCKED)).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_named_is_there_and_every_one_that_is_there_is_named() {
        let names = |text: &str| -> Vec<String> {
            let parts = text.split(['"', '\'']).filter_map(|part| {
                part.strip_prefix("/assets/").or(part.strip_prefix("./")).map(str::to_owned)
            });
            parts.collect()
        };
        let texts = ASSETS.iter().map(|(.., text)| *text).chain([INDEX]);
        let mut used: Vec<String> = texts.flat_map(names).collect();
        used.sort();
        used.dedup();
        let mut known: Vec<&str> = ASSETS.iter().map(|(name, ..)| *name).collect();
        known.sort_unstable();
        assert_eq!(used, known);
    }

    #[test]
    fn nothing_is_inline_and_no_text_becomes_markup() {
        for (name, _, text) in ASSETS {
            for word in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("] {
                assert!(!text.contains(word), "{word} in {name}");
            }
        }
        for html in [INDEX, LOCKED, OPENING] {
            for word in ["<style", " style=", " onclick", " onload", "javascript:"] {
                assert!(!html.contains(word), "{word}");
            }
            let scripts = html.matches("<script").count();
            assert_eq!(scripts, html.matches("<script type=\"module\" src=\"/assets/").count());
        }
    }
}
