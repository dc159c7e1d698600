//! What is kept of files that were deleted, and in which order they were.
//!
//! # Bounds
//! At most [`MOST`]: the oldest go first, here and in the store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::core::artifact::{Absence, ArtifactRef, ArtifactState, ErrorReason};
use crate::core::path::RelPath;

/// Most tombstones of a feature.
const MAX_TOMBSTONES: usize = 1_000;

/// The tombstones of one feature.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    /// Each with its age: what was deleted later has a higher one.
    by_path: BTreeMap<RelPath, (u64, Arc<ArtifactRef>)>,
    /// Of the next.
    age: u64,
}

impl Tombstones {
    /// Those, in the order in which they were deleted.
    pub(super) fn new(deleted: impl IntoIterator<Item = Arc<ArtifactRef>>) -> Self {
        let mut all = Self::default();
        deleted.into_iter().for_each(|one| all.put(one));
        all
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<&Arc<ArtifactRef>> {
        self.by_path.get(path).map(|(_, one)| one)
    }

    /// Their paths, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.by_path.keys()
    }

    /// All, in order of path.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ArtifactRef>> {
        self.by_path.values().map(|(_, one)| one)
    }

    pub(super) fn put(&mut self, one: Arc<ArtifactRef>) {
        self.age += 1;
        self.by_path.insert(one.relative_path.clone(), (self.age, one));
    }

    /// Takes one away; says whether it was there.
    pub(super) fn remove(&mut self, path: &RelPath) -> bool {
        self.by_path.remove(path).is_some()
    }

    /// Makes room for what is to come when these have gone: the oldest are to go as well, and of
    /// those to come the first do not come at all.
    pub(super) fn evict_oldest(&self, gone: &mut Vec<RelPath>, new: &mut Vec<Arc<ArtifactRef>>) {
        new.drain(..new.len().saturating_sub(MAX_TOMBSTONES));
        if self.by_path.len() + new.len() <= MAX_TOMBSTONES {
            return;
        }
        let told: HashSet<&RelPath> =
            gone.iter().chain(new.iter().map(|one| &one.relative_path)).collect();
        let left = self.by_path.iter().filter(|(path, _)| !told.contains(path));
        let mut left: Vec<_> = left.map(|(path, (age, _))| (*age, path)).collect();
        left.sort_unstable();
        let more = (left.len() + new.len()).saturating_sub(MAX_TOMBSTONES);
        gone.extend(left.into_iter().take(more).map(|(_, path)| path.clone()));
    }
}

/// What is kept of an artifact that was deleted.
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

    fn dead(name: &str) -> Arc<ArtifactRef> {
        let seen = vec![observed(name, "")];
        let dossier =
            Inventory::from_observations(feature_context(None, None), seen, Timestamp::default())
                .to_dossier(Timestamp::default());
        tombstone(&dossier.artifacts[0])
    }

    fn many(letter: char, count: usize) -> Vec<Arc<ArtifactRef>> {
        (0..count).map(|number| dead(&format!("{letter}{number:04}"))).collect()
    }

    /// Which go, in the end, and which come.
    fn room(known: &[Arc<ArtifactRef>], new: &[Arc<ArtifactRef>]) -> (Vec<String>, usize) {
        let known = Tombstones::new(known.iter().cloned());
        let (mut gone, mut new) = (vec![RelPath::new(*b"b0001").unwrap()], new.to_vec());
        known.evict_oldest(&mut gone, &mut new);
        (gone[1..].iter().map(|path| path.text().into_owned()).collect(), new.len())
    }

    #[test]
    fn the_oldest_make_room() {
        let known = [vec![dead("z")], many('b', MAX_TOMBSTONES - 1)].concat();
        assert_eq!(room(&known, &[]), (vec![], 0));
        // One goes anyway.
        assert_eq!(room(&known, &many('a', 1)), (vec![], 1));
        assert_eq!(room(&known, &many('a', 3)), (vec!["z".to_owned(), "b0000".to_owned()], 3));
        let (gone, come) = room(&known, &many('a', MAX_TOMBSTONES + 7));
        assert_eq!((gone.len(), come), (MAX_TOMBSTONES - 1, MAX_TOMBSTONES));
        let more = [&known[..], &many('c', 500)].concat();
        assert_eq!(room(&more, &[]).0.len(), 499);
    }

    #[test]
    fn what_was_deleted_again_is_young() {
        let mut known = Tombstones::new(many('b', MAX_TOMBSTONES));
        assert!(known.remove(&dead("b0000").relative_path));
        known.put(dead("b0000"));
        let (mut gone, mut new) = (Vec::new(), vec![dead("c")]);
        known.evict_oldest(&mut gone, &mut new);
        assert_eq!(gone, [dead("b0001").relative_path.clone()]);
    }
}
