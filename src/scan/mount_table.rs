//! What is mounted where, from `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use std::ops::Bound::{Included, Unbounded};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uuid::Uuid;

use super::remote_fs::remote_fs_by_type;
use crate::core::mounts::{Mount, Mounts};
use crate::core::path::RelPath;
use crate::core::sync::lock;

const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// The mount table, which is read again only when it has changed.
#[derive(Debug)]
pub struct MountTable {
    boot: Option<Uuid>,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    file: File,
    /// By mount point; in the order in which they are mounted on each other.
    mounts: Arc<BTreeMap<PathBuf, Mount>>,
    /// Number of changes that were seen.
    changes: u64,
    /// It has changed since it was read; the kernel reports that only once.
    is_stale: bool,
}

impl MountTable {
    /// Opens and reads the mount table. `boot` identifies the run of the system, if that is known.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(boot: Option<Uuid>) -> io::Result<Self> {
        let mut file = File::open(MOUNT_TABLE)?;
        let mounts = Arc::new(read(&mut file)?);
        Ok(Self { boot, table: Mutex::new(Table { file, mounts, changes: 0, is_stale: false }) })
    }

    /// Returns what is mounted below `root` now.
    ///
    /// # Errors
    /// If the mount table cannot be read.
    pub fn below(&self, root: &Path) -> io::Result<Mounts> {
        let (mounts, changes) = {
            let mut table = lock(&self.table);
            table.update()?;
            (Arc::clone(&table.mounts), table.changes)
        };
        let below = mounts.range::<Path, _>((Included(root), Unbounded));
        let below = below.take_while(|(point, _)| point.starts_with(root));
        let relative = below.filter_map(|(point, mount)| {
            let relative = point.strip_prefix(root).ok()?;
            Some((RelPath::new(relative.as_os_str().as_bytes()).ok()?, *mount))
        });
        Ok(Mounts { points: relative.collect(), changes, boot: self.boot })
    }
}

impl Table {
    /// Reads the table again if it has changed since it was read.
    fn update(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.file, PollFlags::PRI)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) => {}
            Ok(_) => {
                self.is_stale = true;
                self.changes += 1;
            }
            Err(error) => return Err(error.into()),
        }
        if self.is_stale {
            self.mounts = Arc::new(read(&mut self.file)?);
            self.is_stale = false;
        }
        Ok(())
    }
}

fn read(file: &mut File) -> io::Result<BTreeMap<PathBuf, Mount>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(parse(&text))
}

/// A line of the mount table.
struct Line<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    device: u64,
    point: PathBuf,
    fs_type: &'a [u8],
}

/// Returns the mount points that can be seen, and what is mounted there.
fn parse(text: &[u8]) -> BTreeMap<PathBuf, Mount> {
    let lines: Vec<Line> = text.split(|byte| *byte == b'\n').filter_map(parse_line).collect();
    let ids: BTreeSet<&[u8]> = lines.iter().map(|line| line.id).collect();
    let mut children: BTreeMap<&[u8], Vec<Line>> = BTreeMap::new();
    let mut open = Vec::new();
    for line in lines {
        // The parent of the uppermost mount is itself, or outside of what this process can see.
        if line.parent == line.id || !ids.contains(line.parent) {
            open.push(line);
        } else {
            children.entry(line.parent).or_default().push(line);
        }
    }
    let mut mounts = BTreeMap::new();
    while let Some(line) = open.pop() {
        open.extend(remove_hidden(children.remove(line.id).unwrap_or_default()));
        let mount: &mut Mount = mounts.entry(line.point).or_default();
        mount.depth += 1;
        mount.id = std::str::from_utf8(line.id).ok().and_then(|id| id.parse().ok()).unwrap_or(0);
        mount.device = line.device;
        mount.remote = std::str::from_utf8(line.fs_type).ok().and_then(remote_fs_by_type);
    }
    mounts
}

