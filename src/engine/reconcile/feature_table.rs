//! The features of a project, where they are, and which of them have something to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::feature::FeatureState;
use super::feature_index::FeatureIndex;
use crate::core::inventory::FileSimilarity;
use crate::core::layout::feature_rules::former_slugs;
use crate::core::mounts::Mounts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::FeatureDir;

/// Longest time between the disappearance of a feature and the appearance of an archived one that
/// are one move: both are in one batch, under one hold of git, or between two runs.
const MOVE_WINDOW: Duration = Duration::from_secs(10);

/// The features of one project. An iteration of the engine costs what the active ones do, however
/// many others there are: only [`FeatureTable::activate`] gives access to change one.
#[derive(Debug, Default)]
pub(super) struct FeatureTable {
    /// Boxed: nodes of a B-tree are half empty, and a feature is large.
    features: BTreeMap<FeatureSlug, Box<FeatureState>>,
    index: FeatureIndex,
    active: BTreeSet<FeatureSlug>,
}

/// Whether a feature that is missing was moved to an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArchiveSearch {
    /// This archived feature has its files.
    Found(FeatureSlug),
    /// No archived feature has.
    NotFound,
    /// There are archived features whose files are not known yet.
    Pending,
}

impl FeatureTable {
    /// Looks for a feature that is missing since `missing_since` among the archived ones that came at
    /// about that time and are the continuation of no other feature. It was moved to the one that is
    /// the same directory; else to one with equal files; else to one with files that differ in
    /// bookkeeping alone, of several to one that has its former name.
    ///
    /// The inode of a directory that was removed is given to the next one that is made: the archived one
    /// must have its former name, or a file that was not written since.
    ///
    /// With `waits`, one whose files are not known yet counts as what it could be at best.
    pub(super) fn find_archive(
        &self,
        slug: &FeatureSlug,
        missing_since: Duration,
        waits: bool,
    ) -> ArchiveSearch {
        let Some(missing) = self.get(slug) else {
            return ArchiveSearch::NotFound;
        };
        let is_candidate = |one: &&FeatureState| {
            one.dir.slug != *slug
                && one.inventory().context().step_inputs.is_archived
                && !one.is_gone()
                && one.previous_slug().is_none()
                && one.arrived_at().is_some_and(|at| at.abs_diff(missing_since) <= MOVE_WINDOW)
        };
        let (mut pending, mut found) = (None, None);
        for one in self.iter().filter(is_candidate) {
            let has_name = former_slugs(&one.dir.slug).contains(slug);
            let is_same_dir = missing.dir_id().is_some() && missing.dir_id() == one.dir_id();
            if !one.is_indexed() {
                pending = pending.max(Some((is_same_dir, FileSimilarity::Equal, has_name)));
                continue;
            }
            let files = missing.inventory().compare_files(one.inventory(), &missing.metadata.churn);
            let is_dir = is_same_dir && (has_name || files == FileSimilarity::SameFile);
            if is_dir || files >= FileSimilarity::EqualButChurn {
                found = found.max(Some((is_dir, files, has_name, &one.dir.slug)));
            }
        }
        let pending = pending.filter(|_| waits);
        match found {
            Some((is_dir, files, has_name, slug)) if Some((is_dir, files, has_name)) >= pending => {
                ArchiveSearch::Found(slug.clone())
            }
            _ if pending.is_some() => ArchiveSearch::Pending,
            _ => ArchiveSearch::NotFound,
        }
    }

    pub(super) fn insert(&mut self, feature: FeatureState) {
        let slug = feature.dir.slug.clone();
        self.index.insert(&feature.dir);
        self.active.insert(slug.clone());
        self.features.insert(slug, Box::new(feature));
    }

    pub(super) fn remove(&mut self, slug: &FeatureSlug) {
        if let Some(feature) = self.features.remove(slug) {
            self.index.remove(&feature.dir);
        }
        self.active.remove(slug);
    }

