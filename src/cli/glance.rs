//! Projects and features at a glance: the table of `status` and the detail of one feature. Whoever
//! made the models: a daemon, or one scan.

use owo_colors::OwoColorize as _;

use super::{table, words};
use crate::core::dossier::Completeness;
use crate::core::drift::DriftState;
use crate::core::feature::Watch;
use crate::core::path::printable;
use crate::wire::delivery::{Sink, SinkState};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, ProjectWatch, Status, StoreState, StoreStatus};

/// The narrowest that a slug is cut to.
const SLUG_MIN: usize = 16;

/// All of a project: a header, a line for each feature, and what is wrong beside them.
pub(super) fn project(project: &ProjectStatus<'_>, width: Option<usize>) -> String {
    let mut text = header(project) + "\n";
    if project.features.is_empty() {
        text.push_str(&format!("  {}\n", "no features".dimmed()));
    } else {
        for line in features(&project.features, width).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    for error in &*project.manifest_errors {
        text.push_str(&note(&"error".red().to_string(), &error.to_string()));
    }
    for warning in &*project.manifest_warnings {
        text.push_str(&note(&"warning".yellow().to_string(), warning));
    }
    for skipped in &*project.skipped {
        let why = format!("{} is skipped: {}", skipped.name, skipped.reason);
        text.push_str(&note(&"warning".yellow().to_string(), &why));
    }
    text
}

fn note(word: &str, text: &str) -> String {
    format!("  {word}: {}\n", printable(text))
}

fn header(project: &ProjectStatus<'_>) -> String {
    let watch = &project.watch;
    let state = match watch.state {
        ProjectWatch::Live => "live".green().to_string(),
        ProjectWatch::Rescanning => "rescanning".yellow().to_string(),
        ProjectWatch::Polling => "polling".yellow().to_string(),
        ProjectWatch::Degraded => "degraded".yellow().to_string(),
        ProjectWatch::Unreadable => "unreadable".red().to_string(),
        ProjectWatch::RootUnavailable => "root unavailable".red().to_string(),
        ProjectWatch::Unwatched => "not watched".yellow().to_string(),
    };
    let folders = match watch.state {
        ProjectWatch::Unwatched | ProjectWatch::RootUnavailable => String::new(),
        _ if watch.watched == watch.total => format!(", {} folders", watch.total),
        _ => format!(", {} of {} folders", watch.watched, watch.total),
    };
    let detail =
        watch.detail.as_ref().map(|detail| format!(": {}", printable(detail))).unwrap_or_default();
    format!(
        "{}  {}  {state}{}{detail}",
        printable(&project.project).bold(),
        printable(&project.root).dimmed(),
        folders.dimmed()
    )
}

/// A table of features, no wider than `width` allows; as wide as it is without.
pub(super) fn features(features: &[Overview<'_>], width: Option<usize>) -> String {
    let cells: Vec<[String; 6]> = features.iter().map(row).collect();
    let headings = ["FEATURE", "COMPLETENESS", "REQUIRED", "DRIFT", "STEP", "ARTIFACTS"];
    let widest = |column: usize| {
        let all = cells.iter().map(|row| table::width(&row[column]));
        all.max().unwrap_or_default().max(headings[column].len()) + 2
    };
    // The project's lines are two columns further right than their header.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(2));
    let mut columns = headings.len();
    let slugs = loop {
        let others: usize = (1..columns).map(widest).sum();
        let left = room.saturating_sub(others + 2);
        if left >= SLUG_MIN || columns <= 3 || widest(0) - 2 <= left {
            break left.max(SLUG_MIN);
        }
        columns -= 1;
    };
    let mut table = table::table(&headings[..columns]);
    for mut row in cells {
        row[0] = middle_cut(&row[0], slugs);
        table.add_row(row.into_iter().take(columns));
    }
    table::text(table)
}

fn row(overview: &Overview<'_>) -> [String; 6] {
    let counts = overview.artifact_counts;
    let seen = match overview.watch {
        Watch::Live => String::new(),
        Watch::Settling => format!(" ({})", "settling".cyan()),
        Watch::Unreadable => format!(" ({})", "unreadable".red()),
        Watch::Gone => format!(" ({})", "gone".red()),
        Watch::Degraded => format!(" ({})", "degraded".yellow()),
    };
    let step = match (&overview.step, &overview.step_error) {
        (Some(step), None) => printable(step).into_owned(),
        (Some(step), Some(_)) => format!("{} ({})", printable(step), "unknown".yellow()),
        (None, Some(_)) => "unknown".yellow().to_string(),
        (None, None) => "-".to_owned(),
    };
    [
        printable(&overview.feature_slug).into_owned(),
        words::completeness(overview.completeness_status) + &seen,
        format!("{}/{}", counts.required_present, counts.required),
        words::verdict(overview.drift.state, overview.drift.severity),
        step,
        (counts.required_present + counts.optional_present).to_string(),
    ]
}

/// One feature in detail.
pub(super) fn feature(overview: &Overview<'_>) -> String {
    let counts = overview.artifact_counts;
    let verdict = words::verdict(overview.drift.state, overview.drift.severity);
    let mut lines = vec![
        ("project", printable(&overview.project).into_owned()),
        (
            "completeness",
            format!(
                "{}, {} of {} required present",
                words::completeness(overview.completeness_status),
                counts.required_present,
                counts.required
            ),
        ),
        (
            "artifacts",
            format!(
                "{} present of {} listed",
                counts.required_present + counts.optional_present,
                counts.total
            ),
        ),
        ("drift", verdict),
    ];
    let lists = &overview.drift.lists;
    for (name, keys) in [
        ("  missing", &lists.missing_in_local),
        ("  added", &lists.missing_in_baseline),
        ("  changed", &lists.changed),
        ("  churn", &lists.churn),
    ] {
        lines.extend(keys.iter().map(|key| (name, printable(key).into_owned())));
    }
    lines.push(("baseline", baseline(overview)));
    let step = overview.step.as_deref().map_or("-".into(), printable);
    lines.push(("step", format!("{step} (from: {})", overview.step_source)));
    let mission = printable(&overview.mission);
    lines.push((
        "mission",
        format!("{mission}, manifest {}", printable(&overview.manifest_version)),
    ));
    for (name, wrong) in
        [("step error", &overview.step_error), ("meta error", &overview.meta_error)]
    {
        lines.extend(wrong.iter().map(|wrong| (name, printable(wrong).yellow().to_string())));
    }
    lines.push(("watch", watch(overview.watch)));
    let looked_at = overview.last_scanned_at.map(|at| at.to_string());
    lines.push(("looked at", looked_at.unwrap_or_else(|| "not since the daemon began".into())));
    lines.push(("tree", overview.tree_hash_sha256.to_string()));
    lines.push(("parity", overview.parity_hash_sha256.to_string()));
    let mut text = format!("{}\n", printable(&overview.feature_slug).bold());
    for (name, value) in lines {
        text.push_str(&format!("{:<13} {value}\n", name.dimmed()));
    }
    text
}

fn watch(watch: Watch) -> String {
    match watch {
        Watch::Live => "live".green().to_string(),
        Watch::Settling => "settling: something is being written".cyan().to_string(),
        Watch::Unreadable => "unreadable".red().to_string(),
        Watch::Gone => "gone".red().to_string(),
        Watch::Degraded => "degraded: beyond a budget".yellow().to_string(),
    }
}

fn baseline(overview: &Overview<'_>) -> String {
    let Some(baseline) = &overview.baseline else {
        return "none".to_owned();
    };
    let by = baseline.captured_by.as_deref().unwrap_or("-");
    let accepted = format!("accepted {} by {}", printable(&baseline.captured_at), printable(by));
    if baseline.key_mismatch.is_empty() {
        accepted
    } else {
        format!("{accepted}, for another {}", printable(&baseline.key_mismatch.join(", ")))
    }
}

/// What is wrong with the store, if anything is.
pub(super) fn store(store: &StoreStatus<'_>) -> Option<String> {
    let detail = store.detail.as_deref().unwrap_or_default();
    match store.state {
        StoreState::Degraded => Some(format!("the store {} is degraded: {detail}", store.path)),
        StoreState::Ok if detail.is_empty() => None,
        StoreState::Ok => Some(detail.to_owned()),
    }
}

/// What is wrong with the configuration, if anything is.
pub(super) fn config(status: &Status<'_>) -> Option<String> {
    let error = status.config.as_ref()?.errors.first()?;
    Some(format!("the configuration is broken, and the one before it in use: {error}"))
}

/// One line on a sink that someone should look at, or that is behind; `None` where all is
/// delivered.
pub(super) fn sink(sink: &Sink<'_>) -> Option<String> {
    let mut parts = Vec::new();
    if sink.lag > 0 {
        let events = if sink.lag == 1 { "event waits" } else { "events wait" };
        parts.push(format!("{} {events}", sink.lag));
    }
    if sink.state == SinkState::Retrying {
        let why = sink.last_error.as_deref().unwrap_or("not taken");
        parts.push(format!("{}: {}", "tried again".yellow(), printable(why)));
    }
    if sink.set_aside > 0 {
        parts.push(format!("{} {}", sink.set_aside, "set aside".red()));
    }
    if parts.is_empty() {
        return None;
    }
    let (name, url) = (printable(&sink.sink), printable(&sink.url));
    Some(format!("{name} to {url}: {}; dossierd delivery list\n", parts.join(", ")))
}

/// One line on a feature that someone should look at; `None` where all is as it should be.
pub(super) fn concern(overview: &Overview<'_>) -> Option<String> {
    let counts = overview.artifact_counts;
    let mut parts = Vec::new();
    match overview.watch {
        Watch::Live | Watch::Settling => {}
        other => parts.push(watch(other)),
    }
    match overview.completeness_status {
        Completeness::Complete => {}
        Completeness::Incomplete => parts.push(format!(
            "{}, {} of {} required missing",
            "incomplete".red(),
            counts.required_missing,
            counts.required
        )),
        Completeness::Unknown if overview.watch == Watch::Gone => {}
        Completeness::Unknown => parts.push(format!("completeness {}", "unknown".yellow())),
    }
    let drift = &overview.drift;
    let keys = [&drift.lists.missing_in_local, &drift.lists.changed]
        .into_iter()
        .chain([&drift.lists.missing_in_baseline]);
    match drift.state {
        // Where it is not judged the folder's state says why.
        Some(DriftState::InParity | DriftState::NoBaseline) | None => {}
        Some(DriftState::Drifted) => {
            let keys: Vec<&str> = keys.flatten().map(|key| &**key).collect();
            let verdict = words::verdict(drift.state, drift.severity);
            parts.push(format!("{verdict}: {}", words::some(&keys)));
        }
        state => parts.push(words::verdict(state, drift.severity)),
    }
    for wrong in [&overview.meta_error, &overview.step_error].into_iter().flatten() {
        parts.push(printable(wrong).yellow().to_string());
    }
    if parts.is_empty() {
        return None;
    }
    Some(format!("{}: {}", printable(&overview.feature_slug).bold(), parts.join("; ")))
}

/// `text` of at most `width` characters: what identifies it is at both ends.
fn middle_cut(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let tail = width.saturating_sub(1) / 3;
    let head = width.saturating_sub(1) - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::middle_cut;

    #[test]
    fn both_ends_are_kept() {
        for (text, width, expect) in [
            ("short", 16, "short"),
            ("042-local-mission-dossier-authority", 16, "042-local-\u{2026}ority"),
            ("0123456789", 10, "0123456789"),
            ("0123456789", 9, "012345\u{2026}89"),
        ] {
            assert_eq!(middle_cut(text, width), expect);
        }
    }
}
