//! The views of `status`: a table of features, one feature in detail, and problems. The models come
//! from the daemon or from a scan.

use std::cmp::Reverse;

use owo_colors::OwoColorize as _;

use crate::cli::args::FeatureOrder;
use crate::cli::evaluation::FeatureCheck;
use crate::cli::render::{labels, output, table, time_text};
use crate::core::current_step::StepSource;
use crate::core::diagnostics::FileError;
use crate::core::drift::DriftState;
use crate::core::feature::FeatureWatchState;
use crate::core::feature_context::Completeness;
use crate::core::path::escape_unprintable;
use crate::core::task_progress::TaskProgress;
use crate::wire::delivery::{DeliveryState, SinkStatus};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, ProjectWatchState, StoreState, StoreStatus, WatchStatus};

/// Where an overview comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewOrigin {
    /// The daemon, which watches the feature.
    Daemon,
    /// A scan.
    Scan,
}

/// Minimum width of the column with slugs; other columns are left out first.
const MIN_SLUG_WIDTH: usize = 16;

/// Returns the main one of `projects` if `project` is a worktree of it.
pub(crate) fn main_project<'p, 's>(
    project: &ProjectStatus<'_>,
    projects: &'p [ProjectStatus<'s>],
) -> Option<&'p ProjectStatus<'s>> {
    let main = project.worktree_of.as_ref()?;
    projects.iter().find(|other| other.root_id == *main)
}

/// Returns the features, of a worktree only those that differ from `main`, and the line about the others.
pub(crate) fn shown_features<'p, 's>(
    project: &'p ProjectStatus<'s>,
    main: Option<&ProjectStatus<'_>>,
) -> (Vec<&'p Overview<'s>>, Option<String>) {
    let all = || project.features.iter();
    let Some(main) = main else {
        return (all().collect(), None);
    };
    let is_equal = |one: &&Overview<'_>| {
        let mut others = main.features.iter();
        others.any(|other| {
            other.feature_slug == one.feature_slug && other.tree_hash_sha256 == one.tree_hash_sha256
        })
    };
    let shown: Vec<&Overview<'_>> = all().filter(|one| !is_equal(one)).collect();
    let equal = project.features.len() - shown.len();
    let line = format!(
        "worktree of {}: {equal} of {} features are the same",
        escape_unprintable(&main.project),
        project.features.len()
    );
    (shown, Some(line))
}

