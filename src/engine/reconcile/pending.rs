//! What changed of one feature and is not committed, and what a commit writes.
//!
//! For each changed path the last committed entry is kept; events are made from that and from what
//! is true when the change is committed. So a path that changed twice owes one event, and one that
//! changed back owes none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::artifact::ArtifactRef;
use crate::core::event::Payload;
use crate::core::hidden_files::FilesOnMounts;
use crate::core::inventory::InventoryEntry;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::core::transition::{LastPublished, RemovalReason};
use crate::project::FeatureDir;

/// Changes of a feature that are not committed.
#[derive(Debug, Default)]
pub(super) struct PendingChanges {
    pub(super) paths: BTreeMap<RelPath, PathChange>,
    /// When the oldest change was recorded.
    pub(super) since: Option<Duration>,
    /// Something else than a path changed.
    pub(super) context_changed: bool,
    /// What was committed last is not evaluated yet.
    pub(super) evaluation_owed: bool,
    /// A baseline was accepted, so this commit removes all tombstones.
    pub(super) clears_tombstones: bool,
    /// The feature's directory, unless the store has it.
    pub(super) dir: Option<FeatureDir>,
}

/// A changed path.
#[derive(Debug)]
pub(super) struct PathChange {
    /// The entry that was committed last.
    pub(super) before: Option<Arc<ArtifactRef>>,
    /// Why the path is not in the inventory any more, if it is not.
    pub(super) removal: RemovalReason,
}

impl PendingChanges {
    /// Records that a path changed from what was committed.
    pub(super) fn record(
        &mut self,
        path: &RelPath,
        before: Option<&Arc<ArtifactRef>>,
        removal: RemovalReason,
        now: Duration,
    ) {
        self.since.get_or_insert(now);
        let change = self.paths.entry(path.clone());
        let change = change.or_insert_with(|| PathChange { before: before.cloned(), removal });
        // A file was committed where an unreadable directory was seen since: the file is deleted.
        let was_file = change.before.as_ref().is_some_and(|before| before.is_present());
        change.removal = match removal {
            RemovalReason::DirBecameReadable if was_file => RemovalReason::Deleted,
            removal => removal,
        };
    }

    /// Forgets a path that is not in the inventory any more, unless it was committed: while the store cannot
    /// be written, any number of files may come and go.
    pub(super) fn forget_uncommitted(&mut self, path: &RelPath) {
        if self.paths.get(path).is_some_and(|change| change.before.is_none()) {
            self.paths.remove(path);
        }
        if self.paths.is_empty() {
            self.since = None;
        }
    }

    /// Returns true if there are changes, an evaluation left out.
    pub(super) fn has_changes(&self) -> bool {
        !self.paths.is_empty() || self.context_changed
    }

    /// Returns true if nothing is left to commit.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_changes() && !self.evaluation_owed
    }
}

/// What a commit writes of a feature: its changes, or the evaluation of what was committed before.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct FeatureCommit {
    pub(in crate::engine) upserts: Vec<InventoryEntry>,
    pub(in crate::engine) removed: Vec<RelPath>,
    /// Keys of the absent specs; `None` in a commit of an evaluation.
    pub(in crate::engine) absent: Option<Vec<String>>,
    pub(in crate::engine) tombstones: Vec<Arc<ArtifactRef>>,
    pub(in crate::engine) cleared_tombstones: Vec<RelPath>,
    /// The state that events reported last; in a commit of an evaluation only.
    pub(in crate::engine) last_published: Option<LastPublished>,
    /// Since when the feature's directory is missing.
    pub(in crate::engine) gone_since: Option<Timestamp>,
    /// The feature's directory, unless the store has it.
    pub(in crate::engine) dir: Option<FeatureDir>,
    /// On which mounts its files were seen, unless the store has that.
    pub(in crate::engine) mounts: Option<FilesOnMounts>,
    pub(in crate::engine) events: Vec<Payload>,
    /// There are events; they are moved out when the commit is written.
    pub(super) has_events: bool,
}

impl FeatureCommit {
    /// Returns true if it holds nothing that must be written; what is absent and was published last
    /// is left out.
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty()
            && self.removed.is_empty()
            && self.tombstones.is_empty()
            && self.cleared_tombstones.is_empty()
            && self.dir.is_none()
            && self.mounts.is_none()
            && self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::inventory::Inventory;
    use crate::core::testing::{feature_context, observed};

    #[test]
    fn files_that_come_and_go_before_a_commit_leave_nothing() {
        let seen = vec![observed("committed", "x")];
        let dossier =
            Inventory::from_observations(feature_context(None, None), seen, Timestamp::default())
                .to_dossier(Timestamp::default());
        let mut pending = PendingChanges::default();
        let deleted = RemovalReason::Deleted;
        for (name, before) in [("committed", Some(&dossier.artifacts[0])), ("new", None)] {
            let path = RelPath::new(name.as_bytes()).unwrap();
            // Created or changed, and removed.
            pending.record(&path, before, deleted, Duration::ZERO);
            pending.record(&path, before, deleted, Duration::ZERO);
            pending.forget_uncommitted(&path);
        }
        let paths: Vec<_> = pending.paths.keys().map(RelPath::text).collect();
        assert_eq!(paths, ["committed"]);
    }
}
