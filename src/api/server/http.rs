//! HTTP/1.1 on the connections of one listener: their number, and the limits of each.
//!
//! The sockets and the accept loops belong to `unix_listener` and `dashboard::listener`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::debug;

use crate::api::server::connection::{ConnectionService, ConnectionSlot, IdleConnections};
use crate::api::server::http_metrics::{HttpMetrics, OpenConnection};
use crate::api::server::listener_log::ListenerLog;
use crate::api::server::peer::ApiClient;
use crate::api::server::write_timeout::{TimeoutStream, WriteDeadline, WriteTimeouts};

/// Maximum size of a request head in bytes, and of the buffer for a response. A larger head gets
/// status 431.
const MAX_BUFFER_BYTES: usize = 16 << 10;
/// Timeout for a complete request head, also for the next one on a persistent connection. After it
/// the connection is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the next `accept` after one failed.
const ACCEPT_ERROR_BACKOFF: Duration = Duration::from_millis(50);

/// Serves the connections of one listener, within its limits.
pub(crate) struct Server {
    permits: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
    pub(crate) metrics: Arc<HttpMetrics>,
    log: Arc<ListenerLog>,
    routes: Arc<[&'static str]>,
    router: Router,
    /// Limits for clients that read responses slowly.
    pub(crate) write_timeouts: WriteTimeouts,
}

impl Server {
    pub(crate) fn new(
        max_connections: usize,
        metrics: Arc<HttpMetrics>,
        log: Arc<ListenerLog>,
        route_paths: Arc<[&'static str]>,
        router: Router,
    ) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max_connections)),
            idle: Arc::default(),
            metrics,
            log,
            routes: route_paths,
            router,
            write_timeouts: WriteTimeouts::DEFAULT,
        }
    }

    /// Accepts a connection and waits for a slot for it. One that `admit` returns `None` for is
    /// counted, logged, closed and takes no slot.
    ///
    /// If all slots are taken, the connection that has been idle the longest is evicted; while none
    /// is idle, further connections wait in the kernel's backlog.
    pub(crate) async fn accept<S, T>(
        &self,
        accepting: impl Future<Output = io::Result<S>>,
        admit: impl FnOnce(S) -> Option<T>,
    ) -> io::Result<Option<(T, OwnedSemaphorePermit)>> {
        let Some(stream) = admit(accepting.await?) else {
            self.metrics.refused.fetch_add(1, Ordering::Relaxed);
            self.log.warn_of_refused_user();
            return Ok(None);
        };
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(Some((stream, permit)));
        }
        if self.idle.evict_oldest() {
            self.metrics.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        Ok(Some((stream, permit)))
    }

    /// Logs a failed `accept`, and waits.
    ///
    /// The usual cause is `EMFILE`: without a delay the loop would spin until a descriptor is closed.
    pub(crate) async fn backoff_after_accept_error(&self, error: &io::Error) {
        self.log.warn_of_accept_error(error);
        tokio::time::sleep(ACCEPT_ERROR_BACKOFF).await;
    }

    /// Spawns a task that serves a connection until the client closes it, a timeout ends it, it is
    /// evicted, or `stopped` turns true.
    pub(crate) fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        client: ApiClient,
        stream: S,
        permit: OwnedSemaphorePermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        let slot = Arc::new(ConnectionSlot::new(&self.idle, client.clone()));
        let write_deadline = Arc::new(WriteDeadline::new(self.write_timeouts));
        let service = ConnectionService {
            router: TowerToHyperService::new(self.router.clone()),
            metrics: Arc::clone(&self.metrics),
            slot: Arc::clone(&slot),
            write_deadline: Arc::clone(&write_deadline),
            routes: Arc::clone(&self.routes),
            client,
        };
        let stream = TimeoutStream::new(stream, write_deadline, slot.eviction());
        let open = OpenConnection::new(&self.metrics);
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(stream, service);
            tokio::select! {
                served = served => {
                    if let Err(error) = served {
                        debug!(%error, "connection closed with an error");
                    }
                }
                () = slot.evicted() => debug!("evicted an idle or unread connection"),
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            drop((slot, permit, open));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use axum::body::{Body, Bytes};
    use axum::http::header;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::api::response::byte_budget::CONTENT_BYTES;
    use crate::api::response::render::budgeted_response;

    /// Bytes of a response; the memory budget has capacity for one of them.
    const LENGTH: usize = 70 << 20;

    fn log() -> Arc<ListenerLog> {
        Arc::new(ListenerLog::new("test"))
    }

    /// Requests a large response on a new connection with these timeouts.
    async fn request_large_response(timeouts: WriteTimeouts) -> (UnixStream, watch::Sender<bool>) {
        let handler = || async {
            let result = budgeted_response(&CONTENT_BYTES, || Ok((vec![b'x'; LENGTH], ()))).await;
            result.map_or_else(IntoResponse::into_response, |(response, ())| response)
        };
        let router = Router::new().route("/", get(handler));
        let mut server = Server::new(1, Arc::default(), log(), Arc::new(["/"]), router);
        server.write_timeouts = timeouts;
        let (mut client, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream);
        let accepted = server.accept(async { stream }, Some).await.unwrap();
        let (stream, permit) = accepted.unwrap();
        let (stop, stopped) = watch::channel(false);
        server.serve_connection(ApiClient::Unix(None), stream, permit, stopped);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        (client, stop)
    }

    /// Returns both ends of a new connection.
    fn connection() -> io::Result<(UnixStream, tokio::net::UnixStream)> {
        let (client, stream) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream).map(|stream| (client, stream))
    }

    /// Returns true if the connection of a stream that is not read is closed, so that the only slot of the
    /// server is free for another connection.
    async fn is_unread_stream_closed(stream_idle: Duration) -> bool {
        let endless = || async {
            let part = Bytes::from_static(&[b'x'; 1 << 10]);
            let parts = futures_util::stream::repeat_with(move || Ok::<_, io::Error>(part.clone()));
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(parts))
        };
        let router = Router::new().route("/", get(endless));
        let mut server = Server::new(1, Arc::default(), log(), Arc::new(["/"]), router);
        server.write_timeouts = WriteTimeouts { stream_idle, ..WriteTimeouts::DEFAULT };
        let accepted = server.accept(async { connection() }, Some).await.unwrap();
        let ((mut client, stream), permit) = accepted.unwrap();
        let (_stop, stopped) = watch::channel(false);
        server.serve_connection(ApiClient::Unix(None), stream, permit, stopped);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // From its first byte on the connection is not idle and cannot be evicted.
        let started = spawn_blocking(move || client.read_exact(&mut [0]).map(|()| client));
        let _client = started.await.unwrap().unwrap();
        let accepting = server.accept(async { connection() }, Some);
        let is_free = tokio::time::timeout(Duration::from_secs(10), accepting).await.is_ok();
        assert_eq!(server.metrics.evicted.load(Ordering::Relaxed), 0);
        is_free
    }

    #[tokio::test]
    async fn stream_that_is_not_read_is_closed_after_its_time() {
        assert!(is_unread_stream_closed(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn connection_is_evicted_while_a_request_arrives_and_not_while_it_is_processed() {
        for (body, is_evicted) in [("{", true), ("{1:2,3:4}", false)] {
            let (start, mut started) = tokio::sync::mpsc::channel(1);
            let handler = |request: axum::extract::Request| async move {
                start.send(()).await.unwrap();
                let body = axum::body::to_bytes(request.into_body(), 100).await;
                start.send(()).await.unwrap();
                std::future::pending::<()>().await;
                drop(body);
            };
            let router = Router::new().route("/", axum::routing::post(handler));
            let server = Server::new(1, Arc::default(), log(), Arc::new(["/"]), router);
            let accepted = server.accept(async { connection() }, Some).await.unwrap();
            let ((mut client, stream), permit) = accepted.unwrap();
            let (stop, stopped) = watch::channel(false);
            server.serve_connection(ApiClient::Unix(None), stream, permit, stopped);
            let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
            write!(client, "{head}{body}").unwrap();
            started.recv().await.unwrap();
            if !is_evicted {
                started.recv().await.unwrap();
            }
            let accepting = server.accept(async { connection() }, Some);
            let ending = async {
                if !is_evicted {
                    stop.send_replace(true);
                }
            };
            let limit = Duration::from_secs(10);
            let (accepted, ()) = tokio::join!(tokio::time::timeout(limit, accepting), ending);
            drop(accepted.unwrap().unwrap());
            let evicted = server.metrics.evicted.load(Ordering::Relaxed);
            assert_eq!(evicted, u64::from(is_evicted), "{body}");
        }
    }

    #[tokio::test]
    async fn client_that_reads_byte_by_byte_is_closed_and_its_budget_released() {
        // The idle timeout does not apply to a client that reads a byte now and then.
        let timeouts = WriteTimeouts {
            idle: Duration::MAX / 4,
            stream_idle: Duration::MAX / 4,
            min_total: Duration::ZERO,
            bytes_per_second: u64::MAX,
        };
        let (mut slow, _stop) = request_large_response(timeouts).await;
        let read = spawn_blocking(move || {
            let mut byte = [0];
            (0..4 << 20).take_while(|_| slow.read(&mut byte).is_ok_and(|count| count > 0)).count()
        });
        let read = read.await.unwrap();
        assert!((1..4 << 20).contains(&read), "{read} bytes read");
        let (mut other, _stop) = request_large_response(WriteTimeouts::DEFAULT).await;
        let response = spawn_blocking(move || {
            let mut response = Vec::new();
            other.read_to_end(&mut response).map(|_| response)
        });
        let response = response.await.unwrap().unwrap();
        assert!(response.starts_with(b"HTTP/1.1 200"), "{} bytes", response.len());
        assert!(response.len() > LENGTH, "{} bytes", response.len());
    }

    #[tokio::test]
    async fn connection_that_is_not_admitted_evicts_none() {
        let mut server = Server::new(1, Arc::default(), log(), Arc::new([]), Router::new());
        server.write_timeouts = WriteTimeouts::DEFAULT;
        let connection = || async { connection() };
        let accepted = server.accept(connection(), Some).await.unwrap();
        let ((_owner, stream), permit) = accepted.unwrap();
        let (_stop, stopped) = watch::channel(false);
        server.serve_connection(ApiClient::Unix(None), stream, permit, stopped);
        for _ in 0..3 {
            let refused = server.accept(connection(), |_| None::<()>).await.unwrap();
            assert!(refused.is_none());
        }
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&server.metrics.refused), count(&server.metrics.evicted)), (3, 0));
        let admitted = server.accept(connection(), Some).await.unwrap();
        assert!(admitted.is_some());
        assert_eq!(count(&server.metrics.evicted), 1);
    }
}
