//! The stream of events, as long as one connection lasts.

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use super::messages::{Message, Messages};
use super::request::refused;
use super::{ANSWER_MAX, Client, ClientError, SILENCE_MAX, Target};

/// A stream of messages.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    body: Incoming,
    messages: Messages,
}

impl Client {
    /// Turns the connection into a stream of events.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream(mut self, target: &Target) -> Result<Stream, ClientError> {
        let patience = self.patience;
        let send = self.send(Method::GET, target, "text/event-stream", Bytes::new());
        let response = timeout(patience, send).await;
        let response = response.unwrap_or_else(|_| Err(self.late(patience)))?;
        let status = response.status();
        if !status.is_success() {
            let body = self.whole(response.into_body()).await?;
            return Err(refused("the stream of events", status, &body));
        }
        Ok(Stream { client: self, body: response.into_body(), messages: Messages::default() })
    }
}

impl Stream {
    /// The next message; `None` where the daemon ended the stream. Nothing is lost when it is not
    /// waited for to the end.
    ///
    /// # Errors
    /// [`ClientError`]: the connection broke, or was silent for too long.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.messages.next() {
                return Ok(Some(message));
            }
            if self.messages.pending() > ANSWER_MAX {
                return Err(ClientError::TooLarge);
            }
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            match frame.map_err(|_| self.client.late(SILENCE_MAX))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken("listen to", error)),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.messages.push(bytes);
                    }
                }
            }
        }
    }
}
