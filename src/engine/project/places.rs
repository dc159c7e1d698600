//! An index of feature directories: finds the features that contain a path in O(log n).

use std::collections::BTreeMap;

use crate::core::path::{FeatureSlug, RelPath};
use crate::project::FeatureDir;

/// Features by the bytes of their path below the root; empty for the root itself.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Box<[u8]>, FeatureSlug>);

impl Places {
    pub(super) fn put(&mut self, dir: &FeatureDir) {
        self.0.insert(key(dir).into(), dir.slug.clone());
    }

    pub(super) fn take(&mut self, dir: &FeatureDir) {
        // Another feature may have this path by now.
        if self.0.get(key(dir)) == Some(&dir.slug) {
            self.0.remove(key(dir));
        }
    }

    /// Returns the features that contain a path below the root, each with the path relative to it,
    /// which is `None` for the feature's directory itself. Features may be nested.
    pub(super) fn containing(&self, path: &RelPath) -> Vec<(FeatureSlug, Option<RelPath>)> {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let inside = slashes.filter_map(|(end, _)| {
            let slug = self.0.get(&bytes[..end])?;
            Some((slug.clone(), Some(RelPath::new(&bytes[end + 1..]).ok()?)))
        });
        let root = self.0.get(&b""[..]).map(|slug| (slug.clone(), Some(path.clone())));
        let itself = self.0.get(bytes).map(|slug| (slug.clone(), None));
        root.into_iter().chain(inside).chain(itself).collect()
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
    fn containing_returns_every_nested_feature_of_a_path() {
        let dir = |slug: &str, at: Option<&str>| FeatureDir {
            slug: FeatureSlug::new(slug.as_bytes()).unwrap(),
            path: at.map(path),
        };
        let mut places = Places::default();
        let dirs = [dir("a", Some("specs/a")), dir("b", Some("specs/a/sub/b")), dir("r", None)];
        for dir in &dirs {
            places.put(dir);
        }
        let containing = |places: &Places, of: &str| {
            let text = |below: &Option<RelPath>| {
                below.as_ref().map_or(String::new(), |below| below.text().into_owned())
            };
            let all = places.containing(&path(of));
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
            assert_eq!(containing(&places, of), expect, "{of}");
        }
        places.take(&dirs[2]);
        places.take(&dirs[0]);
        assert_eq!(containing(&places, "specs/a/sub/b/x.md"), ["b:x.md"]);
        places.put(&dir("c", Some("specs/a/sub/b")));
        places.take(&dirs[1]);
        assert_eq!(containing(&places, "specs/a/sub/b"), ["c:"]);
    }
}
