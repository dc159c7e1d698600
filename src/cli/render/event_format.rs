//! Events as people read them: one line each, or one for a burst.

use std::collections::HashMap;

use owo_colors::OwoColorize as _;

use crate::cli::render::labels;
use crate::core::artifact::{ErrorReason, RequiredStatus};
use crate::core::drift::{DriftState, Severity};
use crate::core::event::{
    ArtifactCounts, ArtifactIndexed, ArtifactMissing, Change, ParityDriftDetected, Payload,
    SnapshotComputed,
};
use crate::core::feature_context::Completeness;
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::wire::events::ReceivedEvent;
use crate::wire::overview::Overview;

/// How much is written before what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinePrefix {
    /// The time of day and the feature.
    Live,
    /// The time of day, the project and the feature.
    LiveProjects,
    /// Date, time, project and feature.
    Journal,
}

/// One event in words.
#[derive(Debug)]
pub(crate) struct FormattedEvent {
    /// When and of what.
    pub(crate) prefix: String,
    /// What happened.
    pub(crate) text: EventText,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum EventText {
    /// To an artifact: in a word, and all of it.
    Artifact(&'static str, String),
    /// To a feature as a whole.
    Feature(String),
    /// Nothing that shows: only a hash is another.
    Unchanged(String),
}

impl FormattedEvent {
    /// The line.
    pub(crate) fn line(&self) -> String {
        let (EventText::Artifact(_, text) | EventText::Feature(text) | EventText::Unchanged(text)) =
            &self.text;
        format!("{}  {text}", self.prefix)
    }
}

/// What is known of features, so that only what changes is said.
#[derive(Debug, Default)]
pub(crate) struct LastStates(HashMap<(String, String), LastState>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastState {
    completeness: Completeness,
    counts: ArtifactCounts,
    drift: Option<DriftState>,
    severity: Option<Severity>,
}

impl LastStates {
    /// Takes the present state of a feature.
    pub(crate) fn update(&mut self, root_id: &str, overview: &Overview<'_>) {
        let state = LastState {
            completeness: overview.completeness_status,
            counts: overview.artifact_counts,
            drift: overview.drift.state,
            severity: overview.drift.severity,
        };
        self.0.insert((root_id.to_owned(), overview.feature_slug.to_string()), state);
    }

    /// An event in words.
    pub(crate) fn format(&mut self, event: &ReceivedEvent, margin: LinePrefix) -> FormattedEvent {
        let what = match event.payload() {
            Some(Payload::ArtifactIndexed(artifact)) => format_indexed(&artifact),
            Some(Payload::ArtifactMissing(artifact)) => format_missing(&artifact),
            Some(Payload::SnapshotComputed(snapshot)) => self.format_snapshot(event, &snapshot),
            Some(Payload::ParityDriftDetected(drift)) => format_drift(&drift),
            None => EventText::Feature(escape_unprintable(&event.event_type).into_owned()),
        };
        FormattedEvent { prefix: format_prefix(event, margin), text: what }
    }

    fn format_snapshot(&mut self, event: &ReceivedEvent, snapshot: &SnapshotComputed) -> EventText {
        let now = LastState {
            completeness: snapshot.completeness_status,
            counts: snapshot.artifact_counts,
            drift: snapshot.drift_state,
            severity: snapshot.drift_severity,
        };
        let feature = (event.root_id.clone(), event.feature_slug.clone());
        let before = self.0.insert(feature, now);
        let (present, of) = (now.counts.required_present, now.counts.required);
        let mut text = format!("{} {present}/{of}", labels::completeness_label(now.completeness));
        if before.is_some_and(|before| before.completeness != now.completeness) {
            text = format!("now {text}");
        }
        if !snapshot.missing_required.is_empty() {
            let keys: Vec<&str> = snapshot.missing_required.iter().map(String::as_str).collect();
            text.push_str(&format!(", missing {}", labels::join_truncated(&keys)));
        }
        let was_drifted = before.is_some_and(|before| before.drift == Some(DriftState::Drifted));
        if was_drifted && now.drift == Some(DriftState::InParity) {
            text.push_str(&format!("; {}", "parity restored".green()));
        } else {
            text.push_str(&format!("; {}", labels::drift_state_label(now.drift, now.severity)));
        }
        let shows = |state: LastState| {
            let counts = state.counts;
            let required = (counts.required_present, counts.required);
            (state.completeness, required, state.drift, state.severity)
        };
        match before {
            Some(before) if shows(before) == shows(now) => EventText::Unchanged(text),
            _ => EventText::Feature(text),
        }
    }
}

fn format_prefix(event: &ReceivedEvent, margin: LinePrefix) -> String {
    let (project, feature) =
        (escape_unprintable(&event.project), escape_unprintable(&event.feature_slug));
    let (project, feature) = (project.dimmed(), feature.bold());
    match margin {
        LinePrefix::Live => format!("{}  {feature}", time_of_day(event.emitted_at).dimmed()),
        LinePrefix::LiveProjects => {
            format!("{}  {project}/{feature}", time_of_day(event.emitted_at).dimmed())
        }
        LinePrefix::Journal => format!("{}  {project}/{feature}", event.emitted_at.dimmed()),
    }
}

/// The time of day, in UTC.
fn time_of_day(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", text.get(11..19).unwrap_or_default())
}

fn format_indexed(artifact: &ArtifactIndexed) -> EventText {
    let path = escape_unprintable(&artifact.relative_path.text()).into_owned();
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
            let now = escape_unprintable(&artifact.artifact_key);
            format!(": {} is now {now}", escape_unprintable(previous))
        }
        None => String::new(),
    };
    EventText::Artifact(
        word,
        format!("{shown} {path}{}{previous}", required_suffix(artifact.required_status)),
    )
}

fn required_suffix(status: RequiredStatus) -> &'static str {
    match status {
        RequiredStatus::Required => " (required)",
        RequiredStatus::Optional => "",
    }
}

