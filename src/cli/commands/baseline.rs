//! `dossierd baseline accept|show|clear`: the state that a person accepts.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::cli::args::{BaselineAcceptArgs, BaselineArgs, BaselineCommand, FeatureArgs};
use crate::cli::daemon::query;
use crate::cli::daemon::query::{FeatureQuery, ProjectQuery};
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output};
use crate::cli::scope::Scope;
use crate::core::baseline::BaselineFile;
use crate::core::baseline::accept::{AcceptError, OnCorruptBaseline, accept_state as core_accept};
use crate::core::digest::Digest;
use crate::core::feature::{Feature, FeatureMetadata, FeatureWatchState};
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::engine::view::judge_drift;
use crate::wire::baseline::{
    AcceptRequest, AcceptResponse, AcceptedBaseline, BaselineDetail, ClearResponse,
};
use crate::wire::overview::Overview;
use crate::wire::status::Status;

pub(crate) fn run(args: &BaselineArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        BaselineCommand::Accept(args) => accept(args),
        BaselineCommand::Show(args) => show(args),
        BaselineCommand::Clear(args) => clear(args),
    }
}

fn accept(args: &BaselineAcceptArgs) -> anyhow::Result<CommandExit> {
    if let Some(exit) = accept_through_daemon(args)? {
        return Ok(exit);
    }
    let targets = if args.all {
        vec![LocalTarget::from_project_args(&args.project)?]
    } else {
        let named =
            args.features.iter().map(|name| LocalTarget::from_feature_name(name, &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    output::note("no daemon is asked; scanned once");
    let (mut refused, mut broken) = (false, false);
    for target in &targets {
        let mut features = Vec::new();
        target.scan_for_baseline(|feature| features.push(feature))?;
        for feature in &features {
            if let Err(error) = accept_one(target, feature, args.tree, args) {
                refused = true;
                output::error(&format!("{}: {error:#}", feature.dossier.context.feature_slug));
            }
        }
        broken |= target.finish() == CommandExit::InvalidFile;
    }
    Ok(accept_exit(broken, refused))
}

/// With which code that ends.
fn accept_exit(broken: bool, refused: bool) -> CommandExit {
    match (broken, refused) {
        (true, _) => CommandExit::InvalidFile,
        (false, true) => CommandExit::Failed,
        (false, false) => CommandExit::Success,
    }
}

/// Asks the daemon to accept; `None` where none watches what is meant.
fn accept_through_daemon(args: &BaselineAcceptArgs) -> anyhow::Result<Option<CommandExit>> {
    let places: Vec<Scope> = if args.all {
        vec![Scope::resolve(None, &args.project)?]
    } else {
        let named = args.features.iter().map(|name| Scope::resolve(Some(name), &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    let Some(place) = places.first().cloned() else { return Ok(None) };
    let Some(ProjectQuery { connection: mut link, status }) =
        ProjectQuery::run(&args.project, &place)?
    else {
        return Ok(None);
    };
    let meant = if args.all { all_features(&status, &place)? } else { places };
    let mut refused = false;
    for place in &meant {
        // A baseline that cannot be understood is replaced only where its feature is named.
        let request = AcceptRequest { tree_hash_sha256: args.tree, replace_corrupt: !args.all };
        let body = serde_json::to_vec(&request)?;
        let answer = link.post(&place.request_path("/api/dossier/baseline"), body);
        match answer.and_then(|answer| Ok((answer.parse::<AcceptResponse<'_>>()?, answer.body))) {
            Ok((_, body)) if args.project.json => {
                output::ignore_closed_pipe(output::print_body(&body).map_err(anyhow::Error::from))?;
            }
            Ok((answer, _)) => output::ignore_closed_pipe(print_accepted(&answer))?,
            Err(error) => {
                refused = true;
                let slug = place.feature.as_deref().unwrap_or_default();
                output::error(&format!("{slug}: {error:#}"));
            }
        }
    }
    let broken = query::finish_with_status(&status, &place) == CommandExit::InvalidFile;
    Ok(Some(accept_exit(broken, refused)))
}

/// The features of the project that `place` means.
fn all_features(status: &Status<'_>, place: &Scope) -> anyhow::Result<Vec<Scope>> {
    let Some(project) = place.find_project(status) else {
        bail!("no project is meant; name one with --project");
    };
    let there = project.features.iter().filter(|feature| feature.watch != FeatureWatchState::Gone);
    Ok(there
        .map(|feature| Scope {
            feature: Some(feature.feature_slug.to_string()),
            root: place.root.clone(),
        })
        .collect())
}

/// Says what was accepted.
fn print_accepted(answer: &AcceptResponse<'_>) -> anyhow::Result<()> {
    let (accepted, slug) = (&answer.accepted, escape_unprintable(&answer.overview.feature_slug));
    if let Some(why) = &accepted.replaced_corrupt {
        output::warn(&format!(
            "{slug}: the baseline that was there is replaced; it could not be used: {why}"
        ));
    }
    let counts = answer.overview.artifact_counts;
    let absent = counts.total.saturating_sub(accepted.artifacts as u64);
    let hash = accepted.tree_hash_sha256.as_ref().map(labels::short_hash).unwrap_or_default();
    let mut out = output::stdout_human();
    writeln!(out, "{}: accepted {} artifacts, tree {hash}", slug.bold(), accepted.artifacts)?;
    if absent > 0 {
        writeln!(out, "    {absent} that are listed and not present are no part of it")?;
    }
    Ok(out.flush()?)
}

/// Accepts the state of one feature, unless it cannot be seen whole or is not the one meant.
fn accept_one(
    target: &LocalTarget,
    feature: &Feature,
    tree: Option<Digest>,
    args: &BaselineAcceptArgs,
) -> anyhow::Result<()> {
    let corrupt = if args.all { OnCorruptBaseline::Refuse } else { OnCorruptBaseline::Replace };
    let at = Timestamp::from(SystemTime::now());
    let baseline = match core_accept(feature, tree, corrupt, at) {
        Err(AcceptError::CorruptBaseline(why)) => bail!("{why}; name the feature to replace it"),
        accepted => accepted?,
    };
    let mut text = serde_json::to_vec_pretty(&baseline)?;
    text.push(b'\n');
    target.project.write_baseline(&feature.dossier.context.feature_slug, &text)?;
    let now = with_baseline(feature, BaselineFile::Valid(Box::new(baseline.clone())));
    let accepted = AcceptedBaseline::replacing(&feature.metadata.baseline, &baseline);
    let answer = AcceptResponse { overview: Overview::from(&now), synced: None, accepted };
    output::ignore_closed_pipe(if args.project.json {
        output::print_json(&answer).map_err(anyhow::Error::from)
    } else {
        print_accepted(&answer)
    })
}

/// The feature as it is with another baseline.
fn with_baseline(feature: &Feature, baseline: BaselineFile) -> Feature {
    let bearings = FeatureMetadata { baseline, ..(*feature.metadata).clone() };
    let drift = judge_drift(&feature.dossier.context, &bearings, || (*feature.snapshot).clone());
    Feature { metadata: Arc::new(bearings), drift, ..feature.clone() }
}

fn show(args: &FeatureArgs) -> anyhow::Result<CommandExit> {
    if let Some(asked) =
        FeatureQuery::run(args, |place| place.request_path("/api/dossier/baseline"))?
    {
        if args.project.json {
            output::print_body(&asked.response.body)?;
        } else {
            print_baseline(&asked.response.parse()?)?;
        }
        return asked.finish();
    }
    let target = LocalTarget::from_feature_args(args)?;
    let feature = target.scan_one()?;
    let shown = BaselineDetail::from(&feature);
    if args.project.json {
        output::print_json(&shown)?;
    } else {
        print_baseline(&shown)?;
    }
    Ok(target.finish())
}

fn print_baseline(shown: &BaselineDetail<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let verdict = labels::drift_state_label(shown.drift_state, shown.drift_severity);
    writeln!(out, "{}: {verdict}", escape_unprintable(&shown.feature_slug).bold())?;
    writeln!(out, "{}", escape_unprintable(&shown.detail))?;
    if let Some(baseline) = &shown.baseline {
        let key = &baseline.baseline_key;
        let artifacts = baseline.artifacts.as_ref().map(|list| list.len().to_string());
        writeln!(out)?;
        for (name, value) in [
            ("accepted", baseline.captured_at.as_str()),
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
    if let Some(exit) = clear_through_daemon(args)? {
        return Ok(exit);
    }
    let target = LocalTarget::from_feature_args(args)?;
    if args.project.json {
        let feature = target.scan_one()?;
        let cleared = target.project.clear_baseline(&feature.dossier.context.feature_slug)?;
        let now = with_baseline(&feature, BaselineFile::Absent);
        let overview = Overview::from(&now);
        output::print_json(&ClearResponse { overview, synced: None, cleared })?;
        return Ok(target.finish());
    }
    for feature in &target.features {
        let cleared = target.project.clear_baseline(&feature.slug)?;
        print_cleared(feature.slug.as_str(), cleared)?;
    }
    Ok(target.finish())
}

/// Asks the daemon to clear; `None` where none watches the feature.
fn clear_through_daemon(args: &FeatureArgs) -> anyhow::Result<Option<CommandExit>> {
    let place = Scope::resolve(Some(&args.feature), &args.project)?;
    let Some(ProjectQuery { connection: mut link, status }) =
        ProjectQuery::run(&args.project, &place)?
    else {
        return Ok(None);
    };
    let answer = link.delete(&place.request_path("/api/dossier/baseline"))?;
    let slug = place.feature.as_deref().unwrap_or_default();
    // Where the baseline was all that was left of the feature, nothing is answered.
    let is_forgotten = answer.status == 204;
    match (args.project.json, is_forgotten) {
        (true, true) => output::print_json(&json!({"feature_slug": slug, "cleared": true}))?,
        (true, false) => output::print_body(&answer.body)?,
        (false, true) => print_cleared(slug, true)?,
        (false, false) => print_cleared(slug, answer.parse::<ClearResponse<'_>>()?.cleared)?,
    }
    Ok(Some(query::finish_with_status(&status, &place)))
}

fn print_cleared(slug: &str, cleared: bool) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let words = if cleared { "baseline cleared" } else { "there was no baseline" };
    writeln!(out, "{}: {words}", escape_unprintable(slug).bold())?;
    Ok(out.flush()?)
}
