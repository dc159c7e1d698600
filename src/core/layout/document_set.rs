//! Which files of a root are the documents of the whole project (`docs/specification.md#documents`).

use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet, PatternSetError};

/// Name of the mission of documents.
pub const DOCUMENTS_MISSION: &str = "documents";

/// The files that are the documents of a root.
#[derive(Debug, Default)]
pub struct DocumentSet(Vec<DocumentPattern>);

#[derive(Debug)]
struct DocumentPattern {
    pattern: Pattern,
    files: PatternSet,
    dirs: PatternSet,
}

impl PartialEq for DocumentSet {
    fn eq(&self, other: &Self) -> bool {
        self.patterns().eq(other.patterns())
    }
}

impl Eq for DocumentSet {}

impl DocumentSet {
    /// Compiles the patterns of the files.
    ///
    /// # Errors
    /// [`PatternSetError`] if one of them is too large.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, PatternSetError> {
        let compile = |pattern: Pattern| {
            let files = PatternSet::new([&pattern])?;
            let dirs = PatternSet::new(&pattern.dirs_above())?;
            Ok(DocumentPattern { pattern, files, dirs })
        };
        Ok(Self(patterns.into_iter().map(compile).collect::<Result<_, PatternSetError>>()?))
    }

    /// Returns the patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().map(|one| &one.pattern)
    }

    /// Returns true if a file at the path is a document. Hidden names match where a pattern has them
    /// before its first wildcard.
    #[must_use]
    pub fn has_file(&self, path: &RelPath) -> bool {
        self.0.iter().any(|one| one.files.is_match(path) && one.allows_names(path))
    }

    /// Returns true if documents may be below a directory at the path.
    #[must_use]
    pub fn may_be_below(&self, dir: &RelPath) -> bool {
        self.0.iter().any(|one| one.dirs.is_match(dir) && one.allows_names(dir))
    }

    /// Returns the paths of which one exists where there are documents: the literal beginning of
    /// each pattern.
    pub fn bases(&self) -> impl Iterator<Item = RelPath> {
        self.0.iter().filter_map(|one| {
            let components = one.pattern.as_str().split('/');
            let literal = components.take(one.pattern.literal_components()).collect::<Vec<_>>();
            RelPath::new(literal.join("/").as_bytes()).ok()
        })
    }
}

impl DocumentPattern {
    fn allows_names(&self, path: &RelPath) -> bool {
        let named = self.pattern.literal_components();
        path.components().skip(named).all(|name| !name.starts_with(b"."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_the_directories_above_them_are_found_by_the_patterns() {
        let patterns = [".specify/memory/**", ".planning/*.md", "out/context.md"];
        let patterns = patterns.map(|text| Pattern::new(text).unwrap());
        let set = DocumentSet::new(patterns.into()).unwrap();
        for (path, is_file, is_above) in [
            (".specify", false, true),
            (".specify/memory", false, true),
            (".specify/memory/constitution.md", true, true),
            (".specify/memory/deep/a.md", true, true),
            (".specify/memory/.DS_Store", false, false),
            (".specify/templates/a.md", false, false),
            (".planning", false, true),
            (".planning/STATE.md", true, false),
            (".planning/.continue.md", false, false),
            (".planning/phases", false, false),
            (".planning/phases/01-x/a.md", false, false),
            ("out", false, true),
            ("out/context.md", true, false),
            ("src/main.rs", false, false),
        ] {
            let rel = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!((set.has_file(&rel), set.may_be_below(&rel)), (is_file, is_above), "{path}");
        }
        let bases: Vec<String> = set.bases().map(|base| base.text().into_owned()).collect();
        assert_eq!(bases, [".specify/memory", ".planning", "out/context.md"]);
    }
}
