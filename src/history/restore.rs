//! Decides which files a restore writes, and with which content. Pure; writing them is the task of the
//! callers.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::states::{FeatureHistory, PastState, PastStateError};
use crate::core::digest::Digest;
use crate::core::history::revision::{Revision, RevisionError};
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::store::history::StoredVersion;
use crate::wire::history::{RestoreItem, RestoreOutcome, RestoreRequest, RestoredFile};

/// What is done about a file.
#[derive(Debug, Clone)]
pub enum RestoreStep {
    /// It is written.
    Write(RestoreWrite),
    /// Nothing is written.
    Nothing(RestoredFile),
}

/// A file that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreWrite {
    /// Its path in the feature.
    pub path: RelPath,
    /// Key of its artifact.
    pub key: Box<str>,
    /// Hash of the content.
    pub hash: Digest,
    /// Permissions; 0 if they are not known.
    pub mode: u32,
    /// Hash of the present content, which is stored before it is replaced; `None` if the file is absent.
    pub replaces: Option<Digest>,
}

/// Why nothing can be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestorePlanError {
    /// A state cannot be found.
    #[error(transparent)]
    State(#[from] PastStateError),
    /// A text is not a revision.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// Nothing is selected.
    #[error(
        "nothing to restore is named; name an artifact by its key or path, or select deleted files"
    )]
    Nothing,
}

impl RestoreWrite {
    /// Returns the result of a write; `failure` is why it failed.
    #[must_use]
    pub fn result(&self, failure: Option<String>) -> RestoredFile {
        RestoredFile {
            relative_path: self.path.text().into_owned(),
            content_hash_sha256: Some(self.hash),
            outcome: failure.as_ref().map_or(RestoreOutcome::Restored, |_| RestoreOutcome::Failed),
            reason: failure,
        }
    }
}

/// Returns what is done, by path. `tombstones` are the deleted files.
///
/// # Errors
/// [`RestorePlanError`] if a request is wrong as a whole; what concerns one file is a step.
pub fn plan_restore(
    history: &FeatureHistory,
    request: &RestoreRequest,
    tombstones: &[RelPath],
    now: Timestamp,
) -> Result<Vec<RestoreStep>, RestorePlanError> {
    if request.items.is_empty() && !request.deleted {
        return Err(RestorePlanError::Nothing);
    }
    let mut steps = BTreeMap::new();
    // Whether any of the named files has the state that is asked for.
    let (mut first_error, mut has_state) = (None, false);
    for item in &request.items {
        for path in select(history, item)? {
            let step = match plan_file(history, &path, item.from.as_deref(), request.force, now) {
                // Of this file; the others can be restored.
                Err(RestorePlanError::State(error)) => {
                    let step = failed(&path, None, error.to_string());
                    first_error.get_or_insert(error);
                    step
                }
                planned => {
                    has_state = true;
                    planned?
                }
            };
            steps.insert(path, step);
        }
    }
    if let Some(error) = first_error.filter(|_| !has_state) {
        return Err(error.into());
    }
    if request.deleted {
        let renamed = find_renamed(history, tombstones);
        for path in tombstones {
            let step = match renamed.get(path) {
                Some(new_path) => RestoreStep::Nothing(RestoredFile {
                    relative_path: path.text().into_owned(),
                    content_hash_sha256: None,
                    outcome: RestoreOutcome::Renamed,
                    reason: Some(format!("renamed to {}", new_path.text())),
                }),
                None => {
                    let from = request.from.as_deref();
                    match plan_file(history, path, from, request.force, now) {
                        Err(RestorePlanError::State(error)) => {
                            failed(path, None, error.to_string())
                        }
                        planned => planned?,
                    }
                }
            };
            steps.entry(path.clone()).or_insert(step);
        }
    }
    Ok(steps.into_values().collect())
}

