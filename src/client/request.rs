//! One request and its answer.

use std::fmt::Write as _;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::connect::Client;
use crate::client::error::{ClientError, MAX_RESPONSE_BYTES};
use crate::wire::problem::Problem;
use crate::wire::status::Health;

/// What is asked for: a path and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath(String);

/// `text` as it may stand in a path or a parameter.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// An answer that is no problem.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// The status.
    pub status: u16,
    /// What was asked.
    request: String,
    /// What was answered.
    pub body: Bytes,
}

impl RequestPath {
    /// A path of the API.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&percent_encode(value));
        self
    }

    /// With a parameter that may have no value.
    #[must_use]
    pub fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With every change that was made before.
    #[must_use]
    pub fn with_sync(self) -> Self {
        self.with("sync", "true")
    }
}

impl ApiResponse {
    /// The answer as a model.
    ///
    /// # Errors
    /// [`ClientError::InvalidResponse`] where it is none.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| invalid_response(&self.request, &error.to_string()))
    }
}

impl Client {
    /// Asks for something.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&mut self, target: &RequestPath) -> Result<ApiResponse, ClientError> {
        self.request(Method::GET, target, Bytes::new()).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(
        &mut self,
        target: &RequestPath,
        body: Vec<u8>,
    ) -> Result<ApiResponse, ClientError> {
        self.request(Method::POST, target, body.into()).await
    }

    /// Asks for something to be taken away.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&mut self, target: &RequestPath) -> Result<ApiResponse, ClientError> {
        self.request(Method::DELETE, target, Bytes::new()).await
    }

    /// Asks whether the first index of everything stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&mut self) -> Result<Health, ClientError> {
        let (_, body) =
            self.exchange(Method::GET, &RequestPath::new("/healthz"), Bytes::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|error| invalid_response("GET /healthz", &error.to_string()))
    }

    async fn request(
        &mut self,
        method: Method,
        target: &RequestPath,
        body: Bytes,
    ) -> Result<ApiResponse, ClientError> {
        let asked = format!("{method} {}", target.0);
        let (status, body) = self.exchange(method, target, body).await?;
        if status.is_success() {
            return Ok(ApiResponse { status: status.as_u16(), request: asked, body });
        }
        Err(error_from_response(&asked, status, &body))
    }

    async fn exchange(
        &mut self,
        method: Method,
        target: &RequestPath,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let patience = self.timeout;
        let exchange = async {
            let response = self.send(method, target, "application/json", body).await?;
            let status = response.status();
            let body = self.read_body(response.into_body()).await?;
            Ok((status, body))
        };
        let exchange = timeout(patience, exchange).await;
        exchange.unwrap_or_else(|_| Err(self.timeout_error(patience)))
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        method: Method,
        target: &RequestPath,
        accept: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        self.sender.ready().await.map_err(|error| self.connection_error("ask", error))?;
        let request = Request::builder()
            .method(method)
            .uri(&target.0)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.connection_error("ask", error))?;
        let response = self.sender.send_request(request).await;
        let response = response.map_err(|error| self.connection_error("ask", error))?;
        let server = response.headers().get(header::SERVER).and_then(|text| text.to_str().ok());
        let version = server.and_then(|text| text.strip_prefix("dossierd/"));
        self.version = version.map(str::to_owned);
        Ok(response)
    }

    pub(super) async fn read_body(&self, body: Incoming) -> Result<Bytes, ClientError> {
        match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(ClientError::TooLarge)
            }
            Err(source) => {
                let socket = self.socket.clone();
                Err(ClientError::ConnectionFailed { action: "hear out", socket, source })
            }
        }
    }

    pub(super) fn timeout_error(&self, after: Duration) -> ClientError {
        ClientError::TimedOut { socket: self.socket.clone(), after }
    }

    pub(super) fn connection_error(
        &self,
        action: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> ClientError {
        ClientError::ConnectionFailed {
            action,
            socket: self.socket.clone(),
            source: Box::new(source),
        }
    }
}

/// What an answer says that is no success.
pub(super) fn error_from_response(asked: &str, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => invalid_response(asked, &format!("status {status}")),
    }
}

fn invalid_response(request: &str, cause: &str) -> ClientError {
    ClientError::InvalidResponse { request: request.to_owned(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let target = RequestPath::new("/api/x").with("feature", "a b&c=\u{fc}").with_sync();
        assert_eq!(target.0, "/api/x?feature=a%20b%26c%3D%C3%BC&sync=true");
        assert_eq!(RequestPath::new("/x").with_optional("project", None).0, "/x");
    }

    #[tokio::test]
    async fn request_times_out_with_a_fix_when_daemon_does_not_respond() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket).await.unwrap();
        client.timeout = Duration::ZERO;
        let error = client.get(&RequestPath::new("/api/status")).await.unwrap_err().to_string();
        let begin = format!("the daemon at {} did not answer within 0 s; ", socket.display());
        assert!(error.starts_with(&begin) && error.contains("restart its service"), "{error}");
    }

    #[test]
    fn what_is_no_problem_document_is_no_answer() {
        let problem = br#"{"type":"about:blank","title":"t","status":404,"detail":"d","code":"c","hint":"h"}"#;
        let error = error_from_response("GET /x", StatusCode::NOT_FOUND, problem);
        assert_eq!(error.to_string(), "d; h");
        let error = error_from_response("GET /x", StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(error, ClientError::InvalidResponse { .. }), "{error}");
    }
}
