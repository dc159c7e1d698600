//! What the bytes of one file say: hash, validity, and for work packages their static part.
//!
//! Bytes come in chunks of any size; the result does not depend on how they were cut. Reading
//! them, and noticing that they changed meanwhile, is `scan`'s business.

use sha2::{Digest as _, Sha256};
use simdutf8::compat::from_utf8;

use super::digest::Digest;
use super::frontmatter;
use super::path::RelPath;

/// Extensions of the text types that must be valid UTF-8 (contract, section 2).
pub const TEXT_EXTENSIONS: [&str; 20] = [
    "md", "markdown", "txt", "json", "jsonl", "yaml", "yml", "csv", "tsv", "toml", "xml", "html",
    "log", "py", "sh", "rs", "js", "ts", "ini", "cfg",
];

/// Front matter is looked for in this many leading bytes; a longer one is none.
const MAX_FRONT_MATTER_BYTES: usize = 64 << 10;

/// How a file's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Any bytes.
    Bytes,
    /// Must be valid UTF-8.
    Text,
    /// Markdown below `tasks/`: text that may carry front matter with runtime fields.
    WorkPackage,
}

impl FileKind {
    /// The kind that the path implies.
    #[must_use]
    pub fn from_path(path: &RelPath) -> Self {
        let Some(extension) = path.extension() else {
            return Self::Bytes;
        };
        let markdown = matches!(extension.as_str(), "md" | "markdown");
        if markdown && path.as_bytes().starts_with(b"tasks/") {
            Self::WorkPackage
        } else if TEXT_EXTENSIONS.contains(&extension.as_str()) {
            Self::Text
        } else {
            Self::Bytes
        }
    }
}

/// Whether the static part of work packages is hashed too: it costs a second hash of their bytes,
/// and only a baseline needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticHash {
    /// Hash it.
    Compute,
    /// Leave it out.
    Skip,
}

/// What a readable file's bytes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInfo {
    /// Hash of the raw bytes.
    pub hash: Digest,
    /// Hash without the runtime fields of the front matter; `Absent` where there is none, or it was
    /// not asked for.
    pub static_hash: Option<Digest>,
    /// `parse_work_package_id` of the front matter.
    pub wp_id: Option<Box<str>>,
}

/// The bytes are no UTF-8 though the file's type says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8 at byte {0}")]
pub struct InvalidUtf8(
    /// Offset of the first byte that is not part of a valid sequence, from 0.
    pub u64,
);

/// Takes a file's bytes in order and gives its [`ContentInfo`].
pub struct ContentHasher {
    static_hash: StaticHash,
    hash: Sha256,
    utf8: Option<Utf8Validator>,
    front_matter: FrontMatterScan,
}

/// Where we are in finding the front matter.
enum FrontMatterScan {
    /// There is none, or none is looked for.
    None,
    /// Its end has not come yet; these are the bytes so far.
    Buffering(Vec<u8>),
    /// It is behind us; the hasher, if one was asked for, has had the static part so far.
    Split(Option<Sha256>, Option<Box<str>>),
}

