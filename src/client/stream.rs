//! The stream of events, as long as one connection lasts.

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use super::request::error_from_response;
use super::{Client, ClientError, MAX_RESPONSE_BYTES, RequestPath, STREAM_IDLE_TIMEOUT};
use crate::client::sse::{SseDecoder, SseMessage};

/// A stream of messages.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    body: Incoming,
    decoder: SseDecoder,
}

impl Client {
    /// Turns the connection into a stream of events.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream(mut self, target: &RequestPath) -> Result<EventStream, ClientError> {
        let patience = self.timeout;
        let send = self.send(Method::GET, target, "text/event-stream", Bytes::new());
        let response = timeout(patience, send).await;
        let response = response.unwrap_or_else(|_| Err(self.timeout_error(patience)))?;
        let status = response.status();
        if !status.is_success() {
            let body = self.read_body(response.into_body()).await?;
            return Err(error_from_response("the stream of events", status, &body));
        }
        Ok(EventStream { client: self, body: response.into_body(), decoder: SseDecoder::default() })
    }
}

impl EventStream {
    /// The next message; `None` where the daemon ended the stream. Nothing is lost when it is not
    /// waited for to the end.
    ///
    /// # Errors
    /// [`ClientError`]: the connection broke, or was silent for too long.
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
                Some(Err(error)) => return Err(self.client.connection_error("listen to", error)),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
            }
        }
    }
}
