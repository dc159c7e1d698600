//! Opens the store at the start of the engine, and defines why the engine ends.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{info, warn};

use crate::store::{OpenedStore, Store, StoreError, boot_id};

/// The engine cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A project's root cannot be opened.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses to create a thread.
    #[error(
        "cannot start a thread; raise the limit of tasks (`ulimit -u`, `TasksMax` of the service)"
    )]
    Thread(#[source] io::Error),
    /// A helper thread ended that must not.
    #[error("a thread ended unexpectedly: {0}")]
    ThreadEnded(String),
}

/// The store, possibly without its content.
pub(super) struct EngineStore {
    pub(super) store: Store,
    /// Path to which a corrupt store was moved.
    pub(super) quarantined: Option<PathBuf>,
    /// Why the store could not be opened, if that may be temporary.
    pub(super) load_error: Option<StoreError>,
}

/// Opens the store. If the disk refuses that temporarily, the engine runs without it and retries.
pub(super) fn open_store(state: &Path) -> Result<EngineStore, StoreError> {
    let OpenedStore { store, quarantined, .. } =
        match Store::open_or_recreate(state, &boot_id(), SystemTime::now().into()) {
            Ok(opened) => opened,
            Err(error) if error.is_transient() => {
                let store = Store::unavailable(state)?;
                return Ok(EngineStore { store, quarantined: None, load_error: Some(error) });
            }
            Err(error) => return Err(error),
        };
    if let Some(path) = &quarantined {
        warn!(path = %path.display(), "the store was corrupt and is quarantined");
    }
    let (path, instance, seq) = (store.path().display(), store.instance(), store.seq());
    info!(store = %path, instance, seq, "store opened");
    Ok(EngineStore { store, quarantined, load_error: None })
}
