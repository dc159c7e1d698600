//! Renders responses without blocking other requests, within a memory budget.
//!
//! One thread serves all connections, so rendering that takes long runs on threads of the blocking
//! pool. Clients that read slowly would make large responses fill the memory: few of them are
//! rendered at a time, and those not yet sent share a budget.

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
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Maximum number of artifacts for which a response is rendered on the connections' thread;
/// beyond it a blocking thread renders.
const MAX_INLINE_ARTIFACTS: usize = 200;

/// Maximum number of responses of unknown size that are rendered at a time; others wait.
const MAX_CONCURRENT_RENDERS: usize = 2;
/// Size in bytes from which a response counts against the budget. A smaller one fits into the
/// buffers of the socket, and is not held here.
const MIN_BUDGETED_BYTES: usize = 128 << 10;
/// Memory budget in KiB for large responses that are not sent yet. A response that does not fit
/// waits until [`BUDGET_TIMEOUT`] is over, then fails with 503. A response larger than the budget
/// takes all of it.
const MAX_BUFFERED_KIB: u32 = 12 << 10;
/// Time limit for waiting for a render permit and then for memory.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum size in bytes of one frame of a large response.
const MAX_CHUNK_BYTES: usize = 64 << 10;

static RENDER_PERMITS: Semaphore = Semaphore::const_new(MAX_CONCURRENT_RENDERS);
static BUFFER_BUDGET: Semaphore = Semaphore::const_new(MAX_BUFFERED_KIB as usize);

/// Renders a JSON response that grows with `artifacts`, the approximate number of artifacts that
/// it is made of.
pub(crate) async fn json_response_blocking<F>(
    artifacts: usize,
    render: F,
) -> Result<Response, Problem>
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    if artifacts <= MAX_INLINE_ARTIFACTS {
        return render().map(json_bytes_response).map_err(internal_error);
    }
    let render = || render().map(|body| (body, ())).map_err(internal_error);
    budgeted_response(render).await.map(|(response, ())| response)
}

/// Renders a JSON response that is short however many artifacts it is computed from, so it does
/// not wait for large ones.
pub(crate) async fn short_json_response<F>(artifacts: usize, render: F) -> Result<Response, Problem>
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let body =
        if artifacts <= MAX_INLINE_ARTIFACTS { render() } else { run_blocking(render).await? };
    body.map(json_bytes_response).map_err(internal_error)
}

/// Renders a JSON response that may be large, and returns what else `render` does.
///
/// # Errors
/// Errors of `render`, and 503 if the memory budget is exhausted.
pub(crate) async fn budgeted_response<T, F>(render: F) -> Result<(Response, T), Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<(Vec<u8>, T), Problem> + Send + 'static,
{
    budgeted_response_from(async { run_blocking(render).await? }).await
}

/// Same as [`budgeted_response`], for work that is more than one blocking call.
///
/// # Errors
/// Errors of `work`, and 503 if the memory budget is exhausted.
pub(crate) async fn budgeted_response_from<T>(
    work: impl Future<Output = Result<(Vec<u8>, T), Problem>>,
) -> Result<(Response, T), Problem> {
    // The limit covers both waits: a request that has waited for a permit does not wait as long
    // again for memory.
    let deadline = Instant::now() + BUDGET_TIMEOUT;
    let _permit = RENDER_PERMITS.acquire().await.map_err(internal_error)?;
    let (mut body, extra) = work.await?;
    if body.len() < MIN_BUDGETED_BYTES {
        return Ok((json_bytes_response(body), extra));
    }
    body.shrink_to_fit();
    let kib = u32::try_from(body.len() / 1024).unwrap_or(MAX_BUFFERED_KIB).min(MAX_BUFFERED_KIB);
    let budget = timeout_at(deadline, BUFFER_BUDGET.acquire_many(kib)).await;
    let budget = budget.map_err(|_| {
        let detail = "too many large responses are waiting to be sent";
        Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater)
    })?;
    let budget = budget.map_err(internal_error)?;
    let body = BudgetedBody { remaining: body.into(), _budget: budget };
    Ok((json_body_response(Body::new(body)), extra))
}

/// A large body. Its share of the budget is free again once it is sent or dropped.
struct BudgetedBody {
    remaining: Bytes,
    _budget: SemaphorePermit<'static>,
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
        let length = MAX_CHUNK_BYTES.min(self.remaining.len());
        Poll::Ready(Some(Ok(Frame::data(self.remaining.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining.len() as u64)
    }
}

/// Runs `work` on a thread that may wait for the disk.
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
    async fn short_response_does_not_wait_for_large_ones() {
        let permits = u32::try_from(MAX_CONCURRENT_RENDERS).unwrap();
        let _all = RENDER_PERMITS.acquire_many(permits).await.unwrap();
        let short = short_json_response(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec())).await;
        assert_eq!(short.unwrap().status(), StatusCode::OK);
        let large = json_response_blocking(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, large).await.is_err(), "it has no permit");
    }
}
