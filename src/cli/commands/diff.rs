//! `dossierd diff`: prints what changed between two states of a feature. On a terminal it is coloured
//! and escaped; elsewhere it is a unified diff that `git apply` accepts, byte for byte.

use std::io::{IsTerminal as _, Write as _};

use anstream::ColorChoice;

use crate::cli::args::DiffArgs;
use crate::cli::artifact_names::resolve_artifact_names;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::render::{diff_view, output};
use crate::core::history::revision::Revision;
use crate::core::history::text_diff::TextDiff;
use crate::core::history::unified::{UnifiedBody, UnifiedHeader, write_unified};
use crate::core::path::unescape_bytes;
use crate::history::compare::{DiffLines, compare};
use crate::wire::history::{FileDiff, StateDiff};

pub(crate) fn run(args: &DiffArgs) -> anyhow::Result<CommandExit> {
    // Before any request: a mistyped revision is an error without a daemon, too.
    let (from, to) = (Revision::parse(&args.from)?, Revision::parse(&args.to)?);
    let names = resolve_artifact_names(&args.names, &args.feature);
    let query = FeatureQuery::run(&args.feature, |scope| {
        let path = scope.request_path("/api/dossier/diff").with("from", &args.from);
        let path = path.with("to", &args.to);
        let path = if args.stat { path.with("stat", "true") } else { path };
        names.iter().fold(path, |path, name| path.with("artifact_key", name))
    })?;
    let (exit, diff) = if let Some(query) = query {
        let diff: StateDiff = query.response.parse()?;
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print(&diff, args)?;
        }
        (query.finish()?, diff)
    } else {
        let local = LocalHistory::open(&args.feature)?;
        let comparison = compare(&local.history, &from, &to, &names, local.now)?;
        let lines = if args.stat { DiffLines::Count } else { DiffLines::Return };
        let diff = local.state_diff(&comparison, (&from, &to), lines)?;
        if args.feature.project.json {
            output::print_json(&diff)?;
        } else {
            print(&diff, args)?;
        }
        (local.target.finish(), diff)
    };
    Ok(match exit {
        CommandExit::Success if !diff.files.is_empty() => CommandExit::Different,
        exit => exit,
    })
}

fn print(diff: &StateDiff, args: &DiffArgs) -> anyhow::Result<()> {
    let stdout = std::io::stdout();
    let is_styled = stdout.is_terminal()
        || matches!(output::color_choice(&stdout), ColorChoice::Always | ColorChoice::AlwaysAnsi);
    if args.stat || is_styled {
        let mut out = output::stdout_human();
        let text = if args.stat { diff_view::stat(diff) } else { diff_view::styled(diff) };
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    let mut out = output::stdout_machine();
    for file in &diff.files {
        match &file.unavailable {
            Some(reason) => output::warn(&diff_view::unavailable_text(file, reason)),
            None => out.write_all(&unified(diff, file)?)?,
        }
    }
    Ok(out.flush()?)
}

/// Returns a file's unified diff, with paths from the root on.
fn unified(diff: &StateDiff, file: &FileDiff) -> anyhow::Result<Vec<u8>> {
    let dir = unescape_bytes(&diff.feature_path)?;
    let path = |path: &crate::core::path::RelPath| {
        let separator: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        [&dir[..], separator, path.as_bytes()].concat()
    };
    let to = file.to_hash.map(|_| path(&file.relative_path));
    let from = file.previous_path.as_ref().unwrap_or(&file.relative_path);
    let from = file.from_hash.map(|_| path(from));
    let mode = if &*file.mode == "100755" { 0o755 } else { 0o644 };
    let header = UnifiedHeader { from: from.as_deref(), to: to.as_deref(), mode };
    let text = TextDiff {
        added_lines: file.added_lines.unwrap_or_default(),
        removed_lines: file.removed_lines.unwrap_or_default(),
        hunks: file.hunks.clone(),
    };
    let mut out = Vec::new();
    write_unified(&mut out, &header, UnifiedBody::Text(&text));
    Ok(out)
}
