//! Errors of requests to the daemon, with what to do about them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::hint::cli_hint_for;
use crate::wire::problem::Problem;

/// Bytes of an answer, or of one message of a stream, at most: a snapshot of a million artifacts
/// is smaller.
pub(crate) const MAX_RESPONSE_BYTES: usize = 1 << 30;

/// Why the daemon did not answer, or not with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers at the socket.
    #[error(
        "no daemon answers at {}; start one with `dossierd run`, or for good with \
         `dossierd service install`",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// Somebody else serves the socket.
    #[error("{} is served by another user ({uid}) and is not asked", socket.display())]
    WrongUser {
        /// The socket.
        socket: PathBuf,
        /// Who serves it.
        uid: u32,
    },
    /// The system refused the connection.
    #[error("cannot reach the daemon at {}", socket.display())]
    ConnectFailed {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("cannot {action} the daemon at {}", socket.display())]
    ConnectionFailed {
        /// What was being done.
        action: &'static str,
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error(
        "the daemon at {} did not answer within {} s; `dossierd doctor` tells more; if it stays so, \
         restart its service, or kill its process and start it again",
        socket.display(),
        after.as_secs()
    )]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// It said too much.
    #[error("the daemon's answer is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    /// It answered with a problem.
    #[error("{}", display_problem(.0))]
    Problem(Box<Problem>),
    /// It answered with something that is none of its answers.
    #[error("the daemon's answer to {request} cannot be understood: {cause}")]
    InvalidResponse {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

fn display_problem(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{}; {}", problem.detail, cli_hint_for(hint)),
        None => problem.detail.clone(),
    }
}
