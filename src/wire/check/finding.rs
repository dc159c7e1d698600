//! Findings of a check: each names a rule, a place and the reason.

use crate::core::artifact::{ErrorReason, RequiredStatus};
use crate::core::baseline::BaselineScope;
use crate::core::drift::{Difference, DifferenceKind, DriftState, Severity};
use crate::core::error::without_error_numbers;
use crate::core::feature::Feature;
use crate::core::feature_context::{Completeness, UnknownReason};

/// Whether a finding makes the check fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEffect {
    /// Never.
    None,
    /// With `--strict`.
    Strict,
    /// Always.
    Always,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckLevel {
    /// It affects the exit code with `--strict` at most.
    Note,
    /// It affects the exit code with `--strict`, is drift of severity `warning`, or should be examined.
    Warning,
    /// It affects the exit code.
    Error,
}

/// What a finding is about; a stable name for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckRule {
    /// A required artifact is not present.
    RequiredMissing,
    /// An artifact exists and cannot be read, or is not valid for its type.
    Unreadable,
    /// It is unknown whether all required artifacts are present.
    Unknown,
    /// An artifact of the baseline is not present.
    DriftMissing,
    /// The content of an artifact differs from the baseline.
    DriftChanged,
    /// An artifact is not in the baseline.
    DriftAdded,
    /// The feature differs from its baseline, which names no artifacts.
    Drift,
    /// The feature of a shared baseline does not exist.
    FeatureMissing,
    /// The baseline is one of another project, branch, mission or manifest.
    KeyMismatch,
    /// The baseline cannot be parsed.
    BaselineCorrupt,
    /// A manifest, a `meta.json` or the configuration is invalid.
    InvalidFile,
    /// A directory matches a pattern of features and is not one.
    Skipped,
    /// The features of a project cannot be looked for.
    DiscoveryFailed,
    /// A project has no features.
    NoFeatures,
}

impl CheckRule {
    /// All rules.
    pub const ALL: [Self; 14] = [
        Self::RequiredMissing,
        Self::Unreadable,
        Self::Unknown,
        Self::DriftMissing,
        Self::DriftChanged,
        Self::DriftAdded,
        Self::Drift,
        Self::FeatureMissing,
        Self::KeyMismatch,
        Self::BaselineCorrupt,
        Self::InvalidFile,
        Self::Skipped,
        Self::DiscoveryFailed,
        Self::NoFeatures,
    ];

    /// Returns the stable name.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::RequiredMissing => "required-missing",
            Self::Unreadable => "unreadable",
            Self::Unknown => "completeness-unknown",
            Self::DriftMissing => "drift-missing",
            Self::DriftChanged => "drift-changed",
            Self::DriftAdded => "drift-added",
            Self::Drift => "drift",
            Self::FeatureMissing => "feature-missing",
            Self::KeyMismatch => "baseline-key-mismatch",
            Self::BaselineCorrupt => "baseline-corrupt",
            Self::InvalidFile => "invalid-file",
            Self::Skipped => "skipped",
            Self::DiscoveryFailed => "discovery-failed",
            Self::NoFeatures => "no-features",
        }
    }

    /// Returns what the rule reports, in one sentence.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::RequiredMissing => "A required artifact is missing.",
            Self::Unreadable => "An artifact cannot be read, or is not valid for its type.",
            Self::Unknown => "It is unknown whether all required artifacts are present.",
            Self::DriftMissing => "An artifact of the accepted baseline is missing.",
            Self::DriftChanged => "An artifact differs from the accepted baseline.",
            Self::DriftAdded => "An artifact is not in the accepted baseline.",
            Self::Drift => "The feature differs from its accepted baseline.",
            Self::FeatureMissing => "The feature of a shared baseline does not exist.",
            Self::KeyMismatch => "The baseline was accepted for another state of the project.",
            Self::BaselineCorrupt => "The baseline cannot be parsed.",
            Self::InvalidFile => "A file that configures the project is invalid.",
            Self::Skipped => "A directory is not taken for a feature.",
            Self::DiscoveryFailed => "Features cannot be looked for.",
            Self::NoFeatures => "A project has no features.",
        }
    }

    fn level(self) -> CheckLevel {
        match self {
            Self::DriftAdded | Self::KeyMismatch => CheckLevel::Note,
            Self::Unknown
            | Self::DriftMissing
            | Self::DriftChanged
            | Self::Drift
            | Self::Skipped
            | Self::NoFeatures => CheckLevel::Warning,
            Self::RequiredMissing
            | Self::Unreadable
            | Self::FeatureMissing
            | Self::BaselineCorrupt
            | Self::InvalidFile
            | Self::DiscoveryFailed => CheckLevel::Error,
        }
    }

    fn effect(self) -> CheckEffect {
        match self {
            Self::Unknown
            | Self::DriftAdded
            | Self::KeyMismatch
            | Self::Skipped
            | Self::NoFeatures => CheckEffect::Strict,
            Self::RequiredMissing
            | Self::Unreadable
            | Self::DriftMissing
            | Self::DriftChanged
            | Self::Drift
            | Self::FeatureMissing
            | Self::BaselineCorrupt
            | Self::InvalidFile
            | Self::DiscoveryFailed => CheckEffect::Always,
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFinding {
    /// What it is about.
    pub rule: CheckRule,
    /// How serious it is.
    pub level: CheckLevel,
    /// Whether the check fails because of it.
    pub effect: CheckEffect,
    /// Path of the file or directory, from the top of the repository.
    pub file: String,
    /// Line, from 1; `None` if it concerns the whole file.
    pub line: Option<usize>,
    /// Column, from 1.
    pub column: Option<usize>,
    /// The finding in one sentence.
    pub message: String,
}

impl CheckFinding {
    /// Returns a finding about a whole file.
    #[must_use]
    pub fn new(rule: CheckRule, file: String, mut message: String) -> Self {
        message = without_error_numbers(&message);
        let (level, effect) = (rule.level(), rule.effect());
        Self { rule, level, effect, file, line: None, column: None, message }
    }

    /// Returns true if the check fails because of this finding.
    #[must_use]
    pub fn fails(&self, strict: bool) -> bool {
        match self.effect {
            CheckEffect::None => false,
            CheckEffect::Strict => strict,
            CheckEffect::Always => true,
        }
    }

    fn with(self, level: CheckLevel, effect: CheckEffect) -> Self {
        Self { level, effect, ..self }
    }
}

/// A feature, and what was found about it.
#[derive(Debug)]
pub struct CheckedFeature<'a> {
    /// The feature.
    pub feature: &'a Feature,
    /// The findings, the required artifacts first.
    pub findings: Vec<CheckFinding>,
}

impl CheckedFeature<'_> {
    /// Returns the level of the worst finding.
    #[must_use]
    pub fn level(&self) -> Option<CheckLevel> {
        self.findings.iter().map(|finding| finding.level).max()
    }
}

