//! What the exit codes of `check` and `status --short` depend on, for features that were scanned and for
//! those of the daemon.

use crate::cli::exit::CommandExit;
use crate::core::artifact::ErrorReason;
use crate::core::baseline::BaselineScope;
use crate::core::drift::{DriftState, Severity};
use crate::core::feature::{Feature, FeatureWatchState};
use crate::core::feature_context::{Completeness, UnknownReason};
use crate::core::identity::NO_MANIFEST_VERSION;
use crate::wire::overview::Overview;

/// The facts about what is checked that decide the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct CheckScope {
    pub(super) has_invalid_file: bool,
    /// The features, or a whole project, could not be looked for.
    pub(super) discovery_failed: bool,
    /// A directory that matches a pattern of features is not one.
    pub(super) has_skipped: bool,
    /// A project has no features.
    pub(super) is_empty: bool,
}

/// The facts about one feature that decide the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FeatureCheck {
    pub(super) incomplete: bool,
    pub(super) unknown: bool,
    pub(super) unreadable: bool,
    pub(super) drift: Option<Severity>,
}

impl FeatureCheck {
    /// Returns the facts about a feature that was scanned.
    pub(super) fn from_feature(feature: &Feature) -> Self {
        let mut artifacts = feature.dossier.artifacts.iter();
        let has_unreadable_artifact =
            artifacts.any(|a| a.error_reason() == Some(ErrorReason::Unreadable));
        let is_unreadable = match feature.dossier.context.unknown_reason {
            Some(
                UnknownReason::LimitExceeded(_)
                | UnknownReason::Unreadable(_)
                | UnknownReason::Unavailable(_)
                | UnknownReason::Unresponsive(_)
                | UnknownReason::UnreadableMeta
                | UnknownReason::UnreadableDir(_),
            ) => true,
            // One that is deleted has a shared baseline, and has drifted from it.
            Some(UnknownReason::InvalidManifest(_) | UnknownReason::Deleted) | None => false,
        };
        let completeness = feature.snapshot.completeness_status;
        // The work on an archived feature is over: its completeness is shown only.
        let counts = !feature.is_archived();
        Self {
            incomplete: counts && completeness == Completeness::Incomplete,
            unknown: counts && completeness == Completeness::Unknown,
            // With a corrupt baseline drift is unknown.
            unreadable: is_unreadable
                || feature.metadata.step_unreadable
                || feature.drift.state == Some(DriftState::BaselineCorrupt)
                // Nothing of a shared baseline of another mission or manifest is compared.
                || feature.drift.state == Some(DriftState::KeyMismatch)
                    && feature.metadata.baseline_scope == BaselineScope::Shared
                || has_unreadable_artifact,
            drift: feature.drift.severity,
        }
    }

    /// Returns the facts about a feature of which the daemon returned an overview.
    pub(super) fn from_overview(overview: &Overview<'_>) -> Self {
        let completeness = overview.completeness_status;
        let is_gone = overview.watch == FeatureWatchState::Gone;
        let counts = !overview.archived;
        // Without a manifest nothing is required; that is known.
        let has_manifest = overview.manifest_version != NO_MANIFEST_VERSION;
        let is_hidden = matches!(
            overview.watch,
            FeatureWatchState::Unreadable
                | FeatureWatchState::Unavailable
                | FeatureWatchState::Unresponsive
        );
        let drift = &overview.drift;
        let scope = overview.baseline.as_ref().map(|baseline| baseline.scope);
        Self {
            incomplete: counts && completeness == Completeness::Incomplete,
            unknown: counts && completeness == Completeness::Unknown,
            unreadable: is_hidden
                || completeness == Completeness::Unknown && has_manifest && !is_gone
                || overview.unreadable > 0
                || drift.state == Some(DriftState::BaselineCorrupt)
                || drift.state == Some(DriftState::KeyMismatch)
                    && scope == Some(BaselineScope::Shared),
            drift: drift.severity,
        }
    }

    /// Returns true if the feature has drifted so far that it counts.
    pub(super) fn has_drifted(self) -> bool {
        self.drift.is_some_and(|severity| severity >= Severity::Warning)
    }
}

/// Returns the first exit code that applies, see `docs/specification.md#check-exit-codes`.
pub(super) fn evaluate(scope: CheckScope, checks: &[FeatureCheck], strict: bool) -> CommandExit {
    let drift_from = if strict { Severity::Info } else { Severity::Warning };
    let drifted =
        checks.iter().any(|check| check.drift.is_some_and(|severity| severity >= drift_from));
    let incomplete = checks.iter().any(|check| check.incomplete);
    let is_indeterminate = |check: &FeatureCheck| check.unreadable || (strict && check.unknown);
    let indeterminate = scope.discovery_failed
        || strict && (scope.has_skipped || scope.is_empty)
        || checks.iter().any(is_indeterminate);
    match () {
        () if scope.has_invalid_file => CommandExit::InvalidFile,
        () if indeterminate => CommandExit::Indeterminate,
        () if incomplete && drifted => CommandExit::IncompleteAndDrifted,
        () if drifted => CommandExit::Drifted,
        () if incomplete => CommandExit::Incomplete,
        () => CommandExit::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluate_returns_the_first_exit_code_that_applies() {
        let clean = FeatureCheck::default();
        let incomplete = FeatureCheck { incomplete: true, ..clean };
        let unknown = FeatureCheck { unknown: true, ..clean };
        let unreadable = FeatureCheck { unreadable: true, ..clean };
        let drift = |severity| FeatureCheck { drift: Some(severity), ..clean };
        let (info, warning) = (drift(Severity::Info), drift(Severity::Warning));
        let scope = CheckScope::default();
        let skipped = CheckScope { has_skipped: true, ..scope };
        let empty = CheckScope { is_empty: true, ..scope };
        let failed = CheckScope { discovery_failed: true, ..scope };
        let invalid = CheckScope { has_invalid_file: true, ..failed };
        // scope, checks, exit code, exit code with --strict
        for (scope, checks, code, strict) in [
            (scope, vec![], 0, 0),
            (scope, vec![clean], 0, 0),
            (scope, vec![clean, incomplete], 10, 10),
            (scope, vec![warning], 11, 11),
            (scope, vec![drift(Severity::Error)], 11, 11),
            (scope, vec![info], 0, 11),
            (scope, vec![info, incomplete], 10, 12),
            (scope, vec![warning, incomplete], 12, 12),
            (scope, vec![unknown], 0, 13),
            (scope, vec![unreadable, warning, incomplete], 13, 13),
            (skipped, vec![clean], 0, 13),
            (skipped, vec![warning, incomplete], 12, 13),
            (empty, vec![], 0, 13),
            (failed, vec![], 13, 13),
            (invalid, vec![unreadable, incomplete], 78, 78),
            (CheckScope { has_skipped: true, ..invalid }, vec![], 78, 78),
        ] {
            assert_eq!(evaluate(scope, &checks, false).code(), code, "{scope:?}, {checks:?}");
            assert_eq!(evaluate(scope, &checks, true).code(), strict, "{scope:?}, {checks:?}");
        }
    }
}
