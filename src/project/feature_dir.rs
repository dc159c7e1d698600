//! A feature's slug and directory, and the paths in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::core::path::{FeatureSlug, PathError, RelPath};

/// A feature directory that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDir {
    /// The feature.
    pub slug: FeatureSlug,
    /// Its directory below the root; `None` where the root is the feature itself.
    pub path: Option<RelPath>,
}

impl FeatureDir {
    /// Returns the path below the project's root of `rest`, which is below this directory.
    pub(super) fn join(&self, rest: &[u8]) -> Result<RelPath, PathError> {
        match &self.path {
            Some(path) => path.join(rest),
            None => RelPath::new(rest),
        }
    }

    /// Returns the path of this directory in the project at `root`.
    pub(super) fn absolute_path(&self, root: &Path) -> PathBuf {
        match &self.path {
            Some(path) => root.join(OsStr::from_bytes(path.as_bytes())),
            None => root.to_owned(),
        }
    }
}
