//! What the daemon says of one feature, and what is to be said beside it: the same as after a scan.

use serde::de::DeserializeOwned;

use crate::cli::args::{FeatureArgs, ProjectArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::client::{ApiResponse, RequestPath};
use crate::core::feature::FeatureWatchState;
use crate::wire::status::{ProjectStatus, Status};

/// An answer about a feature.
pub(crate) struct FeatureQuery {
    /// The answer.
    pub(crate) response: ApiResponse,
    connection: DaemonConnection,
    scope: Scope,
}

/// A daemon that watches the place.
pub(crate) struct ProjectQuery {
    pub(crate) connection: DaemonConnection,
    pub(crate) status: Status<'static>,
}

impl FeatureQuery {
    /// Asks about the feature that is meant; `None`, which is said, where no daemon watches it.
    pub(crate) fn run(
        args: &FeatureArgs,
        target: impl Fn(&Scope) -> RequestPath,
    ) -> anyhow::Result<Option<Self>> {
        let Some(mut link) = DaemonConnection::connect_if_running(&args.project.socket)? else {
            return Ok(None);
        };
        let place = Scope::resolve(Some(&args.feature), &args.project)?;
        match link.get(&target(&place)) {
            Ok(answer) => Ok(Some(Self { response: answer, connection: link, scope: place })),
            Err(error) if has_problem_status(&error, 404) && !is_watched(&mut link, &place)? => {
                output::note(
                    "the daemon does not watch this project; `dossierd project add` lets it",
                );
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for more about the same feature.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.connection.get_json(&self.scope.request_path(path))
    }

    /// Says what is wrong with the feature and with the project's files, and with which code that
    /// ends a command that has printed its data.
    pub(crate) fn finish(mut self) -> anyhow::Result<CommandExit> {
        let status: Status<'_> = self.connection.get_json(&RequestPath::new("/api/status"))?;
        Ok(finish_with_status(&status, &self.scope))
    }
}

/// As [`FeatureQuery::finish_with_status`], of a status that was asked for.
pub(crate) fn finish_with_status(status: &Status<'_>, place: &Scope) -> CommandExit {
    let slug = place.feature.as_deref();
    for project in matching_projects(status, place) {
        for feature in project.features.iter().filter(|f| Some(&*f.feature_slug) == slug) {
            let watch = match feature.watch {
                FeatureWatchState::Live | FeatureWatchState::Settling => None,
                FeatureWatchState::Unreadable => Some("cannot be read"),
                FeatureWatchState::Gone => Some("is gone"),
                FeatureWatchState::Degraded => Some("is beyond a budget"),
            };
            let wrong = [watch, feature.meta_error.as_deref(), feature.step_error.as_deref()];
            for line in wrong.into_iter().flatten() {
                output::warn(&format!("{}: {line}", feature.feature_slug));
            }
        }
    }
    let findings = project_diagnostics(status, place);
    findings.print();
    findings.exit()
}

/// What is wrong with the files of the project that is meant.
pub(crate) fn project_diagnostics(status: &Status<'_>, place: &Scope) -> ProjectDiagnostics {
    ProjectDiagnostics {
        errors: matching_projects(status, place).flat_map(|p| p.manifest_errors.to_vec()).collect(),
        warnings: matching_projects(status, place)
            .flat_map(|p| p.manifest_warnings.to_vec())
            .collect(),
    }
}

/// The project that is meant, or those with such a feature.
fn matching_projects<'s, 'a>(
    status: &'s Status<'a>,
    place: &'s Scope,
) -> impl Iterator<Item = &'s ProjectStatus<'a>> {
    let (root, slug) = (place.root_text(), place.feature.as_deref());
    status.projects.iter().filter(move |project| match &root {
        Some(root) => project.root == *root,
        None => project.features.iter().any(|feature| Some(&*feature.feature_slug) == slug),
    })
}

impl ProjectQuery {
    /// A daemon that watches the project that is meant; `None`, which is said, where none does.
    pub(crate) fn run(args: &ProjectArgs, place: &Scope) -> anyhow::Result<Option<Self>> {
        let Some(mut link) = DaemonConnection::connect_if_running(&args.socket)? else {
            return Ok(None);
        };
        let status: Status<'_> = link.get_json(&RequestPath::new("/api/status").with_sync())?;
        if place.root.is_some() && place.find_project(&status).is_none() {
            output::note("the daemon does not watch this project; `dossierd project add` lets it");
            return Ok(None);
        }
        Ok(Some(Self { connection: link, status }))
    }
}

fn is_watched(link: &mut DaemonConnection, place: &Scope) -> anyhow::Result<bool> {
    let status: Status<'_> = link.get_json(&RequestPath::new("/api/status"))?;
    Ok(place.root.is_none() || place.find_project(&status).is_some())
}
