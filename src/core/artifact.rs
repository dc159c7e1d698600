//! One artifact of a dossier: identity, class, state. How keys come about is in `key`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::path::RelPath;
use super::time::Timestamp;

/// What an artifact is for. Manifests may use the six classes but `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ArtifactClass {
    /// What the work starts from.
    Input,
    /// What steers the work.
    Workflow,
    /// What the work makes.
    Output,
    /// What shows that it was done well.
    Evidence,
    /// What was decided.
    Policy,
    /// What runtimes write while work goes on.
    Runtime,
    /// Nothing known.
    Other,
}

impl ArtifactClass {
    /// The six classes that a manifest may name.
    pub const MANIFEST_CLASSES: [Self; 6] =
        [Self::Input, Self::Workflow, Self::Output, Self::Evidence, Self::Policy, Self::Runtime];

    /// Reads [`ArtifactClass::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::MANIFEST_CLASSES.into_iter().chain([Self::Other]);
        all.find(|class| class.as_str() == text)
    }

    /// The class as it stands in JSON.
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

/// Whether an artifact's absence leaves its feature incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RequiredStatus {
    /// Its spec stands in a required list and blocks.
    Required,
    /// Anything else.
    Optional,
}

impl RequiredStatus {
    /// The status as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }

    /// Reads [`RequiredStatus::as_str`] back.
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

/// Why an artifact is not present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorReason {
    /// A spec that applies, and no file for it.
    NotFound,
    /// It is there and cannot be read.
    Unreadable,
    /// It was read and is not what its type says.
    InvalidFormat,
    /// It was there and went away.
    DeletedAfterScan,
}

impl ErrorReason {
    /// The reason as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::InvalidFormat => "invalid_format",
            Self::DeletedAfterScan => "deleted_after_scan",
        }
    }

    /// Reads [`ErrorReason::as_str`] back.
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

/// Why an artifact is not present, in a code and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The code.
    pub reason: ErrorReason,
    /// The operating system's or our own words; `None` where the code says all.
    pub detail: Option<Box<str>>,
}

/// What was seen where an artifact should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactState {
    /// Its bytes were read.
    Present {
        /// Hash of the raw bytes.
        hash: Digest,
        /// Hash without runtime front matter, for work packages that have one: few of all files.
        static_hash: Option<Box<Digest>>,
    },
    /// They were not.
    Absent(Absence),
}

/// What tells two states of a file apart without reading it. A clock's steps are coarse, hence the
/// inode: a file renamed into place is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSignature {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Time of the last change of anything, which no one can set.
    pub changed_ns: i64,
    /// Number of the file on its device.
    pub inode: u64,
    /// Number of the device.
    pub device: u64,
}

/// One entry below a feature directory as a scan saw it, before any manifest is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Where.
    pub path: RelPath,
    /// Size in bytes; 0 for what has none.
    pub size_bytes: u64,
    /// What was seen.
    pub state: ArtifactState,
    /// `work_package_id` of the front matter.
    pub wp_id: Option<Box<str>>,
    /// The file's signature when it was read, where it is a file that could be.
    pub signature: Option<FileSignature>,
    /// Whether it was written so shortly before it was read that another write may look the same.
    pub racy: bool,
}

/// A stable key, unique in its feature, in `[A-Za-z0-9._-]`.
pub type ArtifactKey = Box<str>;

/// One artifact of a dossier (seed: `ArtifactRef`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRef {
    /// Stable, unique key.
    pub artifact_key: ArtifactKey,
    /// What it is for.
    pub artifact_class: ArtifactClass,
    /// Where it is; for an absent spec its pattern.
    pub relative_path: RelPath,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Work package it belongs to.
    pub wp_id: Option<Box<str>>,
    /// Mission step whose list names it.
    pub step_id: Option<Arc<str>>,
    /// Whether it is required.
    pub required_status: RequiredStatus,
    /// Where it came from; `None` where that is not cheap to know.
    pub provenance: Option<Box<Provenance>>,
    /// Present with its hash, or why not.
    pub state: ArtifactState,
    /// When these bytes were first hashed.
    pub indexed_at: Timestamp,
}

impl ArtifactRef {
    /// Whether the file exists and could be read.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self.state, ArtifactState::Present { .. })
    }

    /// Hash of the raw bytes, if present.
    #[must_use]
    pub fn hash(&self) -> Option<Digest> {
        match &self.state {
            ArtifactState::Present { hash, .. } => Some(*hash),
            ArtifactState::Absent(_) => None,
        }
    }

    /// Why it is not present.
    #[must_use]
    pub fn absence(&self) -> Option<&Absence> {
        match &self.state {
            ArtifactState::Present { .. } => None,
            ArtifactState::Absent(fault) => Some(fault),
        }
    }

    /// The code of [`ArtifactRef::absence`].
    #[must_use]
    pub fn error_reason(&self) -> Option<ErrorReason> {
        self.absence().map(|fault| fault.reason)
    }

    /// The words of [`ArtifactRef::absence`].
    #[must_use]
    pub fn error_detail(&self) -> Option<&str> {
        self.absence().and_then(|fault| fault.detail.as_deref())
    }
}

/// Where an artifact came from (seed: `provenance`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// `git`, `runtime`, `generated` or `manual`.
    pub source_kind: Box<str>,
    /// Who made it.
    pub actor_id: Option<Box<str>>,
    /// When that was recorded.
    pub captured_at: Option<Timestamp>,
}
