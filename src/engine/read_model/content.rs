//! Reads the bytes of one artifact for display, if they are still those that were hashed.

use std::io;

use crate::core::artifact::ArtifactRef;
use crate::core::digest::Digest;
use crate::project::{FeatureDir, Project};
use crate::scan::read_content;

/// The bytes of a present artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The file changed since it was hashed.
    #[error("the file changed since it was hashed; retry")]
    Changed,
    /// The file cannot be read, or is not a regular file any more.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Returns the bytes of `artifact`, or `None` if it is not present or has `max` bytes or more.
///
/// The file is opened below the feature's directory in the same way as for a scan: symbolic links
/// are not followed, and a FIFO or device does not block.
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
