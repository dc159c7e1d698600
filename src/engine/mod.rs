//! Owns the state of all watched projects and publishes it; also scans features once without a
//! daemon ([`survey`]).
//!
//! `run` is the event loop; read from there. It receives messages from [`inbox`], passes hints to
//! `project`, which owns each `feature`, sends file checks to `pool`, commits to the store and
//! publishes a [`view`]. It serves no client and delivers no event.

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
