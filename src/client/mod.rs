//! HTTP client of the daemon's local socket: requests and the event stream.
//!
//! HTTP/1.1 with limits on time and size. This module never starts a daemon and prints nothing;
//! responses are returned as they were received.
//!
//! - [`Client`] sends requests, each a [`RequestPath`]; [`ApiResponse::parse`] returns a model of [`wire`](crate::wire)
//! - [`Follower`] reads the event stream and resumes it after the daemon was restarted; [`EventStream`] is one connection
//! - [`ClientError`] explains what failed and what to do
//!
//! It needs a tokio runtime with I/O and time. The socket is `$XDG_RUNTIME_DIR/dossierd/dossierd.sock` unless the daemon was
//! started with another one. A socket that a process of another user serves is refused.
//!
//! **Stability:** paths, parameters and JSON of the API are stable; these types are stable within a minor version of 0.x.
//! Models of [`wire`](crate::wire) have all fields of the API and gain some.
//!
//! # Examples
//! ```no_run
//! use std::path::Path;
//!
//! use dossierd::client::{Client, FollowEvent, Follower, RequestPath};
//! use dossierd::wire::status::Status;
//!
//! # async fn example() -> Result<(), dossierd::client::ClientError> {
//! let socket = Path::new("/run/user/1000/dossierd/dossierd.sock");
//! let mut client = Client::connect(socket).await?;
//! let response = client.get(&RequestPath::new("/api/status").with_sync()).await?;
//! let status: Status<'_> = response.parse()?;
//! for feature in status.projects.iter().flat_map(|project| &project.features) {
//!     println!("{}: {}", feature.feature_slug, feature.completeness_status);
//! }
//!
//! // Everything after the status, without a gap in between.
//! let mut follower = Follower::new(socket, &format!("{}:{}", status.instance, status.seq));
//! while let FollowEvent::Message(message) = follower.next().await? {
//!     println!("{} {}", message.event, message.data);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/clients/follow.rs` continues over restarts of the daemon.

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
