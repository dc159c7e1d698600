//! JSON responses.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::response::problem::internal_error;
use crate::wire::json;
use crate::wire::status::Synced;

/// A response body with `synced`.
#[derive(Serialize)]
pub(crate) struct WithSync<T> {
    #[serde(flatten)]
    pub(crate) body: T,
    /// How the response came to include all earlier changes; present with `sync=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) synced: Option<Synced>,
}

/// Returns `value` as a JSON response.
pub(crate) fn json_response(value: &impl Serialize) -> Response {
    json::to_line(value)
        .map_or_else(|error| internal_error(error).into_response(), json_bytes_response)
}

/// Returns serialized JSON as a response.
pub(crate) fn json_bytes_response(body: Vec<u8>) -> Response {
    json_body_response(Body::from(body))
}

/// Returns a body that yields JSON as a response.
pub(crate) fn json_body_response(body: Body) -> Response {
    let media_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// Adds the `synced` header, for bodies that have no such field: snapshots and streams.
pub(crate) fn set_synced_header(mut response: Response, synced: Option<Synced>) -> Response {
    if let Some(synced) = synced {
        let value = match synced {
            Synced::Cookie => "cookie",
            Synced::Scan => "scan",
            Synced::None => "none",
        };
        response.headers_mut().insert("synced", HeaderValue::from_static(value));
    }
    response
}
