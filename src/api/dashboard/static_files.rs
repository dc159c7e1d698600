//! The dashboard's static files, which are embedded in the program.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::response::problem::not_found;

/// The files below `/assets/`: name, media type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", CSS_MEDIA_TYPE, include_str!("assets/style.css")),
    ("content.css", CSS_MEDIA_TYPE, include_str!("assets/content.css")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("app.js", JS_MEDIA_TYPE, include_str!("assets/app.js")),
    ("api.js", JS_MEDIA_TYPE, include_str!("assets/api.js")),
    ("changes.js", JS_MEDIA_TYPE, include_str!("assets/changes.js")),
    ("artifacts.js", JS_MEDIA_TYPE, include_str!("assets/artifacts.js")),
    ("detail.js", JS_MEDIA_TYPE, include_str!("assets/detail.js")),
    ("dom.js", JS_MEDIA_TYPE, include_str!("assets/dom.js")),
    ("enter.js", JS_MEDIA_TYPE, include_str!("assets/enter.js")),
    ("drift.js", JS_MEDIA_TYPE, include_str!("assets/drift.js")),
    ("feature.js", JS_MEDIA_TYPE, include_str!("assets/feature.js")),
    ("grid.js", JS_MEDIA_TYPE, include_str!("assets/grid.js")),
    ("history.js", JS_MEDIA_TYPE, include_str!("assets/history.js")),
    ("live.js", JS_MEDIA_TYPE, include_str!("assets/live.js")),
    ("overview.js", JS_MEDIA_TYPE, include_str!("assets/overview.js")),
    ("session.js", JS_MEDIA_TYPE, include_str!("assets/session.js")),
    ("versions.js", JS_MEDIA_TYPE, include_str!("assets/versions.js")),
    ("locked.js", JS_MEDIA_TYPE, include_str!("assets/locked.js")),
    ("plot.js", JS_MEDIA_TYPE, include_str!("assets/plot.js")),
    ("labels.js", JS_MEDIA_TYPE, include_str!("assets/labels.js")),
];
/// Each page is the head that all have in common, and the rest of its own.
const INDEX_PAGE: &str =
    concat!(include_str!("assets/head.html"), include_str!("assets/index.html"));
const LOCKED_PAGE: &str =
    concat!(include_str!("assets/head.html"), include_str!("assets/locked.html"));
const LOADING_PAGE: &str =
    concat!(include_str!("assets/head.html"), include_str!("assets/loading.html"));
const ENTRY_PAGE: &str =
    concat!(include_str!("assets/head.html"), include_str!("assets/entry.html"));
/// What is replaced by the key in `ENTRY_PAGE`.
const KEY_PLACEHOLDER: &str = "SESSION_KEY";
const HTML_MEDIA_TYPE: &str = "text/html; charset=utf-8";
const CSS_MEDIA_TYPE: &str = "text/css; charset=utf-8";
const JS_MEDIA_TYPE: &str = "text/javascript; charset=utf-8";

/// Serves the page.
pub(crate) async fn serve_index() -> Response {
    static_response(HTML_MEDIA_TYPE, INDEX_PAGE)
}

/// Serves an asset by its exact name.
pub(crate) async fn serve_asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, content)) => static_response(media_type, content),
        None => not_found().await.into_response(),
    }
}

/// Returns the page after a session was started: it stores the key of the session, which is
/// hexadecimal, and leads to the dashboard.
pub(crate) fn entry_page(key: &str) -> Response {
    let page = ENTRY_PAGE.replace(KEY_PLACEHOLDER, key);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(HTML_MEDIA_TYPE))], page).into_response()
}

/// Returns the page for a ticket that this browser has used before, which leads to the dashboard.
pub(crate) fn loading_page() -> Response {
    let mut response = static_response(HTML_MEDIA_TYPE, LOADING_PAGE);
    response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
    response
}

/// Returns the page for browsers without a session.
pub(crate) fn locked_page() -> Response {
    (StatusCode::UNAUTHORIZED, static_response(HTML_MEDIA_TYPE, LOCKED_PAGE)).into_response()
}

fn static_response(media_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn referenced_assets_and_embedded_assets_are_the_same() {
        let names = |text: &str| -> Vec<String> {
            let parts = text.split(['"', '\'']).filter_map(|part| {
                part.strip_prefix("/assets/").or(part.strip_prefix("./")).map(str::to_owned)
            });
            parts.collect()
        };
        let texts = ASSETS.iter().map(|(.., text)| *text).chain([INDEX_PAGE, ENTRY_PAGE]);
        let mut used: Vec<String> = texts.flat_map(names).collect();
        used.sort();
        used.dedup();
        let mut known: Vec<&str> = ASSETS.iter().map(|(name, ..)| *name).collect();
        known.sort_unstable();
        assert_eq!(used, known);
    }

    #[test]
    fn page_has_no_inline_code_and_makes_no_markup_from_text() {
        for (name, _, text) in ASSETS {
            for word in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("] {
                assert!(!text.contains(word), "{word} in {name}");
            }
        }
        for html in [INDEX_PAGE, LOCKED_PAGE, LOADING_PAGE, ENTRY_PAGE] {
            for word in ["<style", " style=", " onclick", " onload", "javascript:"] {
                assert!(!html.contains(word), "{word}");
            }
            let scripts = html.matches("<script").count();
            assert_eq!(scripts, html.matches("<script type=\"module\" src=\"/assets/").count());
        }
    }

    #[test]
    fn entry_page_has_one_place_for_the_key() {
        assert_eq!(ENTRY_PAGE.matches(KEY_PLACEHOLDER).count(), 1);
    }
}
