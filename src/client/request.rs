//! Sends a request and returns its response.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::connect::Client;
use crate::client::error::{ClientError, MAX_RESPONSE_BYTES};
use crate::wire::problem::Problem;
use crate::wire::status::Health;

/// Every byte but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of the API with its query parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath(String);

/// Percent-encodes `text` for use in a path segment or a query parameter.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Percent-encodes bytes, such as those of a path.
#[must_use]
pub fn percent_encode_bytes(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, RESERVED).to_string()
}

/// A response with a 2xx status.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// The HTTP status code.
    pub status: u16,
    /// Method and path of the request, for errors.
    request: String,
    /// Why the response may not include all changes before the request, although that was asked for.
    pub not_synced: Option<String>,
    /// The body as it was received.
    pub body: Bytes,
}

impl RequestPath {
    /// Creates a path of the API without parameters.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Adds a parameter; the value is percent-encoded.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&percent_encode(value));
        self
    }

    /// Adds a parameter if it has a value.
    #[must_use]
    pub fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `sync=true`: the response then reflects every change made before the request.
    #[must_use]
    pub fn with_sync(self) -> Self {
        self.with("sync", "true")
    }
}

impl ApiResponse {
    /// Parses the body as a model of [`wire`](crate::wire).
    ///
    /// # Errors
    /// [`ClientError::InvalidResponse`] if the body does not match the model.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| invalid_response(&self.request, &error.to_string()))
    }
}

impl Client {
    /// Sends a GET request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&mut self, path: &RequestPath) -> Result<ApiResponse, ClientError> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(
        &mut self,
        path: &RequestPath,
        body: Vec<u8>,
    ) -> Result<ApiResponse, ClientError> {
        self.request(Method::POST, path, body.into()).await
    }

    /// Sends a DELETE request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&mut self, path: &RequestPath) -> Result<ApiResponse, ClientError> {
        self.request(Method::DELETE, path, Bytes::new()).await
    }

    /// Returns whether the initial scan of all projects is complete.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&mut self) -> Result<Health, ClientError> {
        let response =
            self.exchange(Method::GET, &RequestPath::new("/healthz"), Bytes::new()).await?;
        serde_json::from_slice(response.body())
            .map_err(|error| invalid_response("GET /healthz", &error.to_string()))
    }

    async fn request(
        &mut self,
        method: Method,
        path: &RequestPath,
        body: Bytes,
    ) -> Result<ApiResponse, ClientError> {
        let request = format!("{method} {}", path.0);
        let response = self.exchange(method, path, body).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(error_from_response(&request, status, response.body()));
        }
        let reason = response.headers().get("synced-reason");
        let not_synced = reason.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        let body = response.into_body();
        Ok(ApiResponse { status: status.as_u16(), request, not_synced, body })
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &RequestPath,
        body: Bytes,
    ) -> Result<Response<Bytes>, ClientError> {
        let limit = self.timeout;
        let exchange = async {
            let response = self.send(method, path, "application/json", body).await?;
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, self.read_body(body).await?))
        };
        let exchange = timeout(limit, exchange).await;
        exchange.unwrap_or_else(|_| Err(self.timeout_error(limit)))
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &RequestPath,
        accept: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        self.sender
            .ready()
            .await
            .map_err(|error| self.connection_error("send a request to", error))?;
        let request = Request::builder()
            .method(method)
            .uri(&path.0)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.connection_error("send a request to", error))?;
        let response = self.sender.send_request(request).await;
        let response =
            response.map_err(|error| self.connection_error("send a request to", error))?;
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
                Err(ClientError::ConnectionFailed {
                    action: "read the response of",
                    socket,
                    source,
                })
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

/// Returns the error that a response with another status than 2xx reports.
pub(super) fn error_from_response(request: &str, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => invalid_response(request, &format!("status {status}")),
    }
}

fn invalid_response(request: &str, cause: &str) -> ClientError {
    ClientError::InvalidResponse { request: request.to_owned(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_path_percent_encodes_parameters() {
        let path = RequestPath::new("/api/x").with("feature", "a b&c=\u{fc}").with_sync();
        assert_eq!(path.0, "/api/x?feature=a%20b%26c%3D%C3%BC&sync=true");
        assert_eq!(percent_encode("aZ09-._~/?\u{7f}"), "aZ09-._~%2F%3F%7F");
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
        let begin = format!("the daemon at {} did not respond within 0 s; ", socket.display());
        assert!(error.starts_with(&begin) && error.contains("restart the daemon"), "{error}");
    }

    #[test]
    fn response_without_a_problem_document_is_invalid() {
        let problem = br#"{"type":"about:blank","title":"t","status":404,"detail":"d","code":"c","hint":"h"}"#;
        let error = error_from_response("GET /x", StatusCode::NOT_FOUND, problem);
        assert_eq!(error.to_string(), "d; h");
        let error = error_from_response("GET /x", StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(error, ClientError::InvalidResponse { .. }), "{error}");
    }
}
