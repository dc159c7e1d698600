//! Which events follow from a change of state. Committing and delivering them is done elsewhere.
//!
//! Artifact events are the difference between two inventories. Evaluation events (snapshot, drift)
//! are the difference between what was last published for a feature and its current evaluation. The
//! same difference produces the same events, whatever triggered the comparison and however late.

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactRef, DevIno, ErrorReason};
use super::baseline::BaselineFile;
use super::counts::Counts;
use super::digest::Digest;
use super::drift::{DifferenceKind, Drift, DriftState, Severity};
use super::event::{
    ArtifactIndexed, ArtifactMissing, Change, ParityDriftDetected, Payload, SnapshotComputed,
};
use super::feature::{FeatureMetadata, MetaFields};
use super::feature_context::Completeness;
use super::ignore::IgnoredBy;
use super::inventory::{EntryChange, Inventory};
use super::path::FeatureSlug;
use super::task_progress::TaskProgress;
use super::time::Timestamp;

/// Why a path is no longer in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// The file was deleted or moved away.
    Deleted,
    /// A directory above it cannot be read, so its state is unknown.
    ParentUnreadable,
    /// It is ignored by now; the file may still exist.
    Ignored(IgnoredBy),
    /// It was on a file system that was mounted for a while.
    Unmounted,
    /// It was an unreadable directory that is readable now; its entries have their own events.
    DirBecameReadable,
}

/// Returns the event for a change of one path, if there is one. `inventory` is the state after the
/// change, `former_step` the step before it; `removal` is used if the path was removed.
#[must_use]
pub fn artifact_event(
    inventory: &Inventory,
    former_step: Option<&str>,
    changed: &EntryChange,
    removal: RemovalReason,
) -> Option<Payload> {
    let slug = &inventory.context().feature_slug;
    let before = changed.before.as_deref().filter(|before| !before.is_restless());
    match (before, changed.after.as_deref()) {
        (_, Some(now)) if now.is_restless() => None,
        (_, Some(now)) if now.is_present() => {
            let change = classify_change(before, now)?;
            let key_before = before.map(|before| &before.artifact_key);
            let key_before = key_before.filter(|key| **key != now.artifact_key);
            Some(indexed_payload(slug, now, change, key_before.map(ToString::to_string)))
        }
        (before, Some(now)) => {
            let reason = now.error_reason()?;
            let same = before.is_some_and(|before| before.error_reason() == Some(reason));
            let missing = || file_payload(inventory, now, reason, now.error_detail());
            (!same).then(|| Payload::ArtifactMissing(missing()))
        }
        (Some(before), None) => {
            let (reason, detail) = match removal {
                RemovalReason::DirBecameReadable => return None,
                RemovalReason::Deleted => (ErrorReason::DeletedAfterScan, None),
                RemovalReason::Ignored(IgnoredBy::Configuration) => {
                    (ErrorReason::Unreadable, Some("ignored by the configuration"))
                }
                RemovalReason::Ignored(IgnoredBy::DefaultName) => {
                    (ErrorReason::Unreadable, Some("ignored by default"))
                }
                RemovalReason::Unmounted => (ErrorReason::Unreadable, Some("unmounted")),
                RemovalReason::ParentUnreadable => {
                    (ErrorReason::Unreadable, Some("a directory above it is unreadable"))
                }
            };
            let mut missing = file_payload(inventory, before, reason, detail);
            if reason == ErrorReason::DeletedAfterScan {
                let key = expected_key(inventory, before);
                missing.blocking |= inventory.is_unsatisfied_blocking_spec_at(key, former_step);
            }
            Some(Payload::ArtifactMissing(missing))
        }
        (None, None) => None,
    }
}

/// Returns the events of the absent specs `now` whose absence was not reported before: by an event of
/// theirs, so that their keys are in `before`, or by that of the deletion of their file, for which
/// `is_deleted` returns true. Only a deletion in the same commit reports what is absent after it:
/// after an earlier one, the spec may not have applied.
#[must_use]
pub fn absent_spec_events(
    inventory: &Inventory,
    before: &[String],
    now: &[ArtifactRef],
    is_deleted: impl Fn(&str) -> bool,
) -> Vec<Payload> {
    now.iter()
        .filter(|spec| !before.iter().any(|key| **key == *spec.artifact_key))
        .filter(|spec| !is_deleted(&spec.artifact_key))
        .map(|spec| Payload::ArtifactMissing(absent_payload(inventory, spec)))
        .collect()
}

/// Returns the keys of the specs whose absence is reported after a commit that reports the specs
/// `now`: these, and those reported before that are not known to be satisfied since, because they
/// cannot be looked for. `before` and `is_deleted` are those of [`absent_spec_events`].
#[must_use]
pub fn reported_absences(
    inventory: &Inventory,
    before: &[String],
    now: &[ArtifactRef],
    is_deleted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let is_reported = |key: &str| {
        now.iter().any(|spec| &*spec.artifact_key == key)
            || before.iter().any(|before| before == key)
            || is_deleted(key)
    };
    let unsatisfied = inventory.unsatisfied_specs().map(|spec| &*spec.key);
    unsatisfied.filter(|key| is_reported(key)).map(str::to_owned).collect()
}

