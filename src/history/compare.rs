//! Compares two states of a feature, file by file. Pure: contents come from a function.

use std::collections::BTreeMap;

use super::states::{FeatureHistory, OldestKept, PastState, PastStateError};
use crate::core::digest::Digest;
use crate::core::history::revision::Revision;
use crate::core::history::state_diff::{FileChange, FileChangeKind, PathVersions, diff_states};
use crate::core::history::text_diff::{ContentDiff, DiffHunk, diff_contents};
use crate::core::history::unified::git_mode;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::store::history::{NotStored, StoredVersion, VersionEnd};
use crate::wire::history::{FileDiff, VersionEndKind, VersionItem};

/// Maximum size of all hunks of a response in bytes; later files have none.
const MAX_HUNK_BYTES: usize = 4 << 20;
/// Permissions of a file whose permissions are not known.
const DEFAULT_MODE: u32 = 0o644;

/// Which files differ between two states.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// The files that differ, by path.
    pub changes: Vec<FileChange>,
    /// Files of which one state is not known.
    pub unknown: BTreeMap<RelPath, OldestKept>,
}

/// Whether the changed lines are returned, or only their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffLines {
    /// Return hunks.
    Return,
    /// Only count.
    Count,
}

/// Returns which files differ between the states that two revisions name. `names` are keys or paths;
/// empty for all files.
///
/// # Errors
/// [`PastStateError`].
pub fn compare(
    history: &FeatureHistory,
    from: &Revision,
    to: &Revision,
    names: &[String],
    now: Timestamp,
) -> Result<Comparison, PastStateError> {
    let mut paths = Vec::new();
    for name in names {
        paths.extend(history.select(name)?);
    }
    let state = |revision| history.state(revision, &paths, now);
    let (from, to) = (state(from)?, state(to)?);
    let unknown: BTreeMap<RelPath, OldestKept> = from
        .unknown
        .iter()
        .chain(&to.unknown)
        .map(|(path, oldest)| (path.clone(), *oldest))
        .collect();
    let known = |state: PastState| -> PathVersions {
        state.files.into_iter().filter(|(path, _)| !unknown.contains_key(path)).collect()
    };
    Ok(Comparison { changes: diff_states(&known(from), &known(to)), unknown })
}

impl Comparison {
    /// Returns the contents that are needed to compare the files, with the path where each is, or was.
    pub fn needed(&self) -> impl Iterator<Item = (&RelPath, &Digest)> {
        self.changes.iter().filter(|change| change.from_hash != change.to_hash).flat_map(|change| {
            let from = change.previous_path.as_ref().unwrap_or(&change.path);
            let from = change.from_hash.as_ref().map(|hash| (from, hash));
            from.into_iter().chain(change.to_hash.as_ref().map(|hash| (&change.path, hash)))
        })
    }

