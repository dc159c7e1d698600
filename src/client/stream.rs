//! The event stream of one connection.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use crate::client::connect::Client;
use crate::client::error::{ClientError, MAX_RESPONSE_BYTES};
use crate::client::request::{RequestPath, error_from_response};
use crate::client::sse::{SseDecoder, SseMessage};

/// Timeout for the next bytes of a stream; the daemon sends a keep-alive comment every 15 s.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// A stream of messages, which ends with its connection.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    body: Incoming,
    decoder: SseDecoder,
}

impl EventStream {
    /// Requests `path` as an event stream; the connection then serves only the stream.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open(mut client: Client, path: &RequestPath) -> Result<Self, ClientError> {
        let limit = client.timeout;
        let send = client.send(Method::GET, path, "text/event-stream", Bytes::new());
        let response = timeout(limit, send).await;
        let response = response.unwrap_or_else(|_| Err(client.timeout_error(limit)))?;
        let status = response.status();
        if !status.is_success() {
            let body = client.read_body(response.into_body()).await?;
            return Err(error_from_response("the event stream request", status, &body));
        }
        Ok(Self { client, body: response.into_body(), decoder: SseDecoder::default() })
    }

    /// Waits for the next message; returns `None` if the daemon ended the stream. Cancel safe:
    /// dropping the future loses no message.
    ///
    /// # Errors
    /// [`ClientError`]: the connection broke or timed out, or a message is too large.
    pub async fn next(&mut self) -> Result<Option<SseMessage>, ClientError> {
        loop {
            if let Some(message) = self.decoder.next_message() {
                return Ok(Some(message));
            }
            if self.decoder.pending_bytes() > MAX_RESPONSE_BYTES {
                return Err(ClientError::TooLarge);
            }
            let frame = timeout(STREAM_IDLE_TIMEOUT, self.body.frame()).await;
            match frame.map_err(|_| self.client.timeout_error(STREAM_IDLE_TIMEOUT))? {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(self.client.connection_error("read events from", error));
                }
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn open_times_out_when_daemon_does_not_respond() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket).await.unwrap();
        client.timeout = Duration::ZERO;
        let stream = EventStream::open(client, &RequestPath::new("/api/events")).await;
        let error = stream.unwrap_err().to_string();
        let begin = format!("the daemon at {} did not respond within 0 s; ", socket.display());
        assert!(error.starts_with(&begin), "{error}");
    }
}
