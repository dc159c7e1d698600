//! The present content of a file, which a restore replaces: it must be stored before.

use super::storage_rules::StorageRules;
use crate::core::artifact::ArtifactClass;
use crate::store::StoreError;
use crate::store::history::{NotStored, VersionedFile};

/// Largest size in bytes of a present file that is read; more is never stored.
pub const MAX_PRESENT_BYTES: u64 = 2 << 20;

/// The present content of a file.
#[derive(Debug)]
pub struct PresentContent {
    /// The file.
    pub file: VersionedFile,
    /// Key of its artifact.
    pub key: Box<str>,
    /// Class of its artifact.
    pub class: ArtifactClass,
    /// The content.
    pub bytes: Vec<u8>,
    /// Permissions.
    pub mode: u32,
}

/// A content could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreContentError {
    /// Such contents are not stored.
    #[error("its present content cannot be stored: {}", .0.as_str().replace('_', " "))]
    NotStored(NotStored),
    /// The store cannot be written.
    #[error("its present content cannot be stored")]
    Store(#[from] StoreError),
    /// Nothing is stored.
    #[error("its present content cannot be stored: the history is off, or its writer is busy")]
    Unavailable,
}

impl PresentContent {
    /// Checks that the content may be stored.
    ///
    /// # Errors
    /// [`StoreContentError::Unavailable`], [`StoreContentError::NotStored`].
    pub fn check(&self, rules: &StorageRules) -> Result<(), StoreContentError> {
        if !rules.config().is_enabled() {
            return Err(StoreContentError::Unavailable);
        }
        let refusal = rules.refusal_of_content(&self.file.path, self.class, &self.bytes);
        refusal.map_or(Ok(()), |reason| Err(StoreContentError::NotStored(reason)))
    }
}
