//! What a reader of the picture may do with a project's files: see an artifact's bytes, accept a
//! baseline, clear it. Each of these waits for the disk, so none belongs on the engine's thread.

use std::io;

use super::content::{ContentError, content};
use super::view::{FeatureView, ProjectView};
use crate::core::artifact::ArtifactRef;
use crate::core::baseline::Baseline;
use crate::project::WriteError;

/// A baseline could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It could not become text.
    #[error("cannot write the baseline: {0}")]
    Text(#[from] io::Error),
}

impl ProjectView {
    /// The bytes of an artifact, as [`content`] has them.
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

    /// Writes a feature's baseline, durably.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn write_baseline(
        &self,
        feature: &FeatureView,
        baseline: &Baseline,
    ) -> Result<(), BaselineError> {
        let mut text = serde_json::to_vec_pretty(baseline).map_err(io::Error::from)?;
        text.push(b'\n');
        Ok(self.project.write_baseline(feature.slug(), &text)?)
    }

    /// Removes a feature's baseline. Says whether there was one.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn clear_baseline(&self, feature: &FeatureView) -> Result<bool, BaselineError> {
        Ok(self.project.clear_baseline(feature.slug())?)
    }
}