/// Removes those of the mounts on one file system that another one of them hides.
fn remove_hidden(mut lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    lines.sort_by(|one, other| one.point.cmp(&other.point));
    let mut visible: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        // What is below a path directly follows it.
        let is_hidden = visible
            .last()
            .is_some_and(|above| above.point != line.point && line.point.starts_with(&above.point));
        if !is_hidden {
            visible.push(line);
        }
    }
    visible
}

/// `36 35 98:0 /dir /mnt rw,noatime master:1 - ext3 /dev/root rw`; the fields before the hyphen vary.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (fields.next()?, fields.next()?);
    let device = parse_device(fields.next()?)?;
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let fs_type = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Line { id, parent, device, point, fs_type })
}

/// `98:0`: the major and the minor number.
fn parse_device(text: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(u64::from(major.parse::<u32>().ok()?) << 32 | u64::from(minor.parse::<u32>().ok()?))
}

/// Spaces, tabs, line feeds and backslashes are written as a backslash and three octal digits.
fn unescape(text: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_points(text: &str) -> Vec<(String, u32, Option<&'static str>)> {
        let mounts = parse(text.as_bytes()).into_iter();
        mounts.map(|(point, one)| (point.display().to_string(), one.depth, one.remote)).collect()
    }

    #[test]
    fn visible_mount_points_are_found_in_the_table() {
        let text = "\
            22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 8:2 / /home rw,noatime shared:1 master:2 - ext4 /dev/sda2 rw\n\
            31 30 8:3 /x /home/a\\040b\\134c rw - fuse.sshfs host:/x rw\n\
            40 22 8:4 / /p rw - tmpfs tmpfs rw\n\
            41 22 8:5 / /p/below rw - ext4 /dev/sda5 rw\n\
            42 40 8:6 / /p rw - nfs4 server:/p rw\n\
            43 41 8:7 / /p/below/deep rw - ext4 /dev/sda7 rw\n\
            broken\n";
        assert_eq!(
            parse_points(text),
            [
                ("/".to_owned(), 1, None),
                ("/home".to_owned(), 1, None),
                ("/home/a b\\c".to_owned(), 1, Some("FUSE")),
                // What is mounted last is seen; what was mounted below before is hidden.
                ("/p".to_owned(), 2, Some("NFS")),
            ]
        );
        assert_eq!(parse_points(""), []);
    }

    #[test]
    fn mounts_differ_by_number_and_device() {
        let line = |id: u32, device: &str| {
            format!("1 0 8:1 / / rw - ext4 x rw\n{id} 1 {device} / /a rw - tmpfs x rw\n")
        };
        let parse = |id, device| parse(line(id, device).as_bytes())[Path::new("/a")];
        let before = parse(7, "8:2");
        assert_eq!(before, parse(7, "8:2"));
        assert_ne!(before, parse(8, "8:2"));
        assert_ne!(before, parse(7, "8:3"));
        assert_ne!(before, parse(7, "2:8"));
    }

    #[test]
    fn uppermost_mount_may_be_its_own_parent() {
        let text = "1 1 0:1 / / rw - rootfs rootfs rw\n2 1 8:1 / /a rw - ext4 /dev/sda1 rw\n";
        assert_eq!(parse_points(text), [("/".to_owned(), 1, None), ("/a".to_owned(), 1, None)]);
    }

    #[test]
    fn large_table_is_parsed_in_time_that_grows_with_its_size() {
        let line = |number| format!("{number} 1 8:1 / /c/{number} rw - ext4 /dev/sda1 rw\n");
        let text: String = (2..100_000).map(line).collect();
        let text = format!("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n{text}");
        assert_eq!(parse(text.as_bytes()).len(), 99_999);
    }

    #[test]
    fn present_mounts_are_read_once_until_they_change() {
        let table = MountTable::open(None).unwrap();
        let mounts = table.below(Path::new("/")).unwrap();
        assert!(mounts.points.keys().any(|point| point.as_bytes() == b"proc"), "{mounts:?}");
        let inside = table.below(Path::new("/proc/nowhere")).unwrap();
        assert!(inside.points.is_empty(), "{inside:?}");
    }
}
