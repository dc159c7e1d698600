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
use crate::wire::problem::{Code, Problem};
use crate::wire::status::Synced;

/// Features of more artifacts than this are worked out and written apart from the connections'
/// thread.
const SMALL: usize = 200;

/// Answers in the making at a time, of those that may be large: their size is not known yet.
const MAKING: usize = 2;
/// Bytes from which an answer is large: less than that the socket takes, and it is not held here.
const LARGE: usize = 128 << 10;
/// KiB of large answers that wait to be read; one for which there is no room is refused. One that is
/// larger has all of it.
const ROOM: u32 = 12 << 10;
/// For so long it may wait for its turn and then for room, where there is none.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// Of a large answer so much leaves at a time.
const PART: usize = 64 << 10;

static MAKERS: Semaphore = Semaphore::const_new(MAKING);
static FREE: Semaphore = Semaphore::const_new(ROOM as usize);

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
    let made = if size <= SMALL {
        work().map(json_body).map_err(internal)
    } else {
        let work = || work().map(|body| (body, ())).map_err(internal);
        large(work).await.map(|(answer, ())| answer)
    };
    made.unwrap_or_else(Problem::into_response)
}

/// As [`answer_of`], of an answer that is short whatever it is made of: it waits for no large ones.
pub(super) async fn short_of<F>(size: usize, work: F) -> Response
where
    F: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let made = if size <= SMALL { Ok(work()) } else { off_thread(work).await };
    let made = made.and_then(|made| made.map(json_body).map_err(internal));
    made.unwrap_or_else(Problem::into_response)
}

/// A JSON answer that may be large, and what else `work` gives.
///
/// # Errors
/// What `work` fails with; or there is no room.
pub(super) async fn large<T, F>(work: F) -> Result<(Response, T), Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<(Vec<u8>, T), Problem> + Send + 'static,
{
    large_of(async { off_thread(work).await? }).await
}

/// As [`large`], of work that is more than to wait for a thread.
///
/// # Errors
/// Those of [`large`].
pub(super) async fn large_of<T>(
    work: impl Future<Output = Result<(Vec<u8>, T), Problem>>,
) -> Result<(Response, T), Problem> {
    // From now on: those that have waited for others that wait do not wait once more.
    let by = Instant::now() + ROOM_WAIT;
    let _turn = MAKERS.acquire().await.map_err(internal)?;
    let (mut body, beside) = work.await?;
    if body.len() < LARGE {
        return Ok((json_body(body), beside));
    }
    body.shrink_to_fit();
    let kib = u32::try_from(body.len() / 1024).unwrap_or(ROOM).min(ROOM);
    let room = timeout_at(by, FREE.acquire_many(kib)).await;
    let room = room.map_err(|_| {
        let detail = "too many large answers wait to be read";
        Problem::new(Code::Unavailable, detail).hint("ask again in a second")
    })?;
    let room = room.map_err(internal)?;
    Ok((json(Body::new(Large { left: body.into(), _room: room })), beside))
}

/// A large answer, whose room is free again when it has left.
struct Large {
    left: Bytes,
    _room: SemaphorePermit<'static>,
}

impl hyper::body::Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let part = PART.min(self.left.len());
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Says in a header how an answer came to include every earlier change, where its body has no place
/// for that.
pub(super) fn say_synced(mut answer: Response, synced: Option<Synced>) -> Response {
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
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}

pub(super) fn json_body(body: Vec<u8>) -> Response {
    json(Body::from(body))
}

fn json(body: Body) -> Response {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_short_answer_waits_for_no_large_one() {
        let making = u32::try_from(MAKING).unwrap();
        let _all = MAKERS.acquire_many(making).await.unwrap();
        let short = short_of(SMALL + 1, || Ok(b"{}".to_vec())).await;
        assert_eq!(short.status(), StatusCode::OK);
        let large = answer_of(SMALL + 1, || Ok(b"{}".to_vec()));
        assert!(tokio::time::timeout(Duration::ZERO, large).await.is_err(), "it has no turn");
    }
}