/// Returns the keys of the specs whose absence is reported after a commit that reports none, because the
/// directory cannot be read: those reported before. An event of their file in the commit replaces that, and
/// reports no absence if the spec does not apply; `is_replaced` returns true for these keys.
#[must_use]
pub fn kept_absences(
    inventory: &Inventory,
    before: &[String],
    is_replaced: impl Fn(&str) -> bool,
) -> Vec<String> {
    let applies = |key: &str| inventory.unsatisfied_specs().any(|spec| *spec.key == *key);
    before.iter().filter(|key| !is_replaced(key) || applies(key)).cloned().collect()
}

fn classify_change(before: Option<&ArtifactRef>, now: &ArtifactRef) -> Option<Change> {
    let Some(before) = before else {
        return Some(Change::Added);
    };
    let same_metadata = before.artifact_key == now.artifact_key
        && before.artifact_class == now.artifact_class
        && before.wp_id == now.wp_id
        && before.step_id == now.step_id
        && before.required_status == now.required_status;
    match before.hash() {
        None => Some(Change::Restored),
        hash if hash != now.hash() => Some(Change::Modified),
        _ => (!same_metadata).then_some(Change::Reclassified),
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

fn file_payload(
    inventory: &Inventory,
    artifact: &ArtifactRef,
    reason: ErrorReason,
    detail: Option<&str>,
) -> ArtifactMissing {
    let path = &artifact.relative_path;
    let pattern = inventory.primary_spec(path).map(|spec| spec.pattern.as_str());
    let key = expected_key(inventory, artifact);
    ArtifactMissing {
        expected_path_pattern: pattern.map_or_else(|| path.text().into_owned(), str::to_owned),
        reason_code: reason,
        reason_detail: detail.map(str::to_owned),
        blocking: inventory.is_unsatisfied_blocking_spec(key),
        relative_path: Some(path.clone()),
        ..absent_payload(inventory, artifact)
    }
}

/// Returns the key of the spec that names the file at the path of an artifact, else the artifact's.
fn expected_key<'a>(inventory: &'a Inventory, artifact: &'a ArtifactRef) -> &'a str {
    let spec = inventory.primary_spec(&artifact.relative_path);
    spec.map_or(&*artifact.artifact_key, |spec| &*spec.key)
}

fn absent_payload(inventory: &Inventory, spec: &ArtifactRef) -> ArtifactMissing {
    ArtifactMissing {
        feature_slug: inventory.context().feature_slug.clone(),
        artifact_key: spec.artifact_key.to_string(),
        artifact_class: spec.artifact_class,
        expected_path_pattern: spec.relative_path.text().into_owned(),
        reason_code: ErrorReason::NotFound,
        reason_detail: None,
        blocking: inventory.is_unsatisfied_blocking_spec(&spec.artifact_key),
        relative_path: None,
    }
}

/// The result of evaluating a feature, as far as it is published in events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Parity hash of the present artifacts.
    pub parity_hash_sha256: Digest,
    /// Tree hash of the present artifacts.
    pub tree_hash_sha256: Digest,
    /// Numbers of listed, required and present artifacts.
    pub counts: Counts,
    /// Whether all required artifacts are present.
    pub completeness: Completeness,
    /// Sorted keys of the required artifacts that are not present.
    pub missing_required: Vec<String>,
    /// Progress of the work; `None` if there is none.
    pub progress: Option<TaskProgress>,
    /// Comparison with the baseline.
    pub drift: Drift,
}

/// Maximum number of key mismatches that are remembered for a feature; the oldest are forgotten.
/// Switching between that many branches repeats no event.
pub const MAX_REMEMBERED_MISMATCHES: usize = 16;

/// What the last events of a feature contained. It is stored, so that a restart repeats no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPublished {
    /// `snapshot_id` of the last published snapshot.
    pub snapshot_id: String,
    /// Time of that snapshot; `None` if an older version published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed_at: Option<Timestamp>,
    /// Fingerprint of the content of a snapshot event.
    pub snapshot: Digest,
    /// Fingerprint of the drift; `None` if there is none.
    pub drift: Option<Digest>,
    /// Fingerprints of the published key mismatches, the newest last, at most
    /// [`MAX_REMEMBERED_MISMATCHES`]. An older mismatch is published again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Digest>,
    /// [`BaselineFile::fingerprint`] of the baseline that was compared; `None` if an older version
    /// published the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Digest>,
    /// [`FeatureMetadata::last_valid_meta`], which a restart must not lose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<MetaFields>,
    /// [`FeatureMetadata::dir`], by which a move is recognised that happens between two runs; `None` if an
    /// older version published the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<DevIno>,
    /// Slug of the feature that was moved here, if one was and a snapshot reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_feature_slug: Option<FeatureSlug>,
}

