//! `dossierd baseline accept|show|clear`: the state that a person accepts.

use std::io::Write as _;
use std::time::SystemTime;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde::{Deserialize, Serialize};

use super::args::{AcceptArgs, BaselineArgs, BaselineCommand, FeatureArgs};
use super::asked::{self, Watching};
use super::exit::Exit;
use super::place::Place;
use super::target::Target;
use super::{out, words};
use crate::core::accept::{Corrupt, Refused, accept as core_accept};
use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::digest::Digest;
use crate::core::drift::DriftState;
use crate::core::event::ArtifactCounts;
use crate::core::feature::{Feature, Watch};
use crate::core::identity::BaselineKey;
use crate::core::path::printable;
use crate::core::time::Timestamp;
use crate::wire::accepted::{AcceptRequest, Accepted};
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
    let mut refused = false;
    for target in &targets {
        let mut features = Vec::new();
        target.survey_to_accept(|feature| features.push(feature))?;
        for feature in &features {
            if let Err(error) = accept_one(target, feature, args.tree, args) {
                refused = true;
                out::error(&format!("{}: {error:#}", feature.dossier.terms.feature_slug));
            }
        }
        if target.end() == Exit::BrokenFile {
            return Ok(Exit::BrokenFile);
        }
    }
    Ok(if refused { Exit::Failed } else { Exit::Done })
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
        match answer.and_then(|answer| Ok(answer.read::<AcceptAnswer>()?)) {
            Ok(answer) => out::unless_closed(answer.print(args.project.json))?,
            Err(error) => {
                refused = true;
                let slug = place.feature.as_deref().unwrap_or_default();
                out::error(&format!("{slug}: {error:#}"));
            }
        }
    }
    let broken = asked::end(&status, &place) == Exit::BrokenFile;
    Ok(Some(match (broken, refused) {
        (true, _) => Exit::BrokenFile,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Done,
    }))
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

/// What `POST /api/dossier/baseline` answers, of which the overview is passed over.
#[derive(Deserialize)]
struct AcceptAnswer {
    artifact_counts: ArtifactCounts,
    accepted: Accepted<'static>,
}

impl AcceptAnswer {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        let accepted = &self.accepted;
        if json {
            return Ok(out::print_json(accepted)?);
        }
        let absent = self.artifact_counts.total.saturating_sub(accepted.artifacts as u64);
        let hash = accepted.tree_hash_sha256.as_ref().map(words::short).unwrap_or_default();
        let slug = printable(&accepted.feature_slug);
        print_acceptance(&slug, accepted.artifacts as u64, absent, &hash)
    }
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
    out::unless_closed(print_accepted(feature, &baseline, args.project.json))
}

fn print_accepted(feature: &Feature, baseline: &Baseline, json: bool) -> anyhow::Result<()> {
    let slug = &feature.dossier.terms.feature_slug;
    let artifacts = baseline.artifacts.as_ref().map_or(0, Vec::len);
    if json {
        return Ok(out::print_json(&Accepted::from(baseline))?);
    }
    let absent = feature.dossier.artifacts.iter().filter(|artifact| !artifact.is_present()).count();
    let hash = words::short(&feature.snapshot.tree_hash_sha256);
    print_acceptance(slug.as_str(), artifacts as u64, absent as u64, &hash)
}

fn print_acceptance(slug: &str, artifacts: u64, absent: u64, hash: &str) -> anyhow::Result<()> {
    let mut out = out::people();
    writeln!(out, "{}: accepted {artifacts} artifacts, tree {hash}", slug.bold())?;
    if absent > 0 {
        writeln!(out, "    {absent} that are listed and not present are no part of it")?;
    }
    Ok(out.flush()?)
}

/// What `show --json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    feature_slug: &'a str,
    drift_state: Option<DriftState>,
    detail: &'a str,
    key_mismatch: &'a [&'static str],
    local_key: &'a BaselineKey,
    baseline: Option<&'a Baseline>,
}

fn show(args: &FeatureArgs) -> anyhow::Result<Exit> {
    let target = Target::of_feature(args)?;
    let feature = target.survey_one()?;
    let drift = &feature.drift;
    let baseline = match &feature.baseline {
        BaselineFile::Sound(baseline) => Some(&**baseline),
        BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
    };
    if args.project.json {
        out::print_json(&Shown {
            feature_slug: feature.dossier.terms.feature_slug.as_str(),
            drift_state: drift.state,
            detail: &drift.detail,
            key_mismatch: &drift.key_mismatch,
            local_key: &feature.key,
            baseline,
        })?;
    } else {
        print_shown(&feature, baseline)?;
    }
    Ok(target.end())
}

fn print_shown(feature: &Feature, baseline: Option<&Baseline>) -> anyhow::Result<()> {
    let mut out = out::people();
    let drift = &feature.drift;
    writeln!(out, "{}: {}", feature.dossier.terms.feature_slug.bold(), words::drift(drift))?;
    writeln!(out, "{}", printable(&drift.detail))?;
    if let Some(baseline) = baseline {
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
    for feature in &target.features {
        let cleared = target.project.clear_baseline(&feature.slug)?;
        print_cleared(feature.slug.as_str(), cleared, args.project.json)?;
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
    // Where the baseline was all that was left of the feature, nothing is answered.
    let cleared = answer.status == 204
        || answer.read::<serde_json::Value>()?.get("cleared") == Some(&true.into());
    print_cleared(place.feature.as_deref().unwrap_or_default(), cleared, args.project.json)?;
    Ok(Some(asked::end(&status, &place)))
}

fn print_cleared(slug: &str, cleared: bool, json: bool) -> anyhow::Result<()> {
    if json {
        let said = serde_json::json!({"feature_slug": slug, "cleared": cleared});
        return Ok(out::print_json(&said)?);
    }
    let mut out = out::people();
    let words = if cleared { "baseline cleared" } else { "there was no baseline" };
    writeln!(out, "{}: {words}", printable(slug).bold())?;
    Ok(out.flush()?)
}
