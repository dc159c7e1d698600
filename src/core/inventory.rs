//! The inventory of one feature, kept up to date change by change.
//!
//! It holds what a dossier holds, and whatever a change would otherwise have to work out from all
//! artifacts again: which specs are satisfied, the counts, the sorted hashes. After any changes it
//! equals the inventory made from scratch; a property test holds that.

use std::fmt;
use std::sync::Arc;

use super::artifact::{
    Absence, ArtifactRef, ArtifactState, ErrorReason, FileSignature, Observation, RequiredStatus,
};
use super::artifact_list::sorted_artifacts;
use super::classify::conventional_class;
use super::counts::Counts;
use super::digest::Digest;
use super::dossier::MissionDossier;
use super::feature_context::{Completeness, FeatureContext, UnknownReason};
use super::key::artifact_key;
use super::manifest::{ArtifactSpec, Mission};
use super::path::RelPath;
use super::time::Timestamp;
use crate::core::incremental_hash::IncrementalHasher;
use crate::core::sorted_chunks::{Keyed, SortedChunks};

/// One file of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryEntry {
    /// What it is.
    pub artifact: Arc<ArtifactRef>,
    /// What its bytes were read under; `None` where they were not.
    pub signature: Option<FileSignature>,
    /// Whether another write may look the same.
    pub racy: bool,
}

impl Keyed for InventoryEntry {
    type Key = RelPath;

    fn key(&self) -> &RelPath {
        &self.artifact.relative_path
    }
}

/// How many files stand for a spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SpecUsage {
    /// Present files that its pattern matches.
    satisfying_files: u32,
    /// Files, present or not, that it names.
    primary_files: u32,
}

/// An inventory.
#[derive(Clone)]
pub struct Inventory {
    context: Arc<FeatureContext>,
    entries: SortedChunks<InventoryEntry>,
    /// One per spec of the mission.
    spec_usage: Vec<SpecUsage>,
    /// Over the files; absent specs are few and counted when asked.
    counts: Counts,
    hashes: SortedChunks<HashCount>,
    tree_hasher: IncrementalHasher,
    parity_hasher: IncrementalHasher,
}

/// A hash that present files have, and how many of them.
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

/// What a path was and is: `None` where there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// Before.
    pub before: Option<Arc<ArtifactRef>>,
    /// Now.
    pub after: Option<Arc<ArtifactRef>>,
}

