//! How answers leave: JSON, problem documents, and the work that may not keep others waiting.
//!
//! Large answers to clients that are slow to read them would take all memory there is: so few are in
//! the making at a time, and what waits to be read is bounded.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::api::response::json::{json_body_response, json_bytes_response};
use crate::api::response::problem::internal_error;
use crate::wire::problem::{Problem, ProblemCode};

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

/// As [`json_response`], of something that may be long in the making; `size` is about how many artifacts
/// it is made of.
pub(crate) async fn json_response_blocking<F>(size: usize, work: F) -> Result<Response, Problem>
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    if size <= MAX_INLINE_ARTIFACTS {
        return work().map(json_bytes_response).map_err(internal_error);
    }
    let work = || work().map(|body| (body, ())).map_err(internal_error);
    budgeted_response(work).await.map(|(response, ())| response)
}

/// As [`json_response_blocking`], of an answer that is short whatever it is made of: it waits for no large ones.
pub(crate) async fn short_json_response<F>(size: usize, work: F) -> Result<Response, Problem>
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let body = if size <= MAX_INLINE_ARTIFACTS { work() } else { run_blocking(work).await? };
    body.map(json_bytes_response).map_err(internal_error)
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

/// Works on a thread that may wait for the disk.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal_error)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_short_answer_waits_for_no_large_one() {
        let making = u32::try_from(MAX_CONCURRENT_RENDERS).unwrap();
        let _all = RENDER_PERMITS.acquire_many(making).await.unwrap();
        let short = short_json_response(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec())).await;
        assert_eq!(short.unwrap().status(), StatusCode::OK);
        let large = json_response_blocking(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, large).await.is_err(), "it has no turn");
    }
}
