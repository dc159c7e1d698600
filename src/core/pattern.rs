//! Path patterns of manifests and configuration: literal paths and globs
//! (`docs/specification.md#patterns`). Which file gets which spec is decided in `manifest`.
//!
//! Globs are those of `globset`; `*` and `?` do not match `/`. `**` matches any number of
//! directories, braces are alternatives (`*.{md,json}`), `[a-c]` and `[!a-c]` (also `[^a-c]`) are
//! sets, and a backslash escapes the next character. `?` matches one byte, so it does not match
//! `é`. An unclosed brace or set is an error.

use std::fmt;
use std::sync::{Arc, OnceLock};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Deserializer};

use super::path::{PathError, RelPath};
use super::yaml::deserialize_text;

/// Characters that make a pattern a glob.
const WILDCARDS: &[char] = &['*', '?', '[', '{', '}', '\\'];

/// A valid pattern for paths relative to a directory.
///
/// # Examples
/// ```
/// use dossierd::core::path::RelPath;
/// use dossierd::core::pattern::{Pattern, PatternSet};
///
/// let pattern = Pattern::new("tasks/WP*.md")?;
/// assert!(!pattern.is_literal());
/// assert_eq!(pattern.literal_components(), 1);
///
/// let set = PatternSet::new([&pattern])?;
/// assert!(set.is_match(&RelPath::new(*b"tasks/WP01-models.md")?));
/// assert!(!set.is_match(&RelPath::new(*b"tasks/done/WP01.md")?), "`*` does not match `/`");
///
/// let error = Pattern::new("../secret").unwrap_err().to_string();
/// assert!(error.starts_with("invalid pattern `../secret`: the path has a `..` component"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    path: RelPath,
    text: String,
    /// Set when it is first needed, and shared by all clones: compiling takes a thousand times as long as
    /// matching, and each feature has sets of the same patterns.
    compiled: Arc<OnceLock<GlobSet>>,
}

/// Why a text is not a pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// The text is not a path below a directory.
    #[error("invalid pattern `{0}`: {1}")]
    Path(String, PathError),
    /// The wildcards are invalid.
    #[error("invalid pattern `{0}`: {1}")]
    Glob(String, globset::ErrorKind),
    /// With the values of its variables it is longer than any path. The maximum in bytes.
    #[error("with the values of its variables the pattern is longer than {0} bytes; shorten them")]
    TooLong(usize),
}

