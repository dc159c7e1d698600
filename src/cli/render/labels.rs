//! Words and colours for states, the same in all commands.

use owo_colors::OwoColorize as _;

use crate::cli::render::output;
use crate::core::artifact::ErrorReason;
use crate::core::diagnostics::SkippedDir;
use crate::core::digest::Digest;
use crate::core::drift::{DifferenceKind, Drift, DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::feature_context::Completeness;
use crate::core::path::{RelPath, escape_unprintable};
use crate::core::task_progress::TaskProgress;
use crate::wire::history::RestoreOutcome;

/// Printed when the connection to the daemon breaks; followed by [`RECONNECTED_NOTE`].
pub(crate) const DISCONNECTED_NOTE: &str = "the connection to the daemon is lost; reconnecting";
/// Printed when the connection is open again.
pub(crate) const RECONNECTED_NOTE: &str = "the connection to the daemon is restored";

/// Returns a completeness in its colour.
pub(crate) fn completeness_label(completeness: Completeness) -> String {
    match completeness {
        Completeness::Complete => completeness.green().to_string(),
        Completeness::Incomplete => completeness.red().to_string(),
        Completeness::Unknown => completeness.yellow().to_string(),
    }
}

/// Returns a severity in its colour.
pub(crate) fn severity_label(severity: Severity) -> String {
    match severity {
        Severity::Info => severity.cyan().to_string(),
        Severity::Warning => severity.yellow().to_string(),
        Severity::Error => severity.red().to_string(),
    }
}

/// Returns state and severity of drift.
pub(crate) fn drift_label(drift: &Drift) -> String {
    drift_state_label(drift.state, drift.severity)
}

/// Returns state and severity of drift; `None` is a feature that was not evaluated.
pub(crate) fn drift_state_label(state: Option<DriftState>, level: Option<Severity>) -> String {
    let state = match state {
        None => return "not evaluated".yellow().to_string(),
        Some(DriftState::NoBaseline) => return "no baseline".dimmed().to_string(),
        Some(DriftState::InParity) => return "in parity".green().to_string(),
        Some(DriftState::BaselineCorrupt) => return "baseline corrupt".red().to_string(),
        Some(DriftState::KeyMismatch) => "key mismatch",
        Some(DriftState::Drifted) => "drifted",
    };
    match level {
        Some(level) => format!("{state} ({})", severity_label(level)),
        None => state.to_owned(),
    }
}

/// Returns how an artifact differs from the baseline, in the words of the summary.
pub(crate) fn difference_label(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::MissingInLocal => "missing",
        DifferenceKind::MissingInBaseline => "added",
        DifferenceKind::Changed => "changed",
        DifferenceKind::FeatureMissing => "feature missing",
    }
}

/// Returns the first five names and the number of the others.
pub(crate) fn join_truncated(names: &[&str]) -> String {
    const MAX_SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(MAX_SHOWN).map(|name| escape_unprintable(name)).collect();
    match names.len().saturating_sub(MAX_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Describes a directory that is not a feature.
pub(crate) fn skipped_dir(skipped: &SkippedDir) -> String {
    format!("{} is skipped: {}", skipped.name, skipped.reason)
}

/// Describes a directory in which features cannot be looked for.
pub(crate) fn unreadable_dir(dir: &RelPath) -> String {
    format!("cannot look for features in {}: it cannot be read", dir.text())
}

/// Returns a size with one unit; with one digit after the point where there is one before it.
pub(crate) fn size_label(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_024 => return format!("{bytes} B"),
        1_024..1_048_576 => (1_u64 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = bytes / (unit / 10);
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", bytes / unit)
    }
}

/// Returns the first 12 digits of a hash.
pub(crate) fn short_hash(digest: &Digest) -> String {
    format!("{digest:.12}")
}

/// Returns `present`, or why an artifact is not.
pub(crate) fn presence_label(reason: Option<ErrorReason>, detail: Option<&str>) -> String {
    let Some(reason) = reason else {
        return "present".green().to_string();
    };
    match detail {
        Some(detail) => format!("{}: {}", reason.red(), output::printable(detail)),
        None => reason.red().to_string(),
    }
}

/// Returns progress, and the next step of a feature whose step follows from its layout, for the end
/// of a line.
pub(crate) fn step_summary(feature: &Feature) -> String {
    let mut text = String::new();
    if feature.is_archived() {
        text.push_str(", archived");
    }
    if let Some(progress) = feature.progress() {
        text.push_str(&format!(", {} done", progress_label(&progress)));
    }
    if let Some(next) = &feature.dossier.context.step.next {
        text.push_str(&format!(", next {}", escape_unprintable(&next.id)));
    }
    text
}

/// Returns the numbers of finished and of all required items.
pub(crate) fn progress_label(progress: &TaskProgress) -> String {
    format!("{}/{}", progress.done, progress.total)
}

/// Returns why a feature could not be read or evaluated completely, one line each.
pub(crate) fn unknown_reasons(feature: &Feature) -> Vec<String> {
    let mut lines: Vec<String> = feature.unknown_reason().into_iter().collect();
    let meta_error = feature.metadata.meta_error.clone();
    lines.extend(meta_error.filter(|error| !lines.contains(error)));
    lines.extend(feature.metadata.step_error.clone());
    lines.extend(feature.dossier.context.step.warning.clone());
    lines.extend(feature.metadata.progress_error.clone());
    if feature.drift.state == Some(DriftState::BaselineCorrupt) {
        lines.push(feature.drift.detail.clone());
    }
    lines
}

/// Returns the problems of a feature that its line in a table does not show, one line each.
pub(crate) fn feature_problems(feature: &Feature) -> Vec<String> {
    let mut lines = unknown_reasons(feature);
    for artifact in feature.dossier.artifacts.iter().filter(|artifact| !artifact.is_present()) {
        let (path, status) = (artifact.relative_path.text(), artifact.required_status);
        let reason = artifact.error_reason().map(|reason| reason.to_string()).unwrap_or_default();
        let detail =
            artifact.error_detail().map(|detail| format!(", {detail}")).unwrap_or_default();
        lines.push(format!("{path} ({status}): {reason}{detail}"));
    }
    if matches!(feature.drift.state, Some(DriftState::Drifted | DriftState::KeyMismatch)) {
        lines.push(feature.drift.detail.clone());
    }
    lines.iter().map(|line| output::printable(line)).collect()
}

/// Returns what was done about a file that was to be restored.
pub(crate) fn restore_outcome(outcome: RestoreOutcome) -> &'static str {
    match outcome {
        RestoreOutcome::Restored => "restored",
        RestoreOutcome::Unchanged => "unchanged",
        RestoreOutcome::Renamed => "left out",
        RestoreOutcome::Failed => "not restored",
    }
}

#[cfg(test)]
mod tests {
    use super::size_label;

    #[test]
    fn sizes_have_one_unit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1023 KiB"),
            (5_242_880, "5.0 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(size_label(bytes), expected, "{bytes}");
        }
    }
}
