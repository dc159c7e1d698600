//! Content history: stores the versions of artifacts in the background, finds a state of the past,
//! compares two states, and brings files back (`docs/specification.md#content-history`).
//!
//! The [`writer`] follows the journal as a sink does. What it cannot store it lists as not stored, and
//! no event waits for it.

pub mod compare;
pub mod present_content;
pub mod restore;
pub mod states;
pub mod storage_rules;
pub mod writer;

mod capture;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::core::digest::Digest;
use crate::core::path::escape_bytes;
use crate::core::time::Timestamp;
use crate::store::history::{FrameEncoder, VersionChange, VersionContent, VersionRecord};
use crate::wire::history::HistoryStatus;
use present_content::{PresentContent, StoreContentError};
use storage_rules::StorageRules;
use writer::{PreviousContent, WriterStatus};

pub use crate::store::StoreError as HistoryError;
pub use crate::store::history::FILE_NAME;
pub use crate::store::history::{
    ContentReader, ContentStore, HistoryCounts, NotStored, PurgeResult, PurgeSelector,
    StoredVersion, VersionEnd, VersionedFile,
};

impl HistoryStatus {
    /// Returns the state of the history for clients; `seq` is the number of the last event.
    #[must_use]
    pub fn new(
        writer: &WriterStatus,
        counts: HistoryCounts,
        path: &std::path::Path,
        seq: u64,
    ) -> Self {
        Self {
            enabled: writer.is_enabled,
            path: escape_bytes(path.as_os_str().as_bytes()).into_owned(),
            stored_seq: writer.stored_seq,
            backlog: if writer.is_enabled { seq.saturating_sub(writer.stored_seq) } else { 0 },
            versions: counts.versions,
            contents: counts.contents,
            content_bytes: counts.content_bytes,
            used_bytes: counts.used_bytes,
            max_bytes: writer.max_bytes,
            not_stored: counts.not_stored,
            evicted: counts.evicted,
            evicted_named: counts.evicted_named,
            evicted_at: counts.evicted_at,
            oldest_at: counts.oldest_at,
            error: writer.error.clone(),
            quarantined: writer
                .quarantined
                .as_ref()
                .map(|path| escape_bytes(path.as_os_str().as_bytes()).into_owned()),
        }
    }
}

/// Stores the present content of a file, which is about to be replaced, while no daemon runs.
///
/// # Errors
/// [`StoreContentError`].
pub fn record_present(
    store: &mut ContentStore,
    rules: &StorageRules,
    present: PresentContent,
    at: Timestamp,
) -> Result<(), StoreContentError> {
    present.check(rules)?;
    let PresentContent { file, key, bytes, mode, .. } = present;
    let previous = PreviousContent::of(store.latest(&file)?);
    let content = writer::content_of(store, &mut FrameEncoder::default(), previous, &bytes)?;
    if let VersionContent::NotStored(reason) = content {
        return Err(StoreContentError::NotStored(reason));
    }
    let (hash, size) = (Digest::of(&bytes), bytes.len() as u64);
    let change = VersionChange::Current { key, hash, size, mode, is_first: false, content };
    store.record(vec![VersionRecord { file, seq: 0, at, change }], 0)?;
    Ok(())
}

/// Opens the content store to write, while no daemon runs. A corrupt file is moved aside.
///
/// # Errors
/// [`HistoryError`].
pub fn open_store(state: &Path) -> Result<ContentStore, HistoryError> {
    let opened = ContentStore::open_or_recreate(state, std::time::SystemTime::now().into())?;
    Ok(opened.store)
}
