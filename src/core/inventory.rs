//! The inventory of one feature, updated change by change. Which changes happened is detected in
//! `scan` and `watch`.
//!
//! In addition to the files it contains what would otherwise be recomputed from all of them after
//! each change: which specs are satisfied, the counts, the sorted hashes. After any sequence of
//! changes it equals an inventory that is built from the final files; a property test checks this.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::artifact::{
    Absence, ArtifactClass, ArtifactRef, ArtifactState, ErrorReason, FileSignature, Observation,
    RequiredStatus,
};
use super::artifact_list::sorted_artifacts;
use super::churn::{ChurnRules, has_same_static_part};
use super::classify::conventional_class;
use super::counts::Counts;
use super::current_step::{CurrentStep, SpecFacts, decide_step};
use super::digest::Digest;
use super::dossier::MissionDossier;
use super::feature_context::{Completeness, FeatureContext, UnknownReason};
use super::key::artifact_key;
use super::manifest::{ArtifactSpec, Mission};
use super::path::RelPath;
use super::task_progress::{RelationCounts, TaskProgress};
use super::time::Timestamp;
use crate::core::incremental_hash::IncrementalHasher;
use crate::core::sorted_chunks::{Keyed, SortedChunks};

/// One file of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryEntry {
    /// The file as an artifact.
    pub artifact: Arc<ArtifactRef>,
    /// Signature of the file when it was read; `None` if it was not read.
    pub signature: Option<FileSignature>,
    /// True if a later write may leave the signature unchanged.
    pub racy: bool,
}

impl Keyed for InventoryEntry {
    type Key = RelPath;

    fn key(&self) -> &RelPath {
        &self.artifact.relative_path
    }
}

/// Numbers of files that a spec matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SpecUsage {
    /// Present files that the pattern matches.
    satisfying_files: u32,
    /// Files, present or not, of which the spec is the primary one.
    primary_files: u32,
    /// Paths that cannot be read, below which a file may match the pattern.
    hiding_paths: u32,
    /// Paths of [`Inventory::kept_paths`] that the pattern matches.
    kept_paths: u32,
}

/// The files of a feature, with incrementally updated counts and hashes.
#[derive(Clone)]
pub struct Inventory {
    context: Arc<FeatureContext>,
    entries: SortedChunks<InventoryEntry>,
    /// One item for each spec of the mission.
    spec_usage: Vec<SpecUsage>,
    /// Files that were deleted and count as there for the step, so that it does not fall.
    kept_paths: BTreeSet<RelPath>,
    /// The present files of the relation between files, if the layout has one.
    relation: RelationCounts,
    /// Counts of the files. Absent specs are few and counted on request.
    counts: Counts,
    /// Hashes of the present files, for the parity hash.
    hashes: SortedChunks<HashCount>,
    tree_hasher: IncrementalHasher,
    parity_hasher: IncrementalHasher,
}

/// A hash, and the number of present files with it.
#[derive(Debug, Clone, Copy)]
struct HashCount {
    hash: Digest,
    count: u32,
}

impl Keyed for HashCount {
    type Key = Digest;

    fn key(&self) -> &Digest {
        &self.hash
    }
}

/// The artifact at a path before and after a change; `None` if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// Artifact before the change.
    pub before: Option<Arc<ArtifactRef>>,
    /// Artifact after the change.
    pub after: Option<Arc<ArtifactRef>>,
}

/// How alike the files of two features are, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSimilarity {
    /// None of what follows.
    Different,
    /// At least one file is the same one on disk, at the same path: it was not written since it was read,
    /// and its directory was moved.
    SameFile,
    /// All files are at the same paths and were read, and their contents differ in bookkeeping at most.
    EqualButChurn,
    /// The contents do not differ either.
    Equal,
}

impl Inventory {
    /// Returns an inventory without files.
    #[must_use]
    pub fn new(context: FeatureContext) -> Self {
        let specs = context.mission.as_ref().map_or(0, |mission| mission.specs().len());
        Self {
            context: Arc::new(context),
            entries: SortedChunks::default(),
            spec_usage: vec![SpecUsage::default(); specs],
            kept_paths: BTreeSet::new(),
            relation: RelationCounts::default(),
            counts: Counts::default(),
            hashes: SortedChunks::default(),
            tree_hasher: IncrementalHasher::default(),
            parity_hasher: IncrementalHasher::default(),
        }
    }

