//! Turns problems into responses.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(json::to_line(&self).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(crate) fn internal_error(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::Internal, error.to_string())
}

pub(crate) async fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound, "there is no such address")
        .with_hint("`GET /api/openapi.json` says which there are")
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "that address does not take this method")
        .with_hint("the `Allow` header says which it takes")
}
