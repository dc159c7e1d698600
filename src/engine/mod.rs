//! The single owner of live state, and the one look that needs no daemon.
//!
//! `run` is the loop; read from there: it takes letters from `inbox`, hands hints to `project`,
//! which keeps each `feature`, sends looks to `pool`, and shows `view`s.

pub mod content;
pub mod counters;
pub mod files;
pub mod inbox;
pub mod outbox;
pub mod projects;
pub mod run;
pub mod survey;
pub mod view;

#[cfg(debug_assertions)]
mod failpoint;
mod feature;
mod pool;
mod project;
mod projector;
mod upkeep;
