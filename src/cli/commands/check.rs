//! `dossierd check`: evaluates a project for continuous integration; the exit code is the result.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::args::{CheckArgs, CheckFormat};
use crate::cli::evaluation::{CheckScope, FeatureCheck, evaluate};
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::LocalTarget;
use crate::cli::output_file::{OutputAccess, write_output_file};
use crate::cli::render::{labels, output};
use crate::cli::scope::root_text;
use crate::core::baseline::BaselineFile;
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::drift::{Drift, DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::path::{RelPath, escape_bytes};
use crate::project::{SHARED_BASELINES_DIR, changed_since};
use crate::wire::check::{
    CheckSummary, CheckedFeature, discovery_finding, empty_finding, feature_findings, file_finding,
    github_report, junit_report, markdown_report, sarif_report, skipped_finding,
};
use crate::wire::json;
use crate::wire::overview::Overview;

/// Files and directories below the root that decide about all features.
const GOVERNING_PATHS: [&str; 4] = [
    ".dossierd/config.yaml",
    ".dossierd/layouts",
    ".kittify/config.yaml",
    ".kittify/metadata.yaml",
];

/// The output of `check --json`.
#[derive(Serialize)]
struct CheckReport<'a> {
    exit_code: CommandExit,
    strict: bool,
    /// Commit since which a feature must have changed to be checked.
    changed_since: Option<&'a str>,
    roots: Vec<CheckedRoot>,
    /// The layouts that apply to a root.
    layouts: Vec<String>,
    errors: &'a [FileError],
    warnings: &'a [String],
    skipped: &'a [SkippedDir],
    /// Why features could not be looked for everywhere.
    discovery_errors: &'a [String],
    features: Vec<Overview<'a>>,
}

/// A project that was checked.
#[derive(Debug, Clone, Serialize)]
struct CheckedRoot {
    project: String,
    root: String,
    root_id: String,
    layouts: Vec<String>,
}

/// What one project consists of, and what was found out about it.
struct CheckedProject {
    target: LocalTarget,
    features: Vec<Feature>,
    diagnostics: ProjectDiagnostics,
}

/// All that is written, in any format.
struct CheckResult<'a> {
    exit: CommandExit,
    report: CheckReport<'a>,
    summary: CheckSummary<'a>,
    checks: Vec<FeatureCheck>,
    /// Features, without documents.
    checked: usize,
    /// Features that were left out because nothing changed.
    unchanged: usize,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<CommandExit> {
    let targets = match LocalTarget::all_from_path(&args.path, args.lone.into()) {
        Ok(targets) => targets,
        Err(error) => return report_invalid_config(args, error),
    };
    let mut projects = Vec::with_capacity(targets.len());
    let mut unchanged = 0;
    for target in targets {
        let mut checked = scan(target)?;
        if let Some(revision) = &args.changed_since {
            unchanged += checked.retain_changed(revision)?;
        }
        projects.push(checked);
    }
    let features: Vec<&Feature> = projects.iter().flat_map(|one| &one.features).collect();
    let checks: Vec<FeatureCheck> =
        features.iter().map(|feature| FeatureCheck::from_feature(feature)).collect();
    let skipped: Vec<SkippedDir> =
        projects.iter().flat_map(|one| one.target.skipped.clone()).collect();
    let mut diagnostics = ProjectDiagnostics::default();
    for project in &projects {
        diagnostics.append(project.diagnostics.clone());
    }
    let discovery_errors: Vec<String> =
        projects.iter().flat_map(|one| one.target.discovery_errors()).collect();
    let scope = CheckScope {
        has_invalid_file: !diagnostics.errors.is_empty(),
        discovery_failed: !discovery_errors.is_empty(),
        has_skipped: !skipped.is_empty(),
        is_empty: projects.iter().any(|one| one.target.has_no_features()),
    };
    let exit = evaluate(scope, &checks, args.strict);
    let mut summary = CheckSummary { strict: args.strict, ..CheckSummary::default() };
    for project in &projects {
        project.add_to(&mut summary);
    }
    if !args.archived {
        summary.features.retain(|one| !one.feature.is_archived() || !one.findings.is_empty());
    }
    let roots: Vec<CheckedRoot> = projects.iter().map(CheckedProject::root).collect();
    let mut layouts: Vec<String> = Vec::new();
    for name in roots.iter().flat_map(|root| &root.layouts) {
        if !layouts.contains(name) {
            layouts.push(name.clone());
        }
    }
    let report = CheckReport {
        exit_code: exit,
        strict: args.strict,
        changed_since: args.changed_since.as_deref(),
        roots,
        layouts,
        errors: &diagnostics.errors,
        warnings: &diagnostics.warnings,
        skipped: &skipped,
        discovery_errors: &discovery_errors,
        features: features.iter().map(|feature| Overview::from(*feature)).collect(),
    };
    let checked = features.iter().filter(|feature| !feature.is_documents()).count();
    let result = CheckResult { exit, report, summary, checks, checked, unchanged };
    for (format, file) in &args.outputs.0 {
        result.write(*format, file.as_deref())?;
    }
    print_diagnostics(projects.iter().map(|one| &one.target), &diagnostics);
    Ok(result.exit)
}

