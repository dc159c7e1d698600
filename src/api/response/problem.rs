//! Turns problems into responses, and creates those that no handler owns.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::wire::hint::HintCode;
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

/// Returns the problem for an error that no request can cause.
pub(crate) fn internal_error(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::Internal, error.to_string(), HintCode::InternalError)
}

/// Responds to a path that the router does not know.
pub(crate) async fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound, "unknown path", HintCode::UnknownPath)
}

/// Responds to a method that the path does not support; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    let detail = "this path does not support the method";
    Problem::new(ProblemCode::MethodNotAllowed, detail, HintCode::MethodNotAllowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_the_reason_phrases_of_their_status() {
        for code in ProblemCode::ALL {
            let phrase = StatusCode::from_u16(code.status()).unwrap().canonical_reason();
            // RFC 9110 has renamed 413; the `http` crate keeps the old phrase.
            let expected = if code.status() == 413 { Some("Content Too Large") } else { phrase };
            assert_eq!(Some(code.title()), expected, "{code:?}");
        }
    }
}