    /// Returns the inventory of `observations`, which may be in any order.
    #[must_use]
    pub fn from_observations(
        context: FeatureContext,
        mut observations: Vec<Observation>,
        now: Timestamp,
    ) -> Self {
        observations.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut inventory = Self::new(context);
        for observation in observations {
            inventory.set(observation, now);
        }
        inventory
    }

    /// Compares the files of two features, as far as they are known. Files of class `runtime` do not
    /// count.
    #[must_use]
    pub fn compare_files(&self, other: &Self, churn: &ChurnRules) -> FileSimilarity {
        let counts =
            |entry: &&InventoryEntry| entry.artifact.artifact_class != ArtifactClass::Runtime;
        let (mut files, mut same, mut equal, mut is_moved) = (0, 0, 0, false);
        for entry in self.entries.iter().filter(counts) {
            files += 1;
            let Some(other) = other.entries.get(&entry.artifact.relative_path).filter(counts)
            else {
                continue;
            };
            let is_same = is_same_file(entry, other, churn);
            same += usize::from(is_same);
            equal += usize::from(is_same && entry.artifact.hash() == other.artifact.hash());
            is_moved |= entry.signature.is_some() && entry.signature == other.signature;
        }
        let has_same_paths = files > 0 && other.entries.iter().filter(counts).count() == files;
        if has_same_paths && equal == files {
            FileSimilarity::Equal
        } else if has_same_paths && same == files {
            FileSimilarity::EqualButChurn
        } else if is_moved {
            FileSimilarity::SameFile
        } else {
            FileSimilarity::Different
        }
    }

    /// Returns the feature and the rules by which it is evaluated.
    #[must_use]
    pub fn context(&self) -> &Arc<FeatureContext> {
        &self.context
    }

    /// Returns the files in order of path.
    #[must_use]
    pub fn entries(&self) -> &SortedChunks<InventoryEntry> {
        &self.entries
    }

    /// Inserts or replaces the file at a path.
    pub fn set(&mut self, observation: Observation, now: Timestamp) -> EntryChange {
        let (signature, racy) = (observation.signature, observation.racy);
        let before = self.remove_entry(&observation.path);
        if self.context.state_files.is_match(&observation.path) {
            return EntryChange { before, after: None };
        }
        let matching = self.matching_specs(&observation.path);
        let artifact = Arc::new(self.classify(observation, &matching, before.as_deref(), now));
        self.insert_entry(
            InventoryEntry { artifact: Arc::clone(&artifact), signature, racy },
            &matching,
        );
        EntryChange { before, after: Some(artifact) }
    }

    /// Removes the file at a path, if there is one.
    pub fn remove(&mut self, path: &RelPath) -> EntryChange {
        EntryChange { before: self.remove_entry(path), after: None }
    }

    /// Sets the files that were deleted and count as there for the step.
    pub fn set_kept_paths(&mut self, paths: BTreeSet<RelPath>) {
        if paths == self.kept_paths {
            return;
        }
        for usage in &mut self.spec_usage {
            usage.kept_paths = 0;
        }
        self.kept_paths.clear();
        for path in paths {
            self.keep_path(path);
        }
    }

    /// Has a file that is deleted count as there for the step.
    pub fn keep_path(&mut self, path: RelPath) {
        for index in self.matching_specs(&path) {
            self.spec_usage[index].kept_paths += u32::from(!self.kept_paths.contains(&path));
        }
        self.kept_paths.insert(path);
    }

    /// Returns the current step.
    #[must_use]
    pub fn current_step(&self) -> CurrentStep {
        let named = self.context.named_step.as_ref().map(|(id, source)| (id, *source));
        let Some(mission) = &self.context.mission else {
            let (id, source) = named.map(|(id, source)| (id.clone(), source)).unzip();
            return CurrentStep {
                id,
                source: source.unwrap_or_default(),
                ..CurrentStep::default()
            };
        };
        let file_progress = self.file_progress();
        let satisfied = self.satisfied_specs();
        let kept = self.spec_usage.iter().map(|usage| usage.kept_paths > 0);
        let reached = satisfied.iter().zip(kept).map(|(now, kept)| *now || kept).collect();
        let facts = SpecFacts { satisfied, reached };
        let step = decide_step(mission, named, &self.context.step_inputs, &facts);
        CurrentStep { file_progress, ..step }
    }

