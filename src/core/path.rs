//! Paths below a feature directory, feature slugs, and their text forms. Opening paths is the task
//! of `scan` and `project`.
//!
//! File names are bytes. Their text form (`docs/specification.md#path-text`) is reversible: a byte
//! that is not part of valid UTF-8 is `\xHH`, and a backslash is `\\`. Control characters stay as
//! they are; only output for terminals is escaped further, by [`escape_unprintable`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::digest::Digest;

/// Path of an entry relative to a directory: raw bytes with `/` between components, without empty,
/// `.` and `..` components and without NUL. Paths are ordered by bytes.
///
/// # Examples
/// ```
/// use dossierd::core::path::{PathError, RelPath};
///
/// let path = RelPath::new(*b"tasks/WP01.md")?;
/// assert_eq!(path.file_name(), b"WP01.md");
/// assert_eq!(path.extension().as_deref(), Some("md"));
/// assert_eq!(RelPath::new(*b"../etc/passwd"), Err(PathError::ParentDir));
///
/// // The text form of a path that is not UTF-8 can be parsed again.
/// let path = RelPath::new(*b"caf\xe9.md")?;
/// assert_eq!(path.text(), r"caf\xe9.md");
/// assert_eq!(RelPath::from_text(&path.text()), Ok(path));
/// # Ok::<(), PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<[u8]>);

/// Why a text or a byte string is not a path below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is empty.
    #[error("the path is empty")]
    Empty,
    /// The path starts with `/`.
    #[error("the path is absolute; use one relative to the feature directory")]
    Absolute,
    /// The path has a `..` component.
    #[error("the path has a `..` component; it must stay below the feature directory")]
    ParentDir,
    /// The path has an empty or `.` component.
    #[error("the path has an empty or `.` component")]
    EmptyComponent,
    /// The path has a NUL byte, which the kernel does not allow in file names.
    #[error("the path has a NUL byte")]
    Nul,
    /// The text form has an escape other than `\\` and `\xHH`.
    #[error("the path has a backslash that starts neither `\\\\` nor `\\xHH`")]
    InvalidEscape,
}

impl RelPath {
    /// Returns the path of raw bytes.
    ///
    /// # Errors
    /// [`PathError`] if the bytes are not a path below a directory.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes[0] == b'/' {
            return Err(PathError::Absolute);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => return Err(PathError::EmptyComponent),
                b".." => return Err(PathError::ParentDir),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`PathError`] if the text is not the text form of a path below a directory.
    pub fn from_text(text: &str) -> Result<Self, PathError> {
        Self::new(unescape_bytes(text)?)
    }

    /// Returns the raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the components, first to last.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == b'/')
    }

    /// Returns the last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// Returns true if `dir` is a directory above this path.
    #[must_use]
    pub fn is_below(&self, dir: &Self) -> bool {
        self.0.strip_prefix(&*dir.0).is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Returns the directories above this path, the outermost first.
    pub fn dirs_above(&self) -> impl Iterator<Item = Self> {
        let slashes = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.filter_map(|(end, _)| Self::new(&self.0[..end]).ok())
    }

    /// Returns this path with `rest`, one or more components, appended.
    ///
    /// # Errors
    /// [`PathError`] if `rest` is not a relative path below a directory.
    pub fn join(&self, rest: &[u8]) -> Result<Self, PathError> {
        Self::new([self.as_bytes(), b"/", rest].concat())
    }

    /// Returns the extension of the last component in lower case; `None` without one.
    #[must_use]
    pub fn extension(&self) -> Option<String> {
        let name = self.file_name();
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        let extension = std::str::from_utf8(&name[dot + 1..]).ok()?;
        (dot > 0 && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
    }

    /// Returns the reversible text form, as it is written in JSON.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        escape_bytes(&self.0)
    }
}

/// Parses the text form of a path, relative or absolute.
///
/// # Errors
/// [`PathError::InvalidEscape`] if the text has another escape than those of [`escape_bytes`].
pub fn unescape_bytes(text: &str) -> Result<Vec<u8>, PathError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).map_err(|_| PathError::InvalidEscape)?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| PathError::InvalidEscape)?);
                tail
            }
            (b'\\', _) => return Err(PathError::InvalidEscape),
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Ok(bytes)
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), f)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_text(&text).map_err(de::Error::custom)
    }
}

