//! Which features a path is in, without asking each of them.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use crate::core::layout::DocumentSet;
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::FeatureDir;

/// The features by the bytes of their path below the root; the root itself has an empty path. Those of
/// documents have only some of its files.
#[derive(Debug, Default)]
pub(super) struct FeatureIndex(
    BTreeMap<Box<[u8]>, FeatureSlug>,
    BTreeMap<FeatureSlug, Arc<DocumentSet>>,
);

impl FeatureIndex {
    pub(super) fn insert(&mut self, dir: &FeatureDir) {
        if let Some(documents) = &dir.documents {
            self.1.insert(dir.slug.clone(), Arc::clone(documents));
            return;
        }
        self.0.insert(key(dir).into(), dir.slug.clone());
    }

    /// Removes a feature, unless another one has taken its directory.
    pub(super) fn remove(&mut self, dir: &FeatureDir) {
        if dir.documents.is_some() {
            self.1.remove(&dir.slug);
            return;
        }
        if self.0.get(key(dir)) == Some(&dir.slug) {
            self.0.remove(key(dir));
        }
    }

    /// Returns the features that contain a path below the root, and the path below each; `None`
    /// for the feature whose directory it is. Features may be nested: what is in the inner one is
    /// in both.
    pub(super) fn containing(&self, path: &RelPath) -> Vec<(FeatureSlug, Option<RelPath>)> {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let inside = slashes.filter_map(|(end, _)| {
            let slug = self.0.get(&bytes[..end])?;
            Some((slug.clone(), Some(RelPath::new(&bytes[end + 1..]).ok()?)))
        });
        let root = self.at_root().map(|slug| (slug.clone(), Some(path.clone())));
        let itself = self.0.get(bytes).map(|slug| (slug.clone(), None));
        root.into_iter().chain(inside).chain(itself).collect()
    }

    /// Returns the features at and below a path.
    pub(super) fn at_or_below(&self, path: &RelPath) -> Vec<FeatureSlug> {
        let path = path.as_bytes();
        let same_start = self.0.range::<[u8], _>((Included(path), Unbounded));
        let same_start = same_start.take_while(|(key, _)| key.starts_with(path));
        // Among them are paths such as `a-b` for `a`.
        let below = same_start.filter(|(key, _)| matches!(key.get(path.len()), None | Some(b'/')));
        let documents = RelPath::new(path).map(|path| self.documents_at(&path));
        below.map(|(_, slug)| slug.clone()).chain(documents.into_iter().flatten()).collect()
    }

    /// Returns the features that have a file at the path as a document, or may have some below it.
    pub(super) fn documents_at(&self, path: &RelPath) -> Vec<FeatureSlug> {
        let has = |set: &DocumentSet| set.has_file(path) || set.may_be_below(path);
        let features = self.1.iter().filter(|(_, set)| has(set));
        features.map(|(slug, _)| slug.clone()).collect()
    }

    /// Returns the feature whose directory is the root, if there is one.
    pub(super) fn at_root(&self) -> Option<&FeatureSlug> {
        self.0.get(&b""[..])
    }
}

fn key(dir: &FeatureDir) -> &[u8] {
    dir.path.as_ref().map(RelPath::as_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn nested_features_all_contain_a_path() {
        let dir = |slug: &str, at: Option<&str>| {
            FeatureDir::new(FeatureSlug::new(slug.as_bytes()).unwrap(), at.map(path))
        };
        let mut index = FeatureIndex::default();
        let dirs = [dir("a", Some("specs/a")), dir("b", Some("specs/a/sub/b")), dir("r", None)];
        for dir in &dirs {
            index.insert(dir);
        }
        let containing = |index: &FeatureIndex, of: &str| {
            let text = |below: &Option<RelPath>| {
                below.as_ref().map_or(String::new(), |below| below.text().into_owned())
            };
            let all = index.containing(&path(of));
            all.iter().map(|(slug, below)| format!("{slug}:{}", text(below))).collect::<Vec<_>>()
        };
        for (of, expect) in [
            ("specs", &["r:specs"][..]),
            ("specs/a", &["r:specs/a", "a:"]),
            ("specs/ab/x", &["r:specs/ab/x"]),
            ("specs/a/sub", &["r:specs/a/sub", "a:sub"]),
            ("specs/a/sub/b", &["r:specs/a/sub/b", "a:sub/b", "b:"]),
            ("specs/a/sub/b/x.md", &["r:specs/a/sub/b/x.md", "a:sub/b/x.md", "b:x.md"]),
        ] {
            assert_eq!(containing(&index, of), expect, "{of}");
        }
        for (of, expect) in [
            ("specs", &["a", "b"][..]),
            ("specs/a", &["a", "b"]),
            ("specs/a/sub", &["b"]),
            ("specs/a/su", &[]),
            ("spec", &[]),
        ] {
            let below = index.at_or_below(&path(of));
            assert_eq!(below.iter().map(FeatureSlug::as_str).collect::<Vec<_>>(), expect, "{of}");
        }
        index.remove(&dirs[2]);
        index.remove(&dirs[0]);
        assert_eq!(containing(&index, "specs/a/sub/b/x.md"), ["b:x.md"]);
        index.insert(&dir("c", Some("specs/a/sub/b")));
        index.remove(&dirs[1]);
        assert_eq!(containing(&index, "specs/a/sub/b"), ["c:"]);
    }
}