/// Returns the findings about a feature whose directory is `dir`, a path from the top of the repository.
#[must_use]
pub fn feature_findings(feature: &Feature, dir: &str) -> Vec<CheckFinding> {
    let slug = feature.dossier.context.feature_slug.as_str();
    let in_dir =
        |path: &str| if dir.is_empty() { path.to_owned() } else { format!("{dir}/{path}") };
    let mut findings = Vec::new();
    let is_incomplete = feature.snapshot.completeness_status == Completeness::Incomplete;
    for artifact in feature.dossier.artifacts.iter() {
        let path = artifact.relative_path.text();
        let detail = artifact.error_detail().map_or_else(String::new, |why| format!(": {why}"));
        let is_required = artifact.required_status == RequiredStatus::Required;
        // The work on an archived feature is over.
        let is_needed = is_required && is_incomplete && !feature.is_archived();
        let unreadable = || {
            let message = format!("{slug}: {path} cannot be read{detail}");
            CheckFinding::new(CheckRule::Unreadable, in_dir(&path), message)
        };
        let finding = match artifact.error_reason() {
            Some(ErrorReason::Unreadable) => unreadable(),
            Some(ErrorReason::InvalidFormat) if is_needed => unreadable(),
            Some(ErrorReason::InvalidFormat) => {
                unreadable().with(CheckLevel::Warning, CheckEffect::None)
            }
            Some(_) if is_needed => CheckFinding::new(
                CheckRule::RequiredMissing,
                in_dir(&path),
                format!("{slug}: required {path} is missing ({})", artifact.artifact_key),
            ),
            Some(_) | None => continue,
        };
        findings.push(finding);
    }
    if feature.snapshot.completeness_status == Completeness::Unknown && !feature.is_archived() {
        let reason = feature.unknown_reason().unwrap_or_else(|| "for an unknown reason".to_owned());
        let message = format!("{slug}: completeness is unknown: {reason}");
        let finding = CheckFinding::new(CheckRule::Unknown, dir.to_owned(), message);
        let effect = if is_unseen(feature) { CheckEffect::Always } else { CheckEffect::Strict };
        findings.push(finding.with(CheckLevel::Warning, effect));
    }
    let metadata = &feature.metadata;
    let of_step = if metadata.step_unreadable { CheckEffect::Always } else { CheckEffect::None };
    // An invalid `meta.json` is a finding of its own.
    for (error, effect) in
        [(&metadata.meta_error, CheckEffect::None), (&metadata.step_error, of_step)]
    {
        let errors = error.iter().map(|error| {
            let message = format!("{slug}: {error}");
            let finding = CheckFinding::new(CheckRule::Unknown, dir.to_owned(), message);
            finding.with(CheckLevel::Warning, effect)
        });
        findings.extend(errors);
    }
    findings.extend(drift_findings(feature, slug, dir, &in_dir));
    findings
}

