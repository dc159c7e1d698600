//! A modelled store: the rows of features.

use std::collections::BTreeMap;

use crate::core::event::Payload;
use crate::core::path::FeatureSlug;
use crate::engine::reconcile::feature::StoredFeature;
use crate::engine::reconcile::pending::FeatureCommit;

/// What a crash leaves of all projects.
#[derive(Debug, Default)]
pub(super) struct Store {
    rows: BTreeMap<usize, BTreeMap<FeatureSlug, StoredFeature>>,
}

impl Store {
    pub(super) fn rows(&self, project: usize) -> BTreeMap<FeatureSlug, StoredFeature> {
        self.rows.get(&project).cloned().unwrap_or_default()
    }

    pub(super) fn row(&self, project: usize, slug: &FeatureSlug) -> Option<&StoredFeature> {
        self.rows.get(&project)?.get(slug)
    }

    pub(super) fn forget(&mut self, project: usize, slug: &FeatureSlug) {
        self.rows.entry(project).or_default().remove(slug);
    }

    /// Writes a commit, as `runtime::commit` and the store do. Returns its events.
    pub(super) fn apply(
        &mut self,
        project: usize,
        slug: &FeatureSlug,
        commit: &FeatureCommit,
    ) -> Vec<Payload> {
        let row = self.rows.entry(project).or_default().entry(slug.clone()).or_default();
        for path in &commit.removed {
            row.entries.remove(path);
        }
        for entry in &commit.upserts {
            row.entries.insert(entry.clone());
        }
        row.tombstones.retain(|one| !commit.cleared_tombstones.contains(&one.relative_path));
        for tombstone in &commit.tombstones {
            row.tombstones.retain(|one| one.relative_path != tombstone.relative_path);
            row.tombstones.push(tombstone.clone());
        }
        if let Some(absent) = &commit.absent {
            row.absent.clone_from(absent);
            row.gone_since = commit.gone_since;
        }
        if let Some(last) = &commit.last_published {
            row.last_published = Some(last.clone());
        }
        if commit.mounts.is_some() {
            row.mounts.clone_from(&commit.mounts);
        }
        if let Some(dir) = &commit.dir {
            row.dir = Some(dir.clone());
        }
        commit.events.clone()
    }
}
