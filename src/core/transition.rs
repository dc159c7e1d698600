//! The one transition: which events a change of state owes.
//!
//! Artifact events are the difference between two inventories; verdict events (a snapshot, drift)
//! are the difference between what was last announced of a feature and what is true now. Whatever
//! woke us, and however late, the same difference gives the same events.

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactRef, ErrorReason};
use super::baseline::BaselineFile;
use super::counts::Counts;
use super::digest::Digest;
use super::drift::{DifferenceKind, Drift, DriftState, Severity};
use super::event::{
    ArtifactIndexed, ArtifactMissing, Change, ParityDriftDetected, Payload, SnapshotComputed,
};
use super::feature::FeatureMetadata;
use super::feature_context::Completeness;
use super::inventory::{EntryChange, Inventory};
use super::path::FeatureSlug;
use super::time::Timestamp;

/// Why a path has nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// It was deleted, or moved away.
    Deleted,
    /// A directory above it cannot be read, so nothing is known of it.
    ParentUnreadable,
    /// The configuration leaves it out from now on; it may well be there.
    Ignored,
    /// It was a directory that could not be read, and now can: what is in it says the rest.
    DirBecameReadable,
}

/// The event that a change of one path owes, if any. `inventory` is the state after the change.
#[must_use]
pub fn artifact_event(
    inventory: &Inventory,
    changed: &EntryChange,
    gone: RemovalReason,
) -> Option<Payload> {
    let slug = &inventory.context().feature_slug;
    let before = changed.before.as_deref();
    match (before, changed.after.as_deref()) {
        (_, Some(now)) if now.is_present() => {
            let change = classify_change(before, now)?;
            let key_before = before.map(|before| &before.artifact_key);
            let key_before = key_before.filter(|key| **key != now.artifact_key);
            Some(indexed_payload(slug, now, change, key_before.map(ToString::to_string)))
        }
        (before, Some(now)) => {
            let reason = now.error_reason()?;
            let same = before.is_some_and(|before| before.error_reason() == Some(reason));
            (!same).then(|| missing_payload(inventory, now, reason, now.error_detail(), true))
        }
        (Some(before), None) => {
            let (reason, detail) = match gone {
                RemovalReason::DirBecameReadable => return None,
                RemovalReason::Deleted => (ErrorReason::DeletedAfterScan, None),
                RemovalReason::Ignored => {
                    (ErrorReason::Unreadable, Some("ignored by the configuration"))
                }
                RemovalReason::ParentUnreadable => {
                    (ErrorReason::Unreadable, Some("a folder above it is unreadable"))
                }
            };
            Some(missing_payload(inventory, before, reason, detail, true))
        }
        (None, None) => None,
    }
}

/// The events that newly absent specs owe. A spec whose file was deleted has its event already:
/// `silent` says which keys do.
#[must_use]
pub fn absent_spec_events(
    inventory: &Inventory,
    before: &[String],
    now: &[ArtifactRef],
    silent: impl Fn(&str) -> bool,
) -> Vec<Payload> {
    now.iter()
        .filter(|spec| !before.iter().any(|key| **key == *spec.artifact_key))
        .filter(|spec| !silent(&spec.artifact_key))
        .map(|spec| missing_payload(inventory, spec, ErrorReason::NotFound, None, false))
        .collect()
}

fn classify_change(before: Option<&ArtifactRef>, now: &ArtifactRef) -> Option<Change> {
    let Some(before) = before else {
        return Some(Change::Added);
    };
    let same_place = before.artifact_key == now.artifact_key
        && before.artifact_class == now.artifact_class
        && before.wp_id == now.wp_id
        && before.step_id == now.step_id
        && before.required_status == now.required_status;
    match before.hash() {
        None => Some(Change::Restored),
        hash if hash != now.hash() => Some(Change::Modified),
        _ => (!same_place).then_some(Change::Reclassified),
    }
}

