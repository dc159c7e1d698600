//! Renders responses without blocking other requests, within a memory budget.
//!
//! One thread serves all connections, so rendering that takes long runs on threads of the blocking
//! pool. Clients that read slowly would make large responses fill the memory: few of them are
//! rendered at a time, in turn for each client, and those not yet sent share a budget.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::Stream;
use hyper::body::{Frame, SizeHint};
use rustix::process::setpriority_process;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

use crate::api::response::byte_budget::{
    ByteBudget, PAGE_BYTES, Reservation, without_spare_capacity,
};
use crate::api::response::json::{json_body_response, json_bytes_response};
use crate::api::response::problem::internal_error;
use crate::api::server::client_shares::{
    FairPermit, FairPermits, MAX_WAITING, TURN_TIMEOUT, TurnTimeout,
};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Maximum number of artifacts for which a response is rendered on the connections' thread;
/// beyond it a blocking thread renders.
const MAX_INLINE_ARTIFACTS: usize = 200;

/// Maximum number of responses of unknown size that are rendered at a time; others wait for their turn.
const MAX_CONCURRENT_RENDERS: usize = 2;
/// Maximum number of threads that render and read the journal, and their priority as in `nice(1)`.
const MAX_BACKGROUND_THREADS: usize = 6;
const BACKGROUND_NICE: i32 = 10;
/// Size in bytes from which a response counts against the budget. A smaller one fits into the
/// buffers of the socket, and is not held here.
const MIN_BUDGETED_BYTES: usize = 128 << 10;
/// Time limit for waiting for a turn and then for memory; after it the response is 503 if memory is not free.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum size in bytes of one frame of a large response.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Maximum number of paths of requests that are resolved at a time.
const MAX_CONCURRENT_RESOLVES: usize = 2;

static RESOLVE_PERMITS: FairPermits =
    FairPermits::new(MAX_CONCURRENT_RESOLVES, MAX_WAITING, TURN_TIMEOUT);
static RENDER_PERMITS: FairPermits =
    FairPermits::new(MAX_CONCURRENT_RENDERS, MAX_WAITING, TURN_TIMEOUT);

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
    budgeted_response(&PAGE_BYTES, render).await.map(|(response, ())| response)
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
pub(crate) async fn budgeted_response<T, F>(
    budget: &'static ByteBudget,
    render: F,
) -> Result<(Response, T), Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<(Vec<u8>, T), Problem> + Send + 'static,
{
    // The limit covers both waits: a request that has waited for its turn does not wait as long again
    // for memory.
    let deadline = budget_deadline();
    let _permit = render_permit().await?;
    let (body, extra) = run_in_background(render).await??;
    if body.len() < MIN_BUDGETED_BYTES {
        return Ok((json_bytes_response(body), extra));
    }
    let body = without_spare_capacity(body);
    Ok((text_response(budget, body, deadline).await?, extra))
}

/// Returns JSON that is complete as a response.
///
/// # Errors
/// 503 if the memory budget is exhausted.
pub(crate) async fn text_response(
    budget: &'static ByteBudget,
    body: Bytes,
    deadline: Instant,
) -> Result<Response, Problem> {
    if body.len() < MIN_BUDGETED_BYTES {
        return Ok(json_body_response(Body::from(body)));
    }
    let reservation = reserve(budget, body.len(), deadline).await?;
    let body = BudgetedBody { remaining: reservation.pay_for(body) };
    Ok(json_body_response(Body::new(body)))
}

/// Waits for the turn of this client to render a response.
///
/// # Errors
/// 503 if it does not come in time.
pub(crate) async fn render_permit() -> Result<FairPermit, Problem> {
    RENDER_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())
}

/// Returns until when a request waits for memory that begins now.
pub(crate) fn budget_deadline() -> Instant {
    Instant::now() + BUDGET_TIMEOUT
}

/// Reserves memory for a response.
///
/// # Errors
/// 503 if it is not free by the deadline.
pub(crate) async fn reserve(
    budget: &'static ByteBudget,
    bytes: usize,
    deadline: Instant,
) -> Result<Reservation, Problem> {
    timeout_at(deadline, budget.reserve(bytes)).await.map_err(|_| {
        let detail = "too many large responses are waiting to be sent";
        Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater)
    })
}

/// Returns the problem of a request whose turn did not come in time.
pub(crate) fn too_busy() -> Problem {
    let detail = "too many requests are waiting for the disk";
    Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater)
}

/// A large body. Its share of the budget is free again once it is sent or dropped.
struct BudgetedBody {
    remaining: Bytes,
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

/// A body that is made while it is read. Its size is not known, but that it is at least `min_bytes`, on
/// which the time for reading it depends.
pub(crate) struct StreamedBody<S> {
    pub(crate) stream: Pin<Box<S>>,
    pub(crate) min_bytes: u64,
}

impl<S: Stream<Item = io::Result<Bytes>>> hyper::body::Body for StreamedBody<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.stream.as_mut().poll_next(context).map(|part| Some(part?.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.min_bytes);
        hint
    }
}

/// Runs work on paths of requests, whose file systems may not respond: little of it at a time, so that
/// threads are left for other requests.
///
/// # Errors
/// 503 if its turn does not come in time.
pub(crate) async fn resolve_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let _permit = RESOLVE_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    run_blocking(work).await
}

/// Runs `work` on a thread that may wait for the disk.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal_error)
}

/// The threads of [`run_in_background`]. They are started on demand, and a stop does not wait for them.
static BACKGROUND: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .thread_name("render")
        .max_blocking_threads(MAX_BACKGROUND_THREADS)
        .on_thread_start(|| {
            // On Linux the priority belongs to the calling thread. Without it the thread only competes with
            // the others for the processor.
            let _ = setpriority_process(None, BACKGROUND_NICE);
        })
        .build()
});

/// Runs work that may take long, and of which clients can request very much, on a thread of low priority: short
/// responses to others do not wait for the processor.
pub(crate) async fn run_in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    match &*BACKGROUND {
        Ok(threads) => threads.spawn_blocking(work).await.map_err(internal_error),
        Err(_) => run_blocking(work).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn short_response_does_not_wait_for_large_ones() {
        let mut all = Vec::new();
        for _ in 0..MAX_CONCURRENT_RENDERS {
            all.push(render_permit().await.unwrap());
        }
        let short = short_json_response(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec())).await;
        assert_eq!(short.unwrap().status(), StatusCode::OK);
        let large = json_response_blocking(MAX_INLINE_ARTIFACTS + 1, || Ok(b"{}".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, large).await.is_err(), "it has no permit");
    }
}
