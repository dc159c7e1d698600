//! `dossierd rescan`: asks the daemon to rescan a feature, a project, or everything.

use crate::cli::args::OptionalFeatureArgs;
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::client::RequestPath;

pub(crate) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<CommandExit> {
    let scope = Scope::resolve(args.feature.as_deref(), &args.project)?;
    let mut connection = DaemonConnection::connect(&args.project.socket)?;
    // The current directory selects a project only together with a feature.
    let named = args.project.project.as_ref().and_then(|_| scope.root_text());
    let project = if scope.feature.is_some() { scope.root_text() } else { named };
    let target = RequestPath::new("/api/rescan")
        .with_optional("feature", scope.feature.as_deref())
        .with_optional("project", project.as_deref())
        .with_sync();
    let response = connection.post(&target, Vec::new())?;
    if args.project.json {
        output::print_body(&response.body)?;
    } else {
        let scanned = match (&scope.feature, &project) {
            (Some(feature), _) => feature,
            (None, Some(project)) => project,
            (None, None) => "all projects",
        };
        output::note(&format!("rescanned {scanned}"));
    }
    Ok(CommandExit::Success)
}