fn indexed_payload(
    slug: &FeatureSlug,
    artifact: &ArtifactRef,
    change: Change,
    previous_artifact_key: Option<String>,
) -> Payload {
    Payload::ArtifactIndexed(ArtifactIndexed {
        feature_slug: slug.clone(),
        artifact_key: artifact.artifact_key.to_string(),
        artifact_class: artifact.artifact_class,
        relative_path: artifact.relative_path.clone(),
        content_hash_sha256: artifact.hash().unwrap_or_else(|| Digest::of(b"")),
        size_bytes: artifact.size_bytes,
        wp_id: artifact.wp_id.as_deref().map(str::to_owned),
        step_id: artifact.step_id.as_deref().map(str::to_owned),
        required_status: artifact.required_status,
        change,
        previous_artifact_key,
    })
}

fn missing_payload(
    inventory: &Inventory,
    artifact: &ArtifactRef,
    reason: ErrorReason,
    detail: Option<&str>,
    is_file: bool,
) -> Payload {
    let spec = inventory.primary_spec(&artifact.relative_path);
    let path = artifact.relative_path.text();
    Payload::ArtifactMissing(ArtifactMissing {
        feature_slug: inventory.context().feature_slug.clone(),
        artifact_key: artifact.artifact_key.to_string(),
        artifact_class: artifact.artifact_class,
        expected_path_pattern: match spec {
            Some(spec) if is_file => spec.pattern.as_str().to_owned(),
            _ => path.into_owned(),
        },
        reason_code: reason,
        reason_detail: detail.map(str::to_owned),
        blocking: match spec {
            Some(spec) if is_file => inventory.is_unsatisfied_blocking_spec(&spec.key),
            _ => inventory.is_unsatisfied_blocking_spec(&artifact.artifact_key),
        },
        relative_path: is_file.then(|| artifact.relative_path.clone()),
    })
}

/// A feature's state as far as it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Parity hash.
    pub parity_hash_sha256: Digest,
    /// Tree hash.
    pub tree_hash_sha256: Digest,
    /// The six counts.
    pub counts: Counts,
    /// Whether all that is required is there.
    pub completeness: Completeness,
    /// Keys of the required artifacts that are not present.
    pub missing_required: Vec<String>,
    /// How it compares to its baseline.
    pub drift: Drift,
}

/// What was last put into an event of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPublished {
    /// Identity of the snapshot that was announced.
    pub snapshot_id: String,
    /// When it was computed; `None` where an older version announced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed_at: Option<Timestamp>,
    /// Of all that a snapshot event says.
    pub snapshot: Digest,
    /// Of all that decides whether drift is news; `None` while there is none.
    pub drift: Option<Digest>,
    /// The pairs of keys that did not match and were told of, the newest last; at most sixteen. Of a
    /// pair that was told of before these nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Digest>,
    /// Of the baseline by which it was judged, [`BaselineFile::fingerprint`]; `None` where an older
    /// version announced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Digest>,
}

/// Pairs of keys that are remembered of a feature: branches between which someone goes to and fro.
const MAX_REMEMBERED_MISMATCHES: usize = 16;

/// The verdict events that are owed at a time, and what is announced once they are made.
/// `snapshot_id` is asked for only when a snapshot is owed.
#[must_use]
pub fn evaluation_events(
    slug: &FeatureSlug,
    announced: Option<&LastPublished>,
    now: &Evaluation,
    bearings: &FeatureMetadata,
    at: Timestamp,
    snapshot_id: impl FnOnce() -> String,
) -> (Vec<Payload>, LastPublished) {
    let snapshot = now.snapshot_fingerprint();
    let drift = now.drift_fingerprint(&bearings.baseline);
    let mut mismatches = announced.map(|known| known.mismatches.clone()).unwrap_or_default();
    let mut events = Vec::new();
    let known = announced.filter(|announced| announced.snapshot == snapshot);
    let (snapshot_id, computed_at) = match known {
        Some(known) => (known.snapshot_id.clone(), known.computed_at),
        None => {
            let id = snapshot_id();
            events.push(Payload::SnapshotComputed(now.snapshot_event(slug, &id)));
            (id, Some(at))
        }
    };
    let is_news = match now.mismatch_fingerprint(bearings) {
        Some(pair) => remember_mismatch(&mut mismatches, pair),
        None => drift.is_some() && announced.and_then(|announced| announced.drift) != drift,
    };
    if is_news {
        let event = now.drift_event(slug, &bearings.baseline);
        events.extend(event.map(Payload::ParityDriftDetected));
    }
    let baseline = Some(bearings.baseline.fingerprint());
    (events, LastPublished { snapshot_id, computed_at, snapshot, drift, mismatches, baseline })
}

