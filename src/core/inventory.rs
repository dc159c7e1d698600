//! The inventory of one feature, kept up to date change by change.
//!
//! It holds what a dossier holds, and whatever a change would otherwise have to work out from all
//! artifacts again: which specs are satisfied, the counts, the sorted hashes. After any changes it
//! equals the inventory made from scratch; a property test holds that.

use std::fmt;
use std::sync::Arc;

use super::artifact::{
    ArtifactRef, ErrorReason, Fault, Observation, RequiredStatus, Signature, State,
};
use super::chunks::{Chunks, Keyed};
use super::classify::conventional_class;
use super::digest::Digest;
use super::dossier::{Completeness, Doubt, MissionDossier, Terms, sorted_artifacts};
use super::key::artifact_key;
use super::manifest::{Mission, Spec};
use super::path::RelPath;
use super::running::Running;
use super::snapshot::Counts;
use super::time::Timestamp;

/// One file of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub artifact: Arc<ArtifactRef>,
    /// What its bytes were read under; `None` where they were not.
    pub signature: Option<Signature>,
    /// Whether another write may look the same.
    pub racy: bool,
}

impl Keyed for Entry {
    type Key = RelPath;

    fn key(&self) -> &RelPath {
        &self.artifact.relative_path
    }
}

/// How many files stand for a spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    /// Present files that its pattern matches.
    satisfied: u32,
    /// Files, present or not, that it names.
    named: u32,
}

/// An inventory.
#[derive(Clone)]
pub struct Inventory {
    terms: Arc<Terms>,
    entries: Chunks<Entry>,
    /// One per spec of the mission.
    uses: Vec<Use>,
    /// Over the files; absent specs are few and counted when asked.
    counts: Counts,
    hashes: Chunks<Times>,
    tree: Running,
    parity: Running,
}

/// A hash that present files have, and how many of them.
#[derive(Debug, Clone, Copy)]
struct Times {
    hash: Digest,
    times: u32,
}

impl Keyed for Times {
    type Key = Digest;

    fn key(&self) -> &Digest {
        &self.hash
    }
}

/// What a path was and is: `None` where there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub before: Option<Arc<ArtifactRef>>,
    /// Now.
    pub now: Option<Arc<ArtifactRef>>,
}

