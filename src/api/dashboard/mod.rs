//! The dashboard: its listener, sessions and page.

pub(crate) mod control;
pub(crate) mod guard;
pub(crate) mod listener;
pub(crate) mod state;
pub(crate) mod static_files;
