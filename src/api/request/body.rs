//! Reads JSON bodies of requests, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::core::yaml::{MapOnly, parse_json};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Maximum size of a body in bytes; a larger one is rejected with 413.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Time limit for receiving a body; after it the request is rejected with 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the parsed body; `None` if it is empty.
///
/// # Errors
/// 408, 413, or 400 with the position of what is not the expected JSON.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<Option<T>, Problem> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, read_all(body)).await.unwrap_or_else(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        let detail = format!("the request body was not received within {seconds} s");
        Err(Problem::new(ProblemCode::Timeout, detail, HintCode::BodyTimeout))
    })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let MapOnly(value) = parse_json(&bytes).map_err(|error| {
        let position = match (error.line, error.column) {
            (Some(line), Some(column)) => format!(" at line {line}, column {column}"),
            _ => String::new(),
        };
        let detail = format!("cannot parse the request body{position}: {}", error.message);
        Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidBody)
    })?;
    Ok(Some(value))
}

async fn read_all(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = format!("the request body ended early: {error}");
            Problem::new(ProblemCode::BadRequest, detail, HintCode::IncompleteBody)
        })?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            let detail = format!("the request body exceeds {MAX_BODY_BYTES} bytes");
            return Err(Problem::new(ProblemCode::TooLarge, detail, HintCode::BodyTooLarge));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
