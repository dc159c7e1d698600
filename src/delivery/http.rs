//! The HTTP client of the webhook: connections that are reused, TLS, and limits on every part of a
//! response. Classifies responses; what follows from an outcome is decided by the dispatcher.
//!
//! A 2xx status means that the receiver has the event, whatever the body is. Redirects are not
//! followed: a signed request goes only to the configured address.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use crate::config::{ReceiverAddress, ReceiverUser, WebhookConfig, WebhookUrl};
use crate::core::error::error_chain;
use crate::core::sync::lock;
use crate::delivery::dispatcher::Outcome;
use crate::delivery::message::WebhookMessage;
use crate::delivery::receiver_user::{ReceiverUserError, check_tcp, check_uid};
use crate::delivery::tls::{self, TlsError};

/// Maximum size of a response body in bytes; a connection with a larger one is not reused.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Maximum size of a response head in bytes; with a larger one the request fails.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Timeout for a connection, including TLS; the configured timeout applies if it is shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a response body, after the head; a connection that exceeds it is not reused.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A client for one receiver, with its idle connections.
pub(crate) struct WebhookClient {
    url: WebhookUrl,
    receiver_user: Option<ReceiverUser>,
    timeout: Duration,
    tls: Option<TlsConnector>,
    idle: Mutex<Vec<Connection>>,
    /// Maximum number of idle connections; further ones are closed.
    max_idle: usize,
    /// Address of the receiver that was connected to last.
    connected_to: Mutex<Option<Arc<str>>>,
}

/// A message with its signature.
pub(crate) struct SignedMessage {
    pub(crate) message: WebhookMessage,
    /// Time of the request in seconds since 1970; it is part of what is signed.
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
}

impl WebhookClient {
    /// Creates a client without connections.
    pub(crate) fn new(config: &WebhookConfig) -> Result<Self, TlsError> {
        let ca_file = config.ca_file.as_deref();
        let tls = if config.url.is_tls() { Some(tls::connector(ca_file)?) } else { None };
        Ok(Self {
            url: config.url.clone(),
            receiver_user: config.receiver_user.clone(),
            connected_to: Mutex::default(),
            timeout: config.timeout,
            tls,
            idle: Mutex::default(),
            max_idle: config.connections,
        })
    }

    /// Returns the address of the receiver that was connected to last.
    pub(crate) fn connected_to(&self) -> Option<Arc<str>> {
        lock(&self.connected_to).clone()
    }

    /// Sends a message. Returns the outcome; errors of the connection are one, too.
    pub(crate) async fn send(&self, signed: SignedMessage) -> Outcome {
        let idle = lock(&self.idle).pop();
        let idle = idle.filter(|connection| !connection.sender.is_closed());
        let is_reused = idle.is_some();
        let request = match self.build_request(&signed) {
            Ok(request) => request,
            Err(error) => {
                return Outcome::RetryLater(format!("cannot build request: {error}").into(), None);
            }
        };
        match self.exchange(idle, request.clone()).await {
            // The receiver may close an idle connection at any time, also while a request is sent.
            Err(ExchangeError::Closed(_)) if is_reused => self.exchange(None, request).await,
            result => result,
        }
        .unwrap_or_else(|error| Outcome::Unavailable(error_chain(&error).into(), None))
    }

    fn build_request(&self, signed: &SignedMessage) -> Result<Request<Full<Bytes>>, http::Error> {
        let target: Uri = self.url.target().parse()?;
        let mut request = Request::post(target)
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, concat!("dossierd/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, signed.message.content_type)
            .header("webhook-id", &signed.message.id)
            .header("webhook-timestamp", signed.timestamp)
            .header("webhook-signature", &signed.signature);
        if signed.message.gzip_body.is_some() {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        let body = signed.message.gzip_body.as_ref().unwrap_or(&signed.message.body);
        request.body(Full::new(Bytes::from(body.clone())))
    }

    /// Sends a request over an idle connection or a new one, which becomes idle if the response was
    /// read completely.
    async fn exchange(
        &self,
        idle: Option<Connection>,
        request: Request<Full<Bytes>>,
    ) -> Result<Outcome, ExchangeError> {
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let limit = CONNECT_TIMEOUT.min(self.timeout);
                tokio::time::timeout(limit, self.connect())
                    .await
                    .map_err(|_| ExchangeError::ConnectTimeout(limit))??
            }
        };
        let response = async {
            connection.sender.ready().await.map_err(ExchangeError::from_hyper)?;
            connection.sender.send_request(request).await.map_err(ExchangeError::from_hyper)
        };
        let response = tokio::time::timeout(self.timeout, response)
            .await
            .map_err(|_| ExchangeError::ResponseTimeout(self.timeout))??;
        let outcome = classify_response(&response, SystemTime::now());
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect();
        if let Ok(Ok(_)) = tokio::time::timeout(BODY_TIMEOUT.min(self.timeout), body).await {
            let mut idle = lock(&self.idle);
            if idle.len() < self.max_idle {
                idle.push(connection);
            }
        }
        Ok(outcome)
    }

