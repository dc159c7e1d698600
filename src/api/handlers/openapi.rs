//! `GET /api/openapi.json`: what this API is, for programs.
//!
//! Written by hand, as YAML, beside this file; made JSON when it is first asked for.

use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};

use crate::api::response::json::json_bytes_response;
use crate::api::response::problem::internal_error;
use crate::wire::json;

const OPENAPI_YAML: &str = include_str!("openapi.yaml");

pub(crate) async fn get_openapi() -> Response {
    static MADE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    match MADE.get_or_init(render_document) {
        Ok(body) => json_bytes_response(body.clone()),
        Err(error) => internal_error(error).into_response(),
    }
}

pub(crate) fn render_document() -> Result<Vec<u8>, String> {
    let text = OPENAPI_YAML.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    let mut document: serde_yaml::Value =
        serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
    document.apply_merge().map_err(|error| error.to_string())?;
    json::to_line(&document).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::problem::ProblemCode;

    fn parsed() -> serde_json::Value {
        serde_json::from_slice(&render_document().unwrap()).unwrap()
    }

    #[test]
    fn it_has_every_code_of_a_problem() {
        let document = parsed();
        let written = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let names: Vec<&str> =
            ProblemCode::ALL.iter().map(|code| code.status_and_name().1).collect();
        assert_eq!(*written, serde_json::json!(names));
    }
}
