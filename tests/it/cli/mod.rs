//! The command line, with and without a daemon.

mod agent_hook;
mod artifacts;
mod baseline;
mod check;
mod command_line;
mod completions;
mod config_command;
mod daemon_connection;
mod doctor;
mod doctor_daemon;
mod events;
pub(crate) mod examples;
mod exec;
mod feature;
mod integrations;
#[cfg(feature = "mcp")]
mod mcp;
mod notify;
mod pager;
mod path_arguments;
mod projects;
mod shared_baselines;
mod situations;
mod status;
mod terminal;
#[cfg(feature = "top")]
mod top;
mod usability;
mod verify;
mod watch;
