//! Talks to a running daemon over its local socket: requests, and the stream of events.
//!
//! HTTP/1.1 with limits on time and size. It never starts a daemon, and shows nothing: what came is
//! handed on as it came.

mod connect;
mod follow;
mod request;
mod sse;
mod stream;

use std::path::PathBuf;
use std::time::Duration;

use crate::wire::hint::cli_hint_for;
use crate::wire::problem::Problem;

pub use connect::{Client, Peer};
pub use follow::{FollowEvent, Follower};
pub use request::{ApiResponse, RequestPath, percent_encode};
pub use sse::SseMessage;
pub use stream::EventStream;

/// The longest that a daemon takes to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that an answer takes: it may wait 10 s for a first index, longer for the engine, and
/// as long to be read.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
/// A stream says at least every 15 s that it lives.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Bytes of an answer, or of one message of a stream, at most: a snapshot of a million artifacts
/// is smaller.
const MAX_RESPONSE_BYTES: usize = 1 << 30;

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
    /// The system refused the connection, or it broke.
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
    #[error("the daemon's answer to {asked} cannot be understood: {why}")]
    InvalidResponse {
        /// What was asked.
        asked: String,
        /// What is wrong with the answer.
        why: String,
    },
}

fn display_problem(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{}; {}", problem.detail, cli_hint_for(hint)),
        None => problem.detail.clone(),
    }
}
