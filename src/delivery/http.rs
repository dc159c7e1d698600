//! Requests to a receiver: connections that are kept, TLS, and limits on all that comes back. What
//! an answer means is said here; what follows from it is not.
//!
//! A 2xx is the receiver's word that it has the event, whatever body comes after it. Redirects are
//! not followed: a signed request goes where the configuration says and nowhere else.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{WebhookConfig, WebhookUrl};
use crate::core::sync::lock;
use crate::delivery::dispatcher::Outcome;
use crate::delivery::message::WebhookMessage;
use crate::delivery::tls;

/// Bytes of an answer's body that are read; a connection with more is ended.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Bytes of an answer's head, at most.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// How long a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of an answer is waited for, once its head is there.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A receiver's address, and the connections to it that are free.
pub(crate) struct WebhookClient {
    url: WebhookUrl,
    timeout: Duration,
    tls: Option<TlsConnector>,
    idle: Mutex<Vec<Connection>>,
    max_idle: usize,
}

/// A message, signed.
pub(crate) struct SignedMessage {
    pub(crate) message: WebhookMessage,
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
}

impl WebhookClient {
    /// The one that the configuration names.
    pub(crate) fn new(config: &WebhookConfig) -> Result<Self, String> {
        let ca_file = config.ca_file.as_deref();
        let tls = if config.url.is_tls() { Some(tls::connector(ca_file)?) } else { None };
        let (url, timeout, idle_most) = (config.url.clone(), config.timeout, config.connections);
        Ok(Self { url, timeout, tls, idle: Mutex::default(), max_idle: idle_most })
    }

    /// Sends a message and says how that went.
    pub(crate) async fn send(&self, signed: SignedMessage) -> Outcome {
        // A connection that was kept may have been closed meanwhile: then a new one is tried.
        let kept = lock(&self.idle).pop();
        let kept = kept.filter(|connection| !connection.sender.is_closed());
        let was_kept = kept.is_some();
        let request = match self.build_request(&signed) {
            Ok(request) => request,
            Err(error) => return Outcome::RetryLater(format!("cannot ask: {error}").into(), None),
        };
        match self.exchange(kept, request.clone()).await {
            Err(ExchangeError::Closed(_)) if was_kept => self.exchange(None, request).await,
            ended => ended,
        }
        .unwrap_or_else(|broken| Outcome::Unavailable(broken.to_string().into(), None))
    }

    fn build_request(&self, signed: &SignedMessage) -> Result<Request<Full<Bytes>>, http::Error> {
        let uri = self.url.uri();
        let target: Uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let mut request = Request::post(target)
            .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
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

    async fn exchange(
        &self,
        kept: Option<Connection>,
        request: Request<Full<Bytes>>,
    ) -> Result<Outcome, ExchangeError> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let most = CONNECT_TIMEOUT.min(self.timeout);
                tokio::time::timeout(most, self.connect()).await.map_err(|_| {
                    ExchangeError::Other(format!("no connection within {} ms", most.as_millis()))
                })??
            }
        };
        let asked = async {
            connection.sender.ready().await.map_err(|error| ExchangeError::from_hyper(&error))?;
            connection
                .sender
                .send_request(request)
                .await
                .map_err(|error| ExchangeError::from_hyper(&error))
        };
        let answer = tokio::time::timeout(self.timeout, asked).await.map_err(|_| {
            ExchangeError::Other(format!("no answer within {} ms", self.timeout.as_millis()))
        })??;
        let outcome = classify_response(&answer, SystemTime::now());
        let rest = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect();
        if let Ok(Ok(_)) = tokio::time::timeout(BODY_TIMEOUT.min(self.timeout), rest).await {
            let mut idle = lock(&self.idle);
            if idle.len() < self.max_idle {
                idle.push(connection);
            }
        }
        Ok(outcome)
    }

    async fn connect(&self) -> Result<Connection, ExchangeError> {
        let (host, port) = self.url.host_and_port();
        let cannot =
            |what: &str, error: io::Error| ExchangeError::Other(format!("{what}: {error}"));
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| cannot("cannot find the receiver", error))?;
        // Without TLS nothing leaves this machine, whatever a name leads to.
        let may = |address: &SocketAddr| self.tls.is_some() || address.ip().is_loopback();
        let found: Vec<SocketAddr> = found.filter(may).collect();
        let stream = TcpStream::connect(&*found).await;
        let stream = stream.map_err(|error| cannot("cannot connect", error))?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| {
                    ExchangeError::Other(format!("no name of a server: {error}"))
                })?;
                let stream = tls.connect(name, stream).await;
                let stream = stream.map_err(|error| cannot("no TLS", tls::with_hint(error)))?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

