//! `GET /api/openapi.json`: the description of this API for programs.
//!
//! `openapi.yaml` in this directory is written by hand; it is converted to JSON when it is first
//! requested. Tests compare it with the router and with responses.

use std::io;
use std::sync::OnceLock;

use axum::response::Response;

use crate::api::response::json::json_bytes_response;
use crate::api::response::problem::internal_error;
use crate::wire::json;
use crate::wire::problem::Problem;

const OPENAPI_YAML: &str = include_str!("openapi.yaml");

/// Why the document cannot be converted. The test of this file finds it before a release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenApiError {
    /// The document is not YAML.
    #[error("cannot parse openapi.yaml: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// The document has no JSON form.
    #[error("cannot convert openapi.yaml to JSON: {0}")]
    Json(#[from] io::Error),
}

pub(crate) async fn get_openapi() -> Result<Response, Problem> {
    static DOCUMENT: OnceLock<Result<Vec<u8>, OpenApiError>> = OnceLock::new();
    let document = DOCUMENT.get_or_init(render_document).as_ref().map_err(internal_error)?;
    Ok(json_bytes_response(document.clone()))
}

/// Returns the document as JSON, with the version of the program.
pub(crate) fn render_document() -> Result<Vec<u8>, OpenApiError> {
    let text = OPENAPI_YAML.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    let mut document: serde_yaml::Value = serde_yaml::from_str(&text)?;
    document.apply_merge()?;
    Ok(json::to_line(&document)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::hint::HintCode;
    use crate::wire::problem::ProblemCode;

    fn problem_schema(name: &str) -> serde_json::Value {
        let document: serde_json::Value =
            serde_json::from_slice(&render_document().unwrap()).unwrap();
        document["components"]["schemas"]["Problem"]["properties"][name]["enum"].clone()
    }

    #[test]
    fn document_lists_every_problem_code_and_title() {
        let names: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(problem_schema("code"), serde_json::json!(names));
        let titles: BTreeSet<&str> = ProblemCode::ALL.iter().map(|code| code.title()).collect();
        let schema = problem_schema("title");
        let documented: BTreeSet<&str> =
            schema.as_array().unwrap().iter().map(|title| title.as_str().unwrap()).collect();
        assert_eq!(documented, titles);
    }

    #[test]
    fn document_lists_every_hint_code() {
        let codes: Vec<&str> = HintCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(problem_schema("hint_code"), serde_json::json!(codes));
    }
}
