//! Discovers the features of a project: the real directories that a rule matches
//! (`docs/specification.md#discovery`).
//!
//! Patterns are matched component by component, so that only directories that can contain a match
//! are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::feature_dir::FeatureDir;
use crate::core::diagnostics::SkippedDir;
use crate::core::layout::DocumentSet;
use crate::core::layout::feature_rules::{InvalidName, SearchRule};
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::pattern::Pattern;
use crate::project::feature_patterns::{
    MAX_GLOBSTAR_DEPTH, PatternComponent, PatternComponentError, parse_components,
};
use crate::project::root_dir::{ReadError, RootDir};

/// The features of a project, and the directories that look like one but are skipped.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The features, ordered by slug.
    pub features: Vec<FeatureDir>,
    /// The skipped directories, ordered by path.
    pub skipped: Vec<SkippedDir>,
    /// Paths of matches, or on the way to them, that may not be examined.
    pub unreadable: BTreeSet<RelPath>,
}

impl Discovery {
    /// Adds those of the `known` features that are at or below such a path: they may be there.
    /// Returns their slugs.
    pub fn keep_hidden<'a>(
        &mut self,
        known: impl Iterator<Item = &'a FeatureDir>,
    ) -> BTreeSet<FeatureSlug> {
        let is_hidden = |dir: &FeatureDir| {
            let path = dir.path.as_ref();
            let mut unreadable = self.unreadable.iter();
            path.is_some_and(|path| unreadable.any(|at| path == at || path.is_below(at)))
        };
        let found: BTreeSet<&FeatureSlug> = self.features.iter().map(|dir| &dir.slug).collect();
        let hidden = known.filter(|dir| !found.contains(&dir.slug) && is_hidden(dir));
        let hidden: Vec<FeatureDir> = hidden.cloned().collect();
        let slugs = hidden.iter().map(|dir| dir.slug.clone()).collect();
        self.features.extend(hidden);
        self.features.sort_by(|one, other| one.slug.cmp(&other.slug));
        slugs
    }
}

/// Why a match of a `features` pattern is skipped.
#[derive(Debug, thiserror::Error)]
enum SkipReason {
    #[error("symbolic link, not followed")]
    Symlink,
    #[error(
        "invalid feature name `{0}`; it must be UTF-8 without control characters, and not begin with \
         a dot"
    )]
    InvalidName(String),
    #[error("duplicate feature name, already used by `{}`", .0.text())]
    DuplicateName(RelPath),
    #[error(transparent)]
    Pattern(#[from] PatternComponentError),
    #[error("cannot be read, so features in it are not found: {0}")]
    Unreadable(String),
}

/// Returns the features that `rules` find, of which the first one for a path counts, and the
/// `documents` that exist.
///
/// # Errors
/// If a directory above a possible match cannot be listed for another reason than its permissions.
pub(super) fn discover(
    root_dir: &RootDir,
    rules: &[SearchRule],
    documents: &[(FeatureSlug, Arc<DocumentSet>)],
) -> Result<Discovery, ReadError> {
    let mut found = BTreeMap::<RelPath, Result<FeatureSlug, SkipReason>>::new();
    let mut unreadable = BTreeSet::new();
    for rule in rules {
        let mut search = Search::new(root_dir);
        match parse_components(&rule.include) {
            Ok(components) => search.follow(None, &components)?,
            Err(reason) => {
                search.matches.insert(rule.include.path().clone(), Err(reason.into()));
            }
        }
        unreadable.append(&mut search.unreadable);
        for (path, result) in search.matches {
            let is_wanted = result.is_err() || rule.is_match(&path);
            if !found.contains_key(&path) && is_wanted && rule.is_satisfied(&path, root_dir) {
                let named = result.and_then(|()| Ok(rule.slug(&path)?));
                found.insert(path, named);
            }
        }
    }
    let mut features = BTreeMap::<FeatureSlug, RelPath>::new();
    let mut skipped = Vec::new();
    for (path, result) in found {
        let name = path.text().into_owned();
        let slug = result.and_then(|slug| match features.get(&slug) {
            None => Ok(slug),
            Some(other) => Err(SkipReason::DuplicateName(other.clone())),
        });
        match slug {
            Ok(slug) => {
                features.insert(slug, path);
            }
            Err(reason) => skipped.push(SkippedDir { name, reason: reason.to_string() }),
        }
    }
    let features = features.into_iter().map(|(slug, path)| FeatureDir::new(slug, Some(path)));
    let exists = |set: &DocumentSet| set.bases().any(|base| root_dir.exists(&base));
    let documents = documents.iter().filter(|(_, set)| exists(set)).map(|(slug, set)| FeatureDir {
        documents: Some(Arc::clone(set)),
        ..FeatureDir::new(slug.clone(), None)
    });
    let mut features: Vec<FeatureDir> = features.chain(documents).collect();
    features.sort_by(|one, other| one.slug.cmp(&other.slug));
    Ok(Discovery { features, skipped, unreadable })
}

impl From<InvalidName> for SkipReason {
    fn from(InvalidName(name): InvalidName) -> Self {
        Self::InvalidName(escape_bytes(&name).into_owned())
    }
}

