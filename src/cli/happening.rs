//! Events as people read them: one line each, or one for a burst.

use std::collections::HashMap;

use owo_colors::OwoColorize as _;

use super::words;
use crate::core::artifact::{ErrorReason, RequiredStatus};
use crate::core::dossier::Completeness;
use crate::core::drift::{DriftState, Severity};
use crate::core::event::{
    ArtifactCounts, ArtifactIndexed, ArtifactMissing, Change, ParityDriftDetected, Payload,
    SnapshotComputed,
};
use crate::core::path::printable;
use crate::core::time::Timestamp;
use crate::wire::events::Received;
use crate::wire::overview::Overview;

/// How much is written before what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Margin {
    /// The time of day and the feature.
    Live,
    /// The time of day, the project and the feature.
    LiveProjects,
    /// Date, time, project and feature.
    Journal,
}

/// One event in words.
#[derive(Debug)]
pub(super) struct Told {
    /// When and of what.
    pub(super) margin: String,
    /// What happened.
    pub(super) what: What,
}

/// What happened.
#[derive(Debug)]
pub(super) enum What {
    /// To an artifact: in a word, and all of it.
    Artifact(&'static str, String),
    /// To a feature as a whole.
    Feature(String),
    /// Nothing that shows: only a hash is another.
    Nothing(String),
}

impl Told {
    /// The line.
    pub(super) fn line(&self) -> String {
        let (What::Artifact(_, text) | What::Feature(text) | What::Nothing(text)) = &self.what;
        format!("{}  {text}", self.margin)
    }
}

/// What is known of features, so that only what changes is said.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(String, String), State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    completeness: Completeness,
    counts: ArtifactCounts,
    drift: Option<DriftState>,
    severity: Option<Severity>,
}

impl Known {
    /// Takes the present state of a feature.
    pub(super) fn learn(&mut self, root_id: &str, overview: &Overview<'_>) {
        let state = State {
            completeness: overview.completeness_status,
            counts: overview.artifact_counts,
            drift: overview.drift.state,
            severity: overview.drift.severity,
        };
        self.0.insert((root_id.to_owned(), overview.feature_slug.to_string()), state);
    }

    /// An event in words.
    pub(super) fn tell(&mut self, event: &Received, margin: Margin) -> Told {
        let what = match event.payload() {
            Some(Payload::ArtifactIndexed(artifact)) => indexed(&artifact),
            Some(Payload::ArtifactMissing(artifact)) => missing(&artifact),
            Some(Payload::SnapshotComputed(snapshot)) => self.computed(event, &snapshot),
            Some(Payload::ParityDriftDetected(drift)) => drifted(&drift),
            None => What::Feature(printable(&event.event_type).into_owned()),
        };
        Told { margin: head(event, margin), what }
    }

    fn computed(&mut self, event: &Received, snapshot: &SnapshotComputed) -> What {
        let now = State {
            completeness: snapshot.completeness_status,
            counts: snapshot.artifact_counts,
            drift: snapshot.drift_state,
            severity: snapshot.drift_severity,
        };
        let feature = (event.root_id.clone(), event.feature_slug.clone());
        let before = self.0.insert(feature, now);
        let (present, of) = (now.counts.required_present, now.counts.required);
        let mut text = format!("{} {present}/{of}", words::completeness(now.completeness));
        if before.is_some_and(|before| before.completeness != now.completeness) {
            text = format!("now {text}");
        }
        if !snapshot.missing_required.is_empty() {
            let keys: Vec<&str> = snapshot.missing_required.iter().map(String::as_str).collect();
            text.push_str(&format!(", missing {}", words::some(&keys)));
        }
        let was_drifted = before.is_some_and(|before| before.drift == Some(DriftState::Drifted));
        if was_drifted && now.drift == Some(DriftState::InParity) {
            text.push_str(&format!("; {}", "parity restored".green()));
        } else {
            text.push_str(&format!("; {}", words::verdict(now.drift, now.severity)));
        }
        let shows = |state: State| {
            let counts = state.counts;
            let required = (counts.required_present, counts.required);
            (state.completeness, required, state.drift, state.severity)
        };
        match before {
            Some(before) if shows(before) == shows(now) => What::Nothing(text),
            _ => What::Feature(text),
        }
    }
}

