//! Bodies of requests: small, in time, and JSON.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::core::yaml::{MapOnly, parse_json};
use crate::wire::problem::{Problem, ProblemCode};

/// Bytes of a body, at most.
const MAX_BODY_BYTES: usize = 64 << 10;
/// It must have come by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a body says; `None` where there is none.
///
/// # Errors
/// A problem: too large, too slow, or not the JSON that is wanted, with the place.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<Option<T>, Problem> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, read_all(body)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
        Err(Problem::new(ProblemCode::Timeout, detail))
    })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let MapOnly(said) = parse_json(&bytes).map_err(|error| {
        let place = match (error.line, error.column) {
            (Some(line), Some(column)) => format!(" at line {line}, column {column}"),
            _ => String::new(),
        };
        let detail = format!("the body cannot be used{place}: {}", error.message);
        Problem::new(ProblemCode::BadRequest, detail)
    })?;
    Ok(Some(said))
}

async fn read_all(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(ProblemCode::BadRequest, format!("the body ended early: {error}"))
        })?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            let detail = format!("a body has at most {MAX_BODY_BYTES} bytes");
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