/// Returns the directories where a change can add or remove features: those that matching
/// `patterns` traverses, as far as they can be listed. Some may not exist.
pub(super) fn traversed_dirs<'p>(
    root_dir: &RootDir,
    patterns: impl Iterator<Item = &'p Pattern>,
) -> BTreeSet<RelPath> {
    let mut search = Search::new(root_dir);
    for components in patterns.filter_map(|pattern| parse_components(pattern).ok()) {
        // An error ends the search early; `discover` reports it.
        let _ = search.follow(None, &components);
    }
    // A directory that may not be read cannot be watched. The one above reports new permissions.
    search.visited.retain(|dir| !search.unreadable.contains(dir));
    search.visited
}

struct Search<'a> {
    root_dir: &'a RootDir,
    matches: BTreeMap<RelPath, Result<(), SkipReason>>,
    visited: BTreeSet<RelPath>,
    unreadable: BTreeSet<RelPath>,
}

impl<'a> Search<'a> {
    fn new(root_dir: &'a RootDir) -> Self {
        let (visited, unreadable) = (BTreeSet::new(), BTreeSet::new());
        Self { root_dir, matches: BTreeMap::new(), visited, unreadable }
    }

    /// Matches `components` below `dir`; `None` is the root.
    fn follow(
        &mut self,
        dir: Option<&RelPath>,
        components: &[PatternComponent],
    ) -> Result<(), ReadError> {
        self.visited.extend(dir.cloned());
        let Some((first, rest)) = components.split_first() else {
            return Ok(());
        };
        match first {
            PatternComponent::Literal(name) => self.visit(join(dir, name).as_ref(), None, rest),
            PatternComponent::Wildcard(set) => {
                for (path, kind) in self.subdirs_and_links(dir)? {
                    let name = RelPath::new(path.file_name()).ok();
                    // Wildcards do not enter hidden directories; a hidden match is recorded and
                    // then skipped.
                    let is_allowed = rest.is_empty() || !path.file_name().starts_with(b".");
                    if is_allowed && name.is_some_and(|name| set.is_match(&name)) {
                        self.visit(Some(&path), Some(kind), rest)?;
                    }
                }
                Ok(())
            }
            PatternComponent::Globstar => self.match_globstar(dir, rest, MAX_GLOBSTAR_DEPTH),
        }
    }