impl Inventory {
    /// An empty one.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let specs = terms.mission.as_ref().map_or(0, |mission| mission.specs().len());
        Self {
            terms: Arc::new(terms),
            entries: Chunks::default(),
            uses: vec![Use::default(); specs],
            counts: Counts::default(),
            hashes: Chunks::default(),
            tree: Running::default(),
            parity: Running::default(),
        }
    }

    /// What it is of, and by what it is judged.
    #[must_use]
    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    /// The files, in order of path.
    #[must_use]
    pub fn entries(&self) -> &Chunks<Entry> {
        &self.entries
    }

    /// Takes what was seen at a path.
    pub fn set(&mut self, seen: Observation, now: Timestamp) -> Changed {
        let (signature, racy) = (seen.signature, seen.racy);
        let before = self.remove_entry(&seen.path);
        let matching = self.matching(&seen.path);
        let artifact = Arc::new(self.classify(seen, &matching, before.as_deref(), now));
        self.add(Entry { artifact: Arc::clone(&artifact), signature, racy }, &matching);
        Changed { before, now: Some(artifact) }
    }

    /// Takes that nothing is at a path any more.
    pub fn remove(&mut self, path: &RelPath) -> Changed {
        Changed { before: self.remove_entry(path), now: None }
    }

    /// Goes on under other terms; gives every file that is something else by them.
    pub fn retarget(&mut self, terms: Terms, now: Timestamp) -> Vec<Changed> {
        let old = std::mem::replace(self, Self::new(terms));
        old.entries.iter().filter_map(|entry| self.adopt(entry.clone(), now)).collect()
    }

    /// Takes a file of an earlier inventory, which is not in this one; gives it if it is something
    /// else by these terms. One that is what it was stays the same in memory too.
    pub fn adopt(&mut self, entry: Entry, now: Timestamp) -> Option<Changed> {
        let before = &entry.artifact;
        let seen = Observation {
            path: before.relative_path.clone(),
            size_bytes: before.size_bytes,
            state: before.state.clone(),
            wp_id: before.wp_id.clone(),
            signature: entry.signature,
            racy: entry.racy,
        };
        let matching = self.matching(&seen.path);
        let artifact = self.classify(seen, &matching, Some(before), now);
        if artifact == **before {
            self.add(entry, &matching);
            return None;
        }
        let artifact = Arc::new(artifact);
        self.add(Entry { artifact: Arc::clone(&artifact), ..entry }, &matching);
        Some(Changed { before: Some(entry.artifact), now: Some(artifact) })
    }

    /// Takes a file of an earlier inventory, which is not in this one, as it was: of these terms it
    /// is not known whether they hold.
    pub fn remember(&mut self, entry: Entry) {
        let matching = self.matching(&entry.artifact.relative_path);
        self.add(entry, &matching);
    }

    /// Takes what keeps the feature from being judged, or that nothing does; no artifact depends on
    /// it.
    pub fn set_doubt(&mut self, doubt: Option<Doubt>) {
        Arc::make_mut(&mut self.terms).doubt = doubt;
    }

    /// The specs that apply and that no present file satisfies, as artifacts. A literal one whose
    /// file is listed, though not present, is that entry already.
    pub fn absent(&self, now: Timestamp) -> impl Iterator<Item = ArtifactRef> {
        let step = self.terms.step.as_deref();
        // Of a folder that was not seen nothing is known to be absent.
        let unseen = matches!(self.terms.doubt, Some(Doubt::Unreadable(_) | Doubt::Gone));
        let mission = self.terms.mission.as_deref().filter(|_| !unseen);
        let specs = mission.into_iter().flat_map(Mission::specs);
        specs
            .zip(&self.uses)
            .filter(|(_, uses)| uses.satisfied == 0)
            .filter(|(spec, uses)| uses.named == 0 || !spec.pattern.is_literal())
            .filter(move |(spec, _)| mission.is_some_and(|mission| mission.applies(spec, step)))
            .map(move |(spec, _)| ArtifactRef {
                required_status: if mission.is_some_and(|mission| mission.counts(spec, step)) {
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
                state: State::Absent(Fault { reason: ErrorReason::NotFound, detail: None }),
                indexed_at: now,
            })
    }

    /// The spec that names the file at a path.
    #[must_use]
    pub fn spec_naming(&self, path: &RelPath) -> Option<&Spec> {
        let first = *self.matching(path).first()?;
        self.terms.mission.as_ref()?.specs().get(first)
    }

    /// Whether a spec that blocks, applies now and has that key is not satisfied.
    #[must_use]
    pub fn blocks(&self, key: &str) -> bool {
        let Some(mission) = self.terms.mission.as_deref() else {
            return false;
        };
        let step = self.terms.step.as_deref();
        mission.specs().iter().zip(&self.uses).any(|(spec, uses)| {
            spec.key.as_ref() == key && uses.satisfied == 0 && mission.counts(spec, step)
        })
    }

    /// The counts over files and absent specs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        for absent in self.absent(Timestamp::default()) {
            counts.add(&absent);
        }
        counts
    }

    /// Whether all that is required is there.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        Completeness::of(&self.terms, self.counts().required_missing)
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
            self.absent(Timestamp::default())
                .filter(wanted)
                .map(|absent| absent.artifact_key.to_string()),
        );
        keys.sort_unstable();
        keys
    }

    /// The seed's parity hash.
    pub fn parity_hash(&mut self) -> Digest {
        self.parity.digest(&mut self.hashes, |known, bytes| {
            let text = known.hash.hex().bytes();
            for _ in 0..known.times {
                bytes.extend_from_slice(&text);
            }
        })
    }

    /// SHA-256 over `path NUL hash LF` of the present files.
    pub fn tree_hash(&mut self) -> Digest {
        self.tree.digest(&mut self.entries, |entry, bytes| {
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
    pub fn dossier(&self, now: Timestamp) -> MissionDossier {
        let files = self.entries.iter().map(|entry| Arc::clone(&entry.artifact));
        let artifacts = sorted_artifacts(files.chain(self.absent(now).map(Arc::new)));
        MissionDossier {
            terms: Arc::clone(&self.terms),
            artifacts,
            latest_snapshot: None,
            dossier_created_at: now,
            dossier_updated_at: now,
        }
    }

    fn add(&mut self, entry: Entry, matching: &[usize]) {
        self.account(&entry.artifact, matching, |count| *count += 1);
        self.counts.add(&entry.artifact);
        if let Some(hash) = entry.artifact.hash() {
            self.add_hash(hash);
        }
        self.entries.insert(entry);
    }

    fn remove_entry(&mut self, path: &RelPath) -> Option<Arc<ArtifactRef>> {
        let entry = self.entries.remove(path)?;
        self.account(&entry.artifact, &self.matching(path), |count| *count -= 1);
        self.counts.take(&entry.artifact);
        if let Some(hash) = entry.artifact.hash() {
            self.take_hash(hash);
        }
        Some(entry.artifact)
    }

    fn add_hash(&mut self, hash: Digest) {
        let times = self.hashes.get(&hash).map_or(0, |known| known.times);
        self.hashes.insert(Times { hash, times: times + 1 });
    }

    fn take_hash(&mut self, hash: Digest) {
        match self.hashes.get(&hash).map(|known| known.times) {
            Some(times @ 2..) => {
                self.hashes.insert(Times { hash, times: times - 1 });
            }
            _ => {
                self.hashes.remove(&hash);
            }
        }
    }

    /// Places of the specs that match a path, the naming one first.
    fn matching(&self, path: &RelPath) -> Vec<usize> {
        let mut places = Vec::new();
        if let Some(mission) = &self.terms.mission {
            mission.matching(path, &mut places);
        }
        places
    }

    /// Counts an artifact for the specs that match it, one up or down.
    fn account(&mut self, artifact: &ArtifactRef, matching: &[usize], change: impl Fn(&mut u32)) {
        if artifact.is_present() {
            for place in matching {
                change(&mut self.uses[*place].satisfied);
            }
        }
        if let Some(first) = matching.first() {
            change(&mut self.uses[*first].named);
        }
    }

    fn classify(
        &self,
        seen: Observation,
        matching: &[usize],
        before: Option<&ArtifactRef>,
        now: Timestamp,
    ) -> ArtifactRef {
        let mission = self.terms.mission.as_deref();
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
        let slug = &self.terms.feature_slug;
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