/// Evaluation events of a feature, and what is published once they are committed.
#[derive(Debug)]
pub struct EvaluationEvents {
    /// The events in order: a snapshot, then drift; each at most once.
    pub events: Vec<Payload>,
    /// The new value of [`LastPublished`].
    pub last_published: LastPublished,
}

/// Returns the evaluation events of a feature whose evaluation is now `current`, after those that
/// `last` describes (`previous_slug` is that of the feature that was moved here; `docs/specification.md#snapshot-computed`,
/// `docs/specification.md#parity-drift-detected`). `snapshot_id` is called only for a new snapshot.
#[must_use]
pub fn evaluation_events(
    slug: &FeatureSlug,
    previous_slug: Option<&FeatureSlug>,
    last: Option<&LastPublished>,
    current: &Evaluation,
    metadata: &FeatureMetadata,
    at: Timestamp,
    snapshot_id: impl FnOnce() -> String,
) -> EvaluationEvents {
    let snapshot = current.snapshot_fingerprint();
    let drift = current.drift_fingerprint(&metadata.baseline);
    let mut mismatches = last.map(|last| last.mismatches.clone()).unwrap_or_default();
    let mut events = Vec::new();
    let known_slug = last.and_then(|last| last.previous_feature_slug.as_ref());
    let moved_from = previous_slug.filter(|slug| known_slug != Some(slug));
    let unchanged = last.filter(|last| last.snapshot == snapshot && moved_from.is_none());
    let (snapshot_id, computed_at) = match unchanged {
        Some(last) => (last.snapshot_id.clone(), last.computed_at),
        None => {
            let id = snapshot_id();
            events.push(Payload::SnapshotComputed(current.snapshot_event(slug, moved_from, &id)));
            (id, Some(at))
        }
    };
    let is_new = match current.mismatch_fingerprint(metadata) {
        Some(mismatch) => remember_mismatch(&mut mismatches, mismatch),
        None => drift.is_some() && last.and_then(|last| last.drift) != drift,
    };
    if is_new {
        let event = current.drift_event(slug, &metadata.baseline);
        events.extend(event.map(Payload::ParityDriftDetected));
    }
    let baseline = Some(metadata.baseline.fingerprint());
    let meta = metadata.last_valid_meta.clone();
    let dir = metadata.dir.or_else(|| last.and_then(|last| last.dir));
    let previous_feature_slug = previous_slug.or(known_slug).cloned();
    let last_published = LastPublished {
        snapshot_id,
        computed_at,
        snapshot,
        drift,
        mismatches,
        baseline,
        meta,
        dir,
        previous_feature_slug,
    };
    EvaluationEvents { events, last_published }
}

impl Evaluation {
    fn snapshot_event(
        &self,
        slug: &FeatureSlug,
        moved_from: Option<&FeatureSlug>,
        snapshot_id: &str,
    ) -> SnapshotComputed {
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
            progress: self.progress,
            previous_feature_slug: moved_from.cloned(),
        }
    }

    fn snapshot_fingerprint(&self) -> Digest {
        let state = (
            self.parity_hash_sha256,
            self.tree_hash_sha256,
            self.counts,
            self.completeness,
            &self.missing_required,
            self.drift.state,
            self.drift.severity,
        );
        match &self.progress {
            // As it was before there was progress: an update of dossierd repeats no event.
            None => fingerprint(&state),
            Some(progress) => fingerprint(&(state, progress)),
        }
    }

    /// Returns the fingerprint of the two keys; `None` if they match.
    fn mismatch_fingerprint(&self, metadata: &FeatureMetadata) -> Option<Digest> {
        let BaselineFile::Valid(baseline) = &metadata.baseline else {
            return None;
        };
        let differ = self.drift.state == Some(DriftState::KeyMismatch);
        differ.then(|| fingerprint(&(baseline.baseline_key_hash, metadata.compared_key().hash())))
    }

    /// Returns the fingerprint of the baseline and the differences. The local hash is not part of
    /// it, so an edit that leaves the lists of differences as they are repeats no event.
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
                drift.missing_keys(),
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
            missing_in_local: owned(drift.missing_keys()),
            missing_in_baseline: owned(drift.keys(DifferenceKind::MissingInBaseline)),
            severity: drift.severity.unwrap_or(Severity::Info),
            changed: owned(drift.keys(DifferenceKind::Changed)),
            churn: owned(drift.churn_keys()),
            key_mismatch: owned(drift.key_mismatch.clone()),
            detail: drift.detail.clone(),
        })
    }
}

/// Remembers a mismatch; returns true if it is new.
fn remember_mismatch(remembered: &mut Vec<Digest>, mismatch: Digest) -> bool {
    let is_new = !remembered.contains(&mismatch);
    if is_new {
        remembered.drain(..(remembered.len() + 1).saturating_sub(MAX_REMEMBERED_MISMATCHES));
        remembered.push(mismatch);
    }
    is_new
}

fn fingerprint(value: &impl Serialize) -> Digest {
    Digest::of(&serde_json::to_vec(value).unwrap_or_default())
}

#[cfg(test)]
mod tests;
