//! JSON responses.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::response::problem::internal_error;
use crate::wire::json;
use crate::wire::status::Synced;

/// A JSON answer.
pub(crate) fn json_response(value: &impl Serialize) -> Response {
    json::to_line(value)
        .map_or_else(|error| internal_error(error).into_response(), json_bytes_response)
}

pub(crate) fn json_bytes_response(body: Vec<u8>) -> Response {
    json_body_response(Body::from(body))
}

pub(crate) fn json_body_response(body: Body) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// An answer, and how it came to include every earlier change.
#[derive(Serialize)]
pub(crate) struct WithSync<T> {
    #[serde(flatten)]
    pub(crate) answer: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) synced: Option<Synced>,
}

/// Says in a header how an answer came to include every earlier change, where its body has no place
/// for that.
pub(crate) fn set_synced_header(mut answer: Response, synced: Option<Synced>) -> Response {
    if let Some(synced) = synced {
        let how = match synced {
            Synced::Cookie => "cookie",
            Synced::Scan => "scan",
        };
        answer.headers_mut().insert("synced", HeaderValue::from_static(how));
    }
    answer
}
