//! `dossierd service install|uninstall|status`: the systemd user service.

mod install;
mod status;
mod uninstall;

use crate::cli::args::{ServiceArgs, ServiceCommand};
use crate::cli::exit::CommandExit;

pub(crate) fn run(args: &ServiceArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        ServiceCommand::Install(args) => install::run(args),
        ServiceCommand::Uninstall(args) => uninstall::run(args),
        ServiceCommand::Status(args) => status::run(args),
    }
}
