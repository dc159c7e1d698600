//! Fake daemons: servers at a Unix socket whose responses the test determines.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::Project;

/// Returns a handler for [`FakeServer`] that forwards each request to the project's daemon and
/// changes the body of the response; `server` is the `Server` header.
pub(crate) fn proxy(
    project: &Project,
    server: &'static str,
    change: impl Fn(&str) -> String + Send + Clone + 'static,
) -> impl Fn(&str) -> Option<FakeResponse> + Send + Clone + 'static {
    let real = project.socket();
    move |request: &str| {
        let mut stream = UnixStream::connect(&real).ok()?;
        let headers = "Host: localhost\r\nAccept: application/json\r\nConnection: close";
        write!(stream, "{request}\r\n{headers}\r\nContent-Length: 0\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some(FakeResponse { status: head.get(9..12)?.parse().ok()?, server, body: change(body) })
    }
}

/// A response of a [`FakeServer`].
pub(crate) struct FakeResponse {
    pub(crate) status: u16,
    /// The `Server` header.
    pub(crate) server: &'static str,
    pub(crate) body: String,
}

/// A server that listens until the test process exits.
pub(crate) struct FakeServer {
    pub(crate) socket: PathBuf,
}

impl FakeServer {
    /// Responds to every request at `socket` with the result of `handler` for its request line;
    /// closes the connection without a response if that is `None`.
    pub(crate) fn start(
        socket: &Path,
        handler: impl Fn(&str) -> Option<FakeResponse> + Send + Clone + 'static,
    ) -> Self {
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let handler = handler.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &handler));
            }
        });
        Self { socket: socket.to_owned() }
    }
}

fn serve(stream: UnixStream, handler: &impl Fn(&str) -> Option<FakeResponse>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut request_line = String::new();
        if reader.read_line(&mut request_line).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header == "\r\n" {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        let Some(FakeResponse { status, server, body }) = handler(request_line.trim_end()) else {
            return;
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nServer: {server}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}
