//! Formats events as text: one line for each, or one line for a burst.

use std::collections::HashMap;

use owo_colors::OwoColorize as _;

use crate::cli::render::{labels, output, time_text};
use crate::core::artifact::{ErrorReason, RequiredStatus};
use crate::core::drift::{DriftState, Severity};
use crate::core::event::{
    ArtifactCounts, ArtifactIndexed, ArtifactMissing, Change, ParityDriftDetected, Payload,
    SnapshotComputed,
};
use crate::core::feature_context::Completeness;
use crate::core::path::escape_unprintable;
use crate::wire::events::ReceivedEvent;
use crate::wire::overview::Overview;

/// What precedes the text of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinePrefix {
    /// Time of day and feature.
    Live,
    /// Time of day, project and feature.
    LiveProjects,
    /// Date, time, project and feature.
    Journal,
}

/// An event as text.
#[derive(Debug)]
pub(crate) struct FormattedEvent {
    /// Time and feature, as [`LinePrefix`] selects them.
    pub(crate) prefix: String,
    /// What happened.
    pub(crate) text: EventText,
    /// Slug of the feature if its completeness became unknown: the event does not contain why.
    unexplained: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum EventText {
    /// An artifact changed.
    Artifact {
        /// The change in a word, for the summary of a burst.
        change: &'static str,
        /// The whole text.
        line: String,
    },
    /// The state of a feature changed.
    Feature(String),
    /// Nothing visible changed: only hashes differ.
    Unchanged(String),
}

impl FormattedEvent {
    /// Adds the numbers of lines that an edit added and removed, if they are known.
    pub(crate) fn with_lines(mut self, lines: Option<(u32, u32)>) -> Self {
        if let (EventText::Artifact { line, .. }, Some((added, removed))) = (&mut self.text, lines)
        {
            line.push_str(&format!(" {}", format!("+{added} -{removed}").dimmed()));
        }
        self
    }

    /// Returns true if completeness became unknown, and the line does not contain why.
    pub(crate) fn needs_reason(&self) -> bool {
        self.unexplained.is_some()
    }

    /// Adds why completeness became unknown, if that is known.
    pub(crate) fn with_reason(mut self, reason: Option<String>) -> Self {
        if let (EventText::Feature(line), Some(reason)) = (&mut self.text, reason) {
            line.push_str(&format!("; because: {}", output::printable(&reason)));
            self.unexplained = None;
        }
        self
    }

    /// Returns prefix and text as one line.
    pub(crate) fn line(&self) -> String {
        let (EventText::Artifact { line: text, .. }
        | EventText::Feature(text)
        | EventText::Unchanged(text)) = &self.text;
        match &self.unexplained {
            Some(slug) => {
                let slug = escape_unprintable(slug);
                format!("{}  {text}; `dossierd status {slug}` shows why", self.prefix)
            }
            None => format!("{}  {text}", self.prefix),
        }
    }
}

/// The last known state of each feature, to describe only what changed.
#[derive(Debug, Default)]
pub(crate) struct LastStates(HashMap<FeatureKey, LastState>);

/// Identifies a feature among all projects.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FeatureKey {
    root_id: String,
    feature_slug: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastState {
    completeness: Completeness,
    counts: ArtifactCounts,
    drift: Option<DriftState>,
    severity: Option<Severity>,
}

impl LastStates {
    /// Records the current state of a feature.
    pub(crate) fn update(&mut self, root_id: &str, overview: &Overview<'_>) {
        let state = LastState {
            completeness: overview.completeness_status,
            counts: overview.artifact_counts,
            drift: overview.drift.state,
            severity: overview.drift.severity,
        };
        let feature_slug = overview.feature_slug.to_string();
        self.0.insert(FeatureKey { root_id: root_id.to_owned(), feature_slug }, state);
    }

    /// Formats an event and records the state that it contains.
    pub(crate) fn format(&mut self, event: &ReceivedEvent, prefix: LinePrefix) -> FormattedEvent {
        let mut unexplained = None;
        let text = match event.payload() {
            Some(Payload::ArtifactIndexed(artifact)) => format_indexed(&artifact),
            Some(Payload::ArtifactMissing(artifact)) => format_missing(&artifact),
            Some(Payload::SnapshotComputed(snapshot)) => {
                let (text, became_unknown) = self.format_snapshot(event, &snapshot);
                unexplained = became_unknown.then(|| event.feature_slug.clone());
                text
            }
            Some(Payload::ParityDriftDetected(drift)) => format_drift(&drift),
            None => EventText::Feature(escape_unprintable(&event.event_type).into_owned()),
        };
        FormattedEvent { prefix: format_prefix(event, prefix), text, unexplained }
    }