fn failed(path: &RelPath, hash: Option<Digest>, reason: impl Into<String>) -> RestoreStep {
    RestoreStep::Nothing(RestoredFile {
        relative_path: path.text().into_owned(),
        content_hash_sha256: hash,
        outcome: RestoreOutcome::Failed,
        reason: Some(reason.into()),
    })
}

fn select(history: &FeatureHistory, item: &RestoreItem) -> Result<Vec<RelPath>, RestorePlanError> {
    match (&item.relative_path, &item.artifact_key) {
        (Some(path), _) => Ok(history.select(&path.text())?),
        (None, Some(key)) => {
            let mut paths = history.select(key)?;
            // A key that a present file has is that file's, whichever others had it before.
            let is_present = |path: &RelPath| history.now.contains_key(path);
            if paths.iter().any(is_present) {
                paths.retain(|path| is_present(path));
            }
            Ok(paths)
        }
        (None, None) => Err(RestorePlanError::Nothing),
    }
}

/// Returns the present files that are deleted ones under another path: with the same content, and new since
/// the deleted ones had it. Each present file is at most one of them; of several with equal content those with
/// equal names come first, then those that came when the other went.
fn find_renamed<'h>(
    history: &'h FeatureHistory,
    deleted: &'h [RelPath],
) -> BTreeMap<&'h RelPath, &'h RelPath> {
    let mut last: HashMap<&RelPath, &StoredVersion> = HashMap::new();
    last.extend(history.versions.iter().map(|version| (&version.path, version)));
    let mut appeared: HashMap<&RelPath, Timestamp> = HashMap::new();
    let created = history.versions.iter().filter(|version| version.is_first);
    appeared.extend(created.map(|version| (&version.path, version.from_at)));
    let mut pairs = Vec::new();
    for path in deleted {
        let Some(version) = last.get(path) else { continue };
        for (other, _) in history.now.iter().filter(|(_, file)| file.hash == version.hash) {
            // Without a version it was written after the last one was stored.
            let is_unknown = !last.contains_key(other);
            let appeared = appeared.get(other).filter(|at| **at > version.from_at);
            if !is_unknown && appeared.is_none() {
                continue;
            }
            let end = version.end.map(|end| end.at);
            let gap =
                appeared.zip(end).map_or(0, |(at, end)| at.as_millis().abs_diff(end.as_millis()));
            pairs.push((path.file_name() != other.file_name(), gap, path, other));
        }
    }
    pairs.sort();
    let (mut renamed, mut taken) = (BTreeMap::new(), HashSet::new());
    for (_, _, path, other) in pairs {
        if !renamed.contains_key(path) && taken.insert(other) {
            renamed.insert(path, other);
        }
    }
    renamed
}

