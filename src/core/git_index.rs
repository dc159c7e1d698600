//! git's index, in the versions 2 to 4 (<https://git-scm.com/docs/index-format>): which files git takes
//! for unchanged since they were staged, by the same stat data as git. Reading it is the task of
//! `project`; it is never written, and no object is read.

use std::collections::HashMap;

use super::artifact::FileSignature;
use super::path::RelPath;

/// Maximum length of a path; no file has a longer one.
const MAX_PATH_BYTES: usize = 4_096;
/// Maximum size of all paths that are kept. An index of version 4 may be much smaller than its paths.
const MAX_PATHS_BYTES: usize = 64 << 20;
/// Mask and value of the mode of a regular file.
const FILE_TYPE: (u32, u32) = (0o170_000, 0o100_000);
/// Flags of an entry.
const EXTENDED: u16 = 0x4000;
const STAGE: u16 = 0x3000;
const NAME_LENGTH: u16 = 0x0fff;
/// Extended flag of a file that `git add --intent-to-add` named: its content is not staged.
const INTENT_TO_ADD: u16 = 0x2000;
/// Sizes of object ids, of SHA-1 and of SHA-256. The index does not name the one that it has.
const ID_SIZES: [usize; 2] = [20, 32];

/// The staged files below a directory of a work tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitIndex {
    files: HashMap<Box<[u8]>, StagedStat>,
}

/// Stat data of a file when it was staged, truncated to 32 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StagedStat {
    /// Seconds and nanoseconds of `ctime`; zero if it was not recorded.
    changed: [u32; 2],
    /// Seconds and nanoseconds of `mtime`.
    modified: [u32; 2],
    /// Inode number; 0 if it was not recorded.
    inode: u32,
    size: u32,
}

impl GitIndex {
    /// Parses an index that was written at `written_ns` (nanoseconds since 1970). Keeps the files below
    /// `dir`, a path in the work tree, or all if it is empty.
    ///
    /// Returns `None` if it is not a valid index, or one whose entries are partly in another file.
    #[must_use]
    pub fn parse(bytes: &[u8], dir: &[u8], written_ns: i64) -> Option<Self> {
        ID_SIZES.into_iter().find_map(|id_size| parse(bytes, dir, written_ns, id_size))
    }

    /// Returns true if the file at a path below the directory is staged, and its signature shows that
    /// it was not changed since.
    #[must_use]
    pub fn is_unchanged(&self, path: &RelPath, signature: &FileSignature) -> bool {
        let changed = split_time(signature.changed_ns);
        self.files.get(path.as_bytes()).is_some_and(|staged| {
            staged.modified == split_time(signature.modified_ns)
                && staged.size == low_bits(signature.size)
                && (staged.changed == [0, 0] || staged.changed == changed)
                && (staged.inode == 0 || staged.inode == low_bits(signature.inode))
        })
    }
}

fn parse(bytes: &[u8], dir: &[u8], written_ns: i64, id_size: usize) -> Option<GitIndex> {
    let mut reader = Reader { rest: bytes };
    let version = (reader.take(4)? == b"DIRC").then(|| reader.u32())??;
    if !(2..=4).contains(&version) {
        return None;
    }
    let count = reader.u32()?;
    let mut index = GitIndex::default();
    let (mut path, mut stage, mut kept_bytes) = (Vec::new(), 0, 0);
    // Each entry consumes bytes, so a wrong count ends the loop.
    for number in 0..count {
        let entry = reader.entry(version, id_size, &path)?;
        let is_sorted = number == 0 || (&path, stage) < (&entry.path, entry.stage);
        if !is_sorted || entry.path.len() > MAX_PATH_BYTES {
            return None;
        }
        let is_trusted = entry.is_content && entry.modified_ns() < written_ns;
        (path, stage) = (entry.path, entry.stage);
        let below = match dir {
            [] => Some(&*path),
            dir => path.strip_prefix(dir).and_then(|rest| rest.strip_prefix(b"/")),
        };
        // A file that was written after the index in the same instant has the same stat data (git
        // calls such entries "racily clean").
        if let (Some(below), true) = (below, is_trusted) {
            kept_bytes += below.len();
            index.files.insert(below.into(), entry.stat);
        }
        if kept_bytes > MAX_PATHS_BYTES {
            return None;
        }
    }
    while reader.rest.len() > id_size {
        let signature = reader.take(4)?;
        let size = reader.u32()?;
        reader.take(usize::try_from(size).ok()?)?;
        // An extension with a lower-case name must be understood. `link` names another file with
        // entries; `sdir` marks directories as entries, which are not files.
        if signature[0].is_ascii_lowercase() && signature != b"sdir" {
            return None;
        }
    }
    (reader.rest.len() == id_size).then_some(index)
}