    /// Returns the text, and whether completeness became unknown.
    fn format_snapshot(
        &mut self,
        event: &ReceivedEvent,
        snapshot: &SnapshotComputed,
    ) -> (EventText, bool) {
        let now = LastState {
            completeness: snapshot.completeness_status,
            counts: snapshot.artifact_counts,
            drift: snapshot.drift_state,
            severity: snapshot.drift_severity,
        };
        let feature =
            FeatureKey { root_id: event.root_id.clone(), feature_slug: event.feature_slug.clone() };
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
        let became_unknown = before.is_none_or(|before| before.completeness != now.completeness);
        let became_unknown = became_unknown && now.completeness == Completeness::Unknown;
        let visible = |state: LastState| {
            let counts = state.counts;
            let required = (counts.required_present, counts.required);
            (state.completeness, required, state.drift, state.severity)
        };
        let text = match before {
            Some(before) if visible(before) == visible(now) => EventText::Unchanged(text),
            _ => EventText::Feature(text),
        };
        (text, became_unknown)
    }
}

fn format_prefix(event: &ReceivedEvent, prefix: LinePrefix) -> String {
    let (project, feature) =
        (escape_unprintable(&event.project), escape_unprintable(&event.feature_slug));
    let (project, feature) = (project.dimmed(), feature.bold());
    match prefix {
        LinePrefix::Live => {
            format!("{}  {feature}", time_text::of_day(event.emitted_at).dimmed())
        }
        LinePrefix::LiveProjects => {
            format!("{}  {project}/{feature}", time_text::of_day(event.emitted_at).dimmed())
        }
        LinePrefix::Journal => {
            format!("{}  {project}/{feature}", time_text::exact(event.emitted_at).dimmed())
        }
    }
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
    let required = required_suffix(artifact.required_status);
    EventText::Artifact { change: word, line: format!("{shown} {path}{required}{previous}") }
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
        text.push_str(&format!(": {}", output::printable(detail)));
    }
    EventText::Artifact { change: word, line: text }
}

fn format_drift(drift: &ParityDriftDetected) -> EventText {
    let state =
        if drift.key_mismatch.is_empty() { DriftState::Drifted } else { DriftState::KeyMismatch };
    let label = labels::drift_state_label(Some(state), Some(drift.severity));
    let mut text = format!("{label}: {}", escape_unprintable(&drift.detail));
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

/// Merges events about artifacts of one feature that arrive together.
#[derive(Debug, Default)]
pub(crate) struct EventBurst(Vec<FormattedEvent>);

impl EventBurst {
    /// Maximum number of events that are printed one by one; more become one line.
    const MAX_LINES: usize = 5;

    /// Adds an event. Lines that must be printed now are appended to `lines`.
    pub(crate) fn push(&mut self, event: FormattedEvent, lines: &mut Vec<String>) {
        match event.text {
            EventText::Artifact { .. } => {
                // The prefix is time and feature; only the feature must be the same.
                let feature =
                    |event: &FormattedEvent| event.prefix.split("  ").nth(1).map(str::to_owned);
                if self.0.last().is_some_and(|last| feature(last) != feature(&event)) {
                    self.flush(lines);
                }
                self.0.push(event);
            }
            EventText::Feature(_) => {
                self.flush(lines);
                lines.push(event.line());
            }
            EventText::Unchanged(_) => self.flush(lines),
        }
    }

    /// Ends the burst and appends its lines to `lines`.
    pub(crate) fn flush(&mut self, lines: &mut Vec<String>) {
        let events = std::mem::take(&mut self.0);
        let Some(last) = events.last().filter(|_| events.len() > Self::MAX_LINES) else {
            lines.extend(events.iter().map(FormattedEvent::line));
            return;
        };
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for event in &events {
            let EventText::Artifact { change, .. } = event.text else { continue };
            match counts.iter_mut().find(|(counted, _)| *counted == change) {
                Some((_, count)) => *count += 1,
                None => counts.push((change, 1)),
            }
        }
        let counts: Vec<String> =
            counts.iter().map(|(change, count)| format!("{count} {change}")).collect();
        lines.push(format!("{}  {} artifacts", last.prefix, counts.join(", ")));
    }

    /// Returns true if events are held back.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}
