//! `dossierd run`: the daemon in the foreground.

pub(crate) mod journald;
pub(crate) mod logging;
pub(crate) mod malloc_tuning;
use anyhow::Context as _;

use crate::cli::args::RunArgs;
use crate::cli::exit::CommandExit;
use crate::config::{Config, UserDirs};
use crate::daemon::{DaemonOptions, run as run_service};

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<CommandExit> {
    malloc_tuning::reexec_with_malloc_settings();
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
