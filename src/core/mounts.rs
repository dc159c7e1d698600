//! What is mounted below a project's root, and whose files are hidden by a mount or by its absence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::path::RelPath;

/// What is mounted at a mount point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mount {
    /// Number of file systems that are mounted there on each other.
    pub depth: u32,
    /// The kernel's number of the uppermost one. What is mounted there later has another number or device, unless
    /// both are free again.
    pub id: u64,
    /// The device number of the uppermost one.
    pub device: u64,
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
    /// Identifies the run of the system, if that is known: in another one devices have other numbers.
    pub boot: Option<Uuid>,
}

/// The mount points on the way to a directory and below it. Two files are on the same mount if they have
/// the same uppermost mount point, with as many file systems mounted there, the uppermost on the same device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountPoints(BTreeMap<RelPath, MountPoint>);

/// What is mounted at a mount point, as far as that outlives a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MountPoint {
    depth: u32,
    /// `None` if an older version stored it.
    device: Option<Device>,
}

/// A device; its number is comparable within a run of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    number: u64,
    boot: Option<Uuid>,
}

impl MountPoint {
    pub(super) fn agrees_with(self, other: Self) -> bool {
        let devices = self.device.zip(other.device);
        let is_other =
            devices.is_some_and(|(one, of)| one.boot == of.boot && one.number != of.number);
        self.depth == other.depth && !is_other
    }
}

/// The stored form of what is mounted at a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredMount {
    /// Number of file systems; number of the uppermost device, and in which run of the system.
    OnDevice(u32, u64, Uuid),
    /// Only the number of file systems: without a known run of the system, and from older versions.
    Depth(u32),
}

impl From<MountPoint> for StoredMount {
    fn from(MountPoint { depth, device }: MountPoint) -> Self {
        let device = device.and_then(|device| Some((device.number, device.boot?)));
        device.map_or(Self::Depth(depth), |(number, boot)| Self::OnDevice(depth, number, boot))
    }
}

impl From<StoredMount> for MountPoint {
    fn from(stored: StoredMount) -> Self {
        match stored {
            StoredMount::OnDevice(depth, number, boot) => {
                Self { depth, device: Some(Device { number, boot: Some(boot) }) }
            }
            StoredMount::Depth(depth) => Self { depth, device: None },
        }
    }
}

impl Mounts {
    /// Returns the mount points on the way to a directory and below it; `None` is the root.
    #[must_use]
    pub fn around(&self, dir: Option<&RelPath>) -> MountPoints {
        let around = self.points.iter().filter(|(point, _)| is_around(point, dir));
        let found = |mount: &Mount| MountPoint {
            depth: mount.depth,
            device: Some(Device { number: mount.device, boot: self.boot }),
        };
        MountPoints(around.map(|(point, mount)| (point.clone(), found(mount))).collect())
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
        match (self.find(path), other.find(path)) {
            (None, None) => true,
            (Some((at, mount)), Some((of, other))) => at == of && mount.agrees_with(*other),
            _ => false,
        }
    }

    /// Returns why what was at a path is not seen at present, if it was on another mount before.
    #[must_use]
    pub fn why_hidden(&self, before: &Self, path: &RelPath) -> String {
        match (self.find(path), before.find(path)) {
            (present, Some((known, _))) if present.is_none_or(|(at, _)| known.is_below(at)) => {
                format!("{} is not mounted", known.text())
            }
            (Some((present, mount)), Some((known, before)))
                if present == known && mount.depth == before.depth =>
            {
                format!("another file system is mounted at {}", present.text())
            }
            (Some((present, _)), _) => format!("hidden by the mount at {}", present.text()),
            (None, _) => "not mounted".to_owned(),
        }
    }

    /// Returns the mount that holds a path; `None` is that of the root.
    pub(super) fn mount_of(&self, path: &RelPath) -> Option<(RelPath, MountPoint)> {
        self.find(path).map(|(point, mount)| (point.clone(), *mount))
    }