    async fn connect(&self) -> Result<Connection, ExchangeError> {
        match self.url.address() {
            ReceiverAddress::Tls(host, port) => self.connect_tls(host, *port).await,
            ReceiverAddress::Loopback(host, port) => self.connect_loopback(host, *port).await,
            ReceiverAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(ExchangeError::Connect)?;
                let peer = stream.peer_cred().map_err(ExchangeError::Connect)?;
                check_uid(self.receiver_user.as_ref(), peer.uid())?;
                self.set_connected_to(&self.url.redacted());
                handshake(TokioIo::new(stream)).await
            }
        }
    }

    async fn connect_tls(&self, host: &str, port: u16) -> Result<Connection, ExchangeError> {
        let addresses: Vec<SocketAddr> = resolve(host, port).await?.collect();
        let stream = TcpStream::connect(&*addresses).await.map_err(ExchangeError::Connect)?;
        let _ = stream.set_nodelay(true);
        if let Ok(address) = stream.peer_addr() {
            self.set_connected_to(&address);
        }
        let Some(tls) = &self.tls else {
            return Err(ExchangeError::Connect(io::ErrorKind::Unsupported.into()));
        };
        let name = ServerName::try_from(host.to_owned())?;
        let stream = tls.connect(name, stream).await.map_err(TlsError::from_handshake)?;
        handshake(TokioIo::new(stream)).await
    }

    /// Connects to the first address at which a receiver of an accepted user listens.
    async fn connect_loopback(&self, host: &str, port: u16) -> Result<Connection, ExchangeError> {
        // Without TLS nothing leaves this machine, whatever the name resolves to.
        let addresses = resolve(host, port).await?.filter(|address| address.ip().is_loopback());
        let mut error = None;
        for address in ipv4_first(addresses.collect()) {
            match self.connect_checked(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    self.set_connected_to(&address);
                    return handshake(TokioIo::new(stream)).await;
                }
                // What is wrong with the preferred address is the reason, unless nothing is there.
                Err(failed) if matches!(error, None | Some(ExchangeError::Connect(_))) => {
                    error = Some(failed);
                }
                Err(_) => {}
            }
        }
        let not_found = || ExchangeError::Connect(io::ErrorKind::AddrNotAvailable.into());
        Err(error.unwrap_or_else(not_found))
    }

    async fn connect_checked(&self, address: SocketAddr) -> Result<TcpStream, ExchangeError> {
        let stream = TcpStream::connect(address).await.map_err(ExchangeError::Connect)?;
        let local = stream.local_addr().map_err(ExchangeError::Connect)?;
        check_tcp(self.receiver_user.as_ref(), local, address)?;
        Ok(stream)
    }

    fn set_connected_to(&self, address: &dyn std::fmt::Display) {
        *lock(&self.connected_to) = Some(address.to_string().into());
    }
}

async fn resolve(
    host: &str,
    port: u16,
) -> Result<impl Iterator<Item = SocketAddr> + '_, ExchangeError> {
    tokio::net::lookup_host((host, port)).await.map_err(ExchangeError::Resolve)
}

