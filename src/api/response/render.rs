//! How answers leave: JSON, problem documents, and the work that may not keep others waiting.
//!
//! Large answers to clients that are slow to read them would take all memory there is: so few are in
//! the making at a time, and what waits to be read is bounded.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Synced;

/// Features of more artifacts than this are worked out and written apart from the connections'
/// thread.
const MAX_INLINE_ARTIFACTS: usize = 200;

/// Answers in the making at a time, of those that may be large: their size is not known yet.
const MAX_CONCURRENT_RENDERS: usize = 2;
/// Bytes from which an answer is large: less than that the socket takes, and it is not held here.
const MIN_BUDGETED_BYTES: usize = 128 << 10;
/// KiB of large answers that wait to be read; one for which there is no room is refused. One that is
/// larger has all of it.
const MAX_BUFFERED_KIB: u32 = 12 << 10;
/// For so long it may wait for its turn and then for room, where there is none.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(1);
/// Of a large answer so much leaves at a time.
const MAX_CHUNK_BYTES: usize = 64 << 10;

static RENDER_PERMITS: Semaphore = Semaphore::const_new(MAX_CONCURRENT_RENDERS);
static BUFFER_BUDGET: Semaphore = Semaphore::const_new(MAX_BUFFERED_KIB as usize);

/// A JSON answer.
pub(crate) fn json_response(value: &impl Serialize) -> Response {
    json::to_line(value)
        .map_or_else(|error| internal_error(error).into_response(), json_bytes_response)
}

/// As [`json_response`], of something that may be long in the making; `size` is about how many artifacts
/// it is made of.
pub(crate) async fn json_response_blocking<F>(size: usize, work: F) -> Response
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let made = if size <= MAX_INLINE_ARTIFACTS {
        work().map(json_bytes_response).map_err(internal_error)
    } else {
        let work = || work().map(|body| (body, ())).map_err(internal_error);
        budgeted_response(work).await.map(|(answer, ())| answer)
    };
    made.unwrap_or_else(Problem::into_response)
}

/// As [`json_response_blocking`], of an answer that is short whatever it is made of: it waits for no large ones.
pub(crate) async fn short_json_response<F>(size: usize, work: F) -> Response
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let made = if size <= MAX_INLINE_ARTIFACTS { Ok(work()) } else { run_blocking(work).await };
    let made = made.and_then(|made| made.map(json_bytes_response).map_err(internal_error));
    made.unwrap_or_else(Problem::into_response)
}

/// A JSON answer that may be large, and what else `work` gives.
///
/// # Errors
/// What `work` fails with; or there is no room.
pub(crate) async fn budgeted_response<T, F>(work: F) -> Result<(Response, T), Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<(Vec<u8>, T), Problem> + Send + 'static,
{
    budgeted_response_from(async { run_blocking(work).await? }).await
}

/// As [`budgeted_response`], of work that is more than to wait for a thread.
///
/// # Errors
/// Those of [`budgeted_response`].
pub(crate) async fn budgeted_response_from<T>(
    work: impl Future<Output = Result<(Vec<u8>, T), Problem>>,
) -> Result<(Response, T), Problem> {
    // From now on: those that have waited for others that wait do not wait once more.
    let by = Instant::now() + BUDGET_TIMEOUT;
    let _turn = RENDER_PERMITS.acquire().await.map_err(internal_error)?;
    let (mut body, beside) = work.await?;
    if body.len() < MIN_BUDGETED_BYTES {
        return Ok((json_bytes_response(body), beside));
    }
    body.shrink_to_fit();
    let kib = u32::try_from(body.len() / 1024).unwrap_or(MAX_BUFFERED_KIB).min(MAX_BUFFERED_KIB);
    let room = timeout_at(by, BUFFER_BUDGET.acquire_many(kib)).await;
    let room = room.map_err(|_| {
        let detail = "too many large answers wait to be read";
        Problem::new(ProblemCode::Unavailable, detail).with_hint("ask again in a second")
    })?;
    let room = room.map_err(internal_error)?;
    Ok((
        json_body_response(Body::new(BudgetedBody { remaining: body.into(), _permit: room })),
        beside,
    ))
}

/// A large answer, whose room is free again when it has left.
struct BudgetedBody {
    remaining: Bytes,
    _permit: SemaphorePermit<'static>,
}

impl hyper::body::Body for BudgetedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining.is_empty() {
            return Poll::Ready(None);
        }
        let part = MAX_CHUNK_BYTES.min(self.remaining.len());
        Poll::Ready(Some(Ok(Frame::data(self.remaining.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining.len() as u64)
    }
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

/// Works on a thread that may wait for the disk.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal_error)
}

pub(crate) fn json_bytes_response(body: Vec<u8>) -> Response {
    json_body_response(Body::from(body))
}

fn json_body_response(body: Body) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

pub(crate) fn internal_error(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::Internal, error.to_string())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_short_answer_waits_for_no_large_one() {
        let making = u32::try_from(MAX_CONCURRENT_RENDERS).unwrap();
        let _all = RENDER_PERMITS.acquire_many(making).await.unwrap();
        let short = short_json_response(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec())).await;
        assert_eq!(short.status(), StatusCode::OK);
        let large = json_response_blocking(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, large).await.is_err(), "it has no turn");
    }
}
