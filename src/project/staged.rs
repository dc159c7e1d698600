//! Reads git's index for the files of a feature, again when its stat data changed; git is not run.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::core::git_index::GitIndex;
use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::project::root_dir::read_path;

/// Maximum size of an index: about a million files.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// The index as it was read last, for each feature for which it was read.
#[derive(Debug, Default)]
pub(super) struct StagedCache(Mutex<CachedIndex>);

#[derive(Debug, Default)]
struct CachedIndex {
    stamp: Option<Stamp>,
    features: BTreeMap<FeatureSlug, Option<Arc<GitIndex>>>,
}

/// Stat data of the index, which git replaces by a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
    inode: u64,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
        Self {
            size: metadata.size(),
            modified_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

impl StagedCache {
    /// Returns the index at `path` of the files of a feature, whose directory in the work tree `dir`
    /// returns.
    pub(super) fn load(
        &self,
        path: &Path,
        slug: &FeatureSlug,
        dir: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<Arc<GitIndex>> {
        let stamp = match std::fs::metadata(path) {
            Ok(metadata) => Stamp::new(&metadata),
            // Nothing is staged yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Arc::default()),
            Err(_) => return None,
        };
        let mut cached = lock(&self.0);
        if cached.stamp != Some(stamp) {
            *cached = CachedIndex { stamp: Some(stamp), features: BTreeMap::new() };
        }
        if let Some(index) = cached.features.get(slug) {
            return index.clone();
        }
        let bytes = read_path(path, MAX_INDEX_BYTES).ok()??;
        let index = dir().and_then(|dir| GitIndex::parse(&bytes, &dir, stamp.modified_ns));
        let index = index.map(Arc::new);
        // The file may have been replaced since its stat.
        if std::fs::metadata(path).is_ok_and(|metadata| Stamp::new(&metadata) == stamp) {
            cached.features.insert(slug.clone(), index.clone());
            index
        } else {
            None
        }
    }
}