/// Returns the text form of any path or file name.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\\')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            use fmt::Write as _;
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// Returns true if `c` must not be shown as it is: a control character, one that is invisible and so makes
/// two texts look equal, or one that changes the direction or the lines of the text around it.
///
/// The page has the same characters in `assets/dom.js`. Variation selectors of emoji are not among them.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Returns `text` with each [unprintable](is_unprintable) character replaced by `\n`, `\t` or
/// `\u{…}`.
#[must_use]
pub fn escape_unprintable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Name of a feature: one or more names with `/` between them, each of UTF-8, without control
/// characters, and not beginning with a dot (`docs/specification.md#slugs`).
///
/// # Examples
/// ```
/// use dossierd::core::path::FeatureSlug;
///
/// assert_eq!(FeatureSlug::new(b"042-order-page").unwrap().as_str(), "042-order-page");
/// assert!(FeatureSlug::new(b".hidden").is_none());
///
/// // As the name of a file, it has safe characters only.
/// let archived = FeatureSlug::new(b"archive/2026-01-01-x").unwrap();
/// assert_eq!(archived.file_name(), "archive%2F2026-01-01-x");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureSlug(Arc<str>);

/// Length from which the file name of a slug is shortened, and the length of what is kept.
const MAX_FILE_NAME: usize = 200;
const KEPT_FILE_NAME: usize = 180;

impl FeatureSlug {
    /// Returns the slug that is written as `text`; `None` if it is not one.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let is_slug = text.split(|byte| *byte == b'/').all(Self::is_name);
        is_slug.then(|| std::str::from_utf8(text).ok().map(|text| Self(text.into()))).flatten()
    }

    /// Returns true if a component of a slug may have the name.
    #[must_use]
    pub fn is_name(name: &[u8]) -> bool {
        let is_plain = |name: &str| !name.is_empty() && !name.chars().any(is_unprintable);
        !name.starts_with(b".") && std::str::from_utf8(name).is_ok_and(is_plain)
    }

    /// Returns the slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the slug as the name of a file: other bytes than `[A-Za-z0-9._-]` are `%HH`, and one
    /// that is too long is shortened, followed by a part of its hash.
    #[must_use]
    pub fn file_name(&self) -> String {
        use fmt::Write as _;
        let mut name = String::with_capacity(self.0.len());
        for (index, byte) in self.0.bytes().enumerate() {
            let is_first = index == 0;
            let after_dot = index > 0 && byte == b'.' && self.0.as_bytes()[index - 1] == b'.';
            let is_safe = byte.is_ascii_alphanumeric() || !is_first && b"._-".contains(&byte);
            if is_safe && !after_dot {
                name.push(char::from(byte));
            } else {
                let _ = write!(name, "%{byte:02X}");
            }
        }
        if name.len() > MAX_FILE_NAME {
            name.truncate(KEPT_FILE_NAME);
            let hash = Digest::of(self.0.as_bytes());
            let _ = write!(name, "-{}", &hash.hex().as_str()[..16]);
        }
        name
    }

    /// Returns the slug of a name that [`FeatureSlug::file_name`] returned; `None` for any other
    /// name. One that was shortened is taken for the slug that it looks like.
    #[must_use]
    pub fn of_file_name(name: &[u8]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(name.len());
        let mut rest = name;
        while let Some((first, tail)) = rest.split_first() {
            rest = match (first, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    let digits = [*high, *low];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                    tail
                }
                (byte, tail) => {
                    bytes.push(*byte);
                    tail
                }
            };
        }
        Self::new(&bytes).filter(|slug| slug.file_name().as_bytes() == name)
    }
}

impl Serialize for FeatureSlug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FeatureSlug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text.as_bytes())
            .ok_or_else(|| de::Error::custom(format!("invalid feature slug `{text}`")))
    }
}

