//! Finds the files of a feature at a moment of the past. Pure: what is stored and what is present are
//! arguments.

use std::collections::BTreeMap;
use std::fmt;

use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::digest::Digest;
use crate::core::feature::Feature;
use crate::core::history::revision::{HashPrefix, Revision};
use crate::core::history::state_diff::{FileVersion, PathVersions};
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::store::history::{NotStored, StoredVersion};

/// What is known of a feature: its present files, its baseline, and its stored versions.
#[derive(Debug, Clone, Default)]
pub struct FeatureHistory {
    /// The present files.
    pub now: PathVersions,
    /// The files of the accepted state; `None` without one, or if it does not name them.
    pub baseline: Option<PathVersions>,
    /// Time at which that state was accepted.
    pub accepted_at: Option<Timestamp>,
    /// Versions by path, the oldest first.
    pub versions: Vec<StoredVersion>,
}

/// The files of a feature at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastState {
    /// The files, as far as they are known.
    pub files: PathVersions,
    /// Files of which it is not known whether they existed then, or with which content, and the oldest
    /// moment from which that is known.
    pub unknown: BTreeMap<RelPath, OldestKept>,
}

/// The oldest version of a file that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestKept {
    /// Number of the event by which it became current; `None` if the store of events was replaced since.
    pub seq: Option<u64>,
    /// Time of that event.
    pub at: Timestamp,
}

impl fmt::Display for OldestKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "@{seq} ({})", self.at),
            None => self.at.fmt(f),
        }
    }
}

/// Why a revision selects no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PastStateError {
    /// There is no baseline.
    #[error(
        "there is no baseline that names files; accept one with `dossierd baseline accept`, or name \
         another revision"
    )]
    NoBaseline,
    /// Nothing is kept of that moment.
    #[error("nothing is kept of {revision}; {}", oldest_text(.oldest.as_ref()))]
    NotKept {
        /// The revision.
        revision: String,
        /// The oldest moment of which something is kept.
        oldest: Option<OldestKept>,
    },
    /// A hash prefix does not name a state of several files.
    #[error("{0} is a hash: name one artifact with it")]
    HashOfFeature(String),
    /// No version has the hash.
    #[error("no version of {path} has a hash that begins with {prefix}; `dossierd log` lists them", path = .path.text())]
    UnknownHash {
        /// The file.
        path: RelPath,
        /// The digits.
        prefix: String,
    },
    /// Several versions have such a hash.
    #[error("{prefix} is ambiguous: {}", list(.candidates))]
    AmbiguousHash {
        /// The digits.
        prefix: String,
        /// The hashes.
        candidates: Vec<Digest>,
    },
    /// The file did not exist in that state.
    #[error("{path} does not exist {then}", path = .path.text(), then = then(.revision))]
    AbsentThen {
        /// The file.
        path: RelPath,
        /// The revision.
        revision: String,
    },
    /// The content of a version is not stored.
    #[error("the content {hash:.12} of {path} is not stored{}", why(*.reason), path = .path.text())]
    NotStored {
        /// The file.
        path: RelPath,
        /// Its hash.
        hash: Digest,
        /// Why, if that is known.
        reason: Option<NotStored>,
    },
    /// There is no such artifact, now or in the past.
    #[error("there is no artifact `{}`, now or in the history{}", crate::core::path::escape_unprintable(.name), similar(.near.as_ref()))]
    UnknownArtifact {
        /// The key or path.
        name: String,
        /// The most similar one.
        near: Option<String>,
    },
}

fn oldest_text(oldest: Option<&OldestKept>) -> String {
    oldest.map_or_else(
        || "no version is stored".to_owned(),
        |oldest| format!("the oldest version is of {oldest}"),
    )
}

/// Returns a revision for a sentence about its state.
fn moment_text(revision: &Revision) -> String {
    match revision {
        Revision::Before(_) => format!("{revision} ago"),
        other => other.to_string(),
    }
}

fn why(reason: Option<NotStored>) -> String {
    reason.map(|reason| format!(": {}", reason.as_str().replace('_', " "))).unwrap_or_default()
}