impl Inventory {
    /// An empty one.
    #[must_use]
    pub fn new(terms: FeatureContext) -> Self {
        let specs = terms.mission.as_ref().map_or(0, |mission| mission.specs().len());
        Self {
            context: Arc::new(terms),
            entries: SortedChunks::default(),
            spec_usage: vec![SpecUsage::default(); specs],
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

    /// What it is of, and by what it is judged.
    #[must_use]
    pub fn context(&self) -> &Arc<FeatureContext> {
        &self.context
    }

    /// The files, in order of path.
    #[must_use]
    pub fn entries(&self) -> &SortedChunks<InventoryEntry> {
        &self.entries
    }

    /// Takes what was seen at a path.
    pub fn set(&mut self, seen: Observation, now: Timestamp) -> EntryChange {
        let (signature, racy) = (seen.signature, seen.racy);
        let before = self.remove_entry(&seen.path);
        let matching = self.matching_specs(&seen.path);
        let artifact = Arc::new(self.classify(seen, &matching, before.as_deref(), now));
        self.insert_entry(
            InventoryEntry { artifact: Arc::clone(&artifact), signature, racy },
            &matching,
        );
        EntryChange { before, after: Some(artifact) }
    }

    /// Takes that nothing is at a path any more.
    pub fn remove(&mut self, path: &RelPath) -> EntryChange {
        EntryChange { before: self.remove_entry(path), after: None }
    }

    /// Goes on under other terms; gives every file that is something else by them.
    pub fn reclassify_all(&mut self, terms: FeatureContext, now: Timestamp) -> Vec<EntryChange> {
        let old = std::mem::replace(self, Self::new(terms));
        old.entries
            .iter()
            .filter_map(|entry| self.insert_reclassified(entry.clone(), now))
            .collect()
    }

    /// Takes a file of an earlier inventory, which is not in this one; gives it if it is something
    /// else by these terms. One that is what it was stays the same in memory too.
    pub fn insert_reclassified(
        &mut self,
        entry: InventoryEntry,
        now: Timestamp,
    ) -> Option<EntryChange> {
        let before = &entry.artifact;
        let seen = Observation {
            path: before.relative_path.clone(),
            size_bytes: before.size_bytes,
            state: before.state.clone(),
            wp_id: before.wp_id.clone(),
            signature: entry.signature,
            racy: entry.racy,
        };
        let matching = self.matching_specs(&seen.path);
        let artifact = self.classify(seen, &matching, Some(before), now);
        if artifact == **before {
            self.insert_entry(entry, &matching);
            return None;
        }
        let artifact = Arc::new(artifact);
        self.insert_entry(InventoryEntry { artifact: Arc::clone(&artifact), ..entry }, &matching);
        Some(EntryChange { before: Some(entry.artifact), after: Some(artifact) })
    }

    /// Takes a file of an earlier inventory, which is not in this one, as it was: of these terms it
    /// is not known whether they hold.
    pub fn insert_as_is(&mut self, entry: InventoryEntry) {
        let matching = self.matching_specs(&entry.artifact.relative_path);
        self.insert_entry(entry, &matching);
    }

    /// Takes what keeps the feature from being judged, or that nothing does; no artifact depends on
    /// it.
    pub fn set_unknown_reason(&mut self, doubt: Option<UnknownReason>) {
        Arc::make_mut(&mut self.context).unknown_reason = doubt;
    }

    /// The specs that apply and that no present file satisfies, as artifacts. A literal one whose
    /// file is listed, though not present, is that entry already.
    pub fn absent_specs(&self, now: Timestamp) -> impl Iterator<Item = ArtifactRef> {
        let step = self.context.step.as_deref();
        // Of a directory that was not seen nothing is known to be absent.
        let unseen = matches!(
            self.context.unknown_reason,
            Some(UnknownReason::Unreadable(_) | UnknownReason::Deleted)
        );
        let mission = self.context.mission.as_deref().filter(|_| !unseen);
        let specs = mission.into_iter().flat_map(Mission::specs);
        specs
            .zip(&self.spec_usage)
            .filter(|(_, uses)| uses.satisfying_files == 0)
            .filter(|(spec, uses)| uses.primary_files == 0 || !spec.pattern.is_literal())
            .filter(move |(spec, _)| mission.is_some_and(|mission| mission.is_listed(spec, step)))
            .map(move |(spec, _)| ArtifactRef {
                required_status: if mission.is_some_and(|mission| mission.is_required(spec, step)) {
                    RequiredStatus::Required
                } else {
                    RequiredStatus::Optional
                },
                artifact_key: spec.key.as_ref().into(),
                artifact_class: spec.class,
                relative_path: spec.pattern.path().clone(),
                size_bytes: 0,
                wp_id: None,
                step_id: spec.step_id.clone(),
                provenance: None,
                state: ArtifactState::Absent(Absence {
                    reason: ErrorReason::NotFound,
                    detail: None,
                }),
                indexed_at: now,
            })
    }

    /// The spec that names the file at a path.
    #[must_use]
    pub fn primary_spec(&self, path: &RelPath) -> Option<&ArtifactSpec> {
        let first = *self.matching_specs(path).first()?;
        self.context.mission.as_ref()?.specs().get(first)
    }

    /// Whether a spec that blocks, applies now and has that key is not satisfied.
    #[must_use]
    pub fn is_unsatisfied_blocking_spec(&self, key: &str) -> bool {
        let Some(mission) = self.context.mission.as_deref() else {
            return false;
        };
        let step = self.context.step.as_deref();
        mission.specs().iter().zip(&self.spec_usage).any(|(spec, uses)| {
            spec.key.as_ref() == key
                && uses.satisfying_files == 0
                && mission.is_required(spec, step)
        })
    }

    /// The counts over files and absent specs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        for absent in self.absent_specs(Timestamp::default()) {
            counts.add(&absent);
        }
        counts
    }

