//! `dossierd baseline accept|show|clear`: the accepted state that drift is measured against.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::json;

use crate::cli::args::{BaselineAcceptArgs, BaselineArgs, BaselineCommand, FeatureArgs};
use crate::cli::daemon::connection::has_hint;
use crate::cli::daemon::query;
use crate::cli::daemon::query::{FeatureQuery, ProjectQuery};
use crate::cli::exit::CommandExit;
use crate::cli::local::target::{LocalTarget, note_one_time_scan};
use crate::cli::render::{labels, output, table, time_text};
use crate::cli::scope::Scope;
use crate::core::baseline::accept::{AcceptError, OnCorruptBaseline, accept_state as core_accept};
use crate::core::baseline::{Baseline, BaselineFile, BaselineScope};
use crate::core::digest::Digest;
use crate::core::feature::{Feature, FeatureMetadata, FeatureWatchState};
use crate::core::feature_context::FeatureContext;
use crate::core::path::{FeatureSlug, escape_unprintable};
use crate::core::time::Timestamp;
use crate::engine::read_model::evaluate_drift;
use crate::project::{FeatureDir, SharedBaseline};
use crate::wire::baseline::{
    AcceptRequest, AcceptResponse, AcceptedBaseline, BaselineDetail, ClearResponse,
};
use crate::wire::hint::HintCode;
use crate::wire::overview::Overview;
use crate::wire::status::Status;

pub(crate) fn run(args: &BaselineArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        BaselineCommand::Accept(args) => accept(args),
        BaselineCommand::Show(args) => show(args),
        BaselineCommand::Log(args) => log(args),
        BaselineCommand::Clear(args) => clear(args),
    }
}

