//! Queries the daemon for a feature or project, with a fallback to a scan where it does not watch
//! the project. Prints the same warnings as a scan does.

use serde::de::DeserializeOwned;

use crate::cli::args::{FeatureArgs, ProjectArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_hint, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::{LocalTarget, note_not_watched};
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::{ApiResponse, RequestPath};
use crate::config::LoadedConfig;
use crate::core::diagnostics::FileError;
use crate::core::feature::FeatureWatchState;
use crate::wire::hint::HintCode;
use crate::wire::status::{ProjectStatus, Status};

/// The daemon's response about a feature, and the connection for further requests.
pub(crate) struct FeatureQuery {
    /// The response to the first request.
    pub(crate) response: ApiResponse,
    connection: DaemonConnection,
    scope: Scope,
}

/// A daemon that watches the selected project, and its state.
pub(crate) struct ProjectQuery {
    pub(crate) connection: DaemonConnection,
    pub(crate) status: Status<'static>,
}

impl FeatureQuery {
    /// Sends the request that `path` returns. Returns `None` if no daemon runs, if only the history still knows
    /// the feature, or, with a note, if it does not watch the project.
    pub(crate) fn run(
        args: &FeatureArgs,
        path: impl Fn(&Scope) -> RequestPath,
    ) -> anyhow::Result<Option<Self>> {
        let Some(mut connection) = DaemonConnection::connect_if_running(&args.project.socket)?
        else {
            return Ok(None);
        };
        let scope = Scope::resolve(Some(&args.feature), &args.project)?;
        match connection.get(&path(&scope)) {
            Ok(response) => Ok(Some(Self { response, connection, scope })),
            Err(error)
                if has_problem_status(&error, 404) && !is_watched(&mut connection, &scope)? =>
            {
                note_not_watched();
                Ok(None)
            }
            Err(error) if is_forgotten(&error, args) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the slug of the feature.
    pub(crate) fn slug(&self) -> String {
        self.scope.feature.clone().unwrap_or_default()
    }

    /// Sends another request about the same feature.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.connection.get_json(&self.scope.request_path(path))
    }

    /// Prints problems of the feature and of the project's files. Returns the exit code of a command
    /// that has printed its data.
    pub(crate) fn finish(mut self) -> anyhow::Result<CommandExit> {
        let status: Status<'_> = self.connection.get_json(&RequestPath::new("/api/status"))?;
        Ok(finish_with_status(&status, &self.scope))
    }
}

/// Returns true if the daemon does not know a feature, and versions of it are stored: it was removed while no
/// daemon ran, and the store of events was lost.
pub(crate) fn is_forgotten(error: &anyhow::Error, args: &FeatureArgs) -> bool {
    has_hint(error, HintCode::NoSuchFeature)
        && LocalTarget::from_gone_feature(&args.feature, &args.project)
            .is_ok_and(|target| target.is_some())
}

/// Does what [`FeatureQuery::finish`] does, with a status that was requested before.
pub(crate) fn finish_with_status(status: &Status<'_>, scope: &Scope) -> CommandExit {
    let slug = scope.feature.as_deref();
    for project in matching_projects(status, scope) {
        for feature in project.features.iter().filter(|f| Some(&*f.feature_slug) == slug) {
            let watch = match feature.watch {
                FeatureWatchState::Live | FeatureWatchState::Settling => None,
                FeatureWatchState::Unreadable => Some("cannot be read"),
                FeatureWatchState::Unavailable => Some("is hidden by a mount, or not mounted"),
                FeatureWatchState::Unresponsive => Some("does not respond"),
                FeatureWatchState::Gone => Some("was removed"),
                FeatureWatchState::Degraded => Some("exceeds a limit"),
            };
            // As after a scan.
            let reason = feature.unknown_reason.as_deref().or(watch);
            let meta_error = feature.meta_error.as_deref().filter(|error| Some(*error) != reason);
            let of_step = [feature.step_error.as_deref(), feature.step_warning.as_deref()];
            let of_progress = feature.progress_error.as_deref();
            let problems = [reason, meta_error].into_iter().chain(of_step).chain([of_progress]);
            for line in problems.flatten() {
                output::warn(&format!("{}: {line}", feature.feature_slug));
            }
        }
    }
    let findings = project_diagnostics(status, scope);
    findings.print();
    findings.exit()
}

/// Returns problems with the configuration and with the files of the selected project.
pub(crate) fn project_diagnostics(status: &Status<'_>, scope: &Scope) -> ProjectDiagnostics {
    let config = config_errors(status).into_iter();
    let of_projects = matching_projects(status, scope).flat_map(|p| p.manifest_errors.to_vec());
    ProjectDiagnostics {
        errors: config.chain(of_projects).collect(),
        warnings: matching_projects(status, scope)
            .flat_map(|p| p.manifest_warnings.to_vec())
            .collect(),
    }
}

/// Returns the errors of the configuration: those that the daemon reports, or else those of the file,
/// which the daemon may not have read again yet.
pub(crate) fn config_errors(status: &Status<'_>) -> Vec<FileError> {
    match status.config.as_ref().map(|config| config.errors.to_vec()) {
        Some(errors) if !errors.is_empty() => errors,
        _ => user_dirs().map_or_else(
            |_| Vec::new(),
            |dirs| LoadedConfig::from_file(&dirs.config_file()).state.errors,
        ),
    }
}

/// Returns the selected project; without one, all projects with a feature of that slug.
fn matching_projects<'s, 'a>(
    status: &'s Status<'a>,
    scope: &'s Scope,
) -> impl Iterator<Item = &'s ProjectStatus<'a>> {
    let (root, slug) = (scope.root_text(), scope.feature.as_deref());
    status.projects.iter().filter(move |project| match &root {
        Some(root) => project.root == *root,
        None => project.features.iter().any(|feature| Some(&*feature.feature_slug) == slug),
    })
}

impl ProjectQuery {
    /// Requests the status. Returns `None` if no daemon runs, or, with a note, if it does not watch the
    /// project.
    pub(crate) fn run(args: &ProjectArgs, scope: &Scope) -> anyhow::Result<Option<Self>> {
        let Some(mut connection) = DaemonConnection::connect_if_running(&args.socket)? else {
            return Ok(None);
        };
        let status: Status<'_> =
            connection.get_json(&RequestPath::new("/api/status").with_sync())?;
        if scope.root.is_some() && scope.find_project(&status).is_none() {
            note_not_watched();
            return Ok(None);
        }
        Ok(Some(Self { connection, status }))
    }
}

fn is_watched(connection: &mut DaemonConnection, scope: &Scope) -> anyhow::Result<bool> {
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    Ok(scope.root.is_none() || scope.find_project(&status).is_some())
}
