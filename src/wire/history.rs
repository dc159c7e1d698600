//! Models of `/api/dossier/versions`, `content`, `diff` and `restore`, and of `/api/history`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::digest::Digest;
use crate::core::history::state_diff::FileChangeKind;
use crate::core::history::text_diff::DiffHunk;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;

/// Versions of the artifacts of a feature, newest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct VersionList<'a> {
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Number of the last event whose version is recorded.
    pub stored_seq: u64,
    /// The versions.
    pub versions: Vec<VersionItem>,
    /// Number of older versions that are not listed.
    pub omitted: u64,
}

/// A version of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionItem {
    /// Key of the artifact.
    pub artifact_key: String,
    /// Its path in the feature.
    pub relative_path: RelPath,
    /// Hash of the content.
    pub content_hash_sha256: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Number of the event by which it became current; null if the store of events was replaced since.
    pub from_seq: Option<u64>,
    /// Time of that event.
    pub from: Timestamp,
    /// Number of the event that ended it; null while it is current, or as for `from_seq`.
    pub until_seq: Option<u64>,
    /// Time of that event; null while it is current.
    pub until: Option<Timestamp>,
    /// What ended it.
    pub end: Option<VersionEndKind>,
    /// Lines added since the version before; null if that is not known.
    pub added_lines: Option<u32>,
    /// Lines removed since the version before; null if that is not known.
    pub removed_lines: Option<u32>,
    /// Why its content is not stored; null if it is.
    pub not_stored: Option<Cow<'static, str>>,
    /// True if the baseline has this content.
    pub in_baseline: bool,
}

/// What ended a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionEndKind {
    /// Another version.
    Changed,
    /// A deletion.
    Deleted,
    /// What is not known, or not kept.
    Unknown,
}

/// The content of a version.
#[derive(Debug, Serialize, Deserialize)]
pub struct VersionContentDetail {
    /// Hash of the content.
    pub content_hash_sha256: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The text; null if it is not text.
    pub content: Option<String>,
}

/// The difference between two states of a feature.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateDiff {
    /// Slug of the feature.
    pub feature_slug: String,
    /// Path of the feature's directory below the root; empty if it is the root.
    pub feature_path: String,
    /// The first state, as it was asked for.
    pub from: String,
    /// The second state, as it was asked for.
    pub to: String,
    /// The files that differ, by path.
    pub files: Vec<FileDiff>,
}

/// A file that differs.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileDiff {
    /// Key of the artifact.
    pub artifact_key: String,
    /// Its path in the feature.
    pub relative_path: RelPath,
    /// Its path in the first state, if it was renamed.
    pub previous_path: Option<RelPath>,
    /// How it differs; null if that is not known.
    pub kind: Option<FileChangeKind>,
    /// Hash in the first state; null if it is not there.
    pub from_hash: Option<Digest>,
    /// Hash in the second state; null if it is not there.
    pub to_hash: Option<Digest>,
    /// Lines added; null if they were not compared.
    pub added_lines: Option<u32>,
    /// Lines removed; null if they were not compared.
    pub removed_lines: Option<u32>,
    /// Permissions as git writes them.
    pub mode: Cow<'static, str>,
    /// The changes, with the lines around them.
    pub hunks: Vec<DiffHunk<'static>>,
    /// Why there are no hunks: `binary`, `too_large`, `not_stored`, `not_kept`, `omitted`; null if
    /// there are, or none are needed.
    pub unavailable: Option<Cow<'static, str>>,
}

/// Body of `POST /api/dossier/restore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestoreRequest {
    /// The files.
    pub items: Vec<RestoreItem>,
    /// True to restore every file that was deleted, except renamed ones.
    pub deleted: bool,
    /// The state whose content the deleted files get; by default their last stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// True to replace files that are present.
    pub force: bool,
    /// True to write nothing.
    pub dry_run: bool,
    /// Tree hash of the state that the client saw; another state is refused.
    pub tree_hash_sha256: Option<Digest>,
}

/// A file to restore, by key or path.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestoreItem {
    /// Key of the artifact.
    pub artifact_key: Option<String>,
    /// Its path in the feature.
    pub relative_path: Option<RelPath>,
    /// The state whose content is restored; the default depends on whether the file is present.
    pub from: Option<String>,
}

/// What was restored.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RestoreResponse {
    /// Slug of the feature.
    pub feature_slug: String,
    /// True if nothing was written, because that was asked for.
    pub dry_run: bool,
    /// The files, by path.
    pub files: Vec<RestoredFile>,
}

/// A file that was to be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoredFile {
    /// Its path in the feature, or the key or path that selects none.
    pub relative_path: String,
    /// Hash of the content; null if there is none.
    pub content_hash_sha256: Option<Digest>,
    /// What was done.
    pub outcome: RestoreOutcome,
    /// Why it was not restored; null if it was.
    pub reason: Option<String>,
}

/// What was done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// It was written, or would be.
    Restored,
    /// It has this content already.
    Unchanged,
    /// It was renamed, and its content is under another path.
    Renamed,
    /// It was not written.
    Failed,
}

impl RestoreResponse {
    /// Returns true if every file has the content that was asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.files.iter().all(|file| file.outcome != RestoreOutcome::Failed)
    }
}

/// Response of `GET /api/history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryStatus {
    /// True if versions are stored.
    pub enabled: bool,
    /// Path of the content store.
    pub path: String,
    /// Number of the last event whose version is recorded.
    pub stored_seq: u64,
    /// Number of events whose versions are not recorded yet.
    pub backlog: u64,
    /// Versions with their content.
    pub versions: u64,
    /// Different contents.
    pub contents: u64,
    /// Sum of the sizes of the contents in bytes.
    pub content_bytes: u64,
    /// Size of the used part of the store in bytes.
    pub used_bytes: u64,
    /// Maximum size of the store in bytes.
    pub max_bytes: u64,
    /// Versions that were replaced or could not be read before they were stored.
    pub not_stored: u64,
    /// Versions that were removed because the store was full.
    pub evicted: u64,
    /// Those of them that a baseline named.
    pub evicted_named: u64,
    /// Time of the last such removal.
    pub evicted_at: Option<Timestamp>,
    /// Time of the oldest stored version.
    pub oldest_at: Option<Timestamp>,
    /// Why nothing is stored now; null if it is.
    pub error: Option<String>,
    /// Path of a corrupt store that was moved aside since the daemon started.
    pub quarantined: Option<String>,
}

/// Response of `POST /api/history/purge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeResponse {
    /// Versions that were removed.
    pub versions: u64,
    /// Contents that were removed, since no other version has them.
    pub contents: u64,
}
