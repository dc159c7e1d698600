//! `dossierd check`: the verdict of a project for continuous integration, by exit code.

use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::args::CheckArgs;
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output};
use crate::core::artifact::ErrorReason;
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::drift::{DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::feature_context::{Completeness, UnknownReason};
use crate::wire::overview::Overview;

/// What a verdict needs of one feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FeatureCheck {
    incomplete: bool,
    unknown: bool,
    unreadable: bool,
    drift: Option<Severity>,
}

/// `check --json`.
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
    let target = match LocalTarget::from_path(&args.path) {
        Ok(target) => target,
        Err(error) => return report_invalid_config(args, error),
    };
    let mut features = Vec::with_capacity(target.features.len());
    target.scan(|feature| feature, |feature| features.push(feature))?;
    let files = target.diagnostics();
    let findings: Vec<FeatureCheck> = features.iter().map(FeatureCheck::from_feature).collect();
    let exit = evaluate(
        !files.errors.is_empty(),
        target.discovery_error.is_some(),
        &findings,
        args.strict,
    );
    let printed = if args.json {
        output::print_json(&CheckReport {
            exit_code: exit.code(),
            strict: args.strict,
            errors: &files.errors,
            warnings: &files.warnings,
            skipped: &target.skipped,
            features: features.iter().map(Overview::from).collect(),
        })
        .map_err(anyhow::Error::from)
    } else {
        print(&features, &findings)
    };
    output::ignore_closed_pipe(printed)?;
    print_diagnostics(&target, &files);
    Ok(exit)
}

/// A configuration that is broken is a verdict too.
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
        let unreadable = artifacts.any(|a| a.error_reason() == Some(ErrorReason::Unreadable));
        let doubted = match feature.dossier.context.unknown_reason {
            Some(
                UnknownReason::LimitExceeded(_)
                | UnknownReason::Unreadable(_)
                | UnknownReason::UnreadableMeta
                | UnknownReason::Deleted,
            ) => true,
            Some(UnknownReason::InvalidManifest) | None => false,
        };
        let completeness = feature.snapshot.completeness_status;
        Self {
            incomplete: completeness == Completeness::Incomplete,
            unknown: completeness == Completeness::Unknown,
            // A baseline that cannot be read leaves drift unseen.
            unreadable: doubted
                || feature.metadata.step_unreadable
                || feature.drift.state == Some(DriftState::BaselineCorrupt)
                || unreadable,
            drift: feature.drift.severity,
        }
    }
}

/// The first exit code that applies (contract, section 8).
fn evaluate(
    broken_file: bool,
    undiscovered: bool,
    findings: &[FeatureCheck],
    strict: bool,
) -> CommandExit {
    let drift_from = if strict { Severity::Info } else { Severity::Warning };
    let drifted = findings.iter().any(|f| f.drift.is_some_and(|severity| severity >= drift_from));
    let incomplete = findings.iter().any(|f| f.incomplete);
    let unseen = undiscovered || findings.iter().any(|f| f.unreadable || (strict && f.unknown));
    match () {
        () if broken_file => CommandExit::InvalidFile,
        () if unseen => CommandExit::Indeterminate,
        () if incomplete && drifted => CommandExit::IncompleteAndDrifted,
        () if drifted => CommandExit::Drifted,
        () if incomplete => CommandExit::Incomplete,
        () => CommandExit::Success,
    }
}

fn print(features: &[Feature], findings: &[FeatureCheck]) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    for feature in features {
        let completeness = feature.snapshot.completeness_status;
        let slug = &feature.dossier.context.feature_slug;
        let words = (labels::completeness_label(completeness), labels::drift_label(&feature.drift));
        writeln!(out, "{}: {}, {}", slug.bold(), words.0, words.1)?;
        for line in labels::feature_problems(feature) {
            writeln!(out, "    {line}")?;
        }
    }
    let count = |is: &dyn Fn(&FeatureCheck) -> bool| findings.iter().filter(|f| is(f)).count();
    let are = |state| features.iter().filter(|f| f.drift.state == Some(state)).count();
    let for_another = match are(DriftState::KeyMismatch) {
        0 => String::new(),
        count => format!(", {count} with a baseline for another key"),
    };
    writeln!(
        out,
        "{} checked: {} incomplete, {} unknown, {} not seen whole, {} drifted{for_another}",
        features.len(),
        count(&|f| f.incomplete),
        count(&|f| f.unknown),
        count(&|f| f.unreadable),
        are(DriftState::Drifted),
    )?;
    Ok(out.flush()?)
}

fn print_diagnostics(target: &LocalTarget, files: &ProjectDiagnostics) {
    for skipped in &target.skipped {
        output::warn(&format!("{} is skipped: {}", skipped.name, skipped.reason));
    }
    files.print();
    if let Some(why) = &target.discovery_error {
        output::error(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_applies() {
        let clean = FeatureCheck::default();
        let incomplete = FeatureCheck { incomplete: true, ..clean };
        let unknown = FeatureCheck { unknown: true, ..clean };
        let unseen = FeatureCheck { unreadable: true, ..clean };
        let drift = |severity| FeatureCheck { drift: Some(severity), ..clean };
        let (info, warning) = (drift(Severity::Info), drift(Severity::Warning));
        // broken file, undiscovered, findings, code, strict code
        for (broken, undiscovered, findings, code, strict) in [
            (false, false, vec![], 0, 0),
            (false, false, vec![clean], 0, 0),
            (false, false, vec![clean, incomplete], 10, 10),
            (false, false, vec![warning], 11, 11),
            (false, false, vec![drift(Severity::Error)], 11, 11),
            (false, false, vec![info], 0, 11),
            (false, false, vec![info, incomplete], 10, 12),
            (false, false, vec![warning, incomplete], 12, 12),
            (false, false, vec![unknown], 0, 13),
            (false, false, vec![unseen, warning, incomplete], 13, 13),
            (false, true, vec![], 13, 13),
            (true, true, vec![unseen, incomplete], 78, 78),
        ] {
            assert_eq!(
                evaluate(broken, undiscovered, &findings, false).code(),
                code,
                "{findings:?}"
            );
            assert_eq!(
                evaluate(broken, undiscovered, &findings, true).code(),
                strict,
                "{findings:?}"
            );
        }
    }
}
