//! HTTP client of the daemon's local socket: requests and the event stream.
//!
//! HTTP/1.1 with limits on time and size. This module never starts a daemon and prints nothing;
//! responses are returned as they were received.

mod connect;
mod error;
mod follow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod request;
mod sse;
mod stream;

pub use connect::{Client, Peer, RESPONSE_TIMEOUT};
pub use error::ClientError;
pub use follow::{FollowEvent, Follower};
pub use request::{ApiResponse, RequestPath, percent_encode, percent_encode_bytes};
pub use sse::SseMessage;
pub use stream::EventStream;