/// An entry of the index.
struct Entry {
    path: Vec<u8>,
    stage: u16,
    /// True if the content of a regular file is staged, without a conflict.
    is_content: bool,
    stat: StagedStat,
}

impl Entry {
    fn modified_ns(&self) -> i64 {
        let [seconds, nanos] = self.stat.modified.map(i64::from);
        seconds * 1_000_000_000 + nanos
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Reads the bytes before a NUL, and the NUL.
    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().take(MAX_PATH_BYTES + 1).position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// Reads the number of bytes that a path of version 4 does not share with the one before.
    fn stripped_length(&mut self) -> Option<usize> {
        let mut number: usize = 0;
        for position in 0.. {
            let byte = *self.take(1)?.first()?;
            number = if position == 0 { 0 } else { number.checked_add(1)? };
            number = number.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }

    fn entry(&mut self, version: u32, id_size: usize, previous: &[u8]) -> Option<Entry> {
        let size_before = self.rest.len();
        let changed = [self.u32()?, self.u32()?];
        let modified = [self.u32()?, self.u32()?];
        let (_device, inode, mode) = (self.u32()?, self.u32()?, self.u32()?);
        let (_user, _group, size) = (self.u32()?, self.u32()?, self.u32()?);
        self.take(id_size)?;
        let flags = self.u16()?;
        let extended = match (flags & EXTENDED, version) {
            (0, _) => 0,
            (_, 2) => return None,
            _ => self.u16()?,
        };
        let path = if version == 4 {
            let kept = previous.len().checked_sub(self.stripped_length()?)?;
            [previous.get(..kept)?, self.text()?].concat()
        } else {
            let path = self.text()?.to_vec();
            // The entry is padded to a multiple of eight bytes; one NUL was read.
            let consumed = size_before - self.rest.len();
            self.take(consumed.next_multiple_of(8) - consumed)?;
            path
        };
        let length = path.len().min(usize::from(NAME_LENGTH));
        let (mask, regular) = FILE_TYPE;
        let stage = flags & STAGE;
        let is_content = stage == 0 && mode & mask == regular && extended & INTENT_TO_ADD == 0;
        let stat = StagedStat { changed, modified, inode, size };
        let is_valid = !path.is_empty() && usize::from(flags & NAME_LENGTH) == length;
        is_valid.then_some(Entry { path, stage, is_content, stat })
    }
}

/// Returns seconds and nanoseconds, as git truncates them.
fn split_time(nanos: i64) -> [u32; 2] {
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    [seconds.cast_unsigned(), nanos.cast_unsigned()].map(low_bits)
}

fn low_bits(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WRITTEN_NS: i64 = 2_000_000_000;

    fn signature() -> FileSignature {
        FileSignature {
            size: 5,
            modified_ns: 1_000_000_002,
            changed_ns: 1_000_000_003,
            inode: 7,
            device: 1,
        }
    }

    /// Returns an entry with the stat data of [`signature`].
    fn entry(
        version: u32,
        id_size: usize,
        path: &str,
        previous: &str,
        flags: u16,
        mode: u32,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [1, 3, 1, 2, 1, 7, mode, 0, 0, 5] {
            bytes.extend_from_slice(&u32::to_be_bytes(number));
        }
        bytes.extend(vec![0xab; id_size]);
        let length = u16::try_from(path.len()).unwrap();
        bytes.extend_from_slice(&(flags | length).to_be_bytes());
        if flags & EXTENDED != 0 {
            bytes.extend_from_slice(&INTENT_TO_ADD.to_be_bytes());
        }
        if version == 4 {
            let shared = path.bytes().zip(previous.bytes()).take_while(|(a, b)| a == b).count();
            bytes.push(u8::try_from(previous.len() - shared).unwrap());
            bytes.extend_from_slice(&path.as_bytes()[shared..]);
            bytes.push(0);
        } else {
            bytes.extend_from_slice(path.as_bytes());
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    fn index(version: u32, id_size: usize, extension: &[u8]) -> Vec<u8> {
        let file = 0o100_644;
        let entries = [
            ("a.md", 0, file),
            ("specs/1/link", 0, 0o120_000),
            ("specs/1/new.md", if version == 2 { 0x1000 } else { EXTENDED }, file),
            ("specs/1/spec.md", 0, file),
            ("specs/1/stage.md", 0x2000, file),
            ("specs/10/spec.md", 0, file),
        ];
        let mut bytes = [b"DIRC", &version.to_be_bytes()[..], &6_u32.to_be_bytes()].concat();
        let mut previous = "";
        for (path, flags, mode) in entries {
            bytes.extend(entry(version, id_size, path, previous, flags, mode));
            previous = path;
        }
        if let Some(name) = extension.get(..4) {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&u32::try_from(extension.len() - 4).unwrap().to_be_bytes());
            bytes.extend_from_slice(&extension[4..]);
        }
        bytes.extend(vec![0; id_size]);
        bytes
    }

    fn paths(index: &GitIndex) -> Vec<String> {
        let paths = index.files.keys().map(|path| String::from_utf8_lossy(path).into_owned());
        let mut paths: Vec<String> = paths.collect();
        paths.sort();
        paths
    }

    #[test]
    fn staged_files_of_a_directory_are_found_in_all_versions() {
        for (version, id_size) in [(2, 20), (3, 20), (4, 20), (2, 32), (3, 32), (4, 32)] {
            let bytes = index(version, id_size, b"TREE\x01\x02");
            let parse = |dir: &str, written| GitIndex::parse(&bytes, dir.as_bytes(), written);
            let of_feature = parse("specs/1", WRITTEN_NS).unwrap();
            assert_eq!(paths(&of_feature), ["spec.md"], "version {version}, {id_size}");
            let path = RelPath::new(&b"spec.md"[..]).unwrap();
            assert!(of_feature.is_unchanged(&path, &signature()));
            for changed in [
                FileSignature { size: 6, ..signature() },
                FileSignature { modified_ns: 1_000_000_001, ..signature() },
                FileSignature { changed_ns: 1_000_000_001, ..signature() },
                FileSignature { inode: 8, ..signature() },
            ] {
                assert!(!of_feature.is_unchanged(&path, &changed), "{changed:?}");
            }
            let all = parse("", WRITTEN_NS).unwrap();
            assert_eq!(paths(&all), ["a.md", "specs/1/spec.md", "specs/10/spec.md"]);
            // Written in the instant of the index, or after it.
            assert_eq!(paths(&parse("", 1_000_000_002).unwrap()), [""; 0]);
        }
    }

    #[test]
    fn incomplete_and_invalid_indexes_are_rejected() {
        let valid = index(2, 20, b"");
        let parse = |bytes: &[u8]| GitIndex::parse(bytes, b"", WRITTEN_NS);
        assert!(parse(&valid).is_some());
        assert_eq!(parse(&index(2, 20, b"link\x00")), None, "a split index");
        assert!(parse(&index(2, 20, b"sdir")).is_some());
        for end in 0..valid.len() {
            assert_eq!(parse(&valid[..end]), None, "the first {end} bytes");
        }
        let mut many = valid.clone();
        many[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(parse(&many), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_without_a_panic(
            version in 0u32..6, tail in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0usize..400, byte in any::<u8>(),
        ) {
            let mut bytes = [b"DIRC", &version.to_be_bytes()[..], &tail].concat();
            let _ = GitIndex::parse(&bytes, b"x", WRITTEN_NS);
            for version in 2..=4 {
                bytes = index(version, 20, b"TREE");
                if let Some(changed) = bytes.get_mut(at) {
                    *changed = byte;
                }
                let _ = GitIndex::parse(&bytes, b"specs/1", WRITTEN_NS);
            }
        }
    }
}