    fn find(&self, path: &RelPath) -> Option<(&RelPath, &MountPoint)> {
        let mut points = self.0.range(..=path).rev();
        points.find(|(point, _)| *point == path || path.is_below(point))
    }

    /// Returns the stored form; [`MountPoints::from_stored`] reads it.
    pub(super) fn to_stored(&self) -> BTreeMap<String, StoredMount> {
        self.0.iter().map(|(at, mount)| (at.text().into_owned(), (*mount).into())).collect()
    }

    /// Reads what [`MountPoints::to_stored`] returned; `None` if one is not a path.
    pub(super) fn from_stored(stored: &BTreeMap<String, StoredMount>) -> Option<Self> {
        let parse = |(at, mount): (&String, &StoredMount)| {
            Some((RelPath::from_text(at).ok()?, (*mount).into()))
        };
        stored.iter().map(parse).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn mounts(points: &[(&str, u32)]) -> Mounts {
        let mount = |depth| Mount { depth, ..Mount::default() };
        let points = points.iter().map(|(point, depth)| (path(point), mount(*depth)));
        Mounts { points: points.collect(), changes: 0, boot: Some(Uuid::from_u128(1)) }
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
    fn another_device_at_the_same_mount_point_is_another_mount() {
        let one = mounts(&[("a", 1)]);
        let mut other = one.clone();
        other.points.get_mut(&path("a")).unwrap().device = 7;
        let (now, file) = (one.around(None), path("a/b"));
        assert!(!now.agree_on(&other.around(None), &file));
        assert!(!other.around(None).agree_on(&now, &file));
        let why = other.around(None).why_hidden(&now, &file);
        assert_eq!(why, "another file system is mounted at a");
        let stored = MountPoints::from_stored(&now.to_stored()).unwrap();
        assert_eq!(stored, now);
        // Of another run of the system, of one that is not known, and of a version that did not store devices.
        other.boot = Some(Uuid::from_u128(2));
        assert!(stored.agree_on(&other.around(None), &file));
        other.boot = None;
        let without_device = [("a".to_owned(), StoredMount::Depth(1))].into();
        for stored in [other.around(None).to_stored(), without_device] {
            let stored = MountPoints::from_stored(&stored).unwrap();
            assert!(stored.agree_on(&now, &file) && now.agree_on(&stored, &file));
        }
    }

    #[test]
    fn mount_points_around_a_directory_are_on_its_way_or_below() {
        let all = mounts(&[("specs", 1), ("specs/a/contracts", 2), ("specs/b", 1), ("x", 1)]);
        let around = |dir: &str| {
            let points = all.around(Some(&path(dir))).0.into_iter();
            points.map(|(at, mount)| format!("{} {}", at.text(), mount.depth)).collect::<Vec<_>>()
        };
        assert_eq!(around("specs/a"), ["specs 1", "specs/a/contracts 2"]);
        assert_eq!(around("specs/b"), ["specs 1", "specs/b 1"]);
        assert!(around("y").is_empty());
        let stored = all.around(None).to_stored();
        assert_eq!(MountPoints::from_stored(&stored), Some(all.around(None)));
        let outside = [("../x".to_owned(), StoredMount::Depth(1))].into();
        assert_eq!(MountPoints::from_stored(&outside), None);
    }

    #[test]
    fn differences_are_the_points_whose_mounts_are_others() {
        let before = mounts(&[("a", 1), ("b", 1), ("c", 1), ("e", 1)]);
        let mut after = mounts(&[("b", 1), ("c", 2), ("d", 1), ("e", 1)]);
        after.points.get_mut(&path("e")).unwrap().id = 1;
        for (one, other) in [(&before, &after), (&after, &before)] {
            let mut points: Vec<_> = one.differences(other).map(RelPath::text).collect();
            points.sort();
            assert_eq!(points, ["a", "c", "d", "e"]);
        }
        assert_eq!(before.differences(&before).count(), 0);
    }
}