    /// Whether all that is required is there.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        Completeness::of(&self.context, self.counts().required_missing)
    }

    /// Keys of the required artifacts that are not present, sorted.
    #[must_use]
    pub fn missing_required(&self) -> Vec<String> {
        let listed = self.entries.iter().map(|entry| entry.artifact.as_ref());
        let wanted =
            |a: &ArtifactRef| !a.is_present() && a.required_status == RequiredStatus::Required;
        let mut keys: Vec<String> = if self.counts.required_missing > 0 {
            listed.filter(|a| wanted(a)).map(|a| a.artifact_key.to_string()).collect()
        } else {
            Vec::new()
        };
        keys.extend(
            self.absent_specs(Timestamp::default())
                .filter(wanted)
                .map(|absent| absent.artifact_key.to_string()),
        );
        keys.sort_unstable();
        keys
    }

    /// The seed's parity hash.
    pub fn parity_hash(&mut self) -> Digest {
        self.parity_hasher.digest(&mut self.hashes, |known, bytes| {
            let text = known.hash.hex().bytes();
            for _ in 0..known.count {
                bytes.extend_from_slice(&text);
            }
        })
    }

    /// SHA-256 over `path NUL hash LF` of the present files.
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

    /// The dossier of this state.
    #[must_use]
    pub fn to_dossier(&self, now: Timestamp) -> MissionDossier {
        let files = self.entries.iter().map(|entry| Arc::clone(&entry.artifact));
        let artifacts = sorted_artifacts(files.chain(self.absent_specs(now).map(Arc::new)));
        MissionDossier { context: Arc::clone(&self.context), artifacts }
    }

    fn insert_entry(&mut self, entry: InventoryEntry, matching: &[usize]) {
        self.update_spec_usage(&entry.artifact, matching, |count| *count += 1);
        self.counts.add(&entry.artifact);
        if let Some(hash) = entry.artifact.hash() {
            self.add_hash(hash);
        }
        self.entries.insert(entry);
    }

    fn remove_entry(&mut self, path: &RelPath) -> Option<Arc<ArtifactRef>> {
        let entry = self.entries.remove(path)?;
        self.update_spec_usage(&entry.artifact, &self.matching_specs(path), |count| *count -= 1);
        self.counts.remove(&entry.artifact);
        if let Some(hash) = entry.artifact.hash() {
            self.remove_hash(hash);
        }
        Some(entry.artifact)
    }

    fn add_hash(&mut self, hash: Digest) {
        let times = self.hashes.get(&hash).map_or(0, |known| known.count);
        self.hashes.insert(HashCount { hash, count: times + 1 });
    }

    fn remove_hash(&mut self, hash: Digest) {
        match self.hashes.get(&hash).map(|known| known.count) {
            Some(times @ 2..) => {
                self.hashes.insert(HashCount { hash, count: times - 1 });
            }
            _ => {
                self.hashes.remove(&hash);
            }
        }
    }

    /// Places of the specs that match a path, the naming one first.
    fn matching_specs(&self, path: &RelPath) -> Vec<usize> {
        let mut places = Vec::new();
        if let Some(mission) = &self.context.mission {
            mission.matching_specs(path, &mut places);
        }
        places
    }

    /// Counts an artifact for the specs that match it, one up or down.
    fn update_spec_usage(
        &mut self,
        artifact: &ArtifactRef,
        matching: &[usize],
        change: impl Fn(&mut u32),
    ) {
        if artifact.is_present() {
            for place in matching {
                change(&mut self.spec_usage[*place].satisfying_files);
            }
        }
        if let Some(first) = matching.first() {
            change(&mut self.spec_usage[*first].primary_files);
        }
    }

    fn classify(
        &self,
        seen: Observation,
        matching: &[usize],
        before: Option<&ArtifactRef>,
        now: Timestamp,
    ) -> ArtifactRef {
        let mission = self.context.mission.as_deref();
        let spec = mission.zip(matching.first()).map(|(mission, place)| &mission.specs()[*place]);
        let class = spec.map_or_else(|| conventional_class(&seen.path), |spec| spec.class);
        let same_bytes = before.filter(|before| before.state == seen.state);
        ArtifactRef {
            artifact_key: artifact_key(&seen.path, class, spec, mission),
            artifact_class: class,
            wp_id: seen.wp_id.or_else(|| wp_id_of_path(&seen.path)),
            relative_path: seen.path,
            size_bytes: seen.size_bytes,
            step_id: spec.and_then(|spec| spec.step_id.clone()),
            required_status: spec.map_or(RequiredStatus::Optional, |spec| spec.status),
            provenance: None,
            state: seen.state,
            indexed_at: same_bytes.map_or(now, |before| before.indexed_at),
        }
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slug = &self.context.feature_slug;
        write!(f, "Inventory({slug}, {} files)", self.entries.len())
    }
}

/// `WP` and two or more digits at the start of a path component.
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
