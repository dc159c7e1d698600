//! Query parameters: decoding, the check for unknown names, and typed access.
//!
//! Values of several types are parsed here; what they select is looked up in
//! [`resolve`](crate::api::request::resolve).

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use crate::api::response::problem::internal_error;
use crate::api::response::render::resolve_blocking;
use crate::api::state::ApiState;
use crate::core::path::escape_bytes;
use crate::core::suggest::nearest;
use crate::engine::read_model::EngineState;
use crate::engine::runtime::resolve_paths;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Names of the query parameters that a request accepts.
pub(crate) type ParameterNames = &'static [&'static str];

/// Query parameters of a request, in order. A name can be repeated.
///
/// Handlers take them as an extractor: [`parse_parameters`] has parsed them before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

/// Parses the query of a request and rejects names that are not in `accepted`. A mistyped filter
/// would otherwise be ignored, and the response would look right.
pub(crate) async fn parse_parameters(
    accepted: ParameterNames,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(request.uri().query().unwrap_or_default())?;
    parameters.check_names(accepted)?;
    request.extensions_mut().insert(parameters);
    Ok(next.run(request).await)
}

impl FromRequestParts<Arc<ApiState>> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Problem> {
        let parsed = parts.extensions.remove::<Self>();
        let mut parameters =
            parsed.ok_or_else(|| internal_error("the route does not parse its parameters"))?;
        parameters.canonicalize_project(&api.views.load()).await;
        Ok(parameters)
    }
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |text: &str| {
                percent_decode(&text.replace('+', " ")).ok_or_else(|| {
                    let detail = format!("`{pair}` in the query is not percent-encoded UTF-8");
                    let hint = HintCode::InvalidPercentEncoding;
                    Problem::new(ProblemCode::BadRequest, detail, hint)
                })
            };
            Ok((text(name)?, text(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    fn check_names(&self, accepted: ParameterNames) -> Result<(), Problem> {
        let unknown = self.0.iter().find(|(name, _)| !accepted.contains(&name.as_str()));
        let Some((unknown, _)) = unknown else { return Ok(()) };
        let hint = match nearest(unknown, accepted.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if accepted.is_empty() => "this request accepts no parameters".to_owned(),
            None => format!("this request accepts: {}", accepted.join(", ")),
        };
        let detail = format!("unknown query parameter `{unknown}`");
        Err(Problem::new(
            ProblemCode::BadRequest,
            detail,
            HintCode::UnknownParameter.with_text(hint),
        ))
    }

    /// Replaces a root in `project` by its canonical path: people write it with a trailing slash,
    /// or by way of a symbolic link.
    async fn canonicalize_project(&mut self, world: &EngineState) {
        let project = self.0.iter_mut().rev().find(|(name, _)| name == "project");
        let Some((_, project)) = project.filter(|(_, value)| value.starts_with('/')) else {
            return;
        };
        let is_root = |text: &str| world.projects.iter().any(|view| view.root == text);
        if is_root(project) {
            return;
        }
        let path = PathBuf::from(&*project);
        let normalized = escape_path(&path.components().collect::<PathBuf>());
        let canonical = resolve_blocking(move || resolve_paths([path]).into_values().next()).await;
        let canonical = canonical.ok().flatten();
        // A root that is unavailable cannot be canonicalized, but its normalized path is known.
        let spellings = [Some(normalized), canonical.map(|path| escape_path(&path))];
        if let Some(root) = spellings.into_iter().flatten().find(|text| is_root(text)) {
            *project = root;
        }
    }

    /// Returns the last value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the last value of a parameter, unless it is empty.
    pub(crate) fn get_non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter that are not empty.
    pub(crate) fn get_all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        values.map(|(_, value)| value.clone()).collect()
    }

    /// Returns the value of a switch. True: `true`, `1`, or the name alone. False: `false`, `0`,
    /// or absent.
    ///
    /// # Errors
    /// 400 for any other value.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(other) => {
                let detail = format!("`{name}` must be `true` or `false`, not `{other}`");
                Err(Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidBoolean))
            }
        }
    }
}

fn escape_path(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes()).into_owned()
}

/// Decodes percent-encoded UTF-8. Returns `None` if it is malformed: the decoder of the crate
/// would pass a `%` without two hexadecimal digits through.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_malformed_ones_are_rejected() {
        let parameters = Parameters::parse("a=1&b=x+y%2Fz&a=2&c&&d=%C3%BC").unwrap();
        assert_eq!(parameters.get("a"), Some("2"), "the last value is used");
        assert_eq!(parameters.get_all("a"), ["1", "2"]);
        assert_eq!(parameters.get("b"), Some("x y/z"));
        assert_eq!(parameters.get("d"), Some("ü"));
        assert_eq!(parameters.get_non_empty("c"), None);
        assert_eq!(parameters.flag("c"), Ok(true));
        assert_eq!(parameters.flag("none"), Ok(false));
        assert_eq!(parameters.flag("d").unwrap_err().status, 400);
        for malformed in ["a=%", "a=%4", "a=%zz", "a=%ff", "%ff=1", "a=%+1", "a=%é"] {
            assert_eq!(Parameters::parse(malformed).unwrap_err().status, 400, "{malformed}");
        }
    }

    #[test]
    fn unknown_parameter_is_rejected_with_the_nearest_name() {
        let accepted: ParameterNames = &["feature", "project", "sync"];
        for (query, detail, hint) in [
            ("project=a&featur=b", "unknown query parameter `featur`", "did you mean `feature`?"),
            (
                "verbose",
                "unknown query parameter `verbose`",
                "this request accepts: feature, project, sync",
            ),
        ] {
            let problem = Parameters::parse(query).unwrap().check_names(accepted).unwrap_err();
            assert_eq!((problem.status, &*problem.hint_code), (400, "unknown_parameter"));
            assert_eq!((&*problem.detail, &*problem.hint), (detail, hint));
        }
        let none = Parameters::parse("sync=true").unwrap().check_names(&[]).unwrap_err();
        assert_eq!(none.hint, "this request accepts no parameters");
        let repeated = Parameters::parse("feature=a&feature=b").unwrap();
        assert_eq!(repeated.check_names(accepted), Ok(()));
    }
}
