//! Models of the HTTP API and of `--json`, and their serialization.
//!
//! Names of fields and values are stable: `docs/specification.md#http-api`. Models borrow from the
//! values of `core`, or own what a client has received. No I/O and no decisions here.

pub mod artifacts;
pub mod baseline;
pub mod check;
pub mod cursor;
pub mod dashboard;
pub mod delivery;
pub mod drift;
pub mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hint;
pub mod history;
pub mod json;
pub mod overview;
pub mod problem;
pub mod projects;
pub mod report;
pub mod rich_text;
pub mod snapshot_parts;
pub mod status;

#[cfg(test)]
mod schemas;
