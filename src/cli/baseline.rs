//! `dossierd baseline accept|show|clear`: the state that a person accepts.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde_json::json;

use super::args::{AcceptArgs, BaselineArgs, BaselineCommand, FeatureArgs};
use super::asked::{self, Asked, Watching};
use super::exit::Exit;
use super::place::Place;
use super::target::Target;
use super::{out, words};
use crate::core::accept::{Corrupt, Refused, accept as core_accept};
use crate::core::baseline::BaselineFile;
use crate::core::digest::Digest;
use crate::core::feature::{Bearings, Feature, Watch};
use crate::core::path::printable;
use crate::core::time::Timestamp;
use crate::engine::view::judge_drift;
use crate::wire::accepted::{AcceptAnswer, AcceptRequest, Accepted, BaselineShown, ClearAnswer};
use crate::wire::overview::Overview;
use crate::wire::status::Status;

pub(super) fn run(args: &BaselineArgs) -> anyhow::Result<Exit> {
    match &args.command {
        BaselineCommand::Accept(args) => accept(args),
        BaselineCommand::Show(args) => show(args),
        BaselineCommand::Clear(args) => clear(args),
    }
}

fn accept(args: &AcceptArgs) -> anyhow::Result<Exit> {
    if let Some(exit) = accept_through_daemon(args)? {
        return Ok(exit);
    }
    let targets = if args.all {
        vec![Target::of_project(&args.project)?]
    } else {
        let named = args.features.iter().map(|name| Target::of_name(name, &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    out::note("no daemon is asked; scanned once");
    let (mut refused, mut broken) = (false, false);
    for target in &targets {
        let mut features = Vec::new();
        target.survey_to_accept(|feature| features.push(feature))?;
        for feature in &features {
            if let Err(error) = accept_one(target, feature, args.tree, args) {
                refused = true;
                out::error(&format!("{}: {error:#}", feature.dossier.terms.feature_slug));
            }
        }
        broken |= target.end() == Exit::BrokenFile;
    }
    Ok(accepted(broken, refused))
}

/// With which code that ends.
fn accepted(broken: bool, refused: bool) -> Exit {
    match (broken, refused) {
        (true, _) => Exit::BrokenFile,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Done,
    }
}

/// Asks the daemon to accept; `None` where none watches what is meant.
fn accept_through_daemon(args: &AcceptArgs) -> anyhow::Result<Option<Exit>> {
    let places: Vec<Place> = if args.all {
        vec![Place::of(None, &args.project)?]
    } else {
        let named = args.features.iter().map(|name| Place::of(Some(name), &args.project));
        named.collect::<anyhow::Result<_>>()?
    };
    let Some(place) = places.first().cloned() else { return Ok(None) };
    let Some(Watching { mut link, status }) = Watching::project(&args.project, &place)? else {
        return Ok(None);
    };
    let meant = if args.all { all(&status, &place)? } else { places };
    let mut refused = false;
    for place in &meant {
        // A baseline that cannot be understood is replaced only where its feature is named.
        let request = AcceptRequest { tree_hash_sha256: args.tree, replace_corrupt: !args.all };
        let body = serde_json::to_vec(&request)?;
        let answer = link.post(&place.target("/api/dossier/baseline"), body);
        match answer.and_then(|answer| Ok((answer.read::<AcceptAnswer<'_>>()?, answer.body))) {
            Ok((_, body)) if args.project.json => {
                out::unless_closed(out::print_body(&body).map_err(anyhow::Error::from))?;
            }
            Ok((answer, _)) => out::unless_closed(print_answer(&answer))?,
            Err(error) => {
                refused = true;
                let slug = place.feature.as_deref().unwrap_or_default();
                out::error(&format!("{slug}: {error:#}"));
            }
        }
    }
    let broken = asked::end(&status, &place) == Exit::BrokenFile;
    Ok(Some(accepted(broken, refused)))
}

/// The features of the project that `place` means.
fn all(status: &Status<'_>, place: &Place) -> anyhow::Result<Vec<Place>> {
    let Some(project) = place.watched(status) else {
        bail!("no project is meant; name one with --project");
    };
    let there = project.features.iter().filter(|feature| feature.watch != Watch::Gone);
    Ok(there
        .map(|feature| Place {
            feature: Some(feature.feature_slug.to_string()),
            root: place.root.clone(),
        })
        .collect())
}

/// Says what was accepted.
fn print_answer(answer: &AcceptAnswer<'_>) -> anyhow::Result<()> {
    let (accepted, slug) = (&answer.accepted, printable(&answer.overview.feature_slug));
    if let Some(why) = &accepted.replaced_corrupt {
        out::warn(&format!(
            "{slug}: the baseline that was there is replaced; it could not be used: {why}"
        ));
    }
    let counts = answer.overview.artifact_counts;
    let absent = counts.total.saturating_sub(accepted.artifacts as u64);
    let hash = accepted.tree_hash_sha256.as_ref().map(words::short).unwrap_or_default();
    let mut out = out::people();
    writeln!(out, "{}: accepted {} artifacts, tree {hash}", slug.bold(), accepted.artifacts)?;
    if absent > 0 {
        writeln!(out, "    {absent} that are listed and not present are no part of it")?;
    }
    Ok(out.flush()?)
}

/// Accepts the state of one feature, unless it cannot be seen whole or is not the one meant.
fn accept_one(
    target: &Target,
    feature: &Feature,
    tree: Option<Digest>,
    args: &AcceptArgs,
) -> anyhow::Result<()> {
    let corrupt = if args.all { Corrupt::Keep } else { Corrupt::Replace };
    let at = Timestamp::from(SystemTime::now());
    let baseline = match core_accept(feature, tree, corrupt, at) {
        Err(Refused::Corrupt(why)) => bail!("{why}; name the feature to replace it"),
        accepted => accepted?,
    };
    let mut text = serde_json::to_vec_pretty(&baseline)?;
    text.push(b'\n');
    target.project.write_baseline(&feature.dossier.terms.feature_slug, &text)?;
    let now = with_baseline(feature, BaselineFile::Sound(Box::new(baseline.clone())));
    let accepted = Accepted::instead_of(&feature.bearings.baseline, &baseline);
    let answer = AcceptAnswer { overview: Overview::from(&now), synced: None, accepted };
    out::unless_closed(if args.project.json {
        out::print_json(&answer).map_err(anyhow::Error::from)
    } else {
        print_answer(&answer)
    })
}

/// The feature as it is with another baseline.
fn with_baseline(feature: &Feature, baseline: BaselineFile) -> Feature {
    let bearings = Bearings { baseline, ..(*feature.bearings).clone() };
    let drift = judge_drift(&feature.dossier.terms, &bearings, || (*feature.snapshot).clone());
    Feature { bearings: Arc::new(bearings), drift, ..feature.clone() }
}

fn show(args: &FeatureArgs) -> anyhow::Result<Exit> {
    if let Some(asked) = Asked::about(args, |place| place.target("/api/dossier/baseline"))? {
        if args.project.json {
            out::print_body(&asked.answer.body)?;
        } else {
            print_shown(&asked.answer.read()?)?;
        }
        return asked.end();
    }
    let target = Target::of_feature(args)?;
    let feature = target.survey_one()?;
    let shown = BaselineShown::from(&feature);
    if args.project.json {
        out::print_json(&shown)?;
    } else {
        print_shown(&shown)?;
    }
    Ok(target.end())
}

fn print_shown(shown: &BaselineShown<'_>) -> anyhow::Result<()> {
    let mut out = out::people();
    let verdict = words::verdict(shown.drift_state, shown.drift_severity);
    writeln!(out, "{}: {verdict}", printable(&shown.feature_slug).bold())?;
    writeln!(out, "{}", printable(&shown.detail))?;
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
            writeln!(out, "{:<10} {}", name.dimmed(), printable(value))?;
        }
    }
    Ok(out.flush()?)
}

fn clear(args: &FeatureArgs) -> anyhow::Result<Exit> {
    if let Some(exit) = clear_through_daemon(args)? {
        return Ok(exit);
    }
    let target = Target::of_feature(args)?;
    if args.project.json {
        let feature = target.survey_one()?;
        let cleared = target.project.clear_baseline(&feature.dossier.terms.feature_slug)?;
        let now = with_baseline(&feature, BaselineFile::Absent);
        let overview = Overview::from(&now);
        out::print_json(&ClearAnswer { overview, synced: None, cleared })?;
        return Ok(target.end());
    }
    for feature in &target.features {
        let cleared = target.project.clear_baseline(&feature.slug)?;
        print_cleared(feature.slug.as_str(), cleared)?;
    }
    Ok(target.end())
}

/// Asks the daemon to clear; `None` where none watches the feature.
fn clear_through_daemon(args: &FeatureArgs) -> anyhow::Result<Option<Exit>> {
    let place = Place::of(Some(&args.feature), &args.project)?;
    let Some(Watching { mut link, status }) = Watching::project(&args.project, &place)? else {
        return Ok(None);
    };
    let answer = link.delete(&place.target("/api/dossier/baseline"))?;
    let slug = place.feature.as_deref().unwrap_or_default();
    // Where the baseline was all that was left of the feature, nothing is answered.
    let is_forgotten = answer.status == 204;
    match (args.project.json, is_forgotten) {
        (true, true) => out::print_json(&json!({"feature_slug": slug, "cleared": true}))?,
        (true, false) => out::print_body(&answer.body)?,
        (false, true) => print_cleared(slug, true)?,
        (false, false) => print_cleared(slug, answer.read::<ClearAnswer<'_>>()?.cleared)?,
    }
    Ok(Some(asked::end(&status, &place)))
}

fn print_cleared(slug: &str, cleared: bool) -> anyhow::Result<()> {
    let mut out = out::people();
    let words = if cleared { "baseline cleared" } else { "there was no baseline" };
    writeln!(out, "{}: {words}", printable(slug).bold())?;
    Ok(out.flush()?)
}