fn head(event: &Received, margin: Margin) -> String {
    let (project, feature) = (printable(&event.project), printable(&event.feature_slug));
    let (project, feature) = (project.dimmed(), feature.bold());
    match margin {
        Margin::Live => format!("{}  {feature}", clock(event.emitted_at).dimmed()),
        Margin::LiveProjects => {
            format!("{}  {project}/{feature}", clock(event.emitted_at).dimmed())
        }
        Margin::Journal => format!("{}  {project}/{feature}", event.emitted_at.dimmed()),
    }
}

/// The time of day, in UTC.
fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", text.get(11..19).unwrap_or_default())
}

fn indexed(artifact: &ArtifactIndexed) -> What {
    let path = printable(&artifact.relative_path.text()).into_owned();
    let word = match artifact.change {
        Change::Added => "added",
        Change::Modified => "modified",
        Change::Restored => "restored",
        Change::Reclassified => "reclassified",
    };
    let shown = match artifact.change {
        Change::Added | Change::Restored => format!("{:<12}", word.green()),
        Change::Modified | Change::Reclassified => format!("{:<12}", word.cyan()),
    };
    let previous = match &artifact.previous_artifact_key {
        Some(previous) => {
            let now = printable(&artifact.artifact_key);
            format!(": {} is now {now}", printable(previous))
        }
        None => String::new(),
    };
    What::Artifact(word, format!("{shown} {path}{}{previous}", status(artifact.required_status)))
}

fn status(status: RequiredStatus) -> &'static str {
    match status {
        RequiredStatus::Required => " (required)",
        RequiredStatus::Optional => "",
    }
}

fn missing(artifact: &ArtifactMissing) -> What {
    let word = match artifact.reason_code {
        ErrorReason::NotFound => "missing",
        ErrorReason::Unreadable => "unreadable",
        ErrorReason::InvalidFormat => "invalid",
        ErrorReason::DeletedAfterScan => "deleted",
    };
    let path = match &artifact.relative_path {
        Some(path) => path.text().into_owned(),
        None => artifact.expected_path_pattern.clone(),
    };
    let shown = if artifact.blocking {
        format!("{:<12}", word.red())
    } else {
        format!("{:<12}", word.yellow())
    };
    let mut text = format!("{shown} {}", printable(&path));
    if artifact.blocking {
        text.push_str(" (required)");
    }
    if let Some(detail) = &artifact.reason_detail {
        text.push_str(&format!(": {}", printable(detail)));
    }
    What::Artifact(word, text)
}

fn drifted(drift: &ParityDriftDetected) -> What {
    let state =
        if drift.key_mismatch.is_empty() { DriftState::Drifted } else { DriftState::KeyMismatch };
    let verdict = words::verdict(Some(state), Some(drift.severity));
    let mut text = format!("{verdict}: {}", printable(&drift.detail));
    for (name, keys) in [
        ("missing", &drift.missing_in_local),
        ("changed", &drift.changed),
        ("added", &drift.missing_in_baseline),
    ] {
        if !keys.is_empty() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            text.push_str(&format!("; {name} {}", words::some(&keys)));
        }
    }
    What::Feature(text)
}

/// Events of artifacts of one feature that come together.
#[derive(Debug, Default)]
pub(super) struct Burst(Vec<Told>);

impl Burst {
    /// More of these are one line.
    const LINES: usize = 5;

    /// Takes an event; what is due before it is pushed onto `lines`.
    pub(super) fn take(&mut self, told: Told, lines: &mut Vec<String>) {
        match told.what {
            What::Artifact(..) => {
                // The time may be another; the feature must not be.
                let feature = |told: &Told| told.margin.split("  ").nth(1).map(str::to_owned);
                if self.0.last().is_some_and(|last| feature(last) != feature(&told)) {
                    self.end(lines);
                }
                self.0.push(told);
            }
            What::Feature(_) => {
                self.end(lines);
                lines.push(told.line());
            }
            What::Nothing(_) => self.end(lines),
        }
    }

    /// Nothing more comes with it.
    pub(super) fn end(&mut self, lines: &mut Vec<String>) {
        let told = std::mem::take(&mut self.0);
        let Some(last) = told.last().filter(|_| told.len() > Self::LINES) else {
            lines.extend(told.iter().map(Told::line));
            return;
        };
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for told in &told {
            let What::Artifact(word, _) = told.what else { continue };
            match counts.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += 1,
                None => counts.push((word, 1)),
            }
        }
        let counts: Vec<String> =
            counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        lines.push(format!("{}  {} artifacts", last.margin, counts.join(", ")));
    }

    /// Whether something waits for more.
    pub(super) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}