fn scan(target: LocalTarget) -> anyhow::Result<CheckedProject> {
    let mut features = Vec::new();
    target.scan(|feature| feature, |feature| features.push(feature))?;
    let missing = target.missing_features();
    // The archived features of another root do not count.
    let archived = || features.iter().filter(|feature: &&Feature| feature.is_archived());
    let is_archived = |one: &Feature| archived().any(|other| is_archive_of(other, one));
    let missing: Vec<Feature> = missing.into_iter().filter(|one| !is_archived(one)).collect();
    features.extend(missing);
    let diagnostics = target.diagnostics();
    Ok(CheckedProject { target, features, diagnostics })
}

impl CheckedProject {
    /// Drops the features of which nothing changed since `revision`, and returns their number. All are kept
    /// if what decides about them changed.
    fn retain_changed(&mut self, revision: &str) -> anyhow::Result<usize> {
        let root = &self.target.project.root;
        let changed = changed_since(root, revision)?;
        let is_changed = |path: &Path| {
            let below = changed.range(path.to_owned()..).next();
            // Of a submodule git names only its directory.
            below.is_some_and(|below| below.starts_with(path))
                || path.ancestors().any(|above| changed.contains(above))
        };
        let missions = self.target.project.mission_dirs();
        let governing = missions.iter().map(String::as_str).chain(GOVERNING_PATHS);
        if governing.into_iter().any(|path| is_changed(&root.join(path))) {
            return Ok(0);
        }
        let baselines = root.join(SHARED_BASELINES_DIR);
        let before = self.features.len();
        self.features.retain(|feature| {
            let context = &feature.dossier.context;
            let baseline = format!("{}.json", context.feature_slug.file_name());
            let has_change = |path: &RelPath| {
                is_changed(&context.feature_dir.join(OsStr::from_bytes(path.as_bytes())))
            };
            is_changed(&baselines.join(baseline))
                // The directory of the documents is the root.
                || !feature.is_documents() && is_changed(&context.feature_dir)
                || feature.dossier.artifacts.iter().any(|one| has_change(&one.relative_path))
                || feature.drift.differences.iter().any(|one| has_change(&one.relative_path))
        });
        Ok(before - self.features.len())
    }

    fn root(&self) -> CheckedRoot {
        let project = &self.target.project;
        CheckedRoot {
            project: project.name.to_string(),
            root: root_text(&project.root),
            root_id: project.root_id.as_str().to_owned(),
            layouts: project.applied_layouts().iter().map(|one| one.layout.name.clone()).collect(),
        }
    }

    /// Adds the features and findings of the project.
    fn add_to<'a>(&'a self, summary: &mut CheckSummary<'a>) {
        let base = report_base(&self.target.project.root);
        let relative = |path: &Path| {
            let below = path.strip_prefix(&base).unwrap_or(path);
            escape_bytes(below.as_os_str().as_bytes()).into_owned()
        };
        let root = relative(&self.target.project.root);
        let prefix = if root.is_empty() { String::new() } else { format!("{root}/") };
        let general = &mut summary.general;
        let base_text = escape_bytes(base.as_os_str().as_bytes());
        let errors = self.diagnostics.errors.iter();
        general.extend(errors.map(|error| file_finding(error, &prefix, &base_text)));
        general.extend(self.target.skipped.iter().map(|one| skipped_finding(one, &prefix)));
        let errors = self.target.discovery_errors();
        if self.target.has_no_features() && errors.is_empty() {
            general.push(empty_finding(root.clone(), &self.target.project.name));
        }
        general.extend(errors.into_iter().map(|error| discovery_finding(root.clone(), error)));
        summary.features.extend(self.features.iter().map(|feature| {
            let dir = relative(&feature.dossier.context.feature_dir);
            CheckedFeature { feature, findings: feature_findings(feature, &dir) }
        }));
    }
}

/// Returns the directory from which reports name files: the top of the work tree, else the current
/// directory if it contains the root, else the root.
fn report_base(root: &Path) -> PathBuf {
    let top = root.ancestors().find(|dir| dir.join(".git").exists());
    let current = std::env::current_dir().ok().filter(|current| root.starts_with(current));
    top.map(Path::to_owned).or(current).unwrap_or_else(|| root.to_owned())
}

