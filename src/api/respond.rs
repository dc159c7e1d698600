//! How answers leave: JSON, problem documents, and the work that may not keep others waiting.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::wire::json;
use crate::wire::problem::{Code, Problem};

/// Features of more artifacts than this are worked out and written apart from the connections'
/// thread.
const SMALL: usize = 200;

/// A JSON answer.
pub(super) fn answer(value: &impl Serialize) -> Response {
    json::line(value).map_or_else(|error| internal(error).into_response(), json_body)
}

/// As [`answer`], of something that may be long in the making; `size` is about how many artifacts
/// it is made of.
pub(super) async fn answer_of<F>(size: usize, work: F) -> Response
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let made = if size <= SMALL { Ok(work()) } else { off_thread(work).await };
    match made {
        Ok(Ok(body)) => json_body(body),
        Ok(Err(error)) => internal(error).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Works on a thread that may wait for the disk.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}

pub(super) fn json_body(body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

pub(super) fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(json::line(&self).unwrap_or_default()));
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
