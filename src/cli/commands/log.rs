//! `dossierd log`: lists the versions of a feature's artifacts, newest first.

use std::io::{IsTerminal as _, Write as _};
use std::time::SystemTime;

use owo_colors::OwoColorize as _;

use crate::cli::args::{LogArgs, Moment, RangeArgs};
use crate::cli::artifact_names::resolve_artifact_names;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::render::{labels, output, table, time_text};
use crate::core::path::{RelPath, escape_unprintable};
use crate::history::compare::list_versions;
use crate::wire::history::{VersionEndKind, VersionItem, VersionList};

pub(crate) fn run(args: &LogArgs) -> anyhow::Result<CommandExit> {
    let is_short = args.range.since.is_none() && std::io::stdout().is_terminal();
    let limit = args.number.unwrap_or(if is_short { NEWEST_ON_TERMINAL } else { MAX_VERSIONS });
    let is_all = is_all(args);
    // Those that are too new are left out afterwards.
    let requested = if is_all { limit } else { MAX_VERSIONS };
    let names = resolve_artifact_names(args.name.as_slice(), &args.feature);
    let name = names.first().map(String::as_str);
    let query = FeatureQuery::run(&args.feature, |scope| {
        scope
            .request_path("/api/dossier/versions")
            .with("limit", &requested.to_string())
            .with_optional("artifact_key", name)
    })?;
    if let Some(query) = query {
        if args.feature.project.json && is_all {
            output::print_body(&query.response.body)?;
        } else {
            show(args, query.response.parse()?, usize::from(limit))?;
        }
        return query.finish();
    }
    let local = LocalHistory::open(&args.feature)?;
    let selected = name.map(|name| local.history.select(name)).transpose()?;
    let paths: Vec<RelPath> = selected.unwrap_or_default();
    let (versions, omitted) = list_versions(&local.history, &paths, usize::from(requested));
    let list = VersionList {
        feature_slug: local.feature.dossier.context.feature_slug.as_str().into(),
        stored_seq: local.reader.counts()?.unwrap_or_default().stored_seq,
        versions,
        omitted,
    };
    show(args, list, usize::from(limit))?;
    Ok(local.target.finish())
}

/// Number of versions that are listed on a terminal, and at most.
const NEWEST_ON_TERMINAL: u16 = 50;
const MAX_VERSIONS: u16 = 5_000;

/// Returns true if versions of every time are listed.
fn is_all(args: &LogArgs) -> bool {
    args.range.since.is_none() && args.range.until.is_none()
}

/// Prints the versions of the range, the newest `limit` of them.
fn show(args: &LogArgs, mut list: VersionList<'_>, limit: usize) -> anyhow::Result<()> {
    let RangeArgs { since, until } = &args.range;
    let now = SystemTime::now();
    let is_within = |version: &VersionItem| {
        let is_after = |moment: &Moment| match (moment.seq(), moment.time(now), version.from_seq) {
            (Some(seq), _, from) => from.is_some_and(|from| from > seq),
            (None, Some(time), _) => version.from > time,
            (None, None, _) => false,
        };
        since.as_ref().is_none_or(is_after) && !until.as_ref().is_some_and(is_after)
    };
    list.versions.retain(is_within);
    list.omitted += list.versions.len().saturating_sub(limit) as u64;
    list.versions.truncate(limit);
    if args.feature.project.json {
        return Ok(output::print_json(&list)?);
    }
    print(&list, !is_all(args))
}

/// Prints the versions, which may be those of a time only.
fn print(list: &VersionList<'_>, is_selected_by_time: bool) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    if list.versions.is_empty() {
        let when = if is_selected_by_time { " of that time" } else { "" };
        writeln!(out, "no version of {}{when} is stored", escape_unprintable(&list.feature_slug))?;
        return Ok(out.flush()?);
    }
    let mut table =
        table::with_headings(&["TIME", "EVENT", "KEY", "SIZE", "LINES", "HASH", "STATE"]);
    for version in &list.versions {
        let lines = version.added_lines.zip(version.removed_lines);
        table.add_row([
            time_text::recent(version.from),
            version.from_seq.map_or_else(|| "-".to_owned(), |seq| format!("@{seq}")),
            escape_unprintable(&version.artifact_key).into_owned(),
            labels::size_label(version.size_bytes),
            lines.map_or_else(|| "-".to_owned(), |(added, removed)| format!("+{added} -{removed}")),
            labels::short_hash(&version.content_hash_sha256),
            state_text(version),
        ]);
    }
    write!(out, "{}", table::render(table))?;
    if list.omitted > 0 {
        writeln!(out, "{}", format!("{} older versions are not listed", list.omitted).dimmed())?;
    }
    Ok(out.flush()?)
}

fn state_text(version: &VersionItem) -> String {
    let mut words = Vec::new();
    match (version.until, version.end) {
        (None, _) => words.push("current".to_owned()),
        (Some(at), Some(VersionEndKind::Deleted)) => {
            words.push(format!("deleted {}", time_text::recent(at)));
        }
        _ => {}
    }
    if version.in_baseline {
        words.push("baseline".to_owned());
    }
    if let Some(reason) = &version.not_stored {
        words.push(format!("not stored: {}", reason.replace('_', " ")));
    }
    words.join(", ")
}
