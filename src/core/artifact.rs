//! One artifact of a dossier: identity, class and state. Keys are built in `key`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::path::RelPath;
use super::time::Timestamp;

/// Purpose of an artifact (`docs/specification.md#classes`). Manifests may use all but `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ArtifactClass {
    /// Documents that the work starts from.
    Input,
    /// Documents that organize the work.
    Workflow,
    /// Results of the work.
    Output,
    /// Evidence of the quality of the work.
    Evidence,
    /// Decisions.
    Policy,
    /// Files that runtimes write while the work proceeds.
    Runtime,
    /// Unknown.
    Other,
}

impl ArtifactClass {
    /// The six classes that a manifest may name.
    pub const MANIFEST_CLASSES: [Self; 6] =
        [Self::Input, Self::Workflow, Self::Output, Self::Evidence, Self::Policy, Self::Runtime];

    /// Parses the text of [`ArtifactClass::as_str`]; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::MANIFEST_CLASSES.into_iter().chain([Self::Other]);
        all.find(|class| class.as_str() == text)
    }

    /// Returns the class as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Workflow => "workflow",
            Self::Output => "output",
            Self::Evidence => "evidence",
            Self::Policy => "policy",
            Self::Runtime => "runtime",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ArtifactClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a feature is incomplete without an artifact (`docs/specification.md#required-status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RequiredStatus {
    /// Its spec is blocking and in a required list.
    Required,
    /// It is not required.
    Optional,
}

impl RequiredStatus {
    /// Returns the status as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }

    /// Parses the text of [`RequiredStatus::as_str`]; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Required, Self::Optional].into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for RequiredStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an artifact is not present (`docs/specification.md#artifact-states`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorReason {
    /// A spec applies and no file matches it.
    NotFound,
    /// The file exists and cannot be read.
    Unreadable,
    /// The file was read and is not valid for its type.
    InvalidFormat,
    /// The file was indexed and then deleted.
    DeletedAfterScan,
}

impl ErrorReason {
    /// Returns the reason as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::InvalidFormat => "invalid_format",
            Self::DeletedAfterScan => "deleted_after_scan",
        }
    }

    /// Parses the text of [`ErrorReason::as_str`]; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::NotFound, Self::Unreadable, Self::InvalidFormat, Self::DeletedAfterScan]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for ErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an artifact is not present, as a code and as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The reason as a code.
    pub reason: ErrorReason,
    /// The error of the operating system or of dossierd; `None` if the code is sufficient.
    pub detail: Option<Box<str>>,
}

/// The state of an artifact's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactState {
    /// The file was read.
    Present {
        /// Hash of the raw bytes.
        hash: Digest,
        /// Hash without runtime fields of the front matter, for work packages only. It is boxed
        /// because few artifacts have one.
        static_hash: Option<Box<Digest>>,
    },
    /// The file is missing or was not read.
    Absent(Absence),
}

/// Metadata of a file that changes when its content changes. Timestamps of the kernel are coarse,
/// so the inode is included: a file that is renamed into place has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSignature {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the content (`mtime`), in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Time of the last change of the inode (`ctime`), in nanoseconds since 1970. Programs cannot
    /// set it.
    pub changed_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

impl FileSignature {
    /// Returns what identifies the file.
    #[must_use]
    pub fn dev_ino(&self) -> DevIno {
        DevIno { device: self.device, inode: self.inode }
    }
}

/// Device and inode, which identify a file or directory while it exists, also where it is moved within
/// its file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DevIno {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// One entry below a feature directory as a scan found it, before it is classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Path below the feature directory.
    pub path: RelPath,
    /// Size in bytes; 0 if it is unknown.
    pub size_bytes: u64,
    /// Present with its hash, or why it is not present.
    pub state: ArtifactState,
    /// `work_package_id` of the front matter.
    pub wp_id: Option<Box<str>>,
    /// Signature of the file when it was read; `None` if it was not read.
    pub signature: Option<FileSignature>,
    /// True if the file was modified so shortly before it was read that a later write may leave the
    /// signature unchanged (git calls such files "racy").
    pub racy: bool,
    /// True if the file has other names (hard links), by which it can be written as well.
    pub is_linked: bool,
}

/// Key of an artifact: `[A-Za-z0-9._-]`, stable, unique in its feature.
pub type ArtifactKey = Box<str>;

/// One artifact of a dossier (`docs/specification.md#artifacts`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRef {
    /// Key, unique in the feature.
    pub artifact_key: ArtifactKey,
    /// Purpose.
    pub artifact_class: ArtifactClass,
    /// Path below the feature directory; for an absent spec its pattern.
    pub relative_path: RelPath,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Id of the work package that it belongs to.
    pub wp_id: Option<Box<str>>,
    /// Id of the mission step whose list contains its spec.
    pub step_id: Option<Arc<str>>,
    /// Whether the feature is incomplete without it.
    pub required_status: RequiredStatus,
    /// Present with its hash, or why it is not present.
    pub state: ArtifactState,
    /// Time at which this content was first hashed.
    pub indexed_at: Timestamp,
}

/// `error_detail` of a file that changed during each attempt to read it.
pub const CHANGED_WHILE_READ: &str = "changed while being read";

impl ArtifactRef {
    /// Returns true if the file exists and was read.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self.state, ArtifactState::Present { .. })
    }

    /// Returns the hash of the raw bytes; `None` if the artifact is not present.
    #[must_use]
    pub fn hash(&self) -> Option<Digest> {
        match &self.state {
            ArtifactState::Present { hash, .. } => Some(*hash),
            ArtifactState::Absent(_) => None,
        }
    }

    /// Returns why the artifact is not present; `None` if it is.
    #[must_use]
    pub fn absence(&self) -> Option<&Absence> {
        match &self.state {
            ArtifactState::Present { .. } => None,
            ArtifactState::Absent(absence) => Some(absence),
        }
    }

    /// Returns true if the file never held still long enough to be read, so that nothing was announced of it.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.error_detail() == Some(CHANGED_WHILE_READ)
    }

    /// Returns the code of [`ArtifactRef::absence`].
    #[must_use]
    pub fn error_reason(&self) -> Option<ErrorReason> {
        self.absence().map(|absence| absence.reason)
    }

    /// Returns the text of [`ArtifactRef::absence`].
    #[must_use]
    pub fn error_detail(&self) -> Option<&str> {
        self.absence().and_then(|absence| absence.detail.as_deref())
    }
}