impl CheckResult<'_> {
    /// Writes the result in one format to a file, or else to standard output.
    fn write(&self, format: CheckFormat, file: Option<&Path>) -> anyhow::Result<()> {
        let text = match format {
            CheckFormat::Text => self.text(),
            CheckFormat::Json => String::from_utf8(json::to_line(&self.report)?)?,
            CheckFormat::Github => github_report(&self.summary),
            CheckFormat::Sarif => {
                let report = sarif_report(&self.summary, env!("CARGO_PKG_VERSION"));
                String::from_utf8(json::to_line(&report)?)?
            }
            CheckFormat::Junit => junit_report(&self.summary),
            CheckFormat::Markdown => markdown_report(&self.summary),
        };
        let Some(file) = file else {
            if format == CheckFormat::Text && output::is_quiet() {
                return Ok(());
            }
            let printed = match format {
                CheckFormat::Text => output::print_styled(&text),
                _ => output::print_body(text.as_bytes()),
            };
            return output::ignore_closed_pipe(printed.map_err(anyhow::Error::from));
        };
        let plain = match format {
            CheckFormat::Text => anstream::adapter::strip_str(&text).to_string(),
            _ => text,
        };
        write_output_file(file, plain.as_bytes(), OutputAccess::Shared)
    }

    /// Returns the result for people, with colours.
    fn text(&self) -> String {
        let mut out = String::new();
        for CheckedFeature { feature, .. } in &self.summary.features {
            let completeness = feature.snapshot.completeness_status;
            let slug = &feature.dossier.context.feature_slug;
            let completeness = labels::completeness_label(completeness);
            let drift = labels::drift_label(&feature.drift);
            let more = labels::step_summary(feature);
            let _ = writeln!(out, "{}: {completeness}, {drift}{more}", slug.bold());
            for line in labels::feature_problems(feature) {
                let _ = writeln!(out, "    {line}");
            }
        }
        out + &self.count_line() + "\n"
    }

    fn count_line(&self) -> String {
        let features = || self.summary.features.iter().map(|one| one.feature);
        let count =
            |has: &dyn Fn(&FeatureCheck) -> bool| self.checks.iter().filter(|one| has(one)).count();
        let count_drift = |state| features().filter(|one| one.drift.state == Some(state)).count();
        // As the exit code does without `--strict`; a key mismatch has no differences.
        let has_drifted = |one: &&Feature| {
            one.drift.state == Some(DriftState::Drifted)
                && one.drift.severity >= Some(Severity::Warning)
        };
        let drifted = features().filter(has_drifted).count();
        let more: String = [
            (count_drift(DriftState::Drifted) - drifted, "with info drift"),
            (count_drift(DriftState::KeyMismatch), "with a key mismatch"),
            (self.report.skipped.len(), "skipped"),
            (self.unchanged, "unchanged and not checked"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!(", {count} {words}"))
        .collect();
        format!(
            "{} checked: {} incomplete, {} unknown, {} unreadable, {} drifted{more}",
            self.checked,
            count(&|check| check.incomplete),
            count(&|check| check.unknown),
            count(&|check| check.unreadable),
            drifted,
        )
    }
}

/// Returns true if an archived feature has the accepted state of one that is missing: it was moved there.
fn is_archive_of(archived: &Feature, missing: &Feature) -> bool {
    let BaselineFile::Valid(baseline) = &missing.metadata.baseline else {
        return false;
    };
    let (file, key) = (&missing.metadata.baseline, &baseline.baseline_key);
    Drift::compare_with(file, key, &archived.snapshot, &archived.metadata.churn).has_only_churn()
}

/// Prints the JSON result for an invalid configuration, which ends the command before the scan.
fn report_invalid_config(args: &CheckArgs, error: anyhow::Error) -> anyhow::Result<CommandExit> {
    if let (true, Some(file)) = (args.outputs.has_json(), error.downcast_ref::<FileError>()) {
        output::print_json(&CheckReport {
            exit_code: CommandExit::InvalidFile,
            strict: args.strict,
            changed_since: args.changed_since.as_deref(),
            roots: Vec::new(),
            layouts: Vec::new(),
            errors: std::slice::from_ref(file),
            warnings: &[],
            skipped: &[],
            discovery_errors: &[],
            features: Vec::new(),
        })?;
    }
    Err(error)
}

fn print_diagnostics<'a>(
    targets: impl Iterator<Item = &'a LocalTarget> + Clone,
    diagnostics: &ProjectDiagnostics,
) {
    for skipped in targets.clone().flat_map(|target| &target.skipped) {
        output::warn(&labels::skipped_dir(skipped));
    }
    diagnostics.print();
    for error in targets.flat_map(LocalTarget::discovery_errors) {
        output::error(&error);
    }
}
