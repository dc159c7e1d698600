//! `dossierd rescan`: lets the daemon compare everything with the disk.

use crate::cli::args::OptionalFeatureArgs;
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::client::RequestPath;

pub(crate) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<CommandExit> {
    let place = Scope::resolve(args.feature.as_deref(), &args.project)?;
    let mut link = DaemonConnection::connect(&args.project.socket)?;
    // Without a feature everything is compared, of all projects.
    let named = args.project.project.as_ref().and_then(|_| place.root_text());
    let project = if place.feature.is_some() { place.root_text() } else { named };
    let target = RequestPath::new("/api/rescan")
        .with_optional("feature", place.feature.as_deref())
        .with_optional("project", project.as_deref())
        .with_sync();
    let answer = link.post(&target, Vec::new())?;
    if args.project.json {
        output::print_body(&answer.body)?;
    } else {
        let what = place.feature.as_deref().unwrap_or("everything");
        output::note(&format!("{what} was compared with the disk"));
    }
    Ok(CommandExit::Success)
}
