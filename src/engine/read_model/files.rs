//! Reads artifact content and writes baselines for a published state.
//!
//! These methods wait for the disk: they must not run on the engine thread.

use std::collections::HashSet;
use std::io;

use super::content::{ContentError, content};
use super::feature::FeatureView;
use super::project::ProjectView;
use crate::core::artifact::ArtifactRef;
use crate::core::baseline::{Baseline, BaselineScope};
use crate::core::digest::Digest;
use crate::core::path::RelPath;
use crate::project::{OnPresentFile, RestoreFileError, WriteError};
use crate::scan::read_file;

/// A baseline could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file could not be written or removed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The baseline could not be serialized.
    #[error("cannot serialize the baseline: {0}")]
    Text(#[from] io::Error),
}

impl ProjectView {
    /// Returns the bytes of an artifact; see [`content`].
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn content(
        &self,
        feature: &FeatureView,
        artifact: &ArtifactRef,
        max: u64,
    ) -> Result<Option<Vec<u8>>, ContentError> {
        content(&self.project, &feature.dir, artifact, max)
    }

    /// Returns the first `max` bytes of a file of a feature, and its permissions.
    ///
    /// # Errors
    /// Those of the operating system; a symbolic link is refused at each component of the path.
    pub fn read_file(
        &self,
        feature: &FeatureView,
        path: &RelPath,
        max: u64,
    ) -> io::Result<(Vec<u8>, u32)> {
        let opened = self.project.open_feature(&feature.dir);
        self.project.close_root_fd();
        read_file(opened?, path, max)
    }

    /// Writes a file of a feature; see [`Project::restore_file`](crate::project::Project::restore_file).
    ///
    /// # Errors
    /// [`RestoreFileError`].
    pub fn restore_file(
        &self,
        feature: &FeatureView,
        path: &RelPath,
        (bytes, mode): (&[u8], u32),
        on_present: OnPresentFile,
    ) -> Result<(), RestoreFileError> {
        let result = self.project.restore_file(&feature.dir, path, bytes, mode, on_present);
        self.project.close_root_fd();
        result
    }

    /// Returns the files of a feature whose content is staged in git's index; `None` if that cannot be
    /// found out.
    #[must_use]
    pub fn staged_files(&self, feature: &FeatureView) -> Option<HashSet<RelPath>> {
        self.project.staged_files(&feature.dir, feature.entries.iter())
    }

    /// Returns the hashes that the replaced baselines of a feature name, which can be put back.
    #[must_use]
    pub fn replaced_baseline_hashes(&self, feature: &FeatureView) -> Vec<Digest> {
        let replaced = self.project.replaced_baselines(feature.slug());
        self.project.close_root_fd();
        replaced.iter().flat_map(|one| one.baseline.hashes().unwrap_or_default()).collect()
    }

    /// Writes a feature's baseline of a scope and syncs it to disk. Returns what was written.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn write_baseline(
        &self,
        feature: &FeatureView,
        baseline: Baseline,
        scope: BaselineScope,
    ) -> Result<Baseline, BaselineError> {
        if scope == BaselineScope::Shared {
            let dir = &feature.context.feature_dir;
            return Ok(self.project.write_shared_baseline(feature.slug(), dir, baseline)?.baseline);
        }
        let mut text = serde_json::to_vec_pretty(&baseline).map_err(io::Error::from)?;
        text.push(b'\n');
        self.project.write_baseline(feature.slug(), &text)?;
        Ok(baseline)
    }

    /// Removes a feature's baseline of a scope. Returns true if there was one.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn clear_baseline(
        &self,
        feature: &FeatureView,
        scope: BaselineScope,
    ) -> Result<bool, BaselineError> {
        Ok(self.project.clear_baseline(feature.slug(), scope)?)
    }
}
