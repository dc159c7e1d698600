//! The pure heart: what an artifact, a manifest, a snapshot, a baseline and drift are.
//!
//! Nothing here touches a file, a clock, a thread or a socket: bytes, paths and times come in as
//! arguments, so every rule can be tested with a table. Modules in reading order, from the bytes
//! of one file up to the verdict over a feature.

pub mod accept;
pub mod artifact;
pub mod baseline;
pub mod chunks;
pub mod classify;
pub mod content;
pub mod digest;
pub mod dossier;
pub mod drift;
pub mod event;
pub mod feature;
pub mod findings;
pub mod frontmatter;
pub mod identity;
pub mod inventory;
pub mod key;
pub mod manifest;
pub mod path;
pub mod pattern;
mod running;
#[cfg(test)]
pub(crate) mod schemas;
pub mod snapshot;
pub mod time;
pub mod transition;
pub mod yaml;

#[cfg(test)]
pub(crate) mod testing;
