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
const FRONT_MATTER_MAX: usize = 64 << 10;

/// How a file's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    Bytes,
    /// Must be valid UTF-8.
    Text,
    /// Markdown below `tasks/`: text that may carry front matter with runtime fields.
    WorkPackage,
}

impl Kind {
    /// The kind that the path implies.
    #[must_use]
    pub fn of(path: &RelPath) -> Self {
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
pub enum StaticPart {
    /// Hash it.
    Hash,
    /// Leave it out.
    Skip,
}

/// What a readable file's bytes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Hash of the raw bytes.
    pub hash: Digest,
    /// Hash without the runtime fields of the front matter; `None` where there is none, or it was
    /// not asked for.
    pub static_hash: Option<Digest>,
    /// `work_package_id` of the front matter.
    pub wp_id: Option<Box<str>>,
}

/// The bytes are no UTF-8 though the file's type says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8 at byte {0}")]
pub struct InvalidUtf8(
    /// Offset of the first byte that is not part of a valid sequence, from 0.
    pub u64,
);

/// Takes a file's bytes in order and gives its [`Facts`].
pub struct Absorber {
    static_part: StaticPart,
    hash: Sha256,
    utf8: Option<Utf8>,
    head: Head,
}

/// Where we are in finding the front matter.
enum Head {
    /// There is none, or none is looked for.
    Plain,
    /// Its end has not come yet; these are the bytes so far.
    Gathering(Vec<u8>),
    /// It is behind us; the hasher, if one was asked for, has had the static part so far.
    Parted(Option<Sha256>, Option<Box<str>>),
}

impl Absorber {
    /// Ready for the first byte of a file of this kind.
    #[must_use]
    pub fn new(kind: Kind, static_part: StaticPart) -> Self {
        Self {
            static_part,
            hash: Sha256::new(),
            utf8: (kind != Kind::Bytes).then(Utf8::default),
            head: match kind {
                Kind::WorkPackage => Head::Gathering(Vec::new()),
                Kind::Bytes | Kind::Text => Head::Plain,
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
        match &mut self.head {
            Head::Plain => {}
            Head::Parted(hasher, _) => {
                if let Some(hasher) = hasher {
                    hasher.update(chunk);
                }
            }
            Head::Gathering(gathered) if gathered.is_empty() => {
                let head = Head::part(chunk, self.static_part);
                self.head = head.unwrap_or_else(|| Head::Gathering(chunk.to_vec()));
            }
            Head::Gathering(gathered) => {
                gathered.extend_from_slice(chunk);
                if let Some(head) = Head::part(gathered, self.static_part) {
                    self.head = head;
                }
            }
        }
        Ok(())
    }

    /// The facts, after the last byte.
    ///
    /// # Errors
    /// [`InvalidUtf8`] when a text ends within a character.
    pub fn finish(self) -> Result<Facts, InvalidUtf8> {
        if let Some(utf8) = self.utf8 {
            utf8.finish()?;
        }
        let head = match self.head {
            Head::Gathering(gathered) => Head::part_at_end(&gathered, self.static_part),
            decided => decided,
        };
        let (static_hash, wp_id) = match head {
            Head::Parted(hasher, wp_id) => (hasher.map(Digest::from_hasher), wp_id),
            Head::Plain | Head::Gathering(_) => (None, None),
        };
        Ok(Facts { hash: Digest::from_hasher(self.hash), static_hash, wp_id })
    }
}

impl Head {
    /// Decides from the bytes so far; `None` while more are needed.
    fn part(bytes: &[u8], wanted: StaticPart) -> Option<Self> {
        match frontmatter::find(bytes) {
            frontmatter::Found::Whole(block) => Some(Self::parted(bytes, &block, wanted)),
            frontmatter::Found::None => Some(Self::Plain),
            frontmatter::Found::Begun(_) if bytes.len() > FRONT_MATTER_MAX => Some(Self::Plain),
            frontmatter::Found::Begun(_) => None,
        }
    }

    /// At the end of the file a closing fence needs no line end.
    fn part_at_end(bytes: &[u8], wanted: StaticPart) -> Self {
        match frontmatter::find(bytes) {
            frontmatter::Found::Begun(Some(block)) => Self::parted(bytes, &block, wanted),
            _ => Self::Plain,
        }
    }

    fn parted(bytes: &[u8], block: &std::ops::Range<usize>, wanted: StaticPart) -> Self {
        let front = &bytes[block.clone()];
        let hasher = (wanted == StaticPart::Hash).then(|| {
            let mut hasher = Sha256::new();
            hasher.update(&bytes[..block.start]);
            frontmatter::static_lines(front, |line| hasher.update(line));
            hasher.update(&bytes[block.end..]);
            hasher
        });
        Self::Parted(hasher, frontmatter::work_package_id(front))
    }
}

/// UTF-8 validation over chunks: a character may be cut between two.
#[derive(Default)]
struct Utf8 {
    /// Offset in the file of the first byte not yet judged.
    at: u64,
    cut: [u8; 4],
    cut_len: usize,
}

impl Utf8 {
    fn update(&mut self, mut chunk: &[u8]) -> Result<(), InvalidUtf8> {
        while self.cut_len > 0 {
            let Some((first, rest)) = chunk.split_first() else {
                return Ok(());
            };
            chunk = rest;
            self.cut[self.cut_len] = *first;
            self.cut_len += 1;
            match from_utf8(&self.cut[..self.cut_len]) {
                Ok(_) => {
                    self.at += self.cut_len as u64;
                    self.cut_len = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8(self.at)),
                Err(_) => {}
            }
        }
        match from_utf8(chunk) {
            Ok(_) => self.at += chunk.len() as u64,
            Err(error) => {
                self.at += error.valid_up_to() as u64;
                if error.error_len().is_some() {
                    return Err(InvalidUtf8(self.at));
                }
                let cut = &chunk[error.valid_up_to()..];
                self.cut[..cut.len()].copy_from_slice(cut);
                self.cut_len = cut.len();
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), InvalidUtf8> {
        if self.cut_len == 0 { Ok(()) } else { Err(InvalidUtf8(self.at)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn absorb(kind: Kind, chunks: &[&[u8]]) -> Result<Facts, InvalidUtf8> {
        let mut absorber = Absorber::new(kind, StaticPart::Hash);
        for chunk in chunks {
            absorber.update(chunk)?;
        }
        absorber.finish()
    }

    #[test]
    fn kinds() {
        for (path, kind) in [
            ("spec.md", Kind::Text),
            ("SPEC.MD", Kind::Text),
            ("tasks/WP01.md", Kind::WorkPackage),
            ("tasks/a/b.markdown", Kind::WorkPackage),
            ("tasks/a.json", Kind::Text),
            ("mytasks/WP01.md", Kind::Text),
            ("logo.png", Kind::Bytes),
            ("Makefile", Kind::Bytes),
        ] {
            assert_eq!(Kind::of(&RelPath::new(path.as_bytes()).unwrap()), kind, "{path}");
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
            assert_eq!(absorb(Kind::Text, &[bytes]).err(), expect, "{bytes:?}");
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(absorb(Kind::Text, &singles).err(), expect, "{bytes:?} in single bytes");
            assert!(absorb(Kind::Bytes, &[bytes]).is_ok());
        }
    }

    #[test]
    fn lane_changes_leave_the_static_hash() {
        let planned = b"---\nwork_package_id: WP01\nlane: planned\n---\nbody\n";
        let doing = b"---\nwork_package_id: WP01\nlane: doing\nagent: x\n---\nbody\n";
        let edited = b"---\nwork_package_id: WP01\nlane: planned\n---\nBody\n";
        let [planned, doing, edited] =
            [&planned[..], doing, edited].map(|b| absorb(Kind::WorkPackage, &[b]).unwrap());
        assert_ne!(planned.hash, doing.hash);
        assert_eq!(planned.static_hash, doing.static_hash);
        assert_ne!(planned.static_hash, edited.static_hash);
        assert_eq!(planned.wp_id.as_deref(), Some("WP01"));
        let bare = absorb(Kind::WorkPackage, &[b"no front matter"]).unwrap();
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
            prop_assert_eq!(absorb(Kind::WorkPackage, &chunks), absorb(Kind::WorkPackage, &[bytes]));
        }
    }
}
