//! What is mounted below a project's root, and whose files are hidden by a mount or by its absence.

use std::collections::BTreeMap;

use super::path::RelPath;

/// What is mounted at a mount point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mount {
    /// Number of file systems that are mounted there on each other.
    pub depth: u32,
    /// The name of the uppermost one, if its files can change without an event.
    pub remote: Option<&'static str>,
}

/// What is mounted below a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// By mount point, relative to the root.
    pub points: BTreeMap<RelPath, Mount>,
    /// Number of changes of the mount table until then. What was found before the last change may be of
    /// another file system.
    pub changes: u64,
}

/// The mount points on the way to a directory and below it. Two files are on the same mount if they have
/// the same uppermost mount point, with as many file systems mounted there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountPoints(BTreeMap<RelPath, u32>);

impl Mounts {
    /// Returns the mount points on the way to a directory and below it; `None` is the root.
    #[must_use]
    pub fn around(&self, dir: Option<&RelPath>) -> MountPoints {
        let around = self.points.iter().filter(|(point, _)| is_around(point, dir));
        MountPoints(around.map(|(point, mount)| (point.clone(), mount.depth)).collect())
    }

    /// Returns the mount points that differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a RelPath> {
        let differs = |one: &Self, point: &RelPath| {
            self.points.get(point) != other.points.get(point) && one.points.contains_key(point)
        };
        let own = self.points.keys().filter(move |point| differs(self, point));
        own.chain(other.points.keys().filter(|point| !self.points.contains_key(point)))
    }
}

/// Returns true if a mount point is on the way to a directory or below it; `None` is the root.
#[must_use]
pub fn is_around(point: &RelPath, dir: Option<&RelPath>) -> bool {
    dir.is_none_or(|dir| point == dir || dir.is_below(point) || point.is_below(dir))
}

impl MountPoints {
    /// Returns true if nothing is mounted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a path is on the same mount in both.
    #[must_use]
    pub fn agree_on(&self, other: &Self, path: &RelPath) -> bool {
        self.mount_of(path) == other.mount_of(path)
    }

    /// Returns why what was at a path is not seen at present, if it was on another mount before.
    #[must_use]
    pub fn why_hidden(&self, before: &Self, path: &RelPath) -> String {
        match (self.mount_of(path), before.mount_of(path)) {
            (present, Some((known, _))) if present.is_none_or(|(at, _)| known.is_below(at)) => {
                format!("{} is not mounted", known.text())
            }
            (Some((present, _)), _) => format!("hidden by the mount at {}", present.text()),
            (None, _) => "not mounted".to_owned(),
        }
    }

    fn mount_of(&self, path: &RelPath) -> Option<(&RelPath, &u32)> {
        let mut points = self.0.range(..=path).rev();
        points.find(|(point, _)| *point == path || path.is_below(point))
    }

    /// Returns them as text; [`MountPoints::parse`] reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let texts: BTreeMap<_, _> = self.0.iter().map(|(at, depth)| (at.text(), depth)).collect();
        serde_json::json!(texts).to_string()
    }

    /// Reads what [`MountPoints::to_text`] returned; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let texts: BTreeMap<String, u32> = serde_json::from_str(text).ok()?;
        let parse = |(at, depth): (String, _)| Some((RelPath::from_text(&at).ok()?, depth));
        texts.into_iter().map(parse).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn mounts(points: &[(&str, u32)]) -> Mounts {
        let mount = |depth| Mount { depth, remote: None };
        let points = points.iter().map(|(point, depth)| (path(point), mount(*depth)));
        Mounts { points: points.collect(), changes: 0 }
    }

    #[test]
    fn paths_agree_if_the_mount_that_holds_them_is_the_same() {
        let now = mounts(&[("specs", 1), ("specs/a/contracts", 2), ("specs-old", 1), ("x", 1)]);
        for (then, of, agrees) in [
            (vec![("specs", 1), ("specs/a/contracts", 2)], "specs/a/spec.md", true),
            (vec![("specs", 1)], "specs/a/spec.md", true),
            (vec![("specs", 1)], "specs/a/contracts/api.yaml", false),
            (vec![("specs", 1), ("specs/a/contracts", 1)], "specs/a/contracts/api.yaml", false),
            (vec![], "specs/a/spec.md", false),
            (vec![], "specs", false),
            (vec![], "spec", true),
            (vec![("specs-old", 1)], "specs-older/b", true),
        ] {
            let of = path(of);
            let (now, then) = (now.around(None), mounts(&then).around(None));
            assert_eq!(now.agree_on(&then, &of), agrees, "{of:?} {then:?}");
            assert_eq!(then.agree_on(&now, &of), agrees, "{of:?} {then:?}");
        }
    }

    #[test]
    fn mount_points_around_a_directory_are_on_its_way_or_below() {
        let all = mounts(&[("specs", 1), ("specs/a/contracts", 2), ("specs/b", 1), ("x", 1)]);
        let around = |dir: &str| all.around(Some(&path(dir))).to_text();
        assert_eq!(around("specs/a"), r#"{"specs":1,"specs/a/contracts":2}"#);
        assert_eq!(around("specs/b"), r#"{"specs":1,"specs/b":1}"#);
        assert_eq!(around("y"), "{}");
        let text = all.around(None).to_text();
        assert_eq!(MountPoints::parse(&text), Some(all.around(None)));
        assert_eq!(MountPoints::parse("specs"), None);
    }

    #[test]
    fn differences_are_the_points_whose_mounts_are_others() {
        let before = mounts(&[("a", 1), ("b", 1), ("c", 1)]);
        let after = mounts(&[("b", 1), ("c", 2), ("d", 1)]);
        for (one, other) in [(&before, &after), (&after, &before)] {
            let mut points: Vec<_> = one.differences(other).map(RelPath::text).collect();
            points.sort();
            assert_eq!(points, ["a", "c", "d"]);
        }
        assert_eq!(before.differences(&before).count(), 0);
    }
}