/// Returns the addresses in the order in which they are tried: a receiver at `localhost` usually listens
/// at 127.0.0.1, while the resolver prefers `::1`.
fn ipv4_first(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

/// A connection. Dropping it closes it at once: an orderly shutdown would wait for a receiver that
/// may never read.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    /// The connection was closed before the response began.
    #[error(transparent)]
    Closed(hyper::Error),
    #[error(transparent)]
    Http(hyper::Error),
    #[error("connect timed out after {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    #[error("response timed out after {} ms", .0.as_millis())]
    ResponseTimeout(Duration),
    #[error("cannot resolve the receiver's host name")]
    Resolve(#[source] io::Error),
    #[error("cannot connect to the receiver")]
    Connect(#[source] io::Error),
    #[error("invalid host name for TLS")]
    ServerName(#[from] InvalidDnsNameError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("receiver refused")]
    ReceiverUser(#[from] ReceiverUserError),
}

impl ExchangeError {
    fn from_hyper(error: hyper::Error) -> Self {
        if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
            Self::Closed(error)
        } else {
            Self::Http(error)
        }
    }
}

async fn handshake<T>(io: T) -> Result<Connection, ExchangeError>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(io)
        .await
        .map_err(ExchangeError::from_hyper)?;
    let task = tokio::spawn(async move {
        // Its error is also returned to the request that waits for a response.
        let _ = connection.await;
    });
    Ok(Connection { sender, task })
}

/// Returns the outcome that a response means, by the table of
/// `docs/specification.md#webhook-responses`.
fn classify_response(response: &Response<Incoming>, now: SystemTime) -> Outcome {
    let value = response.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok());
    classify_status(response.status(), value.and_then(|text| parse_retry_after(text, now)))
}

fn classify_status(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    let text = || Arc::from(format!("HTTP {status}"));
    match status.as_u16() {
        200..=299 => Outcome::Accepted,
        404 | 405 | 410 => Outcome::NoReceiver(text(), retry_after),
        429 | 503 => Outcome::Unavailable(text(), retry_after),
        408 | 409 | 425 => Outcome::RetryLater(text(), retry_after),
        400..=499 => Outcome::Rejected(text()),
        300..=399 => {
            Outcome::RetryLater(format!("HTTP {status}: redirect not followed").into(), retry_after)
        }
        _ => Outcome::RetryLater(text(), retry_after),
    }
}

/// Parses `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;
    use crate::config::Config;

    #[test]
    fn status_codes_are_classified() {
        let outcome =
            |status: u16| match classify_status(StatusCode::from_u16(status).unwrap(), None) {
                Outcome::Accepted => "accepted",
                Outcome::Rejected(_) => "rejected",
                Outcome::RetryLater(..) => "retry later",
                Outcome::Unavailable(..) => "unavailable",
                Outcome::NoReceiver(..) => "no receiver",
            };
        for (expect, all) in [
            ("accepted", &[200, 201, 202, 204, 299][..]),
            ("rejected", &[400, 401, 403, 406, 413, 422, 451]),
            ("no receiver", &[404, 405, 410]),
            ("retry later", &[300, 301, 302, 307, 308, 408, 409, 425, 500, 501, 502, 504, 599]),
            ("unavailable", &[429, 503]),
        ] {
            for status in all {
                assert_eq!(outcome(*status), expect, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| parse_retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "a date in the past");
        assert_eq!(seconds("99999999999999999999"), Some(u64::MAX));
        assert!(seconds("Fri, 31 Dec 9999 23:59:59 GMT") > Some(252_000_000_000));
        for bad in ["", "soon", "-1", "1.5", "+1"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    fn client(url: &str, more: &str) -> WebhookClient {
        let text = format!("webhook: {{url: '{url}', secret_env: A{more}}}");
        WebhookClient::new(&Config::parse(text.as_bytes()).unwrap().webhook.unwrap()).unwrap()
    }

    fn signed() -> SignedMessage {
        let message = WebhookMessage {
            id: "id".to_owned(),
            content_type: "application/json",
            body: b"{}".to_vec(),
            gzip_body: None,
        };
        SignedMessage { message, timestamp: 0, signature: String::new() }
    }

    /// Answers one request with 204, and returns the first line of it.
    fn answer(mut stream: impl io::Read + io::Write) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn receiver_at_a_unix_socket_gets_requests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answering = tokio::task::spawn_blocking(move || answer(listener.accept().unwrap().0));
        let client = client(&format!("unix:{}:/hook?a=CANARY", path.display()), "");
        assert!(matches!(client.send(signed()).await, Outcome::Accepted));
        assert_eq!(answering.await.unwrap(), "POST /hook?a=CANARY HTTP/1.1");
        let shown = client.connected_to().unwrap();
        assert_eq!(*shown, *format!("unix:{}:/…", path.display()));
    }

    #[tokio::test]
    #[expect(clippy::print_stderr, reason = "tests report what was not run")]
    async fn receiver_of_another_user_gets_nothing_unless_it_is_named() {
        const OTHER: u32 = 65_534;
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        if std::os::unix::fs::fchown(&own, Some(OTHER), None).is_err() {
            eprintln!("NOT RUN: a receiver of another user (needs root)");
            return;
        }
        let address = own.local_addr().unwrap();
        let url = format!("http://localhost:{}/", address.port());
        let Outcome::Unavailable(error, None) = client(&url, "").send(signed()).await else {
            panic!("a receiver of another user was accepted");
        };
        assert!(error.contains("belongs to user 65534"), "{error}");
        let (mut stream, _) = own.accept().unwrap();
        let received = io::Read::read_to_end(&mut stream, &mut Vec::new());
        assert_eq!(received.unwrap_or_default(), 0, "not even a request");
        let answering = tokio::task::spawn_blocking(move || answer(own.accept().unwrap().0));
        let named = client(&url, ", receiver_user: 65534");
        assert!(matches!(named.send(signed()).await, Outcome::Accepted));
        answering.await.unwrap();
        assert_eq!(*named.connected_to().unwrap(), *address.to_string());
    }

    #[test]
    fn ipv4_addresses_are_tried_first() {
        let all = ["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
        assert_eq!(ipv4_first(all.to_vec()), [all[1], all[2], all[0]]);
    }

    /// A peer that never reads or writes; it reports when it is dropped.
    struct StalledPeer(std::sync::mpsc::Sender<()>);

    impl Drop for StalledPeer {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    impl hyper::rt::Read for StalledPeer {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: hyper::rt::ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl hyper::rt::Write for StalledPeer {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn connection_to_a_stalled_receiver_is_closed_when_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (dropped, is_dropped) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let mut connection = handshake(StalledPeer(dropped)).await.unwrap();
            let request = Request::post("/").body(Full::new(Bytes::from("x"))).unwrap();
            let response = connection.sender.send_request(request);
            tokio::select! {
                _ = response => panic!("a stalled peer does not respond"),
                () = yield_times(10) => {}
            }
            drop(connection);
            yield_times(10).await;
        });
        assert_eq!(is_dropped.try_recv(), Ok(()), "without waiting for the peer");
    }

    /// Lets other tasks run, `count` times.
    async fn yield_times(count: usize) {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }
}
