//! `dossierd run`: sets up the log and runs the daemon in the foreground.

pub(crate) mod journald;
pub(crate) mod logging;
mod lost_lines;
pub(crate) mod malloc_tuning;

use crate::cli::args::RunArgs;
use crate::cli::exit::CommandExit;
use crate::cli::user_dirs::user_dirs;
use crate::config::{Config, LogConfig};
use crate::daemon::{DaemonOptions, is_service, run as run_daemon};

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<CommandExit> {
    malloc_tuning::reexec_with_malloc_settings();
    if args.detached {
        // Fails only for a process group leader, such as a job of a shell.
        let _ = rustix::process::setsid();
    }
    let dirs = user_dirs()?;
    if let Some(foreign) = dirs.find_foreign_dir() {
        return Err(foreign.into());
    }
    let config = Config::load(&dirs.config_file());
    if let Err(error) = &config
        && !is_service()
    {
        return Err(error.clone().into());
    }
    let log = args.log.clone();
    let initial_log = config.as_ref().map_or_else(|_| LogConfig::default(), |one| one.log.clone());
    let filter = logging::init(log.as_ref().unwrap_or(&initial_log).filter(), &dirs.state_dir);
    // `--log` and `DOSSIERD_LOG` override the configuration, also after a reload.
    let on_config_applied = move |config: &Config| {
        if log.is_none() {
            filter.set(config.log.filter());
        }
    };
    run_daemon(DaemonOptions {
        config,
        user_dirs: dirs,
        projects: args.projects.clone(),
        socket: args.socket.named().map(std::path::Path::to_owned),
        on_config_applied: Box::new(on_config_applied),
    })?;
    Ok(CommandExit::Success)
}
