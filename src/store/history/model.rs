//! Files, reasons and numbers of the content store. It reads and writes nothing.

use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "history.sqlite3";
/// A file of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionedFile {
    /// Identity of the root.
    pub root_id: String,
    /// The feature.
    pub feature: FeatureSlug,
    /// Path below the feature's directory.
    pub path: RelPath,
}

/// Why a version is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// It was replaced or removed before it was read.
    Replaced,
    /// It could not be read.
    Unreadable,
    /// It is larger than `history.max_file`.
    TooLarge,
    /// It is not text.
    Binary,
    /// `history.exclude` names it, or it is of class runtime.
    Excluded,
    /// The store was full of what is kept longer.
    Evicted,
}

impl NotStored {
    /// Returns the stored and public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Binary => "binary",
            Self::Excluded => "excluded",
            Self::Evicted => "evicted",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        let all = [
            Self::Replaced,
            Self::Unreadable,
            Self::TooLarge,
            Self::Binary,
            Self::Excluded,
            Self::Evicted,
        ];
        all.into_iter().find(|known| known.as_str() == text).unwrap_or(Self::Unreadable)
    }
}

/// Numbers of the content store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Versions with their content.
    pub versions: u64,
    /// Different contents.
    pub contents: u64,
    /// Sum of the sizes of the contents.
    pub content_bytes: u64,
    /// Size of the used part of the file.
    pub used_bytes: u64,
    /// Number of the last event whose version is recorded.
    pub stored_seq: u64,
    /// Versions that were counted as not stored although they should have been, since the file was
    /// created.
    pub not_stored: u64,
    /// Versions that were removed because the store was full.
    pub evicted: u64,
    /// Those of them that a baseline named.
    pub evicted_named: u64,
    /// Time of the last such removal.
    pub evicted_at: Option<Timestamp>,
    /// Time at which the oldest stored version became current.
    pub oldest_at: Option<Timestamp>,
}
