//! `dossierd run`: the daemon in the foreground.

use anyhow::Context as _;

use super::args::RunArgs;
use super::exit::CommandExit;
use super::{heap, logging};
use crate::config::{Config, UserDirs};
use crate::service::{DaemonOptions, run as run_service};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<CommandExit> {
    heap::reexec_with_malloc_settings();
    if args.detached {
        // Fails only for the leader of a group, who has no terminal to lose by that.
        let _ = rustix::process::setsid();
    }
    let folders = UserDirs::from_env().context("cannot tell where the configuration lies")?;
    let config = Config::load(&folders.config_file())?;
    let said = args.log.clone();
    let filter = logging::init(said.as_ref().unwrap_or(&config.log).filter());
    // What was said to this process goes before what the configuration says.
    let used = move |config: &Config| {
        if said.is_none() {
            filter.set(config.log.filter());
        }
    };
    run_service(DaemonOptions {
        config,
        user_dirs: folders,
        projects: args.projects.clone(),
        socket: args.socket.socket.clone(),
        on_config_applied: Box::new(used),
    })?;
    Ok(CommandExit::Success)
}