    /// Returns the progress that follows from which files exist.
    fn file_progress(&self) -> Option<TaskProgress> {
        self.context.step_inputs.relation.as_ref()?;
        let progress = self.relation.progress();
        (!progress.is_empty()).then_some(progress)
    }

    /// Returns whether a present file satisfies each spec. The spec of the partners of a relation is
    /// satisfied when each file has one.
    fn satisfied_specs(&self) -> Vec<bool> {
        let mut satisfied: Vec<bool> =
            self.spec_usage.iter().map(|usage| usage.satisfying_files > 0).collect();
        let relation = self.context.step_inputs.relation.as_ref();
        if let Some((relation, mission)) = relation.zip(self.context.mission.as_deref())
            && self.file_progress().is_some_and(|progress| progress.done < progress.total)
        {
            for (spec, satisfied) in mission.specs().iter().zip(&mut satisfied) {
                *satisfied &= spec.pattern != relation.partner;
            }
        }
        satisfied
    }

    /// Replaces the context and classifies all files again; returns those whose key or metadata
    /// changed.
    pub fn reclassify_all(&mut self, context: FeatureContext, now: Timestamp) -> Vec<EntryChange> {
        let old = std::mem::replace(self, Self::new(context));
        self.set_kept_paths(old.kept_paths);
        old.entries
            .iter()
            .filter_map(|entry| self.insert_reclassified(entry.clone(), now))
            .collect()
    }

    /// Inserts a file of an earlier inventory and classifies it again; returns the change if its
    /// key or metadata changed, or it is not an artifact any more. An unchanged artifact still shares its memory with the earlier
    /// inventory. There must be no file at this path yet.
    pub fn insert_reclassified(
        &mut self,
        entry: InventoryEntry,
        now: Timestamp,
    ) -> Option<EntryChange> {
        let before = &entry.artifact;
        if self.context.state_files.is_match(&before.relative_path) {
            return Some(EntryChange { before: Some(entry.artifact), after: None });
        }
        let observation = Observation {
            path: before.relative_path.clone(),
            size_bytes: before.size_bytes,
            state: before.state.clone(),
            wp_id: before.wp_id.clone(),
            signature: entry.signature,
            racy: entry.racy,
            is_linked: false,
        };
        let matching = self.matching_specs(&observation.path);
        let artifact = self.classify(observation, &matching, Some(before), now);
        if artifact == **before {
            self.insert_entry(entry, &matching);
            return None;
        }
        let artifact = Arc::new(artifact);
        self.insert_entry(InventoryEntry { artifact: Arc::clone(&artifact), ..entry }, &matching);
        Some(EntryChange { before: Some(entry.artifact), after: Some(artifact) })
    }

    /// Inserts a file of an earlier inventory as it is, for a context that may not be the final
    /// one. There must be no file at this path yet.
    pub fn insert_as_is(&mut self, entry: InventoryEntry) {
        let matching = self.matching_specs(&entry.artifact.relative_path);
        self.insert_entry(entry, &matching);
    }

    /// Sets why completeness is unknown. Artifacts do not depend on it, so none is classified
    /// again.
    pub fn set_unknown_reason(&mut self, reason: Option<UnknownReason>) {
        Arc::make_mut(&mut self.context).unknown_reason = reason;
    }