/// A valid pattern that is larger than `globset` compiles.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the pattern: {0}")]
pub struct PatternSetError(#[from] globset::Error);

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError`] if `text` is empty, absolute, has a `..` component, or has invalid
    /// wildcards.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let path = RelPath::new(text.as_bytes())
            .map_err(|error| PatternError::Path(text.to_owned(), error))?;
        let pattern = Self { path, text: text.to_owned(), compiled: Arc::default() };
        if !pattern.is_literal() {
            pattern
                .glob()
                .map_err(|error| PatternError::Glob(text.to_owned(), error.kind().clone()))?;
        }
        Ok(pattern)
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the pattern as a path, which is the path of an absent artifact.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Returns true if the pattern has no wildcard, so that it matches one path only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.text.contains(WILDCARDS)
    }

    /// Returns the number of leading components without a wildcard.
    #[must_use]
    pub fn literal_components(&self) -> usize {
        self.text.split('/').take_while(|part| !part.contains(WILDCARDS)).count()
    }

    /// Returns the extension that the pattern ends with literally, so that every match has it.
    #[must_use]
    pub fn literal_extension(&self) -> Option<&str> {
        let last = self.text.rsplit('/').next()?;
        let (_, extension) = last.rsplit_once('.')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (!extension.is_empty() && extension.bytes().all(is_plain)).then_some(extension)
    }

    /// Returns patterns of the directories below which this one may match something. Those of unusual
    /// wildcards, such as alternatives with several components, match more.
    #[must_use]
    pub fn dirs_above(&self) -> Vec<Self> {
        let ends = self.text.match_indices('/').map(|(end, _)| end);
        // `a/**` also matches below all that it matches.
        let own_end = self.text.ends_with("**").then_some(self.text.len());
        let any_dir =
            || Self { path: self.path.clone(), text: "**".to_owned(), compiled: Arc::default() };
        let above = ends.chain(own_end).map(|end| Self::new(&self.text[..end]));
        above.map(|pattern| pattern.unwrap_or_else(|_| any_dir())).collect()
    }

    /// Returns true if a component begins with a dot. Such a pattern matches no artifact, because
    /// hidden entries are never artifacts.
    #[must_use]
    pub fn has_hidden_component(&self) -> bool {
        self.text.split('/').any(|part| part.starts_with('.'))
    }

    fn glob(&self) -> Result<globset::Glob, globset::Error> {
        GlobBuilder::new(&self.text).literal_separator(true).backslash_escape(true).build()
    }

    fn compiled(&self) -> Result<&GlobSet, globset::Error> {
        match self.compiled.get() {
            Some(compiled) => Ok(compiled),
            None => {
                let compiled = GlobSetBuilder::new().add(self.glob()?).build()?;
                Ok(self.compiled.get_or_init(|| compiled))
            }
        }
    }

    /// Returns true if it matches; one that was not compiled matches nothing.
    fn is_match(&self, path: &RelPath) -> bool {
        self.compiled.get().is_some_and(|compiled| compiled.is_match(as_path(path)))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.text) == (&other.path, &other.text)
    }
}

impl Eq for Pattern {}

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

/// Compiled patterns that are matched one after the other.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PatternSet(Vec<Pattern>);

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PatternSet({} patterns)", self.0.len())
    }
}

impl PatternSet {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`PatternSetError`] if one of them is too large.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a Pattern>,
    ) -> Result<Self, PatternSetError> {
        let patterns: Vec<_> = patterns.into_iter().cloned().collect();
        for pattern in &patterns {
            pattern.compiled()?;
        }
        Ok(Self(patterns))
    }

    /// Replaces the content of `indices` by the indices of all patterns that match, in ascending
    /// order.
    pub fn matches_into(&self, path: &RelPath, indices: &mut Vec<usize>) {
        let matching = self.0.iter().enumerate().filter(|(_, pattern)| pattern.is_match(path));
        indices.clear();
        indices.extend(matching.map(|(index, _)| index));
    }

    /// Returns true if any pattern matches.
    #[must_use]
    pub fn is_match(&self, path: &RelPath) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(path))
    }

    /// Returns true if the set has no patterns.
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

    #[test]
    fn directories_above_are_those_below_which_a_pattern_may_match() {
        for (pattern, dir, expected) in [
            ("tasks/WP*.md", "tasks", true),
            ("tasks/WP*.md", "tasks/WP01.md", false),
            ("tasks/WP*.md", "other", false),
            ("tasks/*/a.md", "tasks/x", true),
            ("tasks/[ab]/a.md", "tasks/c", false),
            ("contracts/**/*", "contracts/x/y", true),
            ("contracts/**", "contracts/x", true),
            ("**/x.md", "a", true),
            ("{a,b}/x.md", "b", true),
            ("{a,b}/x.md", "c", false),
            ("{a/b,c}/x.md", "a", true),
            ("spec.md", "spec.md", false),
            ("a/b.md", "a", true),
        ] {
            let dirs = Pattern::new(pattern).unwrap().dirs_above();
            let dir = RelPath::new(dir.as_bytes()).unwrap();
            let is_above = PatternSet::new(&dirs).unwrap().is_match(&dir);
            assert_eq!(is_above, expected, "{pattern} {dir:?}");
        }
    }

    fn matches(pattern: &str, path: &[u8]) -> bool {
        PatternSet::new([&Pattern::new(pattern).unwrap()])
            .unwrap()
            .is_match(&RelPath::new(path).unwrap())
    }

    #[test]
    fn globs_match_by_the_rules_of_the_specification() {
        for (pattern, path, expected) in [
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
            assert_eq!(matches(pattern, path.as_bytes()), expected, "{pattern} on {path}");
        }
        assert!(matches("*.md", b"\xff.md"), "names are bytes");
    }

    #[test]
    fn new_rejects_paths_outside_and_unclosed_wildcards() {
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
    fn literal_parts_end_at_the_first_wildcard() {
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
