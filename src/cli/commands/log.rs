//! `dossierd log`: lists the versions of a feature's artifacts, newest first.

use std::io::Write as _;

use owo_colors::OwoColorize as _;

use crate::cli::args::LogArgs;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::render::{labels, output, table};
use crate::core::path::{RelPath, escape_unprintable};
use crate::history::compare::list_versions;
use crate::wire::history::{VersionEndKind, VersionItem, VersionList};

pub(crate) fn run(args: &LogArgs) -> anyhow::Result<CommandExit> {
    let query = FeatureQuery::run(&args.feature, |scope| {
        scope
            .request_path("/api/dossier/versions")
            .with("limit", &args.number.to_string())
            .with_optional("artifact_key", args.name.as_deref())
    })?;
    if let Some(query) = query {
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print(&query.response.parse()?)?;
        }
        return query.finish();
    }
    let local = LocalHistory::open(&args.feature)?;
    let selected = args.name.as_deref().map(|name| local.history.select(name)).transpose()?;
    let paths: Vec<RelPath> = selected.unwrap_or_default();
    let (versions, omitted) = list_versions(&local.history, &paths, usize::from(args.number));
    let list = VersionList {
        feature_slug: local.feature.dossier.context.feature_slug.as_str().into(),
        stored_seq: local.reader.counts()?.unwrap_or_default().stored_seq,
        versions,
        omitted,
    };
    if args.feature.project.json {
        output::print_json(&list)?;
    } else {
        print(&list)?;
    }
    Ok(local.target.finish())
}

fn print(list: &VersionList<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    if list.versions.is_empty() {
        writeln!(out, "no version of {} is stored", escape_unprintable(&list.feature_slug))?;
        return Ok(out.flush()?);
    }
    let mut table =
        table::with_headings(&["TIME", "EVENT", "KEY", "SIZE", "LINES", "HASH", "STATE"]);
    for version in &list.versions {
        let lines = version.added_lines.zip(version.removed_lines);
        table.add_row([
            version.from.to_string(),
            version.from_seq.map_or_else(|| "-".to_owned(), |seq| format!("@{seq}")),
            escape_unprintable(&version.artifact_key).into_owned(),
            version.size_bytes.to_string(),
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
        (Some(at), Some(VersionEndKind::Deleted)) => words.push(format!("deleted {at}")),
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