    /// Returns the specs that apply and that no present file satisfies, as artifacts. A literal
    /// spec whose file exists but is not present is left out, because the file is listed already, and
    /// so is one that a file may satisfy that was not looked for.
    pub fn absent_specs(&self, now: Timestamp) -> impl Iterator<Item = ArtifactRef> {
        let step = self.current_step().id;
        // If the directory was not read, or not all of it, no file is known to be absent, and if
        // `meta.json` cannot be used, it is not known which files are expected.
        let is_unknown = matches!(
            self.context.unknown_reason,
            Some(
                UnknownReason::Unreadable(_)
                    | UnknownReason::Unavailable(_)
                    | UnknownReason::Unresponsive(_)
                    | UnknownReason::LimitExceeded(_)
                    | UnknownReason::UnreadableMeta
                    | UnknownReason::Deleted
            )
        );
        let mission = self.context.mission.as_deref().filter(|_| !is_unknown);
        let specs = mission.into_iter().flat_map(Mission::specs);
        specs
            .zip(&self.spec_usage)
            .zip(self.satisfied_specs())
            .filter(|(_, satisfied)| !satisfied)
            .map(|(spec, _)| spec)
            .filter(|(spec, usage)| usage.primary_files == 0 || !spec.pattern.is_literal())
            .filter(move |(spec, _)| {
                mission.is_some_and(|mission| mission.is_listed(spec, step.as_deref()))
            })
            .filter(|(_, usage)| usage.hiding_paths == 0)
            .map(move |(spec, _)| ArtifactRef {
                required_status: spec.status,
                artifact_key: spec.key.as_ref().into(),
                artifact_class: spec.class,
                relative_path: spec.pattern.path().clone(),
                size_bytes: 0,
                wp_id: None,
                step_id: spec.step_id.clone(),
                state: ArtifactState::Absent(Absence {
                    reason: ErrorReason::NotFound,
                    detail: None,
                }),
                indexed_at: now,
            })
    }

    /// Returns the context with the reason why completeness is unknown, also if that is that a required
    /// file may be below a path that cannot be read.
    #[must_use]
    pub fn evaluated_context(&self) -> Arc<FeatureContext> {
        let step = self.current_step();
        let hiding = self.find_hiding_path().filter(|_| self.context.unknown_reason.is_none());
        if hiding.is_none() && step == self.context.step {
            return Arc::clone(&self.context);
        }
        let mut context = FeatureContext { step, ..FeatureContext::clone(&self.context) };
        if let Some(path) = hiding {
            context.unknown_reason = Some(UnknownReason::UnreadableDir(path));
        }
        Arc::new(context)
    }

    /// Returns the first path that cannot be read and below which a required file may be.
    fn find_hiding_path(&self) -> Option<RelPath> {
        let mission = self.context.mission.as_deref()?;
        if self.spec_usage.iter().all(|usage| usage.hiding_paths == 0) {
            return None;
        }
        let step = self.current_step().id;
        let is_hidden = |(spec, usage): (&ArtifactSpec, &SpecUsage)| {
            let is_required = || mission.is_required(spec, step.as_deref());
            usage.hiding_paths > 0 && usage.satisfying_files == 0 && is_required()
        };
        let specs = mission.specs().iter().zip(&self.spec_usage);
        let hidden: Vec<bool> = specs.map(is_hidden).collect();
        if !hidden.contains(&true) {
            return None;
        }
        let unreadable = self.entries.iter().filter(|entry| is_unreadable(&entry.artifact));
        let mut paths = unreadable.map(|entry| &entry.artifact.relative_path);
        paths.find(|path| mission.specs_below(path).iter().any(|spec| hidden[*spec])).cloned()
    }

    /// Returns the spec that determines key and class of the file at a path.
    #[must_use]
    pub fn primary_spec(&self, path: &RelPath) -> Option<&ArtifactSpec> {
        self.context.mission.as_deref()?.primary_spec(path)
    }

    /// Returns the specs that apply and that no present file satisfies, also those whose files could
    /// not be looked for.
    pub fn unsatisfied_specs(&self) -> impl Iterator<Item = &ArtifactSpec> {
        let (mission, step) = (self.context.mission.as_deref(), self.current_step().id);
        let specs = mission.into_iter().flat_map(Mission::specs).zip(self.satisfied_specs());
        let is_listed = move |spec: &ArtifactSpec| {
            mission.is_some_and(|mission| mission.is_listed(spec, step.as_deref()))
        };
        specs
            .filter(|(_, satisfied)| !satisfied)
            .map(|(spec, _)| spec)
            .filter(move |spec| is_listed(spec))
    }

