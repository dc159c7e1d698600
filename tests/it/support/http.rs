//! Requests to the daemon's HTTP API over its socket, and streams of Server-Sent Events.
//!
//! The protocol is written by hand, so that a test sees exactly the bytes that the daemon sends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::process::Daemon;
use super::wait::{WAIT_TIMEOUT, wait_for};

/// Why the response to a request with `sync=true` may lack changes that were made before.
const NOT_IN_TIME: &str = "the comparison with the disk has not ended in time";

/// A response to a request over the socket.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("the body is not JSON: {error}: {self:?}"))
    }

    /// Checks that the response is a problem document with this status and code, and returns it.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        for field in ["type", "title", "detail", "hint", "hint_code"] {
            assert!(problem[field].is_string(), "`{field}` in {problem:#}");
        }
        let candidates = problem["candidates"].as_array().map_or(0, Vec::len);
        assert_eq!(candidates > 0, status == 409, "{problem:#}");
        problem
    }
}

/// Returns a body without the framing of chunks; `None` if it is incomplete.
fn join_chunks(mut body: &str) -> Option<String> {
    let mut joined = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(joined);
        }
        joined.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

impl Daemon {
    /// Opens a connection with a read timeout.
    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
        Ok(stream)
    }

    /// Sends a `GET` request; returns an error if there is no complete response.
    pub(crate) fn try_get(&self, target: &str, headers: &[&str]) -> std::io::Result<Response> {
        self.try_request("GET", target, headers, b"")
    }

    fn try_request(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut stream = self.connect()?;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = if method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             {length}{headers}\r\n"
        )?;
        // The daemon may respond before it has read all of the body.
        let _ = stream.write_all(body);
        let mut response = Vec::new();
        let read = stream.read_to_end(&mut response);
        if response.is_empty() {
            read?;
        }
        let response = String::from_utf8(response).map_err(std::io::Error::other)?;
        let incomplete = || std::io::Error::other(format!("incomplete response: {response:?}"));
        let (head, body) = response.split_once("\r\n\r\n").ok_or_else(incomplete)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(incomplete)?;
        let head = head.to_ascii_lowercase();
        let body = if head.contains("transfer-encoding: chunked") {
            join_chunks(body).ok_or_else(incomplete)?
        } else {
            body.to_owned()
        };
        Ok(Response { status, head, body })
    }

    /// Sends a `GET` request that accepts JSON.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        match self.try_get(target, &["Accept: application/json"]) {
            Ok(response) => response,
            Err(error) => panic!("{target}: {error}; log:\n{}", self.log()),
        }
    }

    /// Sends a request with a body.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, target: &str, body: &str) -> Response {
        match self.try_request(method, target, &[], body.as_bytes()) {
            Ok(response) => response,
            Err(error) => panic!("{method} {target}: {error}; log:\n{}", self.log()),
        }
    }

    /// Sends a `GET` request, checks that the status is 200, and returns the JSON body.
    #[track_caller]
    pub(crate) fn get_json(&self, target: &str) -> Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {response:?}");
        response.json()
    }

    /// Requests `target`, which has `sync=true`, again if the daemon responds that it did not see all changes in
    /// time, as on a machine that is busy.
    #[track_caller]
    fn get_synced(&self, target: &str) -> Value {
        wait_for(&format!("a response in time to {target}"), || {
            let response = self.get(target);
            assert_eq!(response.status, 200, "{target}: {response:?}");
            let is_reason =
                |line: &str| line.starts_with("synced-reason:") && line.ends_with(NOT_IN_TIME);
            let is_late = response.head.lines().any(is_reason);
            (!is_late).then(|| response.json())
        })
    }

    /// Returns the snapshot of a feature, which reflects every change made before the call.
    #[track_caller]
    pub(crate) fn export(&self, feature: &str) -> Value {
        self.get_synced(&format!("/api/dossier/snapshots/export?feature={feature}&sync=true"))
    }

    /// Returns the overview of a feature, which reflects every change made before the call.
    #[track_caller]
    pub(crate) fn overview(&self, feature: &str) -> Value {
        self.get_synced(&format!("/api/dossier/overview?feature={feature}&sync=true"))
    }

    /// Returns the daemon's status, which reflects every change made before the call.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.get_synced("/api/status?sync=true")
    }

    /// Opens a stream of events; `query` is empty or begins with `?`.
    pub(crate) fn open_stream(&self, query: &str, headers: &[&str]) -> EventStream {
        let mut stream = self.connect().unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
            .unwrap();
        let mut stream = EventStream { reader: BufReader::new(stream), text: Vec::new() };
        let head = stream.read_line();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        while !stream.read_line().is_empty() {}
        stream
    }
}

/// A stream of Server-Sent Events.
pub(crate) struct EventStream {
    reader: BufReader<UnixStream>,
    /// Received text that is not yet returned, without the framing of chunks.
    text: Vec<u8>,
}

/// One message of an [`EventStream`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseMessage {
    /// Empty if the message has no id.
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl EventStream {
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Returns the next message; comments are skipped.
    #[track_caller]
    pub(crate) fn next(&mut self) -> SseMessage {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.text.drain(..end + 2).collect();
                let message = String::from_utf8(message).unwrap();
                let field = |name: &str| {
                    let mut lines = message.lines();
                    lines.find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let Some(data) = field("data: ") else {
                    continue;
                };
                let message = SseMessage {
                    id: field("id: ").unwrap_or_default(),
                    event: field("event: ").unwrap(),
                    data: serde_json::from_str(&data).unwrap(),
                };
                if message.data.get("event_type").is_some() {
                    super::schema::assert_valid_event(&message.data);
                }
                return message;
            }
            let size = self.read_line();
            let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("{size:?}"));
            assert!(size > 0, "the stream ended before the next message");
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            self.text.extend_from_slice(&chunk[..size]);
        }
    }
}
