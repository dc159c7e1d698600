//! What the API answers and `--json` prints: models, and the one way they become text.
//!
//! Public names here are promises (contract, section 7). Models borrow from the core's values, or
//! own what came over the socket; nothing here reads, decides or waits.

pub mod artifacts;
pub mod baseline;
pub mod cursor;
pub mod dashboard;
pub mod delivery;
pub mod drift;
pub mod events;
pub mod hint;
pub mod json;
pub mod overview;
pub mod problem;
pub mod projects;
pub mod report;
pub mod rich_text;
pub mod status;

#[cfg(test)]
mod schemas;