    /// Returns true if a blocking spec with the key applies at the current step and is not
    /// satisfied.
    #[must_use]
    pub fn is_unsatisfied_blocking_spec(&self, key: &str) -> bool {
        self.is_unsatisfied_blocking_spec_at(key, self.current_step().id.as_deref())
    }

    /// Returns true if a blocking spec with the key applies at `step` and is not satisfied.
    #[must_use]
    pub fn is_unsatisfied_blocking_spec_at(&self, key: &str, step: Option<&str>) -> bool {
        let Some(mission) = self.context.mission.as_deref() else {
            return false;
        };
        mission.specs().iter().zip(self.satisfied_specs()).any(|(spec, satisfied)| {
            spec.key.as_ref() == key && !satisfied && mission.is_required(spec, step)
        })
    }

    /// Returns the counts of files and absent specs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        for absent in self.absent_specs(Timestamp::default()) {
            counts.add(&absent);
        }
        counts
    }

    /// Returns whether all required artifacts are present.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        Completeness::of(&self.evaluated_context(), self.counts().required_missing)
    }

    /// Returns the keys of the required artifacts that are not present, sorted.
    #[must_use]
    pub fn missing_required(&self) -> Vec<String> {
        let listed = self.entries.iter().map(|entry| entry.artifact.as_ref());
        let is_missing =
            |a: &ArtifactRef| !a.is_present() && a.required_status == RequiredStatus::Required;
        let mut keys: Vec<String> = if self.counts.required_missing > 0 {
            listed.filter(|a| is_missing(a)).map(|a| a.artifact_key.to_string()).collect()
        } else {
            Vec::new()
        };
        keys.extend(
            self.absent_specs(Timestamp::default())
                .filter(is_missing)
                .map(|absent| absent.artifact_key.to_string()),
        );
        keys.sort_unstable();
        keys
    }

    /// Returns the parity hash of the present files (`docs/specification.md#parity-hash`).
    pub fn parity_hash(&mut self) -> Digest {
        self.parity_hasher.digest(&mut self.hashes, |item, bytes| {
            let text = item.hash.hex().bytes();
            for _ in 0..item.count {
                bytes.extend_from_slice(&text);
            }
        })
    }

    /// Returns the tree hash of the present files (`docs/specification.md#tree-hash`).
    pub fn tree_hash(&mut self) -> Digest {
        self.tree_hasher.digest(&mut self.entries, |entry, bytes| {
            if let Some(hash) = entry.artifact.hash() {
                bytes.extend_from_slice(entry.artifact.relative_path.as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&hash.hex().bytes());
                bytes.push(b'\n');
            }
        })
    }

    /// Returns the dossier of the current state.
    #[must_use]
    pub fn to_dossier(&self, now: Timestamp) -> MissionDossier {
        let files = self.entries.iter().map(|entry| Arc::clone(&entry.artifact));
        let artifacts = sorted_artifacts(files.chain(self.absent_specs(now).map(Arc::new)));
        MissionDossier { context: self.evaluated_context(), artifacts }
    }

    fn insert_entry(&mut self, entry: InventoryEntry, matching: &[usize]) {
        self.update_spec_usage(&entry.artifact, matching, |count| *count += 1);
        self.counts.add(&entry.artifact);
        self.update_relation(&entry.artifact, true);
        if let Some(hash) = entry.artifact.hash() {
            self.add_hash(hash);
        }
        self.entries.insert(entry);
    }

    fn remove_entry(&mut self, path: &RelPath) -> Option<Arc<ArtifactRef>> {
        let entry = self.entries.remove(path)?;
        self.update_spec_usage(&entry.artifact, &self.matching_specs(path), |count| *count -= 1);
        self.counts.remove(&entry.artifact);
        self.update_relation(&entry.artifact, false);
        if let Some(hash) = entry.artifact.hash() {
            self.remove_hash(hash);
        }
        Some(entry.artifact)
    }

    fn update_relation(&mut self, artifact: &ArtifactRef, exists: bool) {
        if let Some(relation) = &self.context.step_inputs.relation
            && artifact.is_present()
        {
            self.relation.set(relation, &artifact.relative_path, exists);
        }
    }

    fn add_hash(&mut self, hash: Digest) {
        let count = self.hashes.get(&hash).map_or(0, |item| item.count);
        self.hashes.insert(HashCount { hash, count: count + 1 });
    }

    fn remove_hash(&mut self, hash: Digest) {
        match self.hashes.get(&hash).map(|item| item.count) {
            Some(count @ 2..) => {
                self.hashes.insert(HashCount { hash, count: count - 1 });
            }
            _ => {
                self.hashes.remove(&hash);
            }
        }
    }

    /// Returns the indices of the specs that match a path, the primary one first.
    fn matching_specs(&self, path: &RelPath) -> Vec<usize> {
        let mut indices = Vec::new();
        if let Some(mission) = &self.context.mission {
            mission.matching_specs(path, &mut indices);
        }
        indices
    }

    /// Applies `change` to each count of `spec_usage` to which the artifact contributes.
    fn update_spec_usage(
        &mut self,
        artifact: &ArtifactRef,
        matching: &[usize],
        change: impl Fn(&mut u32),
    ) {
        if artifact.is_present() {
            for index in matching {
                change(&mut self.spec_usage[*index].satisfying_files);
            }
        }
        if let Some(primary) = matching.first() {
            change(&mut self.spec_usage[*primary].primary_files);
        }
        if let Some(mission) = self.context.mission.as_deref().filter(|_| is_unreadable(artifact)) {
            for index in mission.specs_below(&artifact.relative_path) {
                change(&mut self.spec_usage[index].hiding_paths);
            }
        }
    }

    fn classify(
        &self,
        observation: Observation,
        matching: &[usize],
        before: Option<&ArtifactRef>,
        now: Timestamp,
    ) -> ArtifactRef {
        let mission = self.context.mission.as_deref();
        let spec = mission.zip(matching.first()).map(|(mission, index)| &mission.specs()[*index]);
        let class = spec.map_or_else(|| conventional_class(&observation.path), |spec| spec.class);
        let unchanged = before.filter(|before| before.state == observation.state);
        ArtifactRef {
            artifact_key: artifact_key(&observation.path, class, spec, mission),
            artifact_class: class,
            wp_id: observation.wp_id.or_else(|| wp_id_of_path(&observation.path)),
            relative_path: observation.path,
            size_bytes: observation.size_bytes,
            step_id: spec.and_then(|spec| spec.step_id.clone()),
            required_status: spec.map_or(RequiredStatus::Optional, |spec| spec.status),
            state: observation.state,
            indexed_at: unchanged.map_or(now, |before| before.indexed_at),
        }
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slug = &self.context.feature_slug;
        write!(f, "Inventory({slug}, {} files)", self.entries.len())
    }
}