    /// Compares the contents.
    ///
    /// # Errors
    /// Those of `content`, which returns `None` for a content that is nowhere.
    pub fn files<E>(
        &self,
        history: &FeatureHistory,
        lines: DiffLines,
        mut content: impl FnMut(&RelPath, &Digest) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Vec<FileDiff>, E> {
        let mut left = if lines == DiffLines::Return { MAX_HUNK_BYTES } else { 0 };
        let mut files = Vec::new();
        for change in &self.changes {
            let mut mode = [change.to_hash, change.from_hash].into_iter().flatten();
            let from_path = change.previous_path.as_ref().unwrap_or(&change.path);
            let mode = mode.find_map(|hash| {
                history.mode(&change.path, &hash).or_else(|| history.mode(from_path, &hash))
            });
            let mut file = FileDiff {
                artifact_key: change.artifact_key.to_string(),
                relative_path: change.path.clone(),
                previous_path: change.previous_path.clone(),
                kind: Some(change.kind),
                from_hash: change.from_hash,
                to_hash: change.to_hash,
                added_lines: Some(0),
                removed_lines: Some(0),
                mode: git_mode(mode.unwrap_or(DEFAULT_MODE)).into(),
                hunks: Vec::new(),
                unavailable: None,
            };
            if change.kind != FileChangeKind::Renamed {
                let mut side = |path, hash: Option<Digest>| match hash {
                    Some(hash) => content(path, &hash),
                    None => Ok(Some(Vec::new())),
                };
                let (from, to) =
                    (side(from_path, change.from_hash)?, side(&change.path, change.to_hash)?);
                compare_contents(&mut file, from.as_deref(), to.as_deref(), &mut left);
                if file.unavailable.as_deref() == Some("not_stored") {
                    let side = |path, hash: &Option<Digest>| {
                        hash.and_then(|hash| history.not_stored_reason(path, &hash))
                    };
                    let sides =
                        [side(from_path, &change.from_hash), side(&change.path, &change.to_hash)];
                    file.unavailable = Some(why_not_compared(sides).into());
                }
                if lines == DiffLines::Count && file.unavailable.as_deref() == Some("omitted") {
                    file.unavailable = None;
                }
            }
            files.push(file);
        }
        files.extend(self.unknown.keys().map(|path| unknown_file(history, path)));
        files.sort_by(|a, b| a.relative_path.cmp(&b.relative_path));
        Ok(files)
    }
}

fn compare_contents(file: &mut FileDiff, from: Option<&[u8]>, to: Option<&[u8]>, left: &mut usize) {
    (file.added_lines, file.removed_lines) = (None, None);
    let (Some(from), Some(to)) = (from, to) else {
        file.unavailable = Some("not_stored".into());
        return;
    };
    match diff_contents(from, to) {
        ContentDiff::Binary => file.unavailable = Some("binary".into()),
        ContentDiff::TooLarge => file.unavailable = Some("too_large".into()),
        ContentDiff::Text(diff) => {
            file.added_lines = Some(diff.added_lines);
            file.removed_lines = Some(diff.removed_lines);
            let size: usize = diff.hunks.iter().map(hunk_size).sum();
            if size > *left {
                file.unavailable = (size > 0).then_some("omitted".into());
                return;
            }
            *left -= size;
            file.hunks = diff.hunks.into_iter().map(DiffHunk::into_owned).collect();
        }
    }
}

/// Returns why two contents of which at least one is not stored are not compared.
fn why_not_compared(sides: [Option<NotStored>; 2]) -> &'static str {
    if sides.contains(&Some(NotStored::Binary)) {
        "binary"
    } else if sides.contains(&Some(NotStored::TooLarge)) {
        "too_large"
    } else {
        "not_stored"
    }
}

fn hunk_size(hunk: &DiffHunk<'_>) -> usize {
    hunk.text_bytes() + hunk.lines.len() * 16
}

fn unknown_file(history: &FeatureHistory, path: &RelPath) -> FileDiff {
    let version = history.versions.iter().rev().find(|version| version.path == *path);
    FileDiff {
        artifact_key: version.map(|version| version.key.to_string()).unwrap_or_default(),
        relative_path: path.clone(),
        previous_path: None,
        kind: None,
        from_hash: None,
        to_hash: None,
        added_lines: None,
        removed_lines: None,
        mode: git_mode(DEFAULT_MODE).into(),
        hunks: Vec::new(),
        unavailable: Some("not_kept".into()),
    }
}

/// Returns the versions of the selected files, newest first, at most `limit`, and how many more there
/// are. `paths` is empty for all files.
#[must_use]
pub fn list_versions(
    history: &FeatureHistory,
    paths: &[RelPath],
    limit: usize,
) -> (Vec<VersionItem>, u64) {
    let is_selected = |version: &&StoredVersion| paths.is_empty() || paths.contains(&version.path);
    let mut selected: Vec<&StoredVersion> = history.versions.iter().filter(is_selected).collect();
    selected.sort_by_key(|version| std::cmp::Reverse((version.from_at, version.from_seq)));
    let omitted = selected.len().saturating_sub(limit);
    let items = selected.into_iter().take(limit).map(|version| {
        let seq = |seq: u64| version.is_of_instance.then_some(seq);
        let accepted = history.baseline.as_ref().and_then(|files| files.get(&version.path));
        VersionItem {
            artifact_key: version.key.to_string(),
            relative_path: version.path.clone(),
            content_hash_sha256: version.hash,
            size_bytes: version.size,
            from_seq: seq(version.from_seq),
            from: version.from_at,
            until_seq: version.end.and_then(|end| seq(end.seq)),
            until: version.end.map(|end| end.at),
            end: version.end.map(|end| end_kind(&end)),
            added_lines: version.lines.map(|lines| lines.0),
            removed_lines: version.lines.map(|lines| lines.1),
            not_stored: version.not_stored.map(|reason| reason.as_str().into()),
            in_baseline: accepted.is_some_and(|file| file.hash == version.hash),
        }
    });
    (items.collect(), omitted as u64)
}

fn end_kind(end: &VersionEnd) -> VersionEndKind {
    match end {
        VersionEnd { is_deleted: true, .. } => VersionEndKind::Deleted,
        VersionEnd { is_known: true, .. } => VersionEndKind::Changed,
        _ => VersionEndKind::Unknown,
    }
}