fn list(candidates: &[Digest]) -> String {
    candidates.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

fn then(revision: &str) -> String {
    if revision == "now" { revision.to_owned() } else { format!("in {revision}") }
}

fn similar(near: Option<&String>) -> String {
    near.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl FeatureHistory {
    /// Returns what is known of a feature with these stored versions.
    #[must_use]
    pub fn new(feature: &Feature, versions: Vec<StoredVersion>) -> Self {
        let present = feature.entries.iter().filter_map(|entry| {
            let hash = entry.artifact.hash()?;
            let artifact_key = entry.artifact.artifact_key.clone();
            Some((entry.artifact.relative_path.clone(), FileVersion { artifact_key, hash }))
        });
        let baseline = match &feature.metadata.baseline {
            BaselineFile::Valid(baseline) => Some(baseline),
            BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
        };
        Self {
            now: present.collect(),
            baseline: baseline.and_then(|one| baseline_files(one)),
            accepted_at: baseline.and_then(|one| Timestamp::parse(&one.captured_at)),
            versions,
        }
    }

    /// Returns the files that were deleted since the baseline was accepted, as far as their versions show it:
    /// those that a daemon has tombstones of, and those that were deleted while none ran.
    #[must_use]
    pub fn deleted(&self) -> Vec<RelPath> {
        let mut last: BTreeMap<&RelPath, &StoredVersion> = BTreeMap::new();
        last.extend(self.versions.iter().map(|version| (&version.path, version)));
        let is_deleted = |path: &RelPath, version: &StoredVersion| {
            let is_deleted = match version.end {
                None => true,
                Some(end) => end.is_deleted && self.accepted_at.is_none_or(|at| end.at > at),
            };
            is_deleted && !self.now.contains_key(path)
        };
        let deleted = last.into_iter().filter(|(path, version)| is_deleted(path, version));
        deleted.map(|(path, _)| path.clone()).collect()
    }

    /// Returns the paths that a key or path selects: of present files, of the baseline, and of stored
    /// versions.
    ///
    /// # Errors
    /// [`PastStateError::UnknownArtifact`].
    pub fn select(&self, name: &str) -> Result<Vec<RelPath>, PastStateError> {
        let files = self.now.iter().chain(self.baseline.iter().flatten());
        let files = files.map(|(path, file)| (path, &*file.artifact_key));
        let known = files.chain(self.versions.iter().map(|one| (&one.path, &*one.key)));
        let known: Vec<(&RelPath, &str)> = known.collect();
        let mut paths: Vec<RelPath> = known
            .iter()
            .filter(|(path, key)| *key == name || path.text() == name)
            .map(|(path, _)| (*path).clone())
            .collect();
        paths.sort();
        paths.dedup();
        if paths.is_empty() {
            let keys = known.iter().map(|(_, key)| *key);
            let near = crate::core::suggest::nearest(name, keys).map(str::to_owned);
            return Err(PastStateError::UnknownArtifact { name: name.to_owned(), near });
        }
        Ok(paths)
    }

    /// Returns the path and the hash of the only file that a key or path selects in a state.
    ///
    /// # Errors
    /// [`PastStateError`].
    pub fn version_of(
        &self,
        name: &str,
        revision: &Revision,
        now: Timestamp,
    ) -> Result<(RelPath, Digest), PastStateError> {
        let mut failure = None;
        for path in self.select(name)? {
            let error = match self.state(revision, std::slice::from_ref(&path), now) {
                Ok(mut state) => match state.files.remove(&path) {
                    Some(file) => return Ok((path, file.hash)),
                    None => PastStateError::AbsentThen { path, revision: moment_text(revision) },
                },
                Err(error) => error,
            };
            failure.get_or_insert(error);
        }
        let unknown = || PastStateError::UnknownArtifact { name: name.to_owned(), near: None };
        Err(failure.unwrap_or_else(unknown))
    }

    /// Returns the state that a revision names. `paths` are the selected files; empty for all.
    ///
    /// # Errors
    /// [`PastStateError`].
    pub fn state(
        &self,
        revision: &Revision,
        paths: &[RelPath],
        now: Timestamp,
    ) -> Result<PastState, PastStateError> {
        let mut state = match revision {
            Revision::Now => PastState { files: self.now.clone(), ..PastState::default() },
            Revision::Baseline => {
                let files = self.baseline.clone().ok_or(PastStateError::NoBaseline)?;
                PastState { files, ..PastState::default() }
            }
            Revision::AfterEvent(seq) => self.past(Moment::Seq(*seq), paths),
            Revision::At(at) => self.past(Moment::Time(*at), paths),
            Revision::Before(duration) => {
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                let at = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
                self.past(Moment::Time(at.unwrap_or_default()), paths)
            }
            Revision::Hash(prefix) => match paths {
                [path] => self.by_hash(prefix, path)?,
                _ => return Err(PastStateError::HashOfFeature(prefix.as_str().to_owned())),
            },
        };
        if !paths.is_empty() {
            state.files.retain(|path, _| paths.contains(path));
        }
        let is_stored = |path: &RelPath, file: &FileVersion| {
            let mut of_path = self.versions.iter().filter(|version| version.path == *path);
            of_path.any(|version| version.hash == file.hash && version.not_stored.is_none())
        };
        let has_known = state.unknown.is_empty()
            || state.files.iter().any(|(path, file)| is_stored(path, file));
        let is_past = !matches!(revision, Revision::Now | Revision::Baseline | Revision::Hash(_));
        if is_past && (!has_known || self.versions.is_empty()) {
            let oldest = state.unknown.values().min_by_key(|oldest| oldest.at).copied();
            return Err(PastStateError::NotKept { revision: moment_text(revision), oldest });
        }
        Ok(state)
    }

    fn by_hash(&self, prefix: &HashPrefix, path: &RelPath) -> Result<PastState, PastStateError> {
        let stored = self.versions.iter().filter(|version| version.path == *path);
        let stored = stored.map(|version| (version.hash, &version.key));
        let others = [Some(&self.now), self.baseline.as_ref()].into_iter().flatten();
        let others = others.filter_map(|files| files.get(path));
        let others = others.map(|file| (file.hash, &file.artifact_key));
        let mut found: Vec<_> =
            stored.chain(others).filter(|(hash, _)| prefix.matches(hash)).collect();
        found.sort_by_key(|(hash, _)| *hash);
        found.dedup_by_key(|(hash, _)| *hash);
        let prefix = prefix.as_str().to_owned();
        match found.as_slice() {
            [] => Err(PastStateError::UnknownHash { path: path.clone(), prefix }),
            [(hash, key)] => {
                let file = FileVersion { artifact_key: (*key).clone(), hash: *hash };
                let files = PathVersions::from([(path.clone(), file)]);
                Ok(PastState { files, ..PastState::default() })
            }
            several => {
                let candidates = several.iter().map(|(hash, _)| *hash).collect();
                Err(PastStateError::AmbiguousHash { prefix, candidates })
            }
        }
    }

    fn past(&self, moment: Moment, paths: &[RelPath]) -> PastState {
        let mut state = PastState::default();
        for versions in self.versions.chunk_by(|a, b| a.path == b.path) {
            let Some(first) = versions.first() else { continue };
            if !paths.is_empty() && !paths.contains(&first.path) {
                continue;
            }
            match version_at(versions, moment) {
                FileAt::Version(version) => {
                    let file =
                        FileVersion { artifact_key: version.key.clone(), hash: version.hash };
                    state.files.insert(version.path.clone(), file);
                }
                FileAt::Absent => {}
                FileAt::Unknown => {
                    let seq = first.is_of_instance.then_some(first.from_seq);
                    let oldest = OldestKept { seq, at: first.from_at };
                    state.unknown.insert(first.path.clone(), oldest);
                }
            }
        }
        state
    }

    /// Returns the last stored version of a file.
    #[must_use]
    pub fn last_stored(&self, path: &RelPath) -> Option<&StoredVersion> {
        let mut versions = self.versions.iter().rev();
        versions.find(|version| version.path == *path && version.not_stored.is_none())
    }

    /// Returns why a content is not stored, as it was recorded with a version of the file.
    #[must_use]
    pub fn not_stored_reason(&self, path: &RelPath, hash: &Digest) -> Option<NotStored> {
        let of_path = self.versions.iter().rev().filter(|version| version.path == *path);
        of_path.filter(|version| version.hash == *hash).find_map(|version| version.not_stored)
    }

    /// Returns the permissions of a file with this content, as they were recorded.
    #[must_use]
    pub fn mode(&self, path: &RelPath, hash: &Digest) -> Option<u32> {
        let of_path = self.versions.iter().rev().filter(|version| version.path == *path);
        let known = of_path.filter(|version| version.hash == *hash && version.mode != 0);
        known.map(|version| version.mode).next()
    }
}

/// Returns the files of an accepted state; `None` if it does not name them.
fn baseline_files(baseline: &Baseline) -> Option<PathVersions> {
    let artifacts = baseline.artifacts.as_ref()?.iter();
    let file = |artifact: &crate::core::baseline::BaselineArtifact| FileVersion {
        artifact_key: artifact.artifact_key.clone(),
        hash: artifact.content_hash_sha256,
    };
    Some(artifacts.map(|one| (one.relative_path.clone(), file(one))).collect())
}

/// A moment of the past.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Just after an event of the current store of events.
    Seq(u64),
    /// A time.
    Time(Timestamp),
}

impl Moment {
    /// Returns true if what happened with this event is before the moment or at it.
    fn includes(self, is_of_instance: bool, seq: u64, at: Timestamp) -> bool {
        match self {
            Self::Seq(moment) => !is_of_instance || seq <= moment,
            Self::Time(moment) => at <= moment,
        }
    }
}

/// A file at a moment.
enum FileAt<'a> {
    Version(&'a StoredVersion),
    Absent,
    Unknown,
}

/// Returns the version of a file at a moment. `versions` are all of one file, the oldest first.
fn version_at(versions: &[StoredVersion], moment: Moment) -> FileAt<'_> {
    let begun = |version: &StoredVersion| {
        moment.includes(version.is_of_instance, version.from_seq, version.from_at)
    };
    let after = versions.partition_point(begun);
    let next_is_first = versions.get(after).is_none_or(|next| next.is_first);
    let Some(version) = after.checked_sub(1).and_then(|index| versions.get(index)) else {
        return if next_is_first { FileAt::Absent } else { FileAt::Unknown };
    };
    let end = version.end.as_ref();
    let ended = end.filter(|end| moment.includes(version.is_of_instance, end.seq, end.at));
    match ended {
        None => FileAt::Version(version),
        Some(end) if end.is_deleted && next_is_first => FileAt::Absent,
        Some(_) => FileAt::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::VersionEnd;

    fn path() -> RelPath {
        RelPath::new(*b"spec.md").unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds.cast_signed() * 1_000).unwrap()
    }

    /// A version from one event to another, each at the second of its number.
    fn version(from: u64, until: Option<(u64, &str)>, text: &str) -> StoredVersion {
        StoredVersion {
            path: path(),
            key: "input.spec.md".into(),
            hash: Digest::of(text.as_bytes()),
            size: 1,
            mode: 0o644,
            is_of_instance: true,
            from_seq: from,
            from_at: at(from),
            is_first: from == 2 || from == 20,
            end: until.map(|(seq, how)| VersionEnd {
                seq,
                at: at(seq),
                is_deleted: how == "deleted",
                is_known: how != "lost",
            }),
            lines: None,
            not_stored: None,
        }
    }

    fn history() -> FeatureHistory {
        FeatureHistory {
            versions: vec![
                version(2, Some((4, "changed")), "one"),
                version(4, Some((6, "lost")), "two"),
                version(10, Some((12, "deleted")), "three"),
                version(20, None, "four"),
            ],
            ..FeatureHistory::default()
        }
    }

    #[test]
    fn state_is_that_of_the_version_that_was_current() {
        let history = history();
        for (moment, expected) in [
            (1, "absent"),
            (2, "one"),
            (3, "one"),
            (4, "two"),
            (5, "two"),
            // Versions between 6 and 10 are not kept.
            (6, "unknown"),
            (9, "unknown"),
            (10, "three"),
            (12, "absent"),
            (19, "absent"),
            (20, "four"),
            (99, "four"),
        ] {
            for revision in [Revision::AfterEvent(moment), Revision::At(at(moment))] {
                let found = match history.state(&revision, &[], at(100)) {
                    Ok(state) => match state.files.get(&path()) {
                        Some(file) => {
                            let all = ["one", "two", "three", "four"];
                            let is_it = |text: &&str| Digest::of(text.as_bytes()) == file.hash;
                            all.into_iter().find(is_it).unwrap()
                        }
                        None => "absent",
                    },
                    Err(PastStateError::NotKept { oldest: Some(oldest), .. }) => {
                        assert_eq!(oldest, OldestKept { seq: Some(2), at: at(2) });
                        "unknown"
                    }
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(found, expected, "{revision}");
            }
        }
        let ago = Revision::parse("97s").unwrap();
        let state = history.state(&ago, &[], at(100)).unwrap();
        assert_eq!(state.files[&path()].hash, Digest::of(b"one"));
    }

    #[test]
    fn deleted_files_are_those_that_are_absent_since_the_accepted_state() {
        let deleted = |accepted_at: Option<u64>, last: Option<(u64, &str)>, is_present: bool| {
            let mut history = history();
            history.versions[3].end = version(20, last, "four").end;
            history.accepted_at = accepted_at.map(at);
            if is_present {
                let file = FileVersion { artifact_key: "k".into(), hash: Digest::of(b"four") };
                history.now.insert(path(), file);
            }
            history.deleted() == [path()]
        };
        for (accepted_at, last, is_present, expected) in [
            (None, None, false, true),
            (None, None, true, false),
            (Some(30), None, false, true),
            (None, Some((25, "deleted")), false, true),
            (None, Some((25, "deleted")), true, false),
            (Some(24), Some((25, "deleted")), false, true),
            (Some(25), Some((25, "deleted")), false, false),
            (None, Some((25, "lost")), false, false),
        ] {
            let found = deleted(accepted_at, last, is_present);
            assert_eq!(found, expected, "{accepted_at:?} {last:?} {is_present}");
        }
    }

    #[test]
    fn numbers_of_another_store_of_events_are_older_than_all() {
        let mut history = history();
        history.versions.truncate(2);
        for version in &mut history.versions {
            version.is_of_instance = false;
        }
        history.versions[1].end = None;
        let state = history.state(&Revision::AfterEvent(1), &[], at(100)).unwrap();
        assert_eq!(state.files[&path()].hash, Digest::of(b"two"));
    }

    #[test]
    fn hash_prefix_names_one_version_of_one_file() {
        let history = history();
        let one = Digest::of(b"one");
        let revision = |text: &str| Revision::parse(text).unwrap();
        let prefix = revision(&one.to_string()[..8]);
        let state = history.state(&prefix, &[path()], at(0)).unwrap();
        assert_eq!(state.files[&path()].hash, one);
        let of_feature = history.state(&prefix, &[], at(0)).unwrap_err();
        assert!(matches!(of_feature, PastStateError::HashOfFeature(_)));
        let unknown = history.state(&revision("00000000"), &[path()], at(0)).unwrap_err();
        assert!(matches!(unknown, PastStateError::UnknownHash { .. }));
        assert_eq!(history.state(&Revision::Baseline, &[], at(0)), Err(PastStateError::NoBaseline));
        assert_eq!(history.select("input.spec.md").unwrap(), [path()]);
        assert_eq!(history.select("spec.md").unwrap(), [path()]);
        let error = history.select("input.spec").unwrap_err().to_string();
        assert!(error.ends_with("did you mean input.spec.md?"), "{error}");
    }
}