/// Returns true if both are at the same path and were read, with contents that differ in bookkeeping
/// at most.
fn is_same_file(one: &InventoryEntry, other: &InventoryEntry, churn: &ChurnRules) -> bool {
    let (
        ArtifactState::Present { hash, static_hash },
        ArtifactState::Present { hash: other_hash, static_hash: other_static },
    ) = (&one.artifact.state, &other.artifact.state)
    else {
        return false;
    };
    let path = &one.artifact.relative_path;
    let (static_part, other_static) = (static_hash.as_deref(), other_static.as_deref());
    let same_content =
        hash == other_hash || has_same_static_part(path, static_part, other_static, churn);
    *path == other.artifact.relative_path && same_content
}

/// Returns true if other files may be below an artifact that cannot be read: only files have a size.
fn is_unreadable(artifact: &ArtifactRef) -> bool {
    artifact.error_reason() == Some(ErrorReason::Unreadable)
        && artifact.size_bytes == 0
        && !artifact.is_restless()
}

/// Returns the work package id in a path: `WP` and at least two digits at the start of a component
/// (`docs/specification.md#work-packages`).
fn wp_id_of_path(path: &RelPath) -> Option<Box<str>> {
    path.components().find_map(|component| {
        let digits = component.strip_prefix(b"WP")?;
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = std::str::from_utf8(&component[..2 + count]).ok()?;
        (count >= 2).then(|| id.into())
    })
}

#[cfg(test)]
mod tests;
