//! Errors of requests to the daemon; their texts include what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::hint::cli_hint;
use crate::wire::problem::Problem;

/// Maximum number of bytes of a response or of one stream message; beyond it the request fails
/// with [`ClientError::TooLarge`]. A snapshot of a million artifacts is smaller.
pub(crate) const MAX_RESPONSE_BYTES: usize = 1 << 30;

/// Why a request to the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens at the socket.
    #[error(
        "no daemon listens at {}; start one with `dossierd run`, or install the service with \
         `dossierd service install`",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// A process of another user listens at the socket.
    #[error(
        "{} is served by another user ({uid}); nothing was sent; choose another socket: --socket",
        socket.display()
    )]
    WrongUser {
        /// The socket.
        socket: PathBuf,
        /// User id of the process.
        uid: u32,
    },
    /// The connection could not be opened.
    #[error("cannot connect to the daemon at {}", socket.display())]
    ConnectFailed {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The connection broke.
    #[error("cannot {action} the daemon at {}", socket.display())]
    ConnectionFailed {
        /// What was being done: a verb with a preposition that fits before "the daemon".
        action: &'static str,
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon did not respond in time.
    #[error(
        "the daemon at {} did not respond within {} s; run `dossierd doctor` to find out why, or \
         restart the daemon",
        socket.display(),
        after.as_secs()
    )]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The timeout.
        after: Duration,
    },
    /// The response, or one message of a stream, exceeds 1 GiB.
    #[error("the daemon's response is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    /// The daemon responded with a problem document (RFC 9457).
    #[error("{}", display_problem(.0))]
    Problem(Box<Problem>),
    /// The response is not one that the API specifies.
    #[error("cannot parse the daemon's response to {request}: {cause}")]
    InvalidResponse {
        /// Method and path of the request.
        request: String,
        /// What is wrong with the response.
        cause: String,
    },
}

/// Returns the detail of a problem and its hint, phrased for users of the command line.
fn display_problem(problem: &Problem) -> String {
    match cli_hint(&problem.hint_code, &problem.hint) {
        Some(hint) => format!("{}; {hint}", problem.detail),
        None => problem.detail.clone(),
    }
}
