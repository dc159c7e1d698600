//! `dossierd run`: the daemon in the foreground.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use super::args::RunArgs;
use super::exit::Exit;
use crate::config::{Config, Folders};
use crate::service::{Options, run as run_service};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    if args.detached {
        // Fails only for the leader of a group, who has no terminal to lose by that.
        let _ = rustix::process::setsid();
    }
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("`{}` is no log filter, such as `info`", args.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let folders = Folders::of_user().context("cannot tell where the configuration lies")?;
    let config = Config::load(&folders.config_file())?;
    run_service(Options {
        config,
        folders,
        projects: args.projects.clone(),
        socket: args.socket.socket.clone(),
    })?;
    Ok(Exit::Done)
}
