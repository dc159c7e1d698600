//! Path patterns of manifests and configuration: literal paths, or globs.
//!
//! Globs are `globset`'s with `/` as a separator that `*` and `?` stop at. Beyond the contract's
//! `*`, `?` and `**`: braces expand (`*.{md,json}`), `[a-c]` and `[!a-c]` (also `[^a-c]`) are sets,
//! a backslash takes the next character as it is, `?` is one byte (so it does not match `é`), and
//! what is left open is an error.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Deserializer};

use super::path::{PathError, RelPath};
use super::yaml::deserialize_text;

/// Bytes that make a pattern a glob.
const WILDCARDS: &[char] = &['*', '?', '[', '{', '}', '\\'];

/// A pattern for paths relative to some directory, known to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    path: RelPath,
    text: String,
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It leaves the directory, or is empty.
    #[error("`{0}` is no pattern: {1}")]
    Path(String, PathError),
    /// Its wildcards do not parse.
    #[error("`{0}` is no pattern: {1}")]
    Glob(String, globset::ErrorKind),
}

impl Pattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`PatternError`] for an empty or absolute one, one with `..`, and broken wildcards.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let path = RelPath::new(text.as_bytes())
            .map_err(|error| PatternError::Path(text.to_owned(), error))?;
        let pattern = Self { path, text: text.to_owned() };
        if !pattern.is_literal() {
            pattern
                .glob()
                .map_err(|error| PatternError::Glob(text.to_owned(), error.kind().clone()))?;
        }
        Ok(pattern)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern as a path: what an absent artifact shows.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Whether it names one path only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.text.contains(WILDCARDS)
    }

    /// How many leading components have no wildcard.
    #[must_use]
    pub fn literal_components(&self) -> usize {
        self.text.split('/').take_while(|part| !part.contains(WILDCARDS)).count()
    }

    /// The extension that every match has because the pattern spells it out.
    #[must_use]
    pub fn literal_extension(&self) -> Option<&str> {
        let last = self.text.rsplit('/').next()?;
        let (_, extension) = last.rsplit_once('.')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (!extension.is_empty() && extension.bytes().all(plain)).then_some(extension)
    }

    /// Whether it asks for a hidden entry, which is never an artifact.
    #[must_use]
    pub fn has_hidden_component(&self) -> bool {
        self.text.split('/').any(|part| part.starts_with('.'))
    }

    fn glob(&self) -> Result<globset::Glob, globset::Error> {
        GlobBuilder::new(&self.text).literal_separator(true).backslash_escape(true).build()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, Self::new)
    }
}

/// Many patterns matched at once.
#[derive(Debug, Clone, Default)]
pub struct PatternSet(GlobSet);

impl PatternSet {
    /// Compiles the patterns; a match is named by its place among them.
    ///
    /// # Errors
    /// When together they are more than `globset` compiles.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Result<Self, String> {
        let mut builder = GlobSetBuilder::new();
        for pattern in patterns {
            builder.add(pattern.glob().map_err(|error| error.to_string())?);
        }
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// Puts the places of all patterns that match into `places`, in order.
    pub fn matches_into(&self, path: &RelPath, places: &mut Vec<usize>) {
        self.0.matches_into(as_path(path), places);
    }

    /// Whether any pattern matches.
    #[must_use]
    pub fn is_match(&self, path: &RelPath) -> bool {
        self.0.is_match(as_path(path))
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn as_path(path: &RelPath) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &[u8]) -> bool {
        PatternSet::new([&Pattern::new(pattern).unwrap()])
            .unwrap()
            .is_match(&RelPath::new(path).unwrap())
    }

    #[test]
    fn globs() {
        for (pattern, path, expect) in [
            ("tasks/WP*.md", "tasks/WP01-x.md", true),
            ("tasks/WP*.md", "tasks/WP01/x.md", false),
            ("docs/**/*.md", "docs/a.md", true),
            ("docs/**/*.md", "docs/a/b/c.md", true),
            ("contracts/**", "contracts/a/b", true),
            ("contracts/**", "contracts", false),
            ("**/x", "x", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a?c", "a\u{e9}c", false),
            ("*.{md,json}", "a.json", true),
            ("[!a]", "a", false),
            ("[^a]", "b", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
        ] {
            assert_eq!(matches(pattern, path.as_bytes()), expect, "{pattern} on {path}");
        }
        assert!(matches("*.md", b"\xff.md"), "names are bytes");
    }

    #[test]
    fn refused() {
        for (text, words) in [
            ("", "the path is empty"),
            ("/etc/*", "absolute"),
            ("a/../b", "`..`"),
            ("a//b", "empty or `.`"),
            ("a[b", "unclosed"),
            ("a{b", "unclosed"),
            ("a}b", "unopened"),
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn parts() {
        for (text, literal, components, extension) in [
            ("spec.md", true, 1, Some("md")),
            ("tasks/WP*.md", false, 1, Some("md")),
            ("docs/**/*.md", false, 1, Some("md")),
            ("issue-matrix.*", false, 0, None),
            ("*.{md,json}", false, 0, None),
            ("contracts/**", false, 1, None),
            ("a.d/b*", false, 1, None),
        ] {
            let pattern = Pattern::new(text).unwrap();
            assert_eq!(pattern.is_literal(), literal, "{text}");
            assert_eq!(pattern.literal_components(), components, "{text}");
            assert_eq!(pattern.literal_extension(), extension, "{text}");
        }
    }
}
