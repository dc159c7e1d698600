//! The pure heart: what an artifact, a manifest, a snapshot, a baseline and drift are.
//!
//! Nothing here touches a file, a clock, a thread or a socket: bytes, paths and times come in as
//! arguments, so every rule can be tested with a table. Modules in reading order, from the bytes
//! of one file up to the verdict over a feature.

pub mod artifact;
pub mod artifact_list;
pub mod baseline;
pub mod classify;
pub mod content;
pub mod counts;
pub mod diagnostics;
pub mod digest;
pub mod dossier;
pub mod drift;
pub mod error;
pub mod event;
#[cfg(test)]
pub(crate) mod event_schema;
pub mod feature;
pub mod feature_context;
pub mod frontmatter;
pub mod identity;
mod incremental_hash;
pub mod inventory;
pub mod key;
pub mod manifest;
pub mod path;
pub mod pattern;
pub mod snapshot;
pub mod sorted_chunks;
pub mod suggest;
pub mod sync;
pub mod time;
pub mod transition;
pub mod yaml;

#[cfg(test)]
pub(crate) mod testing;
