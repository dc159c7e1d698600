//! `dossierd check`: evaluates a project for continuous integration; the exit code is the result.

use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::args::CheckArgs;
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output};
use crate::core::artifact::ErrorReason;
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::drift::{Drift, DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::feature_context::{Completeness, UnknownReason};
use crate::wire::overview::Overview;

/// The facts about what is checked that decide the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct CheckScope {
    has_invalid_file: bool,
    /// The features could not be looked for.
    discovery_failed: bool,
    /// A directory that matches a pattern of features is not one.
    has_skipped: bool,
    /// A project has no features.
    is_empty: bool,
}

/// The facts about one feature that decide the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FeatureCheck {
    incomplete: bool,
    unknown: bool,
    unreadable: bool,
    drift: Option<Severity>,
}

/// The output of `check --json`.
#[derive(Serialize)]
struct CheckReport<'a> {
    exit_code: u8,
    strict: bool,
    errors: &'a [FileError],
    warnings: &'a [String],
    skipped: &'a [SkippedDir],
    features: Vec<Overview<'a>>,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<CommandExit> {
    let targets = match LocalTarget::all_from_path(&args.path, args.lone.into()) {
        Ok(targets) => targets,
        Err(error) => return report_invalid_config(args, error),
    };
    let mut features = Vec::new();
    let mut diagnostics = ProjectDiagnostics::default();
    for target in &targets {
        let first = features.len();
        target.scan(|feature| feature, |feature| features.push(feature))?;
        let missing = target.missing_features();
        // The archived features of another root do not count.
        let archived = || features[first..].iter().filter(|feature| feature.is_archived());
        let is_archived = |one: &Feature| archived().any(|other| is_archive_of(other, one));
        let missing: Vec<Feature> = missing.into_iter().filter(|one| !is_archived(one)).collect();
        features.extend(missing);
        diagnostics.append(target.diagnostics());
    }
    let checks: Vec<FeatureCheck> = features.iter().map(FeatureCheck::from_feature).collect();
    let skipped: Vec<SkippedDir> = targets.iter().flat_map(|one| one.skipped.clone()).collect();
    let is_blind = |one: &LocalTarget| one.has_unreadable || one.discovery_error.is_some();
    let scope = CheckScope {
        has_invalid_file: !diagnostics.errors.is_empty(),
        discovery_failed: targets.iter().any(is_blind),
        has_skipped: !skipped.is_empty(),
        is_empty: targets.iter().any(LocalTarget::has_no_features),
    };
    let exit = evaluate(scope, &checks, args.strict);
    let printed = if args.json {
        output::print_json(&CheckReport {
            exit_code: exit.code(),
            strict: args.strict,
            errors: &diagnostics.errors,
            warnings: &diagnostics.warnings,
            skipped: &skipped,
            features: features.iter().map(Overview::from).collect(),
        })
        .map_err(anyhow::Error::from)
    } else {
        print(&features, &checks, skipped.len())
    };
    output::ignore_closed_pipe(printed)?;
    print_diagnostics(&targets, &diagnostics);
    Ok(exit)
}

/// Returns true if an archived feature has the accepted state of one that is missing: it was moved there.
fn is_archive_of(archived: &Feature, missing: &Feature) -> bool {
    let BaselineFile::Valid(baseline) = &missing.metadata.baseline else {
        return false;
    };
    let (file, key) = (&missing.metadata.baseline, &baseline.baseline_key);
    let box_churn = &archived.metadata.box_churn;
    Drift::compare_with(file, key, &archived.snapshot, box_churn).has_only_churn()
}

/// Prints the JSON result for an invalid configuration, which ends the command before the scan.
fn report_invalid_config(args: &CheckArgs, error: anyhow::Error) -> anyhow::Result<CommandExit> {
    if let (true, Some(file)) = (args.json, error.downcast_ref::<FileError>()) {
        output::print_json(&CheckReport {
            exit_code: CommandExit::InvalidFile.code(),
            strict: args.strict,
            errors: std::slice::from_ref(file),
            warnings: &[],
            skipped: &[],
            features: Vec::new(),
        })?;
    }
    Err(error)
}

impl FeatureCheck {
    fn from_feature(feature: &Feature) -> Self {
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
            Some(UnknownReason::InvalidManifest | UnknownReason::Deleted) | None => false,
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
}

/// Returns the first exit code that applies, see `docs/specification.md#check-exit-codes`.
fn evaluate(scope: CheckScope, checks: &[FeatureCheck], strict: bool) -> CommandExit {
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

fn print(features: &[Feature], checks: &[FeatureCheck], skipped: usize) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    for feature in features {
        let completeness = feature.snapshot.completeness_status;
        let slug = &feature.dossier.context.feature_slug;
        let completeness = labels::completeness_label(completeness);
        let drift = labels::drift_label(&feature.drift);
        let more = labels::step_summary(feature);
        writeln!(out, "{}: {completeness}, {drift}{more}", slug.bold())?;
        for line in labels::feature_problems(feature) {
            writeln!(out, "    {line}")?;
        }
    }
    let count =
        |has: &dyn Fn(&FeatureCheck) -> bool| checks.iter().filter(|check| has(check)).count();
    let count_drift = |state| features.iter().filter(|f| f.drift.state == Some(state)).count();
    let key_mismatches = match count_drift(DriftState::KeyMismatch) {
        0 => String::new(),
        count => format!(", {count} with a key mismatch"),
    };
    let skipped = match skipped {
        0 => String::new(),
        count => format!(", {count} skipped"),
    };
    writeln!(
        out,
        "{} checked: {} incomplete, {} unknown, {} unreadable, {} drifted{key_mismatches}{skipped}",
        features.iter().filter(|feature| !feature.is_documents()).count(),
        count(&|check| check.incomplete),
        count(&|check| check.unknown),
        count(&|check| check.unreadable),
        count_drift(DriftState::Drifted),
    )?;
    Ok(out.flush()?)
}

fn print_diagnostics(targets: &[LocalTarget], diagnostics: &ProjectDiagnostics) {
    for skipped in targets.iter().flat_map(|target| &target.skipped) {
        output::warn(&labels::skipped_dir(skipped));
    }
    diagnostics.print();
    for error in targets.iter().filter_map(|target| target.discovery_error.as_ref()) {
        output::error(error);
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
