//! What the API answers and `--json` prints: models, and the one way they become text.
//!
//! Public names here are promises (contract, section 7). Models borrow from the core's values, or
//! own what came over the socket; nothing here reads, decides or waits.

pub mod accepted;
pub mod artifacts;
pub mod cursor;
pub mod dashboard;
pub mod delivery;
pub mod drift;
pub mod events;
pub mod highlight;
pub mod json;
pub mod markdown;
pub mod mend;
pub mod overview;
pub mod problem;
pub mod projects;
pub mod rendered;
pub mod report;
pub mod status;

#[cfg(test)]
mod schemas;