fn accept(args: &BaselineAcceptArgs) -> anyhow::Result<CommandExit> {
    if args.undo {
        return undo(args);
    }
    // A shared baseline is a file of the work tree: the daemon sees it as it sees any other change.
    let is_shared = args.shared || !args.local && !accepts_local(args);
    if !is_shared && let Some(exit) = accept_through_daemon(args)? {
        return Ok(exit);
    }
    let targets = if args.all {
        vec![LocalTarget::from_project_args(&args.project)?]
    } else {
        let named =
            args.features.iter().map(|name| LocalTarget::from_feature_name(name, &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    note_one_time_scan();
    let (mut has_failed, mut has_invalid_file) = (false, false);
    for target in &targets {
        let mut features = Vec::new();
        target.scan_for_baseline(|feature| features.push(feature))?;
        for feature in &features {
            if let Err(error) = accept_one(target, feature, args.tree, args) {
                has_failed = true;
                output::error(&format!("{}: {error:#}", feature.dossier.context.feature_slug));
            }
        }
        has_invalid_file |= target.finish() == CommandExit::InvalidFile;
    }
    Ok(accept_exit(has_invalid_file, has_failed))
}

/// Returns false if a selected feature has a shared baseline, or its project shares them.
fn accepts_local(args: &BaselineAcceptArgs) -> bool {
    let target = match args.features.first() {
        Some(name) => LocalTarget::from_feature_name_lenient(name, &args.project),
        None => LocalTarget::from_project_args(&args.project),
    };
    // A feature that only the daemon knows has no directory, and so cannot be accepted here.
    let Ok(target) = target else {
        return true;
    };
    let scope = |feature: &FeatureDir| target.project.baseline_scope(&feature.slug);
    !target.features.iter().any(|feature| scope(feature) == BaselineScope::Shared)
}

/// Returns the exit code of `accept`.
fn accept_exit(has_invalid_file: bool, has_failed: bool) -> CommandExit {
    match (has_invalid_file, has_failed) {
        (true, _) => CommandExit::InvalidFile,
        (false, true) => CommandExit::Failed,
        (false, false) => CommandExit::Success,
    }
}

/// Accepts through the daemon; returns `None` if none watches the project.
fn accept_through_daemon(args: &BaselineAcceptArgs) -> anyhow::Result<Option<CommandExit>> {
    let scopes: Vec<Scope> = if args.all {
        vec![Scope::resolve(None, &args.project)?]
    } else {
        let named = args.features.iter().map(|name| Scope::resolve(Some(name), &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    let Some(scope) = scopes.first().cloned() else { return Ok(None) };
    let Some(ProjectQuery { mut connection, status }) = ProjectQuery::run(&args.project, &scope)?
    else {
        return Ok(None);
    };
    let selected = if args.all { all_features(&status, &scope)? } else { scopes };
    let (mut has_failed, mut is_unknown) = (false, false);
    for scope in &selected {
        // A corrupt baseline is replaced only if its feature was named.
        let request = AcceptRequest {
            tree_hash_sha256: args.tree,
            replace_corrupt: !args.all,
            scope: args.local.then_some(BaselineScope::Local),
        };
        let body = serde_json::to_vec(&request)?;
        let response = connection.post(&scope.request_path("/api/dossier/baseline"), body);
        match response
            .and_then(|response| Ok((response.parse::<AcceptResponse<'_>>()?, response.body)))
        {
            Ok((_, body)) if args.project.json => {
                output::ignore_closed_pipe(output::print_body(&body).map_err(anyhow::Error::from))?;
            }
            Ok((response, _)) => output::ignore_closed_pipe(print_accepted(&response))?,
            Err(error) => {
                has_failed = true;
                is_unknown |= has_hint(&error, HintCode::NotSynced);
                // Only an error about one of several features does not name it already.
                let slug = scope.feature.as_deref().unwrap_or_default();
                let text = format!("{error:#}");
                let names_it = text.contains(&format!("`{slug}`"));
                output::error(&if names_it { text } else { format!("{slug}: {text}") });
            }
        }
    }
    let has_invalid_file = query::finish_with_status(&status, &scope) == CommandExit::InvalidFile;
    Ok(Some(match accept_exit(has_invalid_file, has_failed) {
        CommandExit::Failed if is_unknown => CommandExit::Indeterminate,
        exit => exit,
    }))
}

/// Returns a scope for each existing feature of the project.
fn all_features(status: &Status<'_>, scope: &Scope) -> anyhow::Result<Vec<Scope>> {
    let Some(project) = scope.find_project(status) else {
        bail!("no project is selected; name one with --project");
    };
    let existing =
        project.features.iter().filter(|feature| feature.watch != FeatureWatchState::Gone);
    Ok(existing
        .map(|feature| Scope {
            feature: Some(feature.feature_slug.to_string()),
            root: scope.root.clone(),
        })
        .collect())
}

/// Prints what was accepted.
fn print_accepted(response: &AcceptResponse<'_>) -> anyhow::Result<()> {
    let (accepted, slug) =
        (&response.accepted, escape_unprintable(&response.overview.feature_slug));
    if let Some(cause) = &accepted.replaced_corrupt {
        output::warn(&format!("{slug}: replaced a corrupt baseline: {cause}"));
    }
    let counts = response.overview.artifact_counts;
    let missing = counts.total.saturating_sub(accepted.artifacts as u64);
    // All digits, so that they can be given to `--tree`.
    let hash = accepted.tree_hash_sha256.map(|hash| hash.to_string()).unwrap_or_default();
    let mut out = output::stdout_human();
    writeln!(out, "{}: accepted {} artifacts, tree {hash}", slug.bold(), accepted.artifacts)?;
    if missing > 0 {
        let are = if missing == 1 { "artifact is" } else { "artifacts are" };
        writeln!(out, "    {missing} missing {are} not part of the baseline")?;
    }
    Ok(out.flush()?)
}

/// Accepts the state of one scanned feature. Fails if it was not completely readable, or if its tree
/// hash is not `tree`.
fn accept_one(
    target: &LocalTarget,
    feature: &Feature,
    tree: Option<Digest>,
    args: &BaselineAcceptArgs,
) -> anyhow::Result<()> {
    let corrupt = if args.all { OnCorruptBaseline::Refuse } else { OnCorruptBaseline::Replace };
    let at = Timestamp::from(SystemTime::now());
    let baseline = match core_accept(feature, tree, corrupt, at) {
        Err(AcceptError::CorruptBaseline(cause)) => {
            bail!("{cause}; name the feature to replace it")
        }
        accepted => accepted?,
    };
    let slug = &feature.dossier.context.feature_slug;
    let counts = target.project.baseline_scope(slug) == BaselineScope::Shared;
    let scope = match (args.shared, args.local) {
        (true, _) => BaselineScope::Shared,
        (false, false) if counts => BaselineScope::Shared,
        (false, _) => BaselineScope::Local,
    };
    let baseline = match scope {
        BaselineScope::Local => {
            let mut text = serde_json::to_vec_pretty(&baseline)?;
            text.push(b'\n');
            target.project.write_baseline(slug, &text)?;
            baseline
        }
        BaselineScope::Shared => write_shared(target, feature, baseline)?,
    };
    let accepted = BaselineFile::Valid(Box::new(baseline.clone()));
    let accepted_feature = with_baseline(feature, accepted, scope);
    let accepted = AcceptedBaseline::replacing(&feature.metadata.baseline, &baseline);
    let response =
        AcceptResponse { overview: Overview::from(&accepted_feature), sync: None, accepted };
    output::ignore_closed_pipe(if args.project.json {
        output::print_json(&response).map_err(anyhow::Error::from)
    } else {
        print_accepted(&response)
    })
}

/// Writes a shared baseline, without what git ignores, which is reported.
fn write_shared(
    target: &LocalTarget,
    feature: &Feature,
    baseline: Baseline,
) -> anyhow::Result<Baseline> {
    let FeatureContext { feature_slug, feature_dir, .. } = &*feature.dossier.context;
    let SharedBaseline { baseline, written } =
        target.project.write_shared_baseline(feature_slug, feature_dir, baseline)?;
    for path in &baseline.left_out {
        let path = path.text();
        output::note(&format!("{feature_slug}: {path} is left out, because git ignores it"));
    }
    for path in written {
        output::note(&format!("wrote {}", path.display()));
    }
    Ok(baseline)
}

/// Returns the feature with another baseline and the drift from it.
fn with_baseline(feature: &Feature, baseline: BaselineFile, scope: BaselineScope) -> Feature {
    let metadata =
        FeatureMetadata { baseline, baseline_scope: scope, ..(*feature.metadata).clone() };
    let drift = evaluate_drift(&feature.dossier.context, &metadata, || (*feature.snapshot).clone());
    Feature { metadata: Arc::new(metadata), drift, ..feature.clone() }
}

fn show(args: &FeatureArgs) -> anyhow::Result<CommandExit> {
    if let Some(query) =
        FeatureQuery::run(args, |scope| scope.request_path("/api/dossier/baseline"))?
    {
        if args.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print_baseline(&query.response.parse()?)?;
        }
        return query.finish();
    }
    let target = LocalTarget::from_feature_args(args)?;
    let feature = target.scan_one()?;
    let detail = BaselineDetail::from(&feature);
    if args.project.json {
        output::print_json(&detail)?;
    } else {
        print_baseline(&detail)?;
    }
    Ok(target.finish())
}

fn print_baseline(detail: &BaselineDetail<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let drift = labels::drift_state_label(detail.drift_state, detail.drift_severity);
    writeln!(out, "{}: {drift}", escape_unprintable(&detail.feature_slug).bold())?;
    writeln!(out, "{}", output::printable(&detail.detail))?;
    if let Some(baseline) = &detail.baseline {
        let key = &baseline.baseline_key;
        let artifacts = baseline.artifacts.as_ref().map(|list| list.len().to_string());
        writeln!(out)?;
        for (name, value) in [
            ("accepted", time_text::recent_text(&baseline.captured_at).as_str()),
            ("by node", baseline.captured_by.as_deref().unwrap_or("-")),
            ("artifacts", artifacts.as_deref().unwrap_or("not listed")),
            ("parity", &baseline.parity_hash_sha256.to_string()),
            ("project", &key.project_uuid),
            ("node", &key.node_id),
            ("branch", &key.target_branch),
            ("mission", &key.mission_key),
            ("manifest", &key.manifest_version),
        ] {
            writeln!(out, "{:<10} {}", name.dimmed(), escape_unprintable(value))?;
        }
    }
    Ok(out.flush()?)
}

fn clear(args: &FeatureArgs) -> anyhow::Result<CommandExit> {
    let is_shared = LocalTarget::from_feature_args(args).is_ok_and(|target| {
        let mut features = target.features.iter();
        features.any(|one| target.project.baseline_scope(&one.slug) == BaselineScope::Shared)
    });
    if !is_shared && let Some(exit) = clear_through_daemon(args)? {
        return Ok(exit);
    }
    let target = LocalTarget::from_feature_args(args)?;
    if args.project.json {
        let feature = target.scan_one()?;
        let slug = &feature.dossier.context.feature_slug;
        let scope = target.project.baseline_scope(slug);
        let cleared = clear_counting(&target, slug)?;
        let cleared_feature = with_baseline(&feature, BaselineFile::Absent, scope);
        let overview = Overview::from(&cleared_feature);
        output::print_json(&ClearResponse { overview, sync: None, cleared })?;
        return Ok(target.finish());
    }
    for feature in &target.features {
        let cleared = clear_counting(&target, &feature.slug)?;
        print_cleared(feature.slug.as_str(), cleared)?;
    }
    Ok(target.finish())
}

/// Puts the replaced baselines of the named features back. The daemon sees the files change.
fn undo(args: &BaselineAcceptArgs) -> anyhow::Result<CommandExit> {
    let mut exit = CommandExit::Success;
    for name in &args.features {
        let target = LocalTarget::from_feature_name(name, &args.project)?;
        for feature in &target.features {
            let scope = match (args.shared, args.local) {
                (true, _) => BaselineScope::Shared,
                (_, true) => BaselineScope::Local,
                _ => target.project.baseline_scope(&feature.slug),
            };
            let slug = escape_unprintable(feature.slug.as_str());
            if target.project.restore_baseline(&feature.slug, scope)? {
                output::note(&format!("{slug}: the {scope} baseline is the one before"));
            } else {
                output::error(&format!("{slug}: no {scope} baseline was replaced"));
                exit = CommandExit::Failed;
            }
        }
    }
    Ok(exit)
}

/// A baseline in the output of `baseline log --json`.
#[derive(Serialize)]
struct LogEntry<'a> {
    current: bool,
    scope: BaselineScope,
    captured_at: Option<&'a str>,
    captured_by: Option<&'a str>,
    artifacts: Option<usize>,
    tree_hash_sha256: Option<Digest>,
    git_commit: Option<&'a str>,
}

/// Returns the entry of a baseline; `None` if there is none.
fn log_entry(file: &BaselineFile, scope: BaselineScope, current: bool) -> Option<LogEntry<'_>> {
    let baseline = match file {
        BaselineFile::Absent => return None,
        BaselineFile::Corrupt(_) => None,
        BaselineFile::Valid(baseline) => Some(baseline),
    };
    Some(LogEntry {
        current,
        scope,
        captured_at: baseline.map(|one| one.captured_at.as_str()),
        captured_by: baseline.and_then(|one| one.captured_by.as_deref()),
        artifacts: baseline.and_then(|one| Some(one.artifacts.as_ref()?.len())),
        tree_hash_sha256: baseline.and_then(|one| one.tree_hash_sha256),
        git_commit: baseline.and_then(|one| one.git_commit.as_deref()),
    })
}

fn log(args: &FeatureArgs) -> anyhow::Result<CommandExit> {
    let target = LocalTarget::from_feature_args(args)?;
    let Some(feature) = target.features.first() else {
        bail!("the feature was removed");
    };
    let inputs = target.project.read_feature_inputs(feature);
    let replaced = target.project.replaced_baselines(&feature.slug);
    let current = (&inputs.metadata.baseline, inputs.metadata.baseline_scope, true);
    let earlier = replaced.iter().map(|one| (&one.baseline, one.scope, false));
    let entries: Vec<LogEntry<'_>> = [current]
        .into_iter()
        .chain(earlier)
        .filter_map(|(file, scope, current)| log_entry(file, scope, current))
        .collect();
    if args.project.json {
        output::print_json(&entries)?;
        return Ok(target.finish());
    }
    let mut table = table::with_headings(&["ACCEPTED", "BY", "SCOPE", "ARTIFACTS", "TREE", ""]);
    for entry in &entries {
        let text = |text: Option<&str>| escape_unprintable(text.unwrap_or("-")).into_owned();
        table.add_row([
            text(entry.captured_at.map(time_text::recent_text).as_deref()),
            text(entry.captured_by),
            entry.scope.to_string(),
            entry.artifacts.map_or("-".to_owned(), |count| count.to_string()),
            entry.tree_hash_sha256.as_ref().map_or("-".to_owned(), labels::short_hash),
            if entry.current { "current".to_owned() } else { String::new() },
        ]);
    }
    let mut out = output::stdout_human();
    out.write_all(table::render(table).as_bytes())?;
    out.flush()?;
    Ok(target.finish())
}

/// Removes the baseline of a feature that counts.
fn clear_counting(target: &LocalTarget, slug: &FeatureSlug) -> anyhow::Result<bool> {
    Ok(target.project.clear_baseline(slug, target.project.baseline_scope(slug))?)
}

/// Clears through the daemon; returns `None` if none watches the project.
fn clear_through_daemon(args: &FeatureArgs) -> anyhow::Result<Option<CommandExit>> {
    let scope = Scope::resolve(Some(&args.feature), &args.project)?;
    let Some(ProjectQuery { mut connection, status }) = ProjectQuery::run(&args.project, &scope)?
    else {
        return Ok(None);
    };
    let response = connection.delete(&scope.request_path("/api/dossier/baseline"))?;
    let slug = scope.feature.as_deref().unwrap_or_default();
    // 204: the feature was removed before, and only its baseline was left.
    let is_removed = response.status == 204;
    match (args.project.json, is_removed) {
        (true, true) => output::print_json(&json!({"feature_slug": slug, "cleared": true}))?,
        (true, false) => output::print_body(&response.body)?,
        (false, true) => print_cleared(slug, true)?,
        (false, false) => print_cleared(slug, response.parse::<ClearResponse<'_>>()?.cleared)?,
    }
    Ok(Some(query::finish_with_status(&status, &scope)))
}

fn print_cleared(slug: &str, cleared: bool) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let result = if cleared { "baseline cleared" } else { "there was no baseline" };
    writeln!(out, "{}: {result}", escape_unprintable(slug).bold())?;
    Ok(out.flush()?)
}
