//! Brings the rooms together: reads a project's inputs, scans its features, asks the core.

pub mod inbox;
mod pool;
pub mod survey;
pub mod view;