fn plan_file(
    history: &FeatureHistory,
    path: &RelPath,
    from: Option<&str>,
    force: bool,
    now: Timestamp,
) -> Result<RestoreStep, RestorePlanError> {
    let present = history.now.get(path).map(|file| file.hash);
    let (hash, key) = match (from, present) {
        (None, None) => match history.last_stored(path) {
            Some(version) => (version.hash, version.key.clone()),
            None => return Ok(failed(path, None, "no version of it is stored")),
        },
        (from, _) => {
            let revision = Revision::parse(from.unwrap_or("baseline"))?;
            let state = history.state(&revision, std::slice::from_ref(path), now)?;
            let PastState { mut files, .. } = state;
            match files.remove(path) {
                Some(file) => (file.hash, file.artifact_key),
                None => return Ok(failed(path, None, "it does not exist in that state")),
            }
        }
    };
    if present == Some(hash) {
        return Ok(RestoreStep::Nothing(RestoredFile {
            relative_path: path.text().into_owned(),
            content_hash_sha256: Some(hash),
            outcome: RestoreOutcome::Unchanged,
            reason: None,
        }));
    }
    if present.is_some() && !force {
        let reason = "it is present with another content; add `--force` to replace it";
        return Ok(failed(path, Some(hash), reason));
    }
    let mode = history.mode(path, &hash).unwrap_or_default();
    Ok(RestoreStep::Write(RestoreWrite { path: path.clone(), key, hash, mode, replaces: present }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::state_diff::{FileVersion, PathVersions};
    use crate::store::history::{NotStored, VersionEnd};

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn files(all: &[(&str, &str)]) -> PathVersions {
        let file = |(name, text): &(&str, &str)| {
            let hash = Digest::of(text.as_bytes());
            (path(name), FileVersion { artifact_key: format!("other.{name}").into(), hash })
        };
        all.iter().map(file).collect()
    }

    fn version(name: &str, from: u64, until: Option<u64>, text: &str) -> StoredVersion {
        StoredVersion {
            path: path(name),
            key: format!("other.{name}").into(),
            hash: Digest::of(text.as_bytes()),
            size: 1,
            mode: 0o755,
            is_of_instance: true,
            from_seq: from,
            from_at: at(from.cast_signed()),
            is_first: true,
            end: until.map(|seq| VersionEnd {
                seq,
                at: at(seq.cast_signed()),
                is_deleted: true,
                is_known: true,
            }),
            lines: None,
            not_stored: None,
        }
    }

    fn history() -> FeatureHistory {
        let mut unstored = version("unstored", 1, Some(2), "u");
        unstored.not_stored = Some(NotStored::TooLarge);
        FeatureHistory {
            now: files(&[("present", "new"), ("same", "s"), ("moved/to", "m")]),
            baseline: Some(files(&[("present", "old"), ("same", "s"), ("gone", "accepted")])),
            accepted_at: None,
            versions: vec![
                version("gone", 1, Some(5), "last"),
                version("moved-from", 1, Some(5), "m"),
                version("moved/to", 5, None, "m"),
                version("present", 3, None, "new"),
                unstored,
            ],
        }
    }

    fn plan(request: &RestoreRequest, tombstones: &[&str]) -> Vec<String> {
        let tombstones: Vec<RelPath> = tombstones.iter().map(|name| path(name)).collect();
        let steps = plan_restore(&history(), request, &tombstones, at(10)).unwrap();
        let text = |step: &RestoreStep| match step {
            RestoreStep::Write(write) => {
                let all = ["last", "accepted", "old", "m"];
                let content = all.iter().find(|text| Digest::of(text.as_bytes()) == write.hash);
                let replaces = write.replaces.is_some();
                format!(
                    "write {} {} {replaces} {:o}",
                    write.path.text(),
                    content.unwrap(),
                    write.mode
                )
            }
            RestoreStep::Nothing(file) => format!("{:?} {}", file.outcome, file.relative_path),
        };
        steps.iter().map(text).collect()
    }

    fn item(name: &str, from: Option<&str>) -> RestoreItem {
        RestoreItem {
            artifact_key: None,
            relative_path: Some(path(name)),
            from: from.map(str::to_owned),
        }
    }

    #[test]
    fn default_state_depends_on_whether_the_file_is_present() {
        for (name, from, force, expected) in [
            ("gone", None, false, "write gone last false 755"),
            ("gone", Some("baseline"), false, "write gone accepted false 0"),
            ("gone", Some("@7"), false, "Failed gone"),
            ("gone", Some("@3"), false, "write gone last false 755"),
            ("present", None, false, "Failed present"),
            ("present", None, true, "write present old true 0"),
            ("same", None, false, "Unchanged same"),
            ("unstored", None, false, "Failed unstored"),
        ] {
            let items = vec![item(name, from)];
            let request = RestoreRequest { items, force, ..RestoreRequest::default() };
            assert_eq!(plan(&request, &[]), [expected], "{name} {from:?} {force}");
        }
    }

    #[test]
    fn deleted_files_are_restored_except_renamed_ones() {
        let request = RestoreRequest { deleted: true, ..RestoreRequest::default() };
        assert_eq!(
            plan(&request, &["gone", "moved-from", "unstored"]),
            ["write gone last false 755", "Renamed moved-from", "Failed unstored"]
        );
        assert_eq!(plan(&request, &[]), [""; 0]);
    }

    #[test]
    fn only_new_files_are_renamed_ones_and_each_is_one() {
        let deleted = |present: &[(&str, u64, bool)], gone: &[(&str, u64)]| {
            let mut versions = Vec::new();
            for (name, until) in gone {
                versions
                    .push(StoredVersion { is_first: false, ..version(name, 1, Some(*until), "t") });
            }
            for (name, from, is_first) in present {
                versions
                    .push(StoredVersion { is_first: *is_first, ..version(name, *from, None, "t") });
            }
            versions.sort_by(|a, b| a.path.cmp(&b.path));
            let now: Vec<(&str, &str)> = present.iter().map(|(name, ..)| (*name, "t")).collect();
            let history =
                FeatureHistory { now: files(&now), versions, ..FeatureHistory::default() };
            let tombstones: Vec<RelPath> = gone.iter().map(|(name, _)| path(name)).collect();
            let renamed = find_renamed(&history, &tombstones);
            let pair = |(a, b): (&&RelPath, &&RelPath)| format!("{}>{}", a.text(), b.text());
            renamed.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        for (present, gone, expected) in [
            // A copy that was there all the time is not a new name.
            (&[("copy", 1, false)][..], &[("a", 5)][..], ""),
            (&[("copy", 2, false)], &[("a", 5)], ""),
            (&[("new", 5, true)], &[("a", 5)], "a>new"),
            // Deletions are checked before they are reported.
            (&[("new", 3, true)], &[("a", 5)], "a>new"),
            // One new file is one renamed file.
            (&[("new", 5, true)], &[("a", 5), ("b", 9)], "a>new"),
            (&[("new", 9, true)], &[("a", 5), ("b", 9)], "b>new"),
            (&[("new", 5, true), ("x/b", 5, true)], &[("a", 5), ("b", 5)], "a>new b>x/b"),
        ] {
            assert_eq!(deleted(present, gone), expected, "{present:?} {gone:?}");
        }
    }

    #[test]
    fn file_without_the_state_does_not_keep_others_from_being_restored() {
        let mut history = history();
        history.versions.retain(|version| version.path != path("present"));
        history
            .versions
            .push(StoredVersion { is_first: false, ..version("present", 8, None, "new") });
        let request = |names: &[&str]| RestoreRequest {
            items: names.iter().map(|name| item(name, Some("@3"))).collect(),
            ..RestoreRequest::default()
        };
        let planned = |names: &[&str]| plan_restore(&history, &request(names), &[], at(10));
        let alone = planned(&["present"]).unwrap_err().to_string();
        assert_eq!(
            alone,
            "nothing is kept of @3; the oldest version is of @8 (1970-01-01T00:00:00.008Z)"
        );
        let both = planned(&["gone", "present"]).unwrap();
        assert!(matches!(&both[0], RestoreStep::Write(write) if write.path == path("gone")));
        let RestoreStep::Nothing(file) = &both[1] else { panic!("{both:?}") };
        assert_eq!((file.outcome, file.reason.as_deref()), (RestoreOutcome::Failed, Some(&*alone)));
    }

    #[test]
    fn wrong_requests_are_refused() {
        let refused = |request: &RestoreRequest| {
            plan_restore(&history(), request, &[], at(10)).unwrap_err().to_string()
        };
        assert!(refused(&RestoreRequest::default()).starts_with("nothing to restore"));
        let request = |item| RestoreRequest { items: vec![item], ..RestoreRequest::default() };
        assert!(refused(&request(item("none", None))).starts_with("there is no artifact `none`"));
        assert!(refused(&request(item("gone", Some("x")))).starts_with("`x` is not a revision"));
    }
}
