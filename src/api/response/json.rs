//! JSON responses.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::response::problem::internal_error;
use crate::core::path::escape_unprintable;
use crate::wire::json;
use crate::wire::status::SyncStatus;

/// A response body with `synced` and `synced_reason`.
#[derive(Serialize)]
pub(crate) struct WithSync<T> {
    #[serde(flatten)]
    pub(crate) body: T,
    /// Present with `sync=true`.
    #[serde(flatten)]
    pub(crate) sync: Option<SyncStatus>,
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

/// Adds the headers `synced` and `synced-reason`, which are also there where the body has no such
/// fields: in snapshots and streams.
pub(crate) fn set_sync_headers(mut response: Response, sync: Option<&SyncStatus>) -> Response {
    if let Some(SyncStatus { synced, synced_reason }) = sync {
        let headers = response.headers_mut();
        headers.insert("synced", HeaderValue::from_static(synced.as_str()));
        let reason = synced_reason.as_deref().map(escape_unprintable);
        let reason = reason.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
        headers.extend(reason.map(|value| (HeaderName::from_static("synced-reason"), value)));
    }
    response
}
