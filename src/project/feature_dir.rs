//! The directory of a feature, and paths in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::core::path::{FeatureSlug, PathError, RelPath};

/// The directory of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDir {
    /// The feature.
    pub slug: FeatureSlug,
    /// Path below the root; `None` if the root is itself the feature directory.
    pub path: Option<RelPath>,
}

impl FeatureDir {
    /// Returns the path below the root of `rest`, which is relative to this directory.
    pub(super) fn join(&self, rest: &[u8]) -> Result<RelPath, PathError> {
        match &self.path {
            Some(path) => path.join(rest),
            None => RelPath::new(rest),
        }
    }

    /// Returns the absolute path of this directory in the project at `root`.
    pub(super) fn absolute_path(&self, root: &Path) -> PathBuf {
        match &self.path {
            Some(path) => root.join(OsStr::from_bytes(path.as_bytes())),
            None => root.to_owned(),
        }
    }
}