    /// Records that a feature's directory is another one.
    pub(super) fn relocate(&mut self, dir: &FeatureDir, mounts: &Mounts) {
        if let Some(feature) = self.features.get_mut(&dir.slug) {
            self.index.remove(&feature.dir);
            self.index.insert(dir);
            feature.relocate(dir.clone(), mounts);
            self.active.insert(dir.slug.clone());
        }
    }

    pub(super) fn get(&self, slug: &FeatureSlug) -> Option<&FeatureState> {
        self.features.get(slug).map(Box::as_ref)
    }

    /// Returns a feature to be changed; it is active from now on.
    pub(super) fn activate(&mut self, slug: &FeatureSlug) -> Option<&mut FeatureState> {
        let feature = self.features.get_mut(slug)?;
        if !self.active.contains(slug) {
            self.active.insert(slug.clone());
        }
        Some(feature)
    }

    /// The features that have something to do.
    pub(super) fn active(&self) -> impl Iterator<Item = &FeatureState> {
        self.active.iter().filter_map(|slug| self.get(slug))
    }

    /// Calls `act` with each feature that has something to do.
    pub(super) fn for_each_active(&mut self, mut act: impl FnMut(&FeatureSlug, &mut FeatureState)) {
        for slug in &self.active {
            if let Some(feature) = self.features.get_mut(slug) {
                act(slug, feature);
            }
        }
    }

    /// Drops the features that are at rest from the active ones. Returns true if none is left.
    pub(super) fn deactivate_resting(&mut self) -> bool {
        let features = &mut self.features;
        self.active
            .retain(|slug| features.get_mut(slug).is_some_and(|feature| !feature.rest_if_done()));
        self.active.is_empty()
    }

    pub(super) fn is_active(&self, slug: &FeatureSlug) -> bool {
        self.active.contains(slug)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FeatureState> + Clone {
        self.features.values().map(Box::as_ref)
    }

    pub(super) fn slugs(&self) -> impl Iterator<Item = &FeatureSlug> {
        self.features.keys()
    }

    pub(super) fn contains(&self, slug: &FeatureSlug) -> bool {
        self.features.contains_key(slug)
    }

    /// Returns the features that contain a path below the root, and the path below each.
    pub(super) fn containing(&self, path: &RelPath) -> Vec<(FeatureSlug, Option<RelPath>)> {
        self.index.containing(path)
    }

    /// Returns the features that have a file at the path as a document, or may have some below it.
    pub(super) fn documents_at(&self, path: &RelPath) -> Vec<FeatureSlug> {
        self.index.documents_at(path)
    }

    /// Returns the features at and below a path.
    pub(super) fn at_or_below(&self, path: &RelPath) -> Vec<FeatureSlug> {
        self.index.at_or_below(path)
    }

    /// Returns the feature whose directory is the root, if there is one.
    pub(super) fn at_root(&self) -> Option<&FeatureSlug> {
        self.index.at_root()
    }

    /// Returns the file that follows a position in the order of feature and path, if there is one.
    pub(super) fn file_after(
        &self,
        position: Option<&(FeatureSlug, RelPath)>,
    ) -> Option<(FeatureSlug, RelPath)> {
        let Some((slug, path)) = position else {
            return self.first_file(self.features.keys().next()?);
        };
        let next = self.features.get(slug).and_then(|feature| feature.file_after(path));
        match next {
            Some(next) => Some((slug.clone(), next)),
            None => {
                let rest = (std::ops::Bound::Excluded(slug), std::ops::Bound::Unbounded);
                let next = self.features.range::<FeatureSlug, _>(rest).next()?.0;
                self.first_file(next)
            }
        }
    }

    fn first_file(&self, from: &FeatureSlug) -> Option<(FeatureSlug, RelPath)> {
        self.features.range(from.clone()..).find_map(|(slug, feature)| {
            let first = feature.inventory().entries().iter().next()?;
            Some((slug.clone(), first.artifact.relative_path.clone()))
        })
    }
}
