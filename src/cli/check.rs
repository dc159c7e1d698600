//! `dossierd check`: the verdict of a project for continuous integration, by exit code.

use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;

use super::args::CheckArgs;
use super::exit::Exit;
use super::target::{Findings, Target};
use super::{out, words};
use crate::core::artifact::ErrorReason;
use crate::core::dossier::{Completeness, Doubt};
use crate::core::drift::{DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::findings::{FileError, Skipped};
use crate::wire::overview::Overview;

/// What a verdict needs of one feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Finding {
    incomplete: bool,
    unknown: bool,
    unseen: bool,
    drift: Option<Severity>,
}

/// `check --json`.
#[derive(Serialize)]
struct Report<'a> {
    exit_code: u8,
    strict: bool,
    errors: &'a [FileError],
    warnings: &'a [String],
    skipped: &'a [Skipped],
    features: Vec<Overview<'a>>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let target = match Target::of_path(&args.path) {
        Ok(target) => target,
        Err(error) => return refuse(args, error),
    };
    let mut features = Vec::with_capacity(target.features.len());
    target.survey(|feature| feature, |feature| features.push(feature))?;
    let files = target.findings();
    let findings: Vec<Finding> = features.iter().map(Finding::of).collect();
    let exit =
        verdict(!files.errors.is_empty(), target.undiscovered.is_some(), &findings, args.strict);
    let printed = if args.json {
        out::print_json(&Report {
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
    out::unless_closed(printed)?;
    say(&target, &files);
    Ok(exit)
}

/// A configuration that is broken is a verdict too.
fn refuse(args: &CheckArgs, error: anyhow::Error) -> anyhow::Result<Exit> {
    if let (true, Some(file)) = (args.json, error.downcast_ref::<FileError>()) {
        out::print_json(&Report {
            exit_code: Exit::BrokenFile.code(),
            strict: args.strict,
            errors: std::slice::from_ref(file),
            warnings: &[],
            skipped: &[],
            features: Vec::new(),
        })?;
    }
    Err(error)
}

impl Finding {
    fn of(feature: &Feature) -> Self {
        let mut artifacts = feature.dossier.artifacts.iter();
        let unreadable = artifacts.any(|a| a.error_reason() == Some(ErrorReason::Unreadable));
        let doubted = match feature.dossier.terms.doubt {
            Some(
                Doubt::OverBudget(_)
                | Doubt::Unreadable(_)
                | Doubt::MissionUnreadable
                | Doubt::Gone,
            ) => true,
            Some(Doubt::ManifestBroken) | None => false,
        };
        let completeness = feature.snapshot.completeness_status;
        Self {
            incomplete: completeness == Completeness::Incomplete,
            unknown: completeness == Completeness::Unknown,
            // A baseline that cannot be read leaves drift unseen.
            unseen: doubted
                || feature.bearings.step_unseen
                || feature.drift.state == Some(DriftState::BaselineCorrupt)
                || unreadable,
            drift: feature.drift.severity,
        }
    }
}

/// The first exit code that applies (contract, section 8).
fn verdict(broken_file: bool, undiscovered: bool, findings: &[Finding], strict: bool) -> Exit {
    let drift_from = if strict { Severity::Info } else { Severity::Warning };
    let drifted = findings.iter().any(|f| f.drift.is_some_and(|severity| severity >= drift_from));
    let incomplete = findings.iter().any(|f| f.incomplete);
    let unseen = undiscovered || findings.iter().any(|f| f.unseen || (strict && f.unknown));
    match () {
        () if broken_file => Exit::BrokenFile,
        () if unseen => Exit::Unseen,
        () if incomplete && drifted => Exit::IncompleteAndDrifted,
        () if drifted => Exit::Drifted,
        () if incomplete => Exit::Incomplete,
        () => Exit::Done,
    }
}

fn print(features: &[Feature], findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = out::people();
    for feature in features {
        let completeness = feature.snapshot.completeness_status;
        let slug = &feature.dossier.terms.feature_slug;
        let words = (words::completeness(completeness), words::drift(&feature.drift));
        writeln!(out, "{}: {}, {}", slug.bold(), words.0, words.1)?;
        for line in words::findings(feature) {
            writeln!(out, "    {line}")?;
        }
    }
    let count = |is: &dyn Fn(&Finding) -> bool| findings.iter().filter(|f| is(f)).count();
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
        count(&|f| f.unseen),
        are(DriftState::Drifted),
    )?;
    Ok(out.flush()?)
}

fn say(target: &Target, files: &Findings) {
    for skipped in &target.skipped {
        out::warn(&format!("{} is skipped: {}", skipped.name, skipped.reason));
    }
    files.say();
    if let Some(why) = &target.undiscovered {
        out::error(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_applies() {
        let clean = Finding::default();
        let incomplete = Finding { incomplete: true, ..clean };
        let unknown = Finding { unknown: true, ..clean };
        let unseen = Finding { unseen: true, ..clean };
        let drift = |severity| Finding { drift: Some(severity), ..clean };
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
                verdict(broken, undiscovered, &findings, false).code(),
                code,
                "{findings:?}"
            );
            assert_eq!(
                verdict(broken, undiscovered, &findings, true).code(),
                strict,
                "{findings:?}"
            );
        }
    }
}