/// A connection, which ends at once when nobody wants it any more: one that is shut down in good
/// order waits for a receiver that may never read.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that did not bring an answer.
#[derive(Debug)]
enum ExchangeError {
    /// It was closed before an answer began.
    Closed(String),
    Other(String),
}

impl ExchangeError {
    fn from_hyper(error: &hyper::Error) -> Self {
        let closed = error.is_closed() || error.is_canceled() || error.is_incomplete_message();
        let text = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if closed { Self::Closed(text) } else { Self::Other(text) }
    }
}

impl std::fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Closed(text) | Self::Other(text)) = self;
        f.write_str(text)
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
        .map_err(|error| ExchangeError::from_hyper(&error))?;
    let task = tokio::spawn(async move {
        // What breaks it is told to whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(Connection { sender, task })
}

/// What an answer means.
fn classify_response(answer: &Response<Incoming>, now: SystemTime) -> Outcome {
    let asked = answer.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok());
    classify_status(answer.status(), asked.and_then(|text| parse_retry_after(text, now)))
}

fn classify_status(status: StatusCode, asked: Option<Duration>) -> Outcome {
    let why = || Arc::from(format!("answered {status}"));
    match status.as_u16() {
        200..=299 => Outcome::Accepted,
        429 | 503 => Outcome::Unavailable(why(), asked),
        408 | 409 | 425 => Outcome::RetryLater(why(), asked),
        400..=499 => Outcome::Rejected(why()),
        300..=399 => Outcome::RetryLater(format!("answered {status}, not followed").into(), asked),
        _ => Outcome::RetryLater(why(), asked),
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
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

    #[test]
    fn what_an_answer_means() {
        let kind = |status: u16| match classify_status(StatusCode::from_u16(status).unwrap(), None)
        {
            Outcome::Accepted => "taken",
            Outcome::Rejected(_) => "refused",
            Outcome::RetryLater(..) => "failed",
            Outcome::Unavailable(..) => "unreachable",
        };
        for (expect, all) in [
            ("taken", &[200, 201, 202, 204, 299][..]),
            ("refused", &[400, 401, 403, 404, 405, 410, 413, 422, 451]),
            ("failed", &[300, 301, 302, 307, 308, 408, 409, 425, 500, 501, 502, 504, 599]),
            ("unreachable", &[429, 503]),
        ] {
            for status in all {
                assert_eq!(kind(*status), expect, "{status}");
            }
        }
    }

    #[test]
    fn a_receiver_says_when_to_come_again_in_two_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| parse_retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "already past");
        assert_eq!(seconds("99999999999999999999"), Some(u64::MAX));
        assert!(seconds("Fri, 31 Dec 9999 23:59:59 GMT") > Some(252_000_000_000));
        for bad in ["", "soon", "-1", "1.5", "+1"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    /// A peer that reads nothing; it says when it is let go.
    struct Deaf(std::sync::mpsc::Sender<()>);

    impl Drop for Deaf {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    impl hyper::rt::Read for Deaf {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: hyper::rt::ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl hyper::rt::Write for Deaf {
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
    fn a_receiver_that_reads_nothing_keeps_no_connection() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (let_go, gone) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let mut connection = handshake(Deaf(let_go)).await.unwrap();
            let request = Request::post("/").body(Full::new(Bytes::from("x"))).unwrap();
            let answer = connection.sender.send_request(request);
            tokio::select! {
                _ = answer => panic!("it does not answer"),
                () = turns(10) => {}
            }
            drop(connection);
            turns(10).await;
        });
        assert_eq!(gone.try_recv(), Ok(()), "while others go on");
    }

    /// Lets all that can go on do so, so often.
    async fn turns(count: usize) {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }
}