impl ContentHasher {
    /// Ready for the first byte of a file of this kind.
    #[must_use]
    pub fn new(kind: FileKind, static_part: StaticHash) -> Self {
        Self {
            static_hash: static_part,
            hash: Sha256::new(),
            utf8: (kind != FileKind::Bytes).then(Utf8Validator::default),
            front_matter: match kind {
                FileKind::WorkPackage => FrontMatterScan::Buffering(Vec::new()),
                FileKind::Bytes | FileKind::Text => FrontMatterScan::None,
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as a text cannot be one; the rest need not be read.
    pub fn update(&mut self, chunk: &[u8]) -> Result<(), InvalidUtf8> {
        self.hash.update(chunk);
        if let Some(utf8) = &mut self.utf8 {
            utf8.update(chunk)?;
        }
        match &mut self.front_matter {
            FrontMatterScan::None => {}
            FrontMatterScan::Split(hasher, _) => {
                if let Some(hasher) = hasher {
                    hasher.update(chunk);
                }
            }
            FrontMatterScan::Buffering(gathered) if gathered.is_empty() => {
                let head = FrontMatterScan::try_split(chunk, self.static_hash);
                self.front_matter =
                    head.unwrap_or_else(|| FrontMatterScan::Buffering(chunk.to_vec()));
            }
            FrontMatterScan::Buffering(gathered) => {
                gathered.extend_from_slice(chunk);
                if let Some(head) = FrontMatterScan::try_split(gathered, self.static_hash) {
                    self.front_matter = head;
                }
            }
        }
        Ok(())
    }

    /// The facts, after the last byte.
    ///
    /// # Errors
    /// [`InvalidUtf8`] when a text ends within a character.
    pub fn finish(self) -> Result<ContentInfo, InvalidUtf8> {
        if let Some(utf8) = self.utf8 {
            utf8.finish()?;
        }
        let head = match self.front_matter {
            FrontMatterScan::Buffering(gathered) => {
                FrontMatterScan::split_at_eof(&gathered, self.static_hash)
            }
            decided => decided,
        };
        let (static_hash, wp_id) = match head {
            FrontMatterScan::Split(hasher, wp_id) => (hasher.map(Digest::from_hasher), wp_id),
            FrontMatterScan::None | FrontMatterScan::Buffering(_) => (None, None),
        };
        Ok(ContentInfo { hash: Digest::from_hasher(self.hash), static_hash, wp_id })
    }
}

impl FrontMatterScan {
    /// Decides from the bytes so far; `Absent` while more are needed.
    fn try_split(bytes: &[u8], wanted: StaticHash) -> Option<Self> {
        match frontmatter::find_front_matter(bytes) {
            frontmatter::FrontMatter::Complete(block) => Some(Self::split(bytes, &block, wanted)),
            frontmatter::FrontMatter::Absent => Some(Self::None),
            frontmatter::FrontMatter::Partial(_) if bytes.len() > MAX_FRONT_MATTER_BYTES => {
                Some(Self::None)
            }
            frontmatter::FrontMatter::Partial(_) => None,
        }
    }

    /// At the end of the file a closing fence needs no line end.
    fn split_at_eof(bytes: &[u8], wanted: StaticHash) -> Self {
        match frontmatter::find_front_matter(bytes) {
            frontmatter::FrontMatter::Partial(Some(block)) => Self::split(bytes, &block, wanted),
            _ => Self::None,
        }
    }

    fn split(bytes: &[u8], block: &std::ops::Range<usize>, wanted: StaticHash) -> Self {
        let front = &bytes[block.clone()];
        let hasher = (wanted == StaticHash::Compute).then(|| {
            let mut hasher = Sha256::new();
            hasher.update(&bytes[..block.start]);
            frontmatter::for_each_static_line(front, |line| hasher.update(line));
            hasher.update(&bytes[block.end..]);
            hasher
        });
        Self::Split(hasher, frontmatter::parse_work_package_id(front))
    }
}

/// UTF-8 validation over chunks: a character may be cut between two.
#[derive(Default)]
struct Utf8Validator {
    /// Offset in the file of the first byte not yet judged.
    offset: u64,
    partial: [u8; 4],
    partial_len: usize,
}

impl Utf8Validator {
    fn update(&mut self, mut chunk: &[u8]) -> Result<(), InvalidUtf8> {
        while self.partial_len > 0 {
            let Some((first, rest)) = chunk.split_first() else {
                return Ok(());
            };
            chunk = rest;
            self.partial[self.partial_len] = *first;
            self.partial_len += 1;
            match from_utf8(&self.partial[..self.partial_len]) {
                Ok(_) => {
                    self.offset += self.partial_len as u64;
                    self.partial_len = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8(self.offset)),
                Err(_) => {}
            }
        }
        match from_utf8(chunk) {
            Ok(_) => self.offset += chunk.len() as u64,
            Err(error) => {
                self.offset += error.valid_up_to() as u64;
                if error.error_len().is_some() {
                    return Err(InvalidUtf8(self.offset));
                }
                let cut = &chunk[error.valid_up_to()..];
                self.partial[..cut.len()].copy_from_slice(cut);
                self.partial_len = cut.len();
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), InvalidUtf8> {
        if self.partial_len == 0 { Ok(()) } else { Err(InvalidUtf8(self.offset)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash_chunks(kind: FileKind, chunks: &[&[u8]]) -> Result<ContentInfo, InvalidUtf8> {
        let mut absorber = ContentHasher::new(kind, StaticHash::Compute);
        for chunk in chunks {
            absorber.update(chunk)?;
        }
        absorber.finish()
    }

    #[test]
    fn kinds() {
        for (path, kind) in [
            ("spec.md", FileKind::Text),
            ("SPEC.MD", FileKind::Text),
            ("tasks/WP01.md", FileKind::WorkPackage),
            ("tasks/a/b.markdown", FileKind::WorkPackage),
            ("tasks/a.json", FileKind::Text),
            ("mytasks/WP01.md", FileKind::Text),
            ("logo.png", FileKind::Bytes),
            ("Makefile", FileKind::Bytes),
        ] {
            assert_eq!(
                FileKind::from_path(&RelPath::new(path.as_bytes()).unwrap()),
                kind,
                "{path}"
            );
        }
    }

    #[test]
    fn invalid_utf8_is_named_by_its_first_byte() {
        for (bytes, at) in [
            (&b"\xff"[..], Some(0)),
            (b"abc\xff", Some(3)),
            (b"\xc3\xa9\xc3", Some(2)),
            (b"\xe2\x82\xac\xe2\x28", Some(3)),
            (b"\xf0\x9f\x98\x80", None),
            (b"", None),
        ] {
            let expect = at.map(InvalidUtf8);
            assert_eq!(hash_chunks(FileKind::Text, &[bytes]).err(), expect, "{bytes:?}");
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(
                hash_chunks(FileKind::Text, &singles).err(),
                expect,
                "{bytes:?} in single bytes"
            );
            assert!(hash_chunks(FileKind::Bytes, &[bytes]).is_ok());
        }
    }

    #[test]
    fn lane_changes_leave_the_static_hash() {
        let planned = b"---\nwork_package_id: WP01\nlane: planned\n---\nbody\n";
        let doing = b"---\nwork_package_id: WP01\nlane: doing\nagent: x\n---\nbody\n";
        let edited = b"---\nwork_package_id: WP01\nlane: planned\n---\nBody\n";
        let [planned, doing, edited] = [&planned[..], doing, edited]
            .map(|b| hash_chunks(FileKind::WorkPackage, &[b]).unwrap());
        assert_ne!(planned.hash, doing.hash);
        assert_eq!(planned.static_hash, doing.static_hash);
        assert_ne!(planned.static_hash, edited.static_hash);
        assert_eq!(planned.wp_id.as_deref(), Some("WP01"));
        let bare = hash_chunks(FileKind::WorkPackage, &[b"no front matter"]).unwrap();
        assert_eq!((bare.static_hash, bare.wp_id), (None, None));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            front in prop_oneof![Just("---\n"), Just("--"), Just("")],
            lines in proptest::collection::vec("(lane: x|a: \u{e9}|- b|---|\u{20ac}\r|)", 0..8),
            cuts in proptest::collection::vec(0usize..80, 0..6),
        ) {
            let text = format!("{front}{}", lines.join("\n"));
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(hash_chunks(FileKind::WorkPackage, &chunks), hash_chunks(FileKind::WorkPackage, &[bytes]));
        }
    }
}