    /// Matches `**` followed by `rest`: `rest` in `dir`, then in its subdirectories.
    fn match_globstar(
        &mut self,
        dir: Option<&RelPath>,
        rest: &[PatternComponent],
        depth: usize,
    ) -> Result<(), ReadError> {
        self.follow(dir, rest)?;
        if depth == 0 {
            return Ok(());
        }
        for (path, kind) in self.subdirs_and_links(dir)? {
            if rest.is_empty() {
                self.visit(Some(&path), Some(kind), &[])?;
            }
            if kind == FileType::Directory && !path.file_name().starts_with(b".") {
                self.match_globstar(Some(&path), rest, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Handles an entry that matches one component: records it if it is the last one, otherwise
    /// enters it. `kind` is `None` if the entry was not listed.
    fn visit(
        &mut self,
        path: Option<&RelPath>,
        kind: Option<FileType>,
        rest: &[PatternComponent],
    ) -> Result<(), ReadError> {
        let Some(path) = path else {
            return Ok(());
        };
        let kind = match kind {
            None if rest.is_empty() => match self.root_dir.file_type(path) {
                Ok(kind) => Some(kind),
                Err(Errno::ACCESS | Errno::PERM) => {
                    self.record_unreadable(path, &Errno::ACCESS.into());
                    None
                }
                Err(_) => None,
            },
            known => known,
        };
        match kind {
            Some(FileType::Symlink) if self.root_dir.is_symlink_to_dir(path) => {
                self.matches.insert(path.clone(), Err(SkipReason::Symlink));
            }
            Some(FileType::Directory) if rest.is_empty() => {
                self.matches.entry(path.clone()).or_insert(Ok(()));
            }
            None if rest.is_empty() => {}
            Some(FileType::Directory) | None => return self.follow(Some(path), rest),
            Some(_) => {}
        }
        Ok(())
    }

    /// Records that nothing is known of what is at a path and below it.
    fn record_unreadable(&mut self, path: &RelPath, error: &io::Error) {
        let reason = SkipReason::Unreadable(error.to_string());
        self.matches.insert(path.clone(), Err(reason));
        self.unreadable.insert(path.clone());
    }

    /// Returns the subdirectories of `dir` and the symbolic links in it.
    fn subdirs_and_links(
        &mut self,
        dir: Option<&RelPath>,
    ) -> Result<Vec<(RelPath, FileType)>, ReadError> {
        let entries = match (self.root_dir.list(dir), dir) {
            (Err(ReadError::Symlink), Some(dir)) => {
                self.matches.insert(dir.clone(), Err(SkipReason::Symlink));
                return Ok(Vec::new());
            }
            // Treated as an empty directory, so that a file at one place does not hide features
            // elsewhere.
            (Err(ReadError::Io(error)), Some(_))
                if error.kind() == io::ErrorKind::NotADirectory =>
            {
                return Ok(Vec::new());
            }
            (Err(ReadError::Io(error)), Some(dir))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.record_unreadable(dir, &error);
                return Ok(Vec::new());
            }
            (entries, _) => entries?,
        };
        let is_dir_or_link = |kind| matches!(kind, FileType::Directory | FileType::Symlink);
        Ok(entries
            .into_iter()
            .filter(|entry| is_dir_or_link(entry.kind))
            .filter_map(|entry| Some((join(dir, &entry.name)?, entry.kind)))
            .collect())
    }
}

fn join(dir: Option<&RelPath>, name: &[u8]) -> Option<RelPath> {
    match dir {
        Some(dir) => dir.join(name).ok(),
        None => RelPath::new(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn discover_paths(root: &std::path::Path, patterns: &[&str]) -> (Vec<String>, Vec<String>) {
        let rule = |text: &&str| {
            SearchRule::configured(Pattern::new(text).unwrap(), &[], None, None).unwrap()
        };
        let rules: Vec<SearchRule> = patterns.iter().map(rule).collect();
        let found = discover(&RootDir::open(root).unwrap(), &rules, &[]).unwrap();
        let path = |feature: FeatureDir| feature.path.unwrap().text().into_owned();
        (
            found.features.into_iter().map(path).collect(),
            found
                .skipped
                .into_iter()
                .map(|skipped| format!("{}: {}", skipped.name, skipped.reason))
                .collect(),
        )
    }

    #[test]
    fn features_are_real_directories_that_match_a_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for dir in [
            "kitty-specs/001-a",
            "kitty-specs/002-b/deep",
            "kitty-specs/bad\nname",
            "kitty-specs/good name",
            "kitty-specs/.hidden",
            "teams/x/specs/003-c",
            "teams/y/specs/001-a",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("kitty-specs/README.md"), "").unwrap();
        symlink("001-a", root.join("kitty-specs/004-link")).unwrap();
        symlink("../teams", root.join("kitty-specs/005-away")).unwrap();
        symlink("README.md", root.join("kitty-specs/file-link")).unwrap();
        symlink("nothing", root.join("kitty-specs/dangling")).unwrap();
        symlink("teams", root.join("linked")).unwrap();
        let none: Vec<String> = Vec::new();

        let (features, skipped) = discover_paths(root, &["kitty-specs/*"]);
        assert_eq!(features, ["kitty-specs/001-a", "kitty-specs/002-b", "kitty-specs/good name"]);
        let rule = "it must be UTF-8 without control characters, and not begin with a dot";
        assert_eq!(
            skipped,
            [
                format!("kitty-specs/.hidden: invalid feature name `.hidden`; {rule}"),
                "kitty-specs/004-link: symbolic link, not followed".to_owned(),
                "kitty-specs/005-away: symbolic link, not followed".to_owned(),
                format!("kitty-specs/bad\nname: invalid feature name `bad\nname`; {rule}"),
            ]
        );
        assert_eq!(discover_paths(root, &["kitty-specs/00[12]-*"]).0.len(), 2);
        assert_eq!(
            discover_paths(root, &["kitty-specs/002-b"]),
            (vec!["kitty-specs/002-b".into()], none.clone())
        );
        assert_eq!(discover_paths(root, &["teams/*/specs/003-*"]).0, ["teams/x/specs/003-c"]);
        assert_eq!(discover_paths(root, &["teams/**/003-c"]).0, ["teams/x/specs/003-c"]);
        assert_eq!(
            discover_paths(root, &["kitty-specs/004-link"]).1,
            ["kitty-specs/004-link: symbolic link, not followed"]
        );
        assert_eq!(discover_paths(root, &["nowhere/*"]), (none.clone(), none.clone()));
        assert_eq!(
            discover_paths(root, &["linked/*/specs/*"]).1,
            ["linked: symbolic link, not followed"]
        );
        let (features, skipped) = discover_paths(root, &["kitty-specs/001-*", "teams/*/specs/*"]);
        assert_eq!(features, ["kitty-specs/001-a", "teams/x/specs/003-c"]);
        assert_eq!(
            skipped,
            ["teams/y/specs/001-a: duplicate feature name, already used by `kitty-specs/001-a`"]
        );
        assert_eq!(discover_paths(root, &["kitty-specs/002-b/**"]).0, ["kitty-specs/002-b/deep"]);
    }

    #[test]
    fn known_features_below_unreadable_paths_are_kept() {
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
        let dir = |text: &str| {
            FeatureDir::new(FeatureSlug::new(path(text).file_name()).unwrap(), Some(path(text)))
        };
        let known = ["specs/a", "teams/x/specs/b", "teams/y/specs/c"].map(dir);
        let mut found = Discovery {
            features: vec![dir("teams/y/specs/c")],
            // A literal pattern, and a directory that a wildcard enters.
            unreadable: ["specs/a", "teams/x"].map(path).into(),
            ..Discovery::default()
        };
        let hidden = found.keep_hidden(known.iter());
        assert_eq!(hidden.iter().map(FeatureSlug::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found.features, known);
    }
}
