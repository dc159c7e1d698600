//! Properties of a file's bytes: hash, valid UTF-8, and for work packages the static hash and the
//! id.
//!
//! The bytes arrive in chunks of any size; the result does not depend on the sizes. Reading a file,
//! and detecting that it changed meanwhile, is the task of `scan`.

use sha2::{Digest as _, Sha256};
use simdutf8::compat::from_utf8;

use super::churn::FileChurn;
use super::digest::Digest;
use super::file_kind::FileKind;
use super::frontmatter;
use super::task_progress::without_box_marks;

/// Maximum size of front matter; a longer block is treated as text.
const MAX_FRONT_MATTER_BYTES: usize = 64 << 10;

/// Maximum size of a task list whose static hash is computed, and of a file in which something is
/// bookkeeping by its layout.
const MAX_TASK_LIST_BYTES: usize = 1 << 20;

/// Whether the static hash of work packages and task lists is computed. It costs a second hash of their bytes, and
/// only the comparison with a baseline needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticHash {
    /// Compute the static hash.
    Compute,
    /// Do not compute the static hash.
    Skip,
}

/// Properties of a valid file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInfo {
    /// Hash of the raw bytes.
    pub hash: Digest,
    /// Hash without what is bookkeeping by the layout, or else by the kind: without the runtime fields of
    /// the front matter, or without the marks of boxes. `None` if no rule matches the file and there is
    /// no front matter or no box, or the list is too large; or if the hash was not requested.
    pub static_hash: Option<Digest>,
    /// `work_package_id` of the front matter.
    pub wp_id: Option<Box<str>>,
}

/// A text file that is not valid UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8 at byte {0}")]
pub struct InvalidUtf8(
    /// Offset of the first byte that is not part of a valid sequence, from 0.
    pub u64,
);

/// Computes the [`ContentInfo`] of a file from its bytes, which arrive in order.
pub struct ContentHasher {
    static_hash: StaticHash,
    hash: Sha256,
    utf8: Option<Utf8Validator>,
    front_matter: FrontMatterScan,
    /// What is bookkeeping by the layout, and all bytes so far; no bytes if there are too many.
    churn: Option<(FileChurn, Option<Vec<u8>>)>,
}

/// Progress of the search for front matter.
enum FrontMatterScan {
    /// There is no front matter, or the file is not a work package.
    None,
    /// The file is a task list; contains all bytes so far.
    Boxes(Vec<u8>),
    /// The end of the front matter was not reached; contains all bytes so far.
    Buffering(Vec<u8>),
    /// The end of the front matter was reached.
    Split {
        /// Hasher of the static part so far; `None` if the static hash was not requested.
        static_hasher: Option<Sha256>,
        /// `work_package_id` of the front matter.
        wp_id: Option<Box<str>>,
    },
}

impl ContentHasher {
    /// Creates a hasher for a file of this kind. `churn` is what is bookkeeping in it by its layout,
    /// in addition to what is by its kind.
    #[must_use]
    pub fn new(kind: FileKind, static_hash: StaticHash, churn: Option<FileChurn>) -> Self {
        Self {
            churn: churn
                .filter(|_| static_hash == StaticHash::Compute)
                .map(|churn| (churn, Some(Vec::new()))),
            static_hash,
            hash: Sha256::new(),
            utf8: (kind != FileKind::Bytes).then(Utf8Validator::default),
            front_matter: match kind {
                FileKind::WorkPackage => FrontMatterScan::Buffering(Vec::new()),
                FileKind::TaskList if static_hash == StaticHash::Compute => {
                    FrontMatterScan::Boxes(Vec::new())
                }
                FileKind::Bytes | FileKind::Text | FileKind::TaskList => FrontMatterScan::None,
            },
        }
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`InvalidUtf8`] at the first invalid byte of a text; the rest need not be read.
    pub fn update(&mut self, chunk: &[u8]) -> Result<(), InvalidUtf8> {
        self.hash.update(chunk);
        if let Some(utf8) = &mut self.utf8 {
            utf8.update(chunk)?;
        }
        if let Some((_, buffer)) = &mut self.churn {
            *buffer = buffer.take().filter(|it| it.len() + chunk.len() <= MAX_TASK_LIST_BYTES);
            if let Some(buffer) = buffer {
                buffer.extend_from_slice(chunk);
            }
        }
        match &mut self.front_matter {
            FrontMatterScan::None => {}
            FrontMatterScan::Boxes(buffer) if buffer.len() + chunk.len() > MAX_TASK_LIST_BYTES => {
                self.front_matter = FrontMatterScan::None;
            }
            FrontMatterScan::Boxes(buffer) => buffer.extend_from_slice(chunk),
            FrontMatterScan::Split { static_hasher, .. } => {
                if let Some(hasher) = static_hasher {
                    hasher.update(chunk);
                }
            }
            // The whole front matter is usually in the first chunk, which then is not copied.
            FrontMatterScan::Buffering(buffer) if buffer.is_empty() => {
                let scan = FrontMatterScan::try_split(chunk, self.static_hash);
                self.front_matter =
                    scan.unwrap_or_else(|| FrontMatterScan::Buffering(chunk.to_vec()));
            }
            FrontMatterScan::Buffering(buffer) => {
                buffer.extend_from_slice(chunk);
                if let Some(scan) = FrontMatterScan::try_split(buffer, self.static_hash) {
                    self.front_matter = scan;
                }
            }
        }
        Ok(())
    }