impl Evaluation {
    fn snapshot_event(&self, slug: &FeatureSlug, snapshot_id: &str) -> SnapshotComputed {
        SnapshotComputed {
            feature_slug: slug.clone(),
            parity_hash_sha256: self.parity_hash_sha256,
            artifact_counts: self.counts.into(),
            completeness_status: self.completeness,
            snapshot_id: snapshot_id.to_owned(),
            tree_hash_sha256: self.tree_hash_sha256,
            drift_state: self.drift.state,
            drift_severity: self.drift.severity,
            missing_required: self.missing_required.clone(),
        }
    }

    fn snapshot_fingerprint(&self) -> Digest {
        fingerprint(&(
            self.parity_hash_sha256,
            self.tree_hash_sha256,
            self.counts,
            self.completeness,
            &self.missing_required,
            self.drift.state,
            self.drift.severity,
        ))
    }

    /// Of the two keys, where they do not match.
    fn mismatch_fingerprint(&self, bearings: &FeatureMetadata) -> Option<Digest> {
        let BaselineFile::Valid(baseline) = &bearings.baseline else {
            return None;
        };
        let differ = self.drift.state == Some(DriftState::KeyMismatch);
        differ.then(|| fingerprint(&(baseline.baseline_key_hash, bearings.baseline_key.hash())))
    }

    /// Of the baseline and the differences, not of the local hash: an edit that leaves the lists
    /// as they are is no news.
    fn drift_fingerprint(&self, file: &BaselineFile) -> Option<Digest> {
        let BaselineFile::Valid(baseline) = file else {
            return None;
        };
        let drift = &self.drift;
        let (key, parity) = (baseline.baseline_key_hash, baseline.parity_hash_sha256);
        match drift.state? {
            DriftState::Drifted => Some(fingerprint(&(
                key,
                parity,
                drift.severity,
                drift.keys(DifferenceKind::MissingInLocal),
                drift.keys(DifferenceKind::MissingInBaseline),
                drift.keys(DifferenceKind::Changed),
                drift.churn_keys(),
            ))),
            DriftState::KeyMismatch
            | DriftState::NoBaseline
            | DriftState::BaselineCorrupt
            | DriftState::InParity => None,
        }
    }

    fn drift_event(&self, slug: &FeatureSlug, file: &BaselineFile) -> Option<ParityDriftDetected> {
        let BaselineFile::Valid(baseline) = file else {
            return None;
        };
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        let drift = &self.drift;
        Some(ParityDriftDetected {
            feature_slug: slug.clone(),
            local_parity_hash: self.parity_hash_sha256,
            baseline_parity_hash: baseline.parity_hash_sha256,
            missing_in_local: owned(drift.keys(DifferenceKind::MissingInLocal)),
            missing_in_baseline: owned(drift.keys(DifferenceKind::MissingInBaseline)),
            severity: drift.severity.unwrap_or(Severity::Info),
            changed: owned(drift.keys(DifferenceKind::Changed)),
            churn: owned(drift.churn_keys()),
            key_mismatch: owned(drift.key_mismatch.clone()),
            detail: drift.detail.clone(),
        })
    }
}

/// Takes note of a pair of keys; says whether it is a new one.
fn remember_mismatch(told: &mut Vec<Digest>, pair: Digest) -> bool {
    let is_new = !told.contains(&pair);
    if is_new {
        told.drain(..(told.len() + 1).saturating_sub(MAX_REMEMBERED_MISMATCHES));
        told.push(pair);
    }
    is_new
}

fn fingerprint(value: &impl Serialize) -> Digest {
    Digest::of(&serde_json::to_vec(value).unwrap_or_default())
}

#[cfg(test)]
mod tests;
