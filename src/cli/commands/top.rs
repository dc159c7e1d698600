//! `dossierd top`: starts the full-screen view where there is a terminal.

use std::io::{self, IsTerminal as _};

use anstream::ColorChoice;
use anyhow::bail;

use crate::cli::args::{LoneArgs, ProjectArgs, TopArgs};
use crate::cli::daemon::watched_roots::WatchedRoots;
use crate::cli::daemon::{autostart, connection};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;
use crate::cli::scope::Scope;
use crate::cli::top::{Ending, Mouse, Palette, TopSession};
use crate::client::Client;

pub(crate) fn run(args: &TopArgs) -> anyhow::Result<CommandExit> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    if is_dumb || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!(
            "`top` needs a terminal that can move the cursor; run `dossierd status` to print the state, or \
             `dossierd watch` to follow events"
        );
    }
    let (project, socket) = (args.project.clone(), args.socket.clone());
    let project = ProjectArgs { project, lone: LoneArgs::default(), json: false, socket };
    let scope = Scope::resolve(None, &project)?;
    let mut roots = WatchedRoots::new(&scope, &project);
    let socket = autostart::ensure_running(&args.socket)?;
    let mouse = if args.mouse { Mouse::Select } else { Mouse::Ignore };
    let palette = match output::color_choice(&io::stdout()) {
        ColorChoice::Never => Palette::Plain,
        _ => Palette::Colored,
    };
    let runtime = new_runtime()?;
    let ended = runtime.block_on(async {
        let mut client = Client::connect(&socket).await?;
        let status = roots.ensure(&mut client).await?;
        connection::warn_on_version_mismatch(client.version());
        drop(client);
        TopSession::start(socket, scope.root_text(), roots, (mouse, palette), status)?.run().await
    });
    // A request that is under way must not be waited for.
    runtime.shutdown_background();
    match ended? {
        Ending::Quit => Ok(CommandExit::Success),
        // By the convention of shells.
        Ending::Signal(number) => std::process::exit(128 + number),
    }
}