    /// Returns the properties of the file, after its last byte was added.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if a text ends within a character.
    pub fn finish(self) -> Result<ContentInfo, InvalidUtf8> {
        if let Some(utf8) = self.utf8 {
            utf8.finish()?;
        }
        let scan = match self.front_matter {
            FrontMatterScan::Buffering(buffer) => {
                FrontMatterScan::split_at_eof(&buffer, self.static_hash)
            }
            finished => finished,
        };
        let (static_hash, wp_id) = match scan {
            FrontMatterScan::Split { static_hasher, wp_id } => {
                (static_hasher.map(Digest::from_hasher), wp_id)
            }
            FrontMatterScan::Boxes(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let unmarked = without_box_marks(&text);
                ((unmarked != text).then(|| Digest::of(unmarked.as_bytes())), None)
            }
            FrontMatterScan::None | FrontMatterScan::Buffering(_) => (None, None),
        };
        let hash = Digest::from_hasher(self.hash);
        let static_hash = match self.churn {
            Some((churn, Some(bytes))) => Some(churn.static_hash(&bytes)),
            Some((churn, None)) => Some(churn.static_hash_of_all(hash)),
            None => static_hash,
        };
        Ok(ContentInfo { hash, static_hash, wp_id })
    }
}

impl FrontMatterScan {
    /// Searches the leading bytes of a file; returns `None` if more bytes are needed.
    fn try_split(bytes: &[u8], static_hash: StaticHash) -> Option<Self> {
        match frontmatter::find_front_matter(bytes) {
            frontmatter::FrontMatter::Complete(block) => {
                Some(Self::split(bytes, &block, static_hash))
            }
            frontmatter::FrontMatter::Absent => Some(Self::None),
            frontmatter::FrontMatter::Partial(_) if bytes.len() > MAX_FRONT_MATTER_BYTES => {
                Some(Self::None)
            }
            frontmatter::FrontMatter::Partial(_) => None,
        }
    }

    /// Searches a complete file, in which the closing fence may have no line end.
    fn split_at_eof(bytes: &[u8], static_hash: StaticHash) -> Self {
        match frontmatter::find_front_matter(bytes) {
            frontmatter::FrontMatter::Partial(Some(block)) => {
                Self::split(bytes, &block, static_hash)
            }
            _ => Self::None,
        }
    }

    fn split(bytes: &[u8], block: &std::ops::Range<usize>, static_hash: StaticHash) -> Self {
        let front_matter = &bytes[block.clone()];
        let static_hasher = (static_hash == StaticHash::Compute).then(|| {
            let mut hasher = Sha256::new();
            hasher.update(&bytes[..block.start]);
            frontmatter::for_each_static_line(front_matter, |line| hasher.update(line));
            hasher.update(&bytes[block.end..]);
            hasher
        });
        Self::Split { static_hasher, wp_id: frontmatter::parse_work_package_id(front_matter) }
    }
}

/// Validates UTF-8 in chunks; a character may be divided between two chunks.
#[derive(Default)]
struct Utf8Validator {
    /// Offset in the file of the first byte that is not validated yet.
    offset: u64,
    /// First bytes of a divided character.
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
                let rest = &chunk[error.valid_up_to()..];
                self.partial[..rest.len()].copy_from_slice(rest);
                self.partial_len = rest.len();
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
        let mut hasher = ContentHasher::new(kind, StaticHash::Compute, None);
        for chunk in chunks {
            hasher.update(chunk)?;
        }
        hasher.finish()
    }

    #[test]
    fn invalid_utf8_is_reported_with_the_offset_of_its_first_byte() {
        for (bytes, offset) in [
            (&b"\xff"[..], Some(0)),
            (b"abc\xff", Some(3)),
            (b"\xc3\xa9\xc3", Some(2)),
            (b"\xe2\x82\xac\xe2\x28", Some(3)),
            (b"\xf0\x9f\x98\x80", None),
            (b"", None),
        ] {
            let expected = offset.map(InvalidUtf8);
            assert_eq!(hash_chunks(FileKind::Text, &[bytes]).err(), expected, "{bytes:?}");
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(
                hash_chunks(FileKind::Text, &singles).err(),
                expected,
                "{bytes:?} in single bytes"
            );
            assert!(hash_chunks(FileKind::Bytes, &[bytes]).is_ok());
        }
    }

    #[test]
    fn static_hash_ignores_runtime_fields_only() {
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
        fn result_does_not_depend_on_chunk_sizes(
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
            prop_assert_eq!(
                hash_chunks(FileKind::WorkPackage, &chunks),
                hash_chunks(FileKind::WorkPackage, &[bytes])
            );
        }
    }
}
