//! The line of `status --short`, for prompts and status bars, and the exit code that belongs to it.

use serde::Serialize;

use crate::cli::evaluation::{CheckScope, FeatureCheck, evaluate};
use crate::cli::exit::CommandExit;
use crate::core::feature::FeatureWatchState;
use crate::core::layout::DOCUMENTS_MISSION;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, ProjectWatchState};

/// The state of one or more projects, or of one feature, as numbers of features.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct StatusSummary {
    /// The exit code.
    #[serde(rename = "exit_code")]
    pub(crate) exit: CommandExit,
    /// All features; documents of a project are none.
    features: usize,
    incomplete: usize,
    drifted: usize,
    /// Features and projects that cannot be seen.
    not_seen: usize,
    /// Features whose directory was deleted.
    gone: usize,
    /// Manifests and other files that are invalid.
    invalid_files: usize,
}

impl StatusSummary {
    /// Returns the summary of `projects`, and of the features whose projects are not known. `invalid_files`
    /// are those of the daemon.
    pub(crate) fn new<'s, 'a: 's>(
        projects: &[&'s ProjectStatus<'a>],
        features: &[&'s Overview<'a>],
        invalid_files: usize,
    ) -> Self {
        let all = projects.iter().flat_map(|project| &project.features);
        let all: Vec<&Overview<'_>> = all.chain(features.iter().copied()).collect();
        let checks: Vec<FeatureCheck> =
            all.iter().map(|overview| FeatureCheck::from_overview(overview)).collect();
        let count =
            |has: &dyn Fn(&FeatureCheck) -> bool| checks.iter().filter(|one| has(one)).count();
        let hidden = projects.iter().filter(|project| is_hidden(project.watch.state)).count();
        let manifests: usize = projects.iter().map(|project| project.manifest_errors.len()).sum();
        let scope = CheckScope {
            has_invalid_file: invalid_files + manifests > 0,
            discovery_failed: hidden > 0,
            ..CheckScope::default()
        };
        Self {
            exit: evaluate(scope, &checks, false),
            features: all.iter().filter(|one| one.mission != DOCUMENTS_MISSION).count(),
            incomplete: count(&|check| check.incomplete),
            drifted: count(&|check| check.has_drifted()),
            not_seen: count(&|check| check.unreadable) + hidden,
            gone: all.iter().filter(|one| one.watch == FeatureWatchState::Gone).count(),
            invalid_files: invalid_files + manifests,
        }
    }

    /// Returns the summary of a project that no daemon watches.
    pub(crate) fn not_watched() -> Self {
        Self { exit: CommandExit::Indeterminate, not_seen: 1, ..Self::default() }
    }

    /// Returns the line; `name` is what it is about.
    pub(crate) fn line(&self, name: &str) -> String {
        let counts = [
            (self.incomplete, "incomplete"),
            (self.drifted, "drifted"),
            (self.not_seen, "not seen"),
            (self.gone, "gone"),
            (self.invalid_files, "invalid files"),
        ];
        let parts: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        match (parts.is_empty(), self.features) {
            (true, 0) => format!("{name}: no features"),
            (true, count) => format!("{name}: {count} in order"),
            (false, 0 | 1) => format!("{name}: {}", parts.join(", ")),
            (false, count) => format!("{name}: {} of {count}", parts.join(", ")),
        }
    }
}

fn is_hidden(state: ProjectWatchState) -> bool {
    match state {
        ProjectWatchState::Unreadable
        | ProjectWatchState::RootUnavailable
        | ProjectWatchState::Unresponsive
        | ProjectWatchState::Unwatched => true,
        ProjectWatchState::Live
        | ProjectWatchState::Rescanning
        | ProjectWatchState::Polling
        | ProjectWatchState::Degraded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_names_what_is_not_in_order() {
        let order = StatusSummary { features: 4, ..StatusSummary::default() };
        for (summary, line) in [
            (StatusSummary::default(), "p: no features"),
            (StatusSummary::not_watched(), "p: 1 not seen"),
            (
                StatusSummary { incomplete: 2, drifted: 1, ..order },
                "p: 2 incomplete, 1 drifted of 4",
            ),
            (StatusSummary { features: 1, gone: 1, ..StatusSummary::default() }, "p: 1 gone"),
            (StatusSummary { features: 4, ..StatusSummary::default() }, "p: 4 in order"),
        ] {
            assert_eq!(summary.line("p"), line);
        }
    }
}
