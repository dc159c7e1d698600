//! The bytes of one artifact, for showing them: those that were hashed, or none.

use std::io;

use crate::core::artifact::ArtifactRef;
use crate::core::digest::Digest;
use crate::project::{FeatureDir, Project};
use crate::scan::read_content;

/// Why the bytes of a present artifact cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// They are not those that were hashed.
    #[error("it changed since it was hashed; ask again")]
    Changed,
    /// The system refused something, or it is a link or no file any more.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The bytes of `artifact` where it is present and smaller than `max`. Opened beneath the feature's
/// directory as a scan opens it: no link is followed, and nothing that is no file blocks.
///
/// # Errors
/// [`ContentError`].
pub fn content(
    project: &Project,
    feature: &FeatureDir,
    artifact: &ArtifactRef,
    max: u64,
) -> Result<Option<Vec<u8>>, ContentError> {
    let Some(hash) = artifact.hash().filter(|_| artifact.size_bytes < max) else {
        return Ok(None);
    };
    let opened = project.open_feature(feature);
    project.close_root_fd();
    let bytes = read_content(opened?, &artifact.relative_path, max)?;
    if Digest::of(&bytes) == hash { Ok(Some(bytes)) } else { Err(ContentError::Changed) }
}
