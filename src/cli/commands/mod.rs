//! The commands: one file or directory each. Commands do not import each other.

pub(crate) mod artifacts;
pub(crate) mod baseline;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dashboard;
pub(crate) mod delivery;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod events;
pub(crate) mod init;
pub(crate) mod layouts;
pub(crate) mod projects;
pub(crate) mod report;
pub(crate) mod rescan;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod service;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod verify;
pub(crate) mod watch;
