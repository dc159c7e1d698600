//! What a request asks: its parameters, as text and as what they mean.

use std::convert::Infallible;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::response::render::run_blocking;
use crate::api::state::ApiState;
use crate::core::path::escape_bytes;
use crate::engine::view::World;
use crate::wire::problem::{Problem, ProblemCode};

/// A request's parameters, in order; or why they cannot be read.
#[derive(Debug)]
pub(crate) struct Query(pub(crate) Result<Parameters, Problem>);

impl FromRequestParts<Arc<ApiState>> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        api: &Arc<ApiState>,
    ) -> Result<Self, Infallible> {
        let mut parsed = Parameters::parse(parts.uri.query().unwrap_or_default());
        if let Ok(parameters) = &mut parsed {
            parameters.canonicalize_project(&api.views.world()).await;
        }
        Ok(Self(parsed))
    }
}

/// A request's parameters, in order.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |text: &str| {
                percent_decode(&text.replace('+', " ")).ok_or_else(|| {
                    let detail = format!("`{pair}` in the query is not percent-encoded UTF-8");
                    Problem::new(ProblemCode::BadRequest, detail)
                })
            };
            Ok((text(name)?, text(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Takes a root in `project` as people write it, with a slash at its end or by way of a link,
    /// for the one that is watched.
    async fn canonicalize_project(&mut self, world: &World) {
        let said = self.0.iter_mut().rev().find(|(name, _)| name == "project");
        let Some((_, said)) = said.filter(|(_, said)| said.starts_with('/')) else {
            return;
        };
        let is_root = |text: &str| world.projects.iter().any(|view| view.root == text);
        if is_root(said) {
            return;
        }
        let path = PathBuf::from(&*said);
        let plain = escape_path(&path.components().collect::<PathBuf>());
        let canonical = run_blocking(move || path.canonicalize().ok()).await.ok().flatten();
        // One that is not there now is still known by its name.
        let meant = [Some(plain), canonical.map(|path| escape_path(&path))];
        if let Some(meant) = meant.into_iter().flatten().find(|text| is_root(text)) {
            *said = meant;
        }
    }

    /// The last value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same, where it is not empty.
    pub(crate) fn get_non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter that are not empty.
    pub(crate) fn get_all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        values.map(|(_, value)| value.clone()).collect()
    }

    /// A switch: `true`, `1` or the name alone; `false`, `0` or nothing.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(other) => {
                let detail = format!("`{name}` is `true` or `false`, not `{other}`");
                Err(Problem::new(ProblemCode::BadRequest, detail))
            }
        }
    }
}

fn escape_path(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes()).into_owned()
}

/// Percent-encoded text; `None` where it is none.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(digits[0])? * 16 + digit(digits[1])?;
        bytes.push(u8::try_from(byte).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_what_cannot_be_is_refused() {
        let parameters = Parameters::parse("a=1&b=x+y%2Fz&a=2&c&&d=%C3%BC").unwrap();
        assert_eq!(parameters.get("a"), Some("2"), "the last counts");
        assert_eq!(parameters.get_all("a"), ["1", "2"]);
        assert_eq!(parameters.get("b"), Some("x y/z"));
        assert_eq!(parameters.get("d"), Some("ü"));
        assert_eq!(parameters.get_non_empty("c"), None);
        assert_eq!(parameters.flag("c"), Ok(true));
        assert_eq!(parameters.flag("none"), Ok(false));
        assert_eq!(parameters.flag("d").unwrap_err().status, 400);
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "%ff=1", "a=%+1"] {
            assert_eq!(Parameters::parse(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
