//! Checks that features can be evaluated: manifests, layouts, metadata, steps and baselines. The features of
//! projects that no daemon watches are scanned for that.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cli::commands::doctor::finding::{Finding, Findings};
use crate::cli::local::scanned_status::project_status;
use crate::cli::local::target::LocalTarget;
use crate::core::drift::DriftState;
use crate::core::feature::FeatureWatchState;
use crate::core::feature_context::Completeness;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

const WARNING_FIX: &str = "change what it names, or leave it: the rest of the files is in use";
/// Maximum number of features that are listed for one project.
const MAX_FEATURES: usize = 10;

/// Time limit for the scan of a project.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn check_features(findings: &mut Findings, status: &Status<'_>) {
    for finding in status.projects.iter().flat_map(check_project) {
        findings.add(finding);
    }
}

/// Scans a project, and checks its features.
pub(super) fn scan_features(findings: &mut Findings, root: &Path) {
    let (sender, scanned) = mpsc::channel();
    let path = root.to_owned();
    let scan = move || {
        // Fails if nobody waits any more.
        let _ = sender.send(scan_project(&path));
    };
    let thread = thread::Builder::new().name("scan".to_owned()).spawn(scan);
    let Ok(_) = thread else { return };
    match scanned.recv_timeout(SCAN_TIMEOUT) {
        Ok(found) => found.into_iter().for_each(|finding| findings.add(finding)),
        Err(_) => findings.warning(
            "features",
            format!("{} was not scanned within {} s", root.display(), SCAN_TIMEOUT.as_secs()),
            "run `dossierd scan`, which shows how far it is",
        ),
    }
}

/// Scans a project. A root that cannot be opened, and an invalid configuration, are findings of other checks.
fn scan_project(root: &Path) -> Vec<Finding> {
    let Ok(target) = LocalTarget::for_layouts(root) else { return Vec::new() };
    let mut features = Vec::new();
    if let Err(error) = target.scan(|feature| feature, |feature| features.push(feature)) {
        let message = format!("cannot scan {}: {error:#}", root.display());
        return vec![Finding::error("features", message, "correct what it names")];
    }
    let diagnostics = target.diagnostics();
    check_project(&project_status(&target, &features, &diagnostics))
}

fn check_project(project: &ProjectStatus<'_>) -> Vec<Finding> {
    let root = &project.root;
    let fix = "correct the file; it is read again at once";
    let errors = project.manifest_errors.iter();
    let errors = errors.map(|error| Finding::error("files", format!("{root}: {error}"), fix));
    let warnings = project.manifest_warnings.iter();
    let warnings = warnings
        .map(|warning| Finding::warning("files", format!("{root}: {warning}"), WARNING_FIX));
    let skipped = project.skipped.iter().map(|one| {
        let fix = "rename it, or exclude it in `features`";
        Finding::warning("layout", format!("{root}: {} is skipped: {}", one.name, one.reason), fix)
    });
    let mut found: Vec<Finding> = errors.chain(warnings).chain(skipped).collect();
    let problems: Vec<(&str, String)> = project
        .features
        .iter()
        .flat_map(|feature| {
            problems(feature).into_iter().map(|text| (&*feature.feature_slug, text))
        })
        .collect();
    let fix = "correct what it names; `dossierd status FEATURE` shows the whole state";
    for (slug, problem) in problems.iter().take(MAX_FEATURES) {
        found.push(Finding::warning("feature", format!("{root}: {slug}: {problem}"), fix));
    }
    if problems.len() > MAX_FEATURES {
        let message = format!("{root}: {} more problems", problems.len() - MAX_FEATURES);
        found.push(Finding::warning("feature", message, "see `dossierd status --problems`"));
    }
    if found.is_empty() {
        let message = match project.features.len() {
            1 => format!("the feature of {root} can be evaluated"),
            count => format!("the {count} features of {root} can be evaluated"),
        };
        found.push(Finding::ok("features", message));
    }
    found
}

/// Returns why a feature cannot be evaluated completely.
fn problems(feature: &Overview<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let is_unknown = feature.completeness_status == Completeness::Unknown
        && feature.watch != FeatureWatchState::Gone;
    if is_unknown {
        let reason = feature.unknown_reason.as_deref();
        problems.push(format!(
            "completeness is unknown: {}",
            reason.unwrap_or("it is not scanned yet")
        ));
    }
    let texts = [&feature.meta_error, &feature.step_error, &feature.step_warning];
    problems.extend(
        texts.into_iter().chain([&feature.progress_error]).flatten().map(ToString::to_string),
    );
    match feature.drift.state {
        Some(DriftState::BaselineCorrupt) => problems.push("its baseline is corrupt".to_owned()),
        Some(DriftState::KeyMismatch) => {
            let fields = feature.baseline.as_ref().map(|one| one.key_mismatch.join(", "));
            problems.push(format!(
                "its baseline was accepted for another {}",
                fields.unwrap_or_default()
            ));
        }
        _ => {}
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_that_cannot_be_evaluated_are_listed_with_the_reason() {
        let feature = |slug: &str, more: serde_json::Value| {
            let mut overview = serde_json::json!({
                "feature_slug": slug, "completeness_status": "complete", "parity_hash_sha256": "0".repeat(64),
                "artifact_counts": {"total": 0, "required": 0, "required_present": 0, "required_missing": 0,
                    "optional": 0, "optional_present": 0},
                "missing_required_count": 0, "last_scanned_at": null, "project": "p", "mission": "m",
                "mission_run_id": "r", "manifest_version": "1", "step": null, "step_source": "none",
                "step_error": null, "tree_hash_sha256": "0".repeat(64), "watch": "live", "racy": 0,
                "meta_error": null, "baseline": null,
                "drift": {"state": "no_baseline", "severity": null, "missing_in_local": [],
                    "missing_in_baseline": [], "changed": [], "churn": []},
            });
            let fields = more.as_object().unwrap().clone();
            overview.as_object_mut().unwrap().extend(fields);
            serde_json::from_value::<Overview<'static>>(overview).unwrap()
        };
        for (more, expected) in [
            (serde_json::json!({}), &[][..]),
            (
                serde_json::json!({"completeness_status": "unknown", "unknown_reason": "no manifest"}),
                &["completeness is unknown: no manifest"],
            ),
            (serde_json::json!({"completeness_status": "unknown", "watch": "gone"}), &[]),
            (serde_json::json!({"step_error": "s", "meta_error": "m"}), &["m", "s"]),
        ] {
            assert_eq!(problems(&feature("001-x", more)), expected);
        }
    }
}
