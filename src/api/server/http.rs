//! The connections of one listener: accepting, limits, and HTTP/1.1 on each.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use crate::api::server::connection::{ConnectionService, ConnectionSlot, IdleConnections};
use crate::api::server::http_metrics::{HttpMetrics, OpenConnection};
use crate::api::server::write_timeout::{TimeoutStream, WriteDeadline, WriteTimeouts};

/// Bytes of a request's head, and of what is buffered of an answer.
const MAX_BUFFER_BYTES: usize = 16 << 10;
/// A head must have come by then, and so must the next one on a connection that is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted.
const ACCEPT_ERROR_BACKOFF: Duration = Duration::from_millis(50);

/// After a connection that could not be accepted: out of descriptors, most likely, and others close
/// theirs meanwhile.
pub(crate) async fn backoff_after_accept_error(error: &io::Error) {
    warn!(%error, "a connection cannot be accepted");
    tokio::time::sleep(ACCEPT_ERROR_BACKOFF).await;
}

/// Connections of one listener, and what they are limited to.
pub(crate) struct Server {
    permits: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
    pub(crate) metrics: Arc<HttpMetrics>,
    routes: Arc<[&'static str]>,
    router: Router,
    /// How slowly answers may be read.
    pub(crate) write_timeouts: WriteTimeouts,
}

impl Server {
    pub(crate) fn new(
        most: usize,
        traffic: Arc<HttpMetrics>,
        addresses: Arc<[&'static str]>,
        router: Router,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self {
            permits,
            idle: Arc::default(),
            metrics: traffic,
            routes: addresses,
            router,
            write_timeouts: WriteTimeouts::DEFAULT,
        }
    }

    /// The next connection, once there is a place for it.
    pub(crate) async fn accept<S>(
        &self,
        accepted: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(S, OwnedSemaphorePermit)> {
        let stream = accepted.await?;
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok((stream, permit));
        }
        if self.idle.evict_oldest() {
            self.metrics.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        Ok((stream, permit))
    }

    /// Answers a connection's requests until it, or the listener, ends.
    pub(crate) fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        permit: OwnedSemaphorePermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        let seat = Arc::new(ConnectionSlot::new(&self.idle));
        let patience = Arc::new(WriteDeadline::new(self.write_timeouts));
        let requests = ConnectionService {
            router: TowerToHyperService::new(self.router.clone()),
            metrics: Arc::clone(&self.metrics),
            slot: Arc::clone(&seat),
            write_deadline: Arc::clone(&patience),
            routes: Arc::clone(&self.routes),
        };
        let stream = TimeoutStream::new(stream, patience);
        let open = OpenConnection::new(&self.metrics);
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(stream, requests);
            tokio::select! {
                served = served => {
                    if let Err(error) = served {
                        debug!(%error, "a connection ended early");
                    }
                }
                () = seat.evicted() => debug!("a silent connection made room"),
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            drop((seat, permit, open));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::api::response::render::budgeted_response;

    /// Of two such answers only one has room.
    const LENGTH: usize = 70 << 20;

    /// A connection to a server that is read at that pace, on which a large answer is asked for.
    async fn asked(pace: WriteTimeouts) -> (UnixStream, watch::Sender<bool>) {
        let answer = || async {
            let made = budgeted_response(|| Ok((vec![b'x'; LENGTH], ()))).await;
            made.map_or_else(IntoResponse::into_response, |(answer, ())| answer)
        };
        let router = Router::new().route("/", get(answer));
        let mut server = Server::new(1, Arc::default(), Arc::new(["/"]), router);
        server.write_timeouts = pace;
        let (mut client, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream);
        let (stream, permit) = server.accept(async { stream }).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        server.serve_connection(stream, permit, stopped);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        (client, stop)
    }

    #[tokio::test]
    async fn who_reads_a_large_answer_byte_by_byte_is_given_up_and_its_room_is_anothers() {
        // Reading a byte now and then, it would never be silent for so long.
        let pace = WriteTimeouts {
            idle: Duration::MAX / 4,
            min_total: Duration::ZERO,
            bytes_per_second: u64::MAX,
        };
        let (mut slow, _stop) = asked(pace).await;
        let read = spawn_blocking(move || {
            let mut byte = [0];
            (0..4 << 20).take_while(|_| slow.read(&mut byte).is_ok_and(|count| count > 0)).count()
        });
        let read = read.await.unwrap();
        assert!((1..4 << 20).contains(&read), "{read} bytes were read of it");
        let (mut other, _stop) = asked(WriteTimeouts::DEFAULT).await;
        let answer = spawn_blocking(move || {
            let mut answer = Vec::new();
            other.read_to_end(&mut answer).map(|_| answer)
        });
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{} bytes", answer.len());
        assert!(answer.len() > LENGTH, "{} bytes", answer.len());
    }
}
