//! `dossierd restore`: writes stored versions of artifacts back into a feature.

use std::io::Write as _;

use anyhow::Context as _;
use owo_colors::OwoColorize as _;

use crate::cli::args::RestoreArgs;
use crate::cli::artifact_names::resolve_artifact_names;
use crate::cli::daemon::connection::has_hint;
use crate::cli::daemon::query;
use crate::cli::daemon::query::ProjectQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::render::{labels, output};
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::config::Config;
use crate::core::digest::Digest;
use crate::core::error::error_chain;
use crate::core::history::revision::Revision;
use crate::core::path::{RelPath, escape_unprintable};
use crate::history::restore::{RestoreStep, RestoreWrite, plan_restore};
use crate::history::states::PastStateError;
use crate::history::storage_rules::StorageRules;
use crate::history::{open_store, record_present};
use crate::project::OnPresentFile;
use crate::wire::hint::HintCode;
use crate::wire::history::{RestoreItem, RestoreOutcome, RestoreRequest, RestoreResponse};

pub(crate) fn run(args: &RestoreArgs) -> anyhow::Result<CommandExit> {
    if let Some(from) = &args.from
        && let Revision::Hash(prefix) = Revision::parse(from)?
        && args.names.len() != 1
    {
        return Err(PastStateError::HashOfFeature(prefix.as_str().to_owned()).into());
    }
    let request = request(args, &resolve_artifact_names(&args.names, &args.feature));
    if let Some(exit) = restore_through_daemon(args, &request)? {
        return Ok(exit);
    }
    let local = LocalHistory::open(&args.feature)?;
    let deleted = local.history.deleted();
    let steps = plan_restore(&local.history, &request, &deleted, local.now)?;
    let mut files = Vec::new();
    for step in steps {
        files.push(match step {
            RestoreStep::Nothing(file) => file,
            RestoreStep::Write(write) => {
                let restored = restore_one(&local, &write, args.dry_run);
                write.result(restored.err().map(|error| format!("{error:#}")))
            }
        });
    }
    let feature_slug = local.feature.dossier.context.feature_slug.to_string();
    let response = RestoreResponse { feature_slug, dry_run: args.dry_run, files };
    if args.feature.project.json {
        output::print_json(&response)?;
    } else {
        print(&response)?;
    }
    Ok(exit_of(&response, local.target.finish()))
}

fn request(args: &RestoreArgs, names: &[String]) -> RestoreRequest {
    let item = |name: &String| RestoreItem {
        artifact_key: Some(name.clone()),
        relative_path: None,
        from: args.from.clone(),
    };
    RestoreRequest {
        items: names.iter().map(item).collect(),
        deleted: args.deleted,
        from: args.from.clone().filter(|_| args.deleted),
        force: args.force,
        dry_run: args.dry_run,
        tree_hash_sha256: None,
    }
}

/// Restores through the daemon; returns `None` if none watches the project, or only the history still knows the
/// feature.
fn restore_through_daemon(
    args: &RestoreArgs,
    request: &RestoreRequest,
) -> anyhow::Result<Option<CommandExit>> {
    let (feature, project) = (&args.feature.feature, &args.feature.project);
    let scope = Scope::resolve(Some(feature), project)?;
    let Some(ProjectQuery { mut connection, status }) = ProjectQuery::run(project, &scope)? else {
        return Ok(None);
    };
    let body = serde_json::to_vec(request)?;
    let response = match connection.post(&scope.request_path("/api/dossier/restore"), body) {
        Err(error) if has_hint(&error, HintCode::NotSynced) => {
            output::error(&format!("{error:#}"));
            return Ok(Some(CommandExit::Indeterminate));
        }
        Err(error) if query::is_forgotten(&error, &args.feature) => return Ok(None),
        response => response?,
    };
    let restored: RestoreResponse = response.parse()?;
    if project.json {
        output::print_body(&response.body)?;
    } else {
        print(&restored)?;
    }
    Ok(Some(exit_of(&restored, query::finish_with_status(&status, &scope))))
}

fn exit_of(response: &RestoreResponse, exit: CommandExit) -> CommandExit {
    match exit {
        CommandExit::Success if !response.is_complete() => CommandExit::Failed,
        exit => exit,
    }
}

fn print(response: &RestoreResponse) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    if response.files.is_empty() {
        writeln!(out, "nothing to restore")?;
    }
    for file in &response.files {
        let verb = match file.outcome {
            RestoreOutcome::Restored if response.dry_run => "would restore",
            outcome => labels::restore_outcome(outcome),
        };
        let path = escape_unprintable(&file.relative_path);
        write!(out, "{} {path}", verb.bold())?;
        if let Some(hash) = &file.content_hash_sha256 {
            write!(out, " {}", labels::short_hash(hash).dimmed())?;
        }
        match &file.reason {
            Some(reason) => writeln!(out, ": {}", escape_unprintable(reason))?,
            None => writeln!(out)?,
        }
    }
    Ok(out.flush()?)
}

/// Restores one file without a daemon; a dry run checks what can be checked, and writes nothing.
fn restore_one(local: &LocalHistory, write: &RestoreWrite, is_dry_run: bool) -> anyhow::Result<()> {
    let bytes = local.reader.content(&write.hash)?.context("its content is not stored")?;
    let dir = local.target.features.first().context("the feature was removed")?;
    let on_present = match write.replaces {
        None => OnPresentFile::Refuse,
        Some(present) => {
            store_present(local, &write.path, &present, is_dry_run)?;
            OnPresentFile::Replace(present)
        }
    };
    if is_dry_run {
        return Ok(());
    }
    let project = &local.target.project;
    project.restore_file(dir, &write.path, &bytes, write.mode, on_present)?;
    // Only the origin of the file depends on it.
    let seq = local.reader.counts().ok().flatten().map_or(0, |counts| counts.stored_seq);
    let _ = open_store(&user_dirs()?.state_dir)
        .and_then(|mut store| store.record_restored(&local.file(&write.path), &write.hash, seq));
    Ok(())
}

/// Stores the present content of a file, which is about to be replaced.
fn store_present(
    local: &LocalHistory,
    path: &RelPath,
    present: &Digest,
    is_dry_run: bool,
) -> anyhow::Result<()> {
    if local.reader.has_content(present)? {
        return Ok(());
    }
    let content = local.read_present(path, present)?;
    let rules = StorageRules::new(user_config()?.history);
    if is_dry_run {
        return Ok(content.check(&rules)?);
    }
    let mut store =
        open_store(&user_dirs()?.state_dir).context("its present content cannot be stored")?;
    record_present(&mut store, &rules, content, local.now)
        .map_err(|error| anyhow::anyhow!(error_chain(&error)))
}

/// Returns the user's configuration.
fn user_config() -> anyhow::Result<Config> {
    Ok(Config::load_resolved(&user_dirs()?.config_file())?)
}
