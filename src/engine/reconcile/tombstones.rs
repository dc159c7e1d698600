//! Tombstones: the last known state of deleted files, in the order of deletion; see
//! `docs/specification.md#tombstones`.
//!
//! A feature has at most [`MAX_TOMBSTONES`]; beyond that the oldest are removed, here and in the store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::core::artifact::{Absence, ArtifactRef, ArtifactState, ErrorReason};
use crate::core::path::RelPath;

/// Maximum number of tombstones of a feature.
const MAX_TOMBSTONES: usize = 1_000;

/// The tombstones of one feature.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    by_path: BTreeMap<RelPath, Tombstone>,
    /// Number of tombstones added so far.
    added: u64,
}

#[derive(Debug)]
struct Tombstone {
    /// Position in the order of deletion.
    number: u64,
    artifact: Arc<ArtifactRef>,
}

impl Tombstones {
    /// Creates the set from artifacts in the order of their deletion.
    pub(super) fn new(deleted: impl IntoIterator<Item = Arc<ArtifactRef>>) -> Self {
        let mut all = Self::default();
        deleted.into_iter().for_each(|one| all.insert(one));
        all
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<&Arc<ArtifactRef>> {
        self.by_path.get(path).map(|tombstone| &tombstone.artifact)
    }

    /// Returns the paths, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.by_path.keys()
    }

    /// Returns the artifacts, in the order of their paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ArtifactRef>> {
        self.by_path.values().map(|tombstone| &tombstone.artifact)
    }

    pub(super) fn insert(&mut self, artifact: Arc<ArtifactRef>) {
        self.added += 1;
        let path = artifact.relative_path.clone();
        self.by_path.insert(path, Tombstone { number: self.added, artifact });
    }

    /// Removes a tombstone; returns true if there was one.
    pub(super) fn remove(&mut self, path: &RelPath) -> bool {
        self.by_path.remove(path).is_some()
    }

    /// Enforces the limit on a change that removes `cleared` and adds `new`: extends `cleared` by the
    /// oldest tombstones, and drops the first of `new` if these alone exceed the limit.
    pub(super) fn evict_oldest(&self, cleared: &mut Vec<RelPath>, new: &mut Vec<Arc<ArtifactRef>>) {
        new.drain(..new.len().saturating_sub(MAX_TOMBSTONES));
        if self.by_path.len() + new.len() <= MAX_TOMBSTONES {
            return;
        }
        let replaced: HashSet<&RelPath> =
            cleared.iter().chain(new.iter().map(|one| &one.relative_path)).collect();
        let kept = self.by_path.iter().filter(|(path, _)| !replaced.contains(path));
        let mut kept: Vec<_> = kept.map(|(path, tombstone)| (tombstone.number, path)).collect();
        kept.sort_unstable();
        let excess = (kept.len() + new.len()).saturating_sub(MAX_TOMBSTONES);
        cleared.extend(kept.into_iter().take(excess).map(|(_, path)| path.clone()));
    }
}

/// Returns the tombstone of a deleted artifact.
pub(super) fn tombstone(artifact: &ArtifactRef) -> Arc<ArtifactRef> {
    let fault = Absence { reason: ErrorReason::DeletedAfterScan, detail: None };
    Arc::new(ArtifactRef { state: ArtifactState::Absent(fault), ..artifact.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::inventory::Inventory;
    use crate::core::testing::{feature_context, observed};
    use crate::core::time::Timestamp;

    fn tombstone_of(name: &str) -> Arc<ArtifactRef> {
        let seen = vec![observed(name, "")];
        let dossier =
            Inventory::from_observations(feature_context(None, None), seen, Timestamp::default())
                .to_dossier(Timestamp::default());
        tombstone(&dossier.artifacts[0])
    }

    fn tombstones_of(prefix: char, count: usize) -> Vec<Arc<ArtifactRef>> {
        (0..count).map(|number| tombstone_of(&format!("{prefix}{number:04}"))).collect()
    }

    /// Returns the evicted paths and the number of added tombstones, if `b0001` is cleared.
    fn evict(known: &[Arc<ArtifactRef>], new: &[Arc<ArtifactRef>]) -> (Vec<String>, usize) {
        let known = Tombstones::new(known.iter().cloned());
        let (mut cleared, mut new) = (vec![RelPath::new(*b"b0001").unwrap()], new.to_vec());
        known.evict_oldest(&mut cleared, &mut new);
        (cleared[1..].iter().map(|path| path.text().into_owned()).collect(), new.len())
    }

    #[test]
    fn tombstones_beyond_the_limit_evict_the_oldest() {
        let known = [vec![tombstone_of("z")], tombstones_of('b', MAX_TOMBSTONES - 1)].concat();
        assert_eq!(evict(&known, &[]), (vec![], 0));
        // `b0001` is cleared, so nothing has to be evicted.
        assert_eq!(evict(&known, &tombstones_of('a', 1)), (vec![], 1));
        assert_eq!(
            evict(&known, &tombstones_of('a', 3)),
            (vec!["z".to_owned(), "b0000".to_owned()], 3)
        );
        let (evicted, added) = evict(&known, &tombstones_of('a', MAX_TOMBSTONES + 7));
        assert_eq!((evicted.len(), added), (MAX_TOMBSTONES - 1, MAX_TOMBSTONES));
        let more = [&known[..], &tombstones_of('c', 500)].concat();
        assert_eq!(evict(&more, &[]).0.len(), 499);
    }

    #[test]
    fn file_deleted_again_is_evicted_as_a_new_one() {
        let mut known = Tombstones::new(tombstones_of('b', MAX_TOMBSTONES));
        assert!(known.remove(&tombstone_of("b0000").relative_path));
        known.insert(tombstone_of("b0000"));
        let (mut cleared, mut new) = (Vec::new(), vec![tombstone_of("c")]);
        known.evict_oldest(&mut cleared, &mut new);
        assert_eq!(cleared, [tombstone_of("b0001").relative_path.clone()]);
    }
}
