//! The directory of a feature, and paths in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::layout::DocumentSet;
use crate::core::path::{FeatureSlug, PathError, RelPath};

/// The directory of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDir {
    /// The feature.
    pub slug: FeatureSlug,
    /// Path below the root; `None` if the root is itself the feature directory.
    pub path: Option<RelPath>,
    /// The files that it has, of the documents of a project: then its directory is the root.
    pub documents: Option<Arc<DocumentSet>>,
}

impl FeatureDir {
    /// Creates a feature all of whose files are artifacts.
    #[must_use]
    pub fn new(slug: FeatureSlug, path: Option<RelPath>) -> Self {
        Self { slug, path, documents: None }
    }

    /// Creates a feature that was stored by a daemon. One whose directory is the root is that of
    /// documents; which files it has is found out when it is discovered.
    #[must_use]
    pub fn stored(slug: FeatureSlug, path: Option<RelPath>) -> Self {
        let documents = path.is_none().then(Arc::default);
        Self { documents, ..Self::new(slug, path) }
    }

    /// Returns true for the documents of a project.
    #[must_use]
    pub fn is_documents(&self) -> bool {
        self.documents.is_some()
    }

    /// Returns true if both have the same slug and directory.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.slug == other.slug && self.path == other.path
    }

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