/// Returns true if a feature was not completely seen, so that it is unknown whether it is complete.
fn is_unseen(feature: &Feature) -> bool {
    let reason = feature.dossier.context.unknown_reason.as_ref();
    !matches!(reason, Some(UnknownReason::InvalidManifest(_) | UnknownReason::Deleted) | None)
}

fn drift_findings(
    feature: &Feature,
    slug: &str,
    dir: &str,
    in_dir: &impl Fn(&str) -> String,
) -> Vec<CheckFinding> {
    let drift = &feature.drift;
    let whole = |rule| CheckFinding::new(rule, dir.to_owned(), format!("{slug}: {}", drift.detail));
    match drift.state {
        Some(DriftState::BaselineCorrupt) => vec![whole(CheckRule::BaselineCorrupt)],
        Some(DriftState::KeyMismatch) => {
            let is_shared = feature.metadata.baseline_scope == BaselineScope::Shared;
            let mut finding = whole(CheckRule::KeyMismatch);
            if is_shared {
                finding = finding.with(CheckLevel::Error, CheckEffect::Always);
            }
            vec![finding]
        }
        Some(DriftState::Drifted) if drift.differences.is_empty() => {
            let finding = whole(CheckRule::Drift);
            vec![match drift.severity {
                Some(Severity::Info) => finding.with(CheckLevel::Note, CheckEffect::Strict),
                _ => finding,
            }]
        }
        Some(DriftState::Drifted)
            if drift.differences.iter().any(|one| one.kind == DifferenceKind::FeatureMissing) =>
        {
            vec![whole(CheckRule::FeatureMissing)]
        }
        Some(DriftState::Drifted) => {
            let of = |one: &Difference| difference_finding(one, drift.severity, slug, in_dir);
            drift.differences.iter().map(of).collect()
        }
        Some(DriftState::NoBaseline | DriftState::InParity) | None => Vec::new(),
    }
}

fn difference_finding(
    difference: &Difference,
    worst: Option<Severity>,
    slug: &str,
    in_dir: &impl Fn(&str) -> String,
) -> CheckFinding {
    let path = difference.relative_path.text();
    let (rule, what) = match difference.kind {
        DifferenceKind::MissingInLocal | DifferenceKind::FeatureMissing => {
            (CheckRule::DriftMissing, "is in the baseline and missing")
        }
        DifferenceKind::Changed => (CheckRule::DriftChanged, "differs from the baseline"),
        DifferenceKind::MissingInBaseline => (CheckRule::DriftAdded, "is not in the baseline"),
    };
    let mut finding = CheckFinding::new(rule, in_dir(&path), format!("{slug}: {path} {what}"));
    if rule == CheckRule::DriftMissing && worst == Some(Severity::Error) {
        finding.level = CheckLevel::Error;
    }
    if difference.churn && finding.level == CheckLevel::Warning || worst == Some(Severity::Info) {
        finding = finding.with(CheckLevel::Note, CheckEffect::Strict);
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rules_have_unique_names_and_a_description() {
        let ids: BTreeSet<&str> = CheckRule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), CheckRule::ALL.len());
        assert!(CheckRule::ALL.iter().all(|rule| rule.description().ends_with('.')));
    }

    #[test]
    fn differences_have_the_level_of_their_effect() {
        use CheckLevel::{Error, Note, Warning};
        let in_dir = |path: &str| format!("specs/a/{path}");
        for (kind, churn, worst, level) in [
            (DifferenceKind::MissingInLocal, false, Severity::Error, Error),
            (DifferenceKind::MissingInLocal, false, Severity::Warning, Warning),
            (DifferenceKind::Changed, false, Severity::Error, Warning),
            (DifferenceKind::Changed, true, Severity::Info, Note),
            (DifferenceKind::MissingInBaseline, false, Severity::Info, Note),
        ] {
            let difference = Difference {
                artifact_key: "other.x".into(),
                relative_path: crate::core::path::RelPath::new(*b"x.md").unwrap(),
                kind,
                churn,
                baseline_hash: None,
                local_hash: None,
            };
            let finding = difference_finding(&difference, Some(worst), "a", &in_dir);
            assert_eq!((finding.level, finding.file.as_str()), (level, "specs/a/x.md"), "{kind:?}");
        }
    }
}
