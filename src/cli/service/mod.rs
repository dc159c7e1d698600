//! `dossierd service`: the systemd user service is put in place, taken away, looked at.

mod install;
pub(super) mod manager;
mod status;
mod uninstall;

use super::args::{ServiceArgs, ServiceCommand};
use super::exit::CommandExit;

pub(super) fn run(args: &ServiceArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        ServiceCommand::Install(args) => install::run(args),
        ServiceCommand::Uninstall(args) => uninstall::run(args),
        ServiceCommand::Status(args) => status::run(args),
    }
}
