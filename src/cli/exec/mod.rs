//! `--exec`: runs a command for each event, a few at a time and each for a limited time.

mod job;
mod queue;
mod runner;
mod running;

pub(super) use job::ExecJob;
pub(super) use runner::{CommandOutput, CommandRunner};
pub(super) use running::terminate_running;