fn format_missing(artifact: &ArtifactMissing) -> EventText {
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
    let mut text = format!("{shown} {}", escape_unprintable(&path));
    if artifact.blocking {
        text.push_str(" (required)");
    }
    if let Some(detail) = &artifact.reason_detail {
        text.push_str(&format!(": {}", escape_unprintable(detail)));
    }
    EventText::Artifact(word, text)
}

fn format_drift(drift: &ParityDriftDetected) -> EventText {
    let state =
        if drift.key_mismatch.is_empty() { DriftState::Drifted } else { DriftState::KeyMismatch };
    let verdict = labels::drift_state_label(Some(state), Some(drift.severity));
    let mut text = format!("{verdict}: {}", escape_unprintable(&drift.detail));
    for (name, keys) in [
        ("missing", &drift.missing_in_local),
        ("changed", &drift.changed),
        ("added", &drift.missing_in_baseline),
    ] {
        if !keys.is_empty() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            text.push_str(&format!("; {name} {}", labels::join_truncated(&keys)));
        }
    }
    EventText::Feature(text)
}

/// Events of artifacts of one feature that come together.
#[derive(Debug, Default)]
pub(crate) struct EventBurst(Vec<FormattedEvent>);

impl EventBurst {
    /// More of these are one line.
    const MAX_LINES: usize = 5;

    /// Takes an event; what is due before it is pushed onto `lines`.
    pub(crate) fn push(&mut self, told: FormattedEvent, lines: &mut Vec<String>) {
        match told.text {
            EventText::Artifact(..) => {
                // The time may be another; the feature must not be.
                let feature =
                    |told: &FormattedEvent| told.prefix.split("  ").nth(1).map(str::to_owned);
                if self.0.last().is_some_and(|last| feature(last) != feature(&told)) {
                    self.flush(lines);
                }
                self.0.push(told);
            }
            EventText::Feature(_) => {
                self.flush(lines);
                lines.push(told.line());
            }
            EventText::Unchanged(_) => self.flush(lines),
        }
    }

    /// Nothing more comes with it.
    pub(crate) fn flush(&mut self, lines: &mut Vec<String>) {
        let told = std::mem::take(&mut self.0);
        let Some(last) = told.last().filter(|_| told.len() > Self::MAX_LINES) else {
            lines.extend(told.iter().map(FormattedEvent::line));
            return;
        };
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for told in &told {
            let EventText::Artifact(word, _) = told.text else { continue };
            match counts.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += 1,
                None => counts.push((word, 1)),
            }
        }
        let counts: Vec<String> =
            counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        lines.push(format!("{}  {} artifacts", last.prefix, counts.join(", ")));
    }

    /// Whether something waits for more.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}