/// Sorts features, which are in the order of their slugs.
fn sort_features(features: &mut [&Overview<'_>], order: FeatureOrder) {
    match order {
        FeatureOrder::Trouble => features.sort_by_key(|one| Reverse(trouble(one))),
        FeatureOrder::Name => {}
        FeatureOrder::Changed => {
            features.sort_by_key(|one| Reverse(one.dossier_updated_at));
        }
    }
}

/// Returns how bad the state of a feature is; what is unreadable is the worst.
pub(crate) fn trouble(overview: &Overview<'_>) -> impl Ord + use<> {
    let check = FeatureCheck::from_overview(overview);
    let has_deletion = !overview.deleted_required.is_empty() && !overview.archived;
    let is_seen = matches!(overview.watch, FeatureWatchState::Live | FeatureWatchState::Settling);
    (check.unreadable, has_deletion, check.incomplete, check.drift, !is_seen, check.unknown)
}

/// Returns a header, a line for each feature, and the project's problems; of a worktree of `main` only the
/// features that differ.
pub(crate) fn project_view(
    project: &ProjectStatus<'_>,
    main: Option<&ProjectStatus<'_>>,
    order: FeatureOrder,
    width: Option<usize>,
) -> String {
    let mut text = project_header(project) + "\n";
    let (mut features, worktree) = shown_features(project, main);
    sort_features(&mut features, order);
    if let Some(line) = worktree {
        text.push_str(&format!("  {}\n", line.dimmed()));
    } else if features.is_empty() {
        text.push_str(&format!("  {}\n", "no features".dimmed()));
    }
    if !features.is_empty() {
        for line in feature_table(&features, width).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    for error in &*project.manifest_errors {
        text.push_str(&labelled_line(&"error".red().to_string(), &error.to_string()));
    }
    for warning in &*project.manifest_warnings {
        text.push_str(&labelled_line(&"warning".yellow().to_string(), warning));
    }
    for skipped in &*project.skipped {
        let warning = labels::skipped_dir(skipped);
        text.push_str(&labelled_line(&"warning".yellow().to_string(), &warning));
    }
    text
}

fn labelled_line(word: &str, text: &str) -> String {
    format!("  {word}: {}\n", output::printable(text))
}

fn project_header(project: &ProjectStatus<'_>) -> String {
    format!(
        "{}  {}  {}",
        escape_unprintable(&project.project).bold(),
        escape_unprintable(&project.root).dimmed(),
        watch_text(&project.watch)
    )
}

/// Returns the state of watching a project, with the number of directories and the reason.
pub(crate) fn watch_text(watch: &WatchStatus<'_>) -> String {
    let state = match watch.state {
        ProjectWatchState::Live => "live".green().to_string(),
        ProjectWatchState::Rescanning => "rescanning".yellow().to_string(),
        ProjectWatchState::Polling => "polling".yellow().to_string(),
        ProjectWatchState::Degraded => "degraded".yellow().to_string(),
        ProjectWatchState::Unreadable => "unreadable".red().to_string(),
        ProjectWatchState::RootUnavailable => "root unavailable".red().to_string(),
        ProjectWatchState::Unresponsive => "unresponsive".red().to_string(),
        ProjectWatchState::Unwatched => "not watched".yellow().to_string(),
    };
    let dirs = match watch.state {
        ProjectWatchState::Unwatched | ProjectWatchState::RootUnavailable => String::new(),
        _ if watch.watched == watch.total => format!(", {} directories", watch.total),
        _ => format!(", {} of {} directories", watch.watched, watch.total),
    };
    let detail = watch
        .detail
        .as_ref()
        .map(|detail| format!(": {}", output::printable(detail)))
        .unwrap_or_default();
    format!("{state}{}{detail}", dirs.dimmed())
}

/// Returns a table of features that fits into `width` columns: the last columns are left out and
/// slugs are shortened.
pub(crate) fn feature_table(features: &[&Overview<'_>], width: Option<usize>) -> String {
    let has_progress = features.iter().any(|feature| feature.progress.is_some());
    let keep = |column: usize| column != PROGRESS_COLUMN || has_progress;
    let select = |row: Vec<String>| -> Vec<String> {
        row.into_iter()
            .enumerate()
            .filter(|(column, _)| keep(*column))
            .map(|(_, cell)| cell)
            .collect()
    };
    let cells: Vec<Vec<String>> = features.iter().map(|one| select(feature_row(one))).collect();
    let headings = select(HEADINGS.map(str::to_owned).to_vec());
    let widest = |column: usize| {
        let all = cells.iter().map(|row| table::display_width(&row[column]));
        all.max().unwrap_or_default().max(headings[column].len()) + 2
    };
    // The table is indented by two columns.
    let available = width.map_or(usize::MAX, |width| width.saturating_sub(2));
    let mut columns = headings.len();
    let slugs = loop {
        let others: usize = (1..columns).map(widest).sum();
        let left = available.saturating_sub(others + 2);
        if left >= MIN_SLUG_WIDTH || columns <= 3 || widest(0) - 2 <= left {
            break left.max(MIN_SLUG_WIDTH);
        }
        columns -= 1;
    };
    let shown: Vec<&str> = headings[..columns].iter().map(String::as_str).collect();
    let mut table = table::with_headings(&shown);
    for mut row in cells {
        row[0] = table::truncate_middle(&row[0], slugs);
        table.add_row(row.into_iter().take(columns));
    }
    table::render(table)
}

/// Headings of the table of features; that of progress is left out where there is none.
const HEADINGS: [&str; 7] =
    ["FEATURE", "COMPLETENESS", "REQUIRED", "DRIFT", "PROGRESS", "STEP", "ARTIFACTS"];
const PROGRESS_COLUMN: usize = 4;

fn feature_row(overview: &Overview<'_>) -> Vec<String> {
    let counts = overview.artifact_counts;
    let watch = match overview.watch {
        FeatureWatchState::Live => String::new(),
        FeatureWatchState::Settling => format!(" ({})", "settling".cyan()),
        FeatureWatchState::Unreadable => format!(" ({})", "unreadable".red()),
        FeatureWatchState::Unavailable => format!(" ({})", "unavailable".red()),
        FeatureWatchState::Unresponsive => format!(" ({})", "unresponsive".red()),
        FeatureWatchState::Gone => format!(" ({})", "gone".red()),
        FeatureWatchState::Degraded => format!(" ({})", "degraded".yellow()),
    };
    let step = match (&overview.step, &overview.step_error) {
        (Some(step), None) => escape_unprintable(step).into_owned(),
        (Some(step), Some(_)) => format!("{} ({})", escape_unprintable(step), "unknown".yellow()),
        (None, Some(_)) => "unknown".yellow().to_string(),
        (None, None) => "-".to_owned(),
    };
    let step = match &overview.next_step {
        Some(next) => format!("{step} (next: {})", escape_unprintable(next)),
        None => step,
    };
    vec![
        escape_unprintable(&overview.feature_slug).into_owned(),
        labels::completeness_label(overview.completeness_status) + &watch,
        format!("{}/{}", counts.required_present, counts.required),
        labels::drift_state_label(overview.drift.state, overview.drift.severity),
        overview.progress.as_ref().map_or("-".to_owned(), labels::progress_label),
        step,
        (counts.required_present + counts.optional_present).to_string(),
    ]
}

fn progress_text(progress: &TaskProgress) -> String {
    let mut text = format!("{} done", labels::progress_label(progress));
    for (count, name) in
        [(progress.in_progress, "in progress"), (progress.optional_open, "optional open")]
    {
        if count > 0 {
            text.push_str(&format!(", {count} {name}"));
        }
    }
    text
}

/// Returns the details of one feature.
///
/// One that was scanned is not watched.
pub(crate) fn feature_view(overview: &Overview<'_>, origin: ViewOrigin) -> String {
    let counts = overview.artifact_counts;
    let mut drift = labels::drift_state_label(overview.drift.state, overview.drift.severity);
    if matches!(overview.drift.state, Some(DriftState::BaselineCorrupt | DriftState::KeyMismatch)) {
        let slug = escape_unprintable(&overview.feature_slug);
        drift.push_str(&format!("; `dossierd drift {slug}` shows why"));
    }
    let mut lines = vec![
        ("project", escape_unprintable(&overview.project).into_owned()),
        (
            "completeness",
            format!(
                "{}, {} of {} required present",
                labels::completeness_label(overview.completeness_status),
                counts.required_present,
                counts.required
            ),
        ),
        (
            "  because",
            overview.unknown_reason.as_deref().map(output::printable).unwrap_or_default(),
        ),
        (
            "artifacts",
            format!(
                "{} present of {} listed",
                counts.required_present + counts.optional_present,
                counts.total
            ),
        ),
        ("drift", drift),
    ];
    lines.retain(|(name, text)| *name != "  because" || !text.is_empty());
    let lists = &overview.drift.lists;
    for (name, keys) in [
        ("  missing", &lists.missing_in_local),
        ("  added", &lists.missing_in_baseline),
        ("  changed", &lists.changed),
        ("  churn", &lists.churn),
    ] {
        lines.extend(keys.iter().map(|key| (name, escape_unprintable(key).into_owned())));
    }
    lines.push(("baseline", baseline_label(overview)));
    lines.push(("step", step_label(overview.step.as_deref(), overview.step_source)));
    if let Some(next) = &overview.next_step {
        let missing: Vec<&str> = overview.next_missing.iter().map(AsRef::as_ref).collect();
        let needs = labels::join_truncated(&missing);
        lines.push(("next step", format!("{} (needs {needs})", escape_unprintable(next))));
    }
    if let Some(progress) = &overview.progress {
        lines.push(("progress", progress_text(progress)));
    }
    if overview.archived {
        lines.push(("archived", "yes, completeness does not count".to_owned()));
    }
    let mission = escape_unprintable(&overview.mission);
    lines.push((
        "mission",
        format!("{mission}, manifest {}", escape_unprintable(&overview.manifest_version)),
    ));
    for (name, error) in [
        ("step error", &overview.step_error),
        ("step warning", &overview.step_warning),
        ("progress error", &overview.progress_error),
        ("meta error", &overview.meta_error),
    ] {
        lines.extend(
            error.iter().map(|error| (name, output::printable(error).yellow().to_string())),
        );
    }
    lines.push((
        "watch",
        match origin {
            ViewOrigin::Daemon => watch_label(overview.watch),
            ViewOrigin::Scan => "not watched, scanned once".yellow().to_string(),
        },
    ));
    let last_scan = overview.last_scanned_at.map(time_text::recent);
    lines.push(("last scan", last_scan.unwrap_or_else(|| "none since the daemon started".into())));
    lines.push(("tree", overview.tree_hash_sha256.to_string()));
    lines.push(("parity", overview.parity_hash_sha256.to_string()));
    let mut text = format!("{}\n", escape_unprintable(&overview.feature_slug).bold());
    for (name, value) in lines {
        text.push_str(&format!("{:<13} {value}\n", name.dimmed()));
    }
    text
}

/// Returns the current step, and where it comes from.
fn step_label(step: Option<&str>, source: StepSource) -> String {
    let Some(step) = step else {
        return "not known, so all that is required counts".to_owned();
    };
    let step = escape_unprintable(step);
    match source {
        StepSource::Runtime => format!("{step}, as the runtime reports"),
        StepSource::Config => format!("{step}, as the configuration states"),
        StepSource::State => format!("{step}, as the state file states"),
        StepSource::Files => format!("{step}, as the files show"),
        StepSource::None => step.into_owned(),
    }
}

pub(crate) fn watch_label(watch: FeatureWatchState) -> String {
    match watch {
        FeatureWatchState::Live => "live".green().to_string(),
        FeatureWatchState::Settling => "settling: files are changing".cyan().to_string(),
        FeatureWatchState::Unreadable => "unreadable".red().to_string(),
        FeatureWatchState::Unavailable => {
            "unavailable: hidden by a mount, or not mounted".red().to_string()
        }
        FeatureWatchState::Unresponsive => "unresponsive".red().to_string(),
        FeatureWatchState::Gone => "gone".red().to_string(),
        FeatureWatchState::Degraded => "degraded: a limit is exceeded".yellow().to_string(),
    }
}

fn baseline_label(overview: &Overview<'_>) -> String {
    let Some(baseline) = &overview.baseline else {
        return "none".to_owned();
    };
    let by = baseline.captured_by.as_deref().unwrap_or("-");
    let accepted = format!(
        "accepted {} by {}",
        escape_unprintable(&time_text::recent_text(&baseline.captured_at)),
        escape_unprintable(by)
    );
    if baseline.key_mismatch.is_empty() {
        accepted
    } else {
        format!("{accepted}, for another {}", escape_unprintable(&baseline.key_mismatch.join(", ")))
    }
}

/// Returns the problem with the store, if there is one.
pub(crate) fn store_problem(store: &StoreStatus<'_>) -> Option<String> {
    let detail = store.detail.as_deref().unwrap_or_default();
    match store.state {
        StoreState::Degraded => Some(format!("the store {} is degraded: {detail}", store.path)),
        StoreState::Ok if detail.is_empty() => None,
        StoreState::Ok => Some(detail.to_owned()),
    }
}

/// Returns a line about an error of the configuration.
pub(crate) fn config_problem(error: &FileError) -> String {
    format!("invalid configuration, the last valid one is in use: {error}")
}

/// Returns a line about a sink with undelivered events or dead letters; `None` if everything was
/// delivered.
pub(crate) fn sink_line(sink: &SinkStatus<'_>) -> Option<String> {
    let mut parts = Vec::new();
    if sink.lag > 0 {
        let events = if sink.lag == 1 { "event waits" } else { "events wait" };
        parts.push(format!("{} {events}", sink.lag));
    }
    let failing = match sink.state {
        DeliveryState::Retrying => Some("retrying".yellow().to_string()),
        DeliveryState::Refused => Some("refused".red().to_string()),
        DeliveryState::Ok | DeliveryState::DeadLetters => None,
    };
    if let Some(state) = failing {
        let error = sink.last_error.as_deref().unwrap_or("unknown error");
        parts.push(format!("{state}: {}", output::printable(error)));
    }
    if sink.dead_letters > 0 {
        let dead_letters = if sink.dead_letters == 1 { "dead letter" } else { "dead letters" };
        parts.push(format!("{} {}", sink.dead_letters, dead_letters.red()));
    }
    if parts.is_empty() {
        return None;
    }
    let (name, url) = (escape_unprintable(&sink.sink), escape_unprintable(&sink.url));
    Some(format!("{name} to {url}: {}; run `dossierd delivery list`\n", parts.join(", ")))
}

/// Returns a line with the problems of a feature; `None` if it has none.
pub(crate) fn problem_line(overview: &Overview<'_>) -> Option<String> {
    let counts = overview.artifact_counts;
    let mut parts = Vec::new();
    match overview.watch {
        FeatureWatchState::Live | FeatureWatchState::Settling => {}
        other => parts.push(watch_label(other)),
    }
    match overview.completeness_status {
        Completeness::Complete => {}
        // The work is over.
        _ if overview.archived => {}
        Completeness::Incomplete => parts.push(format!(
            "{}, {} of {} required missing",
            "incomplete".red(),
            counts.required_missing,
            counts.required
        )),
        Completeness::Unknown if overview.watch == FeatureWatchState::Gone => {}
        Completeness::Unknown => {
            let reason = overview.unknown_reason.as_deref();
            let reason = reason.map(|why| format!(": {}", output::printable(why)));
            let reason = reason.unwrap_or_default();
            parts.push(format!("completeness {}{reason}", "unknown".yellow()));
        }
    }
    if !overview.deleted_required.is_empty() && !overview.archived {
        let keys: Vec<&str> = overview.deleted_required.iter().map(|key| &**key).collect();
        parts.push(format!("{} {}", "deleted".red(), labels::join_truncated(&keys)));
    }
    if overview.unreadable > 0 {
        parts.push(format!("{} {}", overview.unreadable, "unreadable".red()));
    }
    let drift = &overview.drift;
    let keys = [&drift.lists.missing_in_local, &drift.lists.changed]
        .into_iter()
        .chain([&drift.lists.missing_in_baseline]);
    match drift.state {
        // Why drift was not evaluated is part of the watch state.
        Some(DriftState::InParity | DriftState::NoBaseline) | None => {}
        Some(DriftState::Drifted) => {
            let keys: Vec<&str> = keys.flatten().map(|key| &**key).collect();
            let label = labels::drift_state_label(drift.state, drift.severity);
            parts.push(format!("{label}: {}", labels::join_truncated(&keys)));
        }
        state => parts.push(labels::drift_state_label(state, drift.severity)),
    }
    for error in [&overview.meta_error, &overview.step_error].into_iter().flatten() {
        parts.push(output::printable(error).yellow().to_string());
    }
    if parts.is_empty() {
        return None;
    }
    Some(format!("{}: {}", escape_unprintable(&overview.feature_slug).bold(), parts.join("; ")))
}

/// Returns a header and a line for each feature of a project that has problems.
pub(crate) fn problems_view(
    project: &ProjectStatus<'_>,
    main: Option<&ProjectStatus<'_>>,
    feature: Option<&str>,
) -> String {
    let is_selected =
        |overview: &&Overview<'_>| feature.is_none_or(|slug| overview.feature_slug == slug);
    let (features, worktree) = shown_features(project, main);
    let features: Vec<&Overview<'_>> = features.into_iter().filter(is_selected).collect();
    let problems: Vec<String> =
        features.iter().filter_map(|overview| problem_line(overview)).collect();
    let mut text = format!(
        "{}  {}  {} of {} features without problems\n",
        escape_unprintable(&project.project).bold(),
        escape_unprintable(&project.root).dimmed(),
        features.len() - problems.len(),
        features.len()
    );
    if let Some(line) = worktree {
        text.push_str(&format!("  {}\n", line.dimmed()));
    }
    match project.watch.state {
        ProjectWatchState::Live
        | ProjectWatchState::Rescanning
        | ProjectWatchState::Polling
        | ProjectWatchState::Unwatched => {}
        _ => text.push_str(&format!("  {}\n", watch_text(&project.watch))),
    }
    for error in &*project.manifest_errors {
        text.push_str(&labelled_line(&"error".red().to_string(), &error.to_string()));
    }
    for problem in problems {
        text.push_str(&format!("  {problem}\n"));
    }
    let without_baseline: Vec<&str> = features
        .iter()
        .filter(|overview| overview.drift.state == Some(DriftState::NoBaseline))
        .map(|overview| &*overview.feature_slug)
        .collect();
    if !without_baseline.is_empty() {
        let names = labels::join_truncated(&without_baseline);
        let fix = "run `dossierd baseline accept --all` to accept all";
        text.push_str(&format!("  no baseline: {names}; {fix}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_is_described_by_its_source_in_words() {
        for (step, source, expected) in [
            (None, StepSource::None, "not known, so all that is required counts"),
            (Some("plan"), StepSource::Runtime, "plan, as the runtime reports"),
            (Some("plan"), StepSource::Config, "plan, as the configuration states"),
            (Some("plan"), StepSource::State, "plan, as the state file states"),
            (Some("a\u{1b}"), StepSource::Files, "a\\u{1b}, as the files show"),
        ] {
            assert_eq!(step_label(step, source), expected);
        }
    }
}
