//! Talks to a running daemon over its local socket: requests, and the stream of events.
//!
//! HTTP/1.1 with limits on time and size. It never starts a daemon, and shows nothing: what came is
//! handed on as it came.

mod connect;
mod error;
mod follow;
mod request;
mod sse;
mod stream;

pub use connect::{Client, Peer, RESPONSE_TIMEOUT};
pub use error::ClientError;
pub use follow::{FollowEvent, Follower};
pub use request::{ApiResponse, RequestPath, percent_encode};
pub use sse::SseMessage;
pub use stream::EventStream;
