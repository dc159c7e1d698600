//! Compares two states of a feature: which files were added, changed, renamed or are missing. It knows
//! hashes, not contents.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::digest::Digest;
use crate::core::path::RelPath;

/// A file of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// Key of the artifact.
    pub artifact_key: Box<str>,
    /// Hash of the content.
    pub hash: Digest,
}

/// The files of a feature at one time.
pub type PathVersions = BTreeMap<RelPath, FileVersion>;

/// How a file differs between two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileChangeKind {
    /// Only the second state has it.
    Added,
    /// Its content differs.
    Changed,
    /// Only the first state has it.
    Missing,
    /// The first state has the same content under another path.
    Renamed,
}

impl fmt::Display for FileChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Renamed => "renamed",
        })
    }
}

/// A file that differs between two states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// How it differs.
    pub kind: FileChangeKind,
    /// Key of the artifact, in the second state if that has it.
    pub artifact_key: Box<str>,
    /// Its path, in the second state if that has it.
    pub path: RelPath,
    /// Its path in the first state, if it was renamed.
    pub previous_path: Option<RelPath>,
    /// Hash of the content in the first state.
    pub from_hash: Option<Digest>,
    /// Hash of the content in the second state.
    pub to_hash: Option<Digest>,
}

/// Returns the files that differ, by path. A file that is missing and one that was added are one
/// renamed file if their contents are equal; of several with equal content, those with the same file
/// name, then the first ones by path, belong together.
#[must_use]
pub fn diff_states(from: &PathVersions, to: &PathVersions) -> Vec<FileChange> {
    let mut missing: HashMap<Digest, Vec<&RelPath>> = HashMap::new();
    for (path, file) in from.iter().filter(|(path, _)| !to.contains_key(path)) {
        missing.entry(file.hash).or_default().push(path);
    }
    let mut sources: HashMap<&RelPath, &RelPath> = HashMap::new();
    for by_name in [true, false] {
        let added = to.iter().filter(|(path, _)| !from.contains_key(path));
        for (path, file) in added {
            let Some(paths) = missing.get_mut(&file.hash).filter(|_| !sources.contains_key(path))
            else {
                continue;
            };
            let same_name = |from: &&RelPath| from.file_name() == path.file_name();
            let index = paths.iter().position(|from| !by_name || same_name(from));
            if let Some(index) = index {
                sources.insert(path, paths.remove(index));
            }
        }
    }
    let missing = missing.into_values().flatten().filter_map(|path| {
        let file = from.get(path)?;
        Some(FileChange {
            kind: FileChangeKind::Missing,
            artifact_key: file.artifact_key.clone(),
            path: path.clone(),
            previous_path: None,
            from_hash: Some(file.hash),
            to_hash: None,
        })
    });
    let present = to.iter().filter_map(|(path, file)| {
        let source = sources.get(path).copied();
        let before = from.get(source.unwrap_or(path));
        let kind = match (before, source) {
            (_, Some(_)) => FileChangeKind::Renamed,
            (None, None) => FileChangeKind::Added,
            (Some(before), None) if before.hash == file.hash => return None,
            (Some(_), None) => FileChangeKind::Changed,
        };
        Some(FileChange {
            kind,
            artifact_key: file.artifact_key.clone(),
            path: path.clone(),
            previous_path: source.cloned(),
            from_hash: before.map(|before| before.hash),
            to_hash: Some(file.hash),
        })
    });
    let mut changes: Vec<FileChange> = missing.chain(present).collect();
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(files: &[(&str, &str)]) -> PathVersions {
        let file = |(path, content): &(&str, &str)| {
            let version = FileVersion {
                artifact_key: format!("other.{path}").into(),
                hash: Digest::of(content.as_bytes()),
            };
            (RelPath::new(path.as_bytes()).unwrap(), version)
        };
        files.iter().map(file).collect()
    }

    #[test]
    fn files_are_added_changed_missing_or_renamed() {
        let from = state(&[
            ("same", "0"),
            ("changed", "1"),
            ("gone", "2"),
            ("a/plan.md", "3"),
            ("b/tasks.md", "3"),
            ("copied", "4"),
        ]);
        let to = state(&[
            ("same", "0"),
            ("changed", "1b"),
            ("new", "5"),
            ("z/tasks.md", "3"),
            ("z/first.md", "3"),
            ("copied", "4"),
            ("copy", "4"),
        ]);
        let changes = diff_states(&from, &to);
        let texts: Vec<String> = changes
            .iter()
            .map(|change| {
                let previous = change.previous_path.as_ref().map(|path| path.text().to_string());
                let (from, to) = (change.from_hash.is_some(), change.to_hash.is_some());
                format!("{} {} {previous:?} {from} {to}", change.kind, change.path.text())
            })
            .collect();
        assert_eq!(
            texts,
            [
                "changed changed None true true",
                "added copy None false true",
                "missing gone None true false",
                "added new None false true",
                "renamed z/first.md Some(\"a/plan.md\") true true",
                "renamed z/tasks.md Some(\"b/tasks.md\") true true",
            ]
        );
        assert_eq!(diff_states(&to, &to), []);
    }
}
