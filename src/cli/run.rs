//! `dossierd run`: the daemon in the foreground.

use anyhow::Context as _;

use super::args::RunArgs;
use super::exit::Exit;
use super::{heap, logging};
use crate::config::{Config, Folders};
use crate::service::{Options, run as run_service};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    heap::keep_small();
    if args.detached {
        // Fails only for the leader of a group, who has no terminal to lose by that.
        let _ = rustix::process::setsid();
    }
    let folders = Folders::of_user().context("cannot tell where the configuration lies")?;
    let config = Config::load(&folders.config_file())?;
    let said = args.log.clone();
    let filter = logging::start(said.as_ref().unwrap_or(&config.log).filter());
    // What was said to this process goes before what the configuration says.
    let used = move |config: &Config| {
        if said.is_none() {
            filter.set(config.log.filter());
        }
    };
    run_service(Options {
        config,
        folders,
        projects: args.projects.clone(),
        socket: args.socket.socket.clone(),
        used: Box::new(used),
    })?;
    Ok(Exit::Done)
}