impl fmt::Display for FeatureSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn new_accepts_only_paths_below_a_directory() {
        for (input, expected) in [
            ("spec.md", None),
            ("tasks/WP01.md", None),
            ("a..b/c.", None),
            ("", Some(PathError::Empty)),
            ("/etc/passwd", Some(PathError::Absolute)),
            ("../x", Some(PathError::ParentDir)),
            ("a/../b", Some(PathError::ParentDir)),
            ("a//b", Some(PathError::EmptyComponent)),
            ("a/", Some(PathError::EmptyComponent)),
            ("./a", Some(PathError::EmptyComponent)),
            ("a\0b", Some(PathError::Nul)),
        ] {
            assert_eq!(RelPath::new(input.as_bytes()).err(), expected, "{input:?}");
        }
    }

    #[test]
    fn text_form_escapes_invalid_utf8_and_backslashes() {
        for (bytes, text) in [
            (&b"spec.md"[..], "spec.md"),
            (b"a\\b", r"a\\b"),
            (b"\xff.md", r"\xff.md"),
            (b"\\xff", r"\\xff"),
            ("gr\u{fc}\u{df}e \u{1f600}".as_bytes(), "gr\u{fc}\u{df}e \u{1f600}"),
            (b"line\nbreak\x1b[31m", "line\nbreak\x1b[31m"),
        ] {
            assert_eq!(RelPath::new(bytes).unwrap().text(), text);
        }
        for bad in [r"a\b", r"a\x", r"\xg0", r"a\"] {
            assert_eq!(RelPath::from_text(bad), Err(PathError::InvalidEscape), "{bad:?}");
        }
    }

    #[test]
    fn escape_unprintable_escapes_control_invisible_and_bidi_characters() {
        for plain in ["plain gr\u{fc}n", "\u{2714}\u{fe0f} \u{1f600}"] {
            assert_eq!(escape_unprintable(plain), plain);
        }
        for (text, escaped) in [
            ("a\u{200b}b", r"a\u{200b}b"),
            ("a\u{200d}\u{2060}\u{feff}\u{ad}", r"a\u{200d}\u{2060}\u{feff}\u{ad}"),
            ("a\u{200e}\u{2028}\u{3164}\u{e0041}", r"a\u{200e}\u{2028}\u{3164}\u{e0041}"),
        ] {
            assert_eq!(escape_unprintable(text), escaped);
        }
        assert_eq!(
            escape_unprintable("a\nb\x1b[31m\u{7f}\u{9b}\u{202e}\u{2066}"),
            r"a\nb\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2066}"
        );
    }

    #[test]
    fn page_escapes_the_same_characters() {
        let script = include_str!("../api/dashboard/assets/dom.js");
        let (_, class) = script.split_once("const UNPRINTABLE = /[").unwrap();
        let (class, _) = class.split_once("]/gu;").unwrap();
        // `\u{1}-\u{2}` is a range, `\u{1}` a character.
        let ranges = class.replace("}-\\u{", "-").replace("\\u{", "");
        let number = |text: &str| u32::from_str_radix(text, 16).unwrap();
        let ranges: Vec<_> = ranges
            .split_terminator('}')
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                number(first)..=number(last)
            })
            .collect();
        for c in '\0'..=char::MAX {
            let is_escaped = ranges.iter().any(|range| range.contains(&u32::from(c)));
            assert_eq!(is_escaped, is_unprintable(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn slugs_are_names_as_people_write_them() {
        for good in ["042-x", "a", "A.b_c-9", "x.", "-x", "_x", "a b", "a/b", "\u{fc}", "a..b", "%"]
        {
            assert!(FeatureSlug::new(good.as_bytes()).is_some(), "{good}");
        }
        let bad = ["", ".x", "../x", "a/", "/a", "a//b", "a/.b", "a\nb", "\u{1b}x", "a\u{202e}"];
        for bad in bad.map(str::as_bytes).into_iter().chain([&b"\xff"[..]]) {
            assert!(FeatureSlug::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn file_names_of_slugs_have_only_safe_characters() {
        let long = "a".repeat(201);
        for (slug, expected) in [
            ("042-x", "042-x"),
            ("A.b_c-9", "A.b_c-9"),
            ("archive/v1.0/x", "archive%2Fv1.0%2Fx"),
            ("_bmad-output", "%5Fbmad-output"),
            ("a b", "a%20b"),
            ("a..b", "a.%2Eb"),
            ("a%20b", "a%2520b"),
            ("\u{fc}", "%C3%BC"),
            (&"a".repeat(200), &"a".repeat(200)),
            (
                &long,
                &format!(
                    "{}-{}",
                    "a".repeat(180),
                    &Digest::of(long.as_bytes()).hex().as_str()[..16]
                ),
            ),
        ] {
            let parsed = FeatureSlug::new(slug.as_bytes()).unwrap();
            assert_eq!(parsed.file_name(), expected);
            let is_shortened = slug == long;
            let back = FeatureSlug::of_file_name(expected.as_bytes());
            assert_eq!(back == Some(parsed), !is_shortened, "{slug}");
        }
        for name in ["a%2fb", "a%zz", "a%2", "%61", ".x", ""] {
            assert_eq!(FeatureSlug::of_file_name(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn extension_is_that_of_the_last_component_in_lower_case() {
        for (name, extension) in [
            ("a.md", Some("md")),
            ("a.MD", Some("md")),
            ("d.x/a", None),
            ("a.", None),
            ("a.tar.gz", Some("gz")),
        ] {
            assert_eq!(RelPath::new(name.as_bytes()).unwrap().extension().as_deref(), extension);
        }
    }

    proptest! {
        #[test]
        fn text_form_is_reversible(bytes in proptest::collection::vec(1u8.., 1..40)) {
            if let Ok(path) = RelPath::new(bytes) {
                prop_assert_eq!(RelPath::from_text(&path.text()), Ok(path));
            }
        }
    }
}
