//! The projects that are kept from one daemon to the next, while none runs.

use std::path::{Path, PathBuf};

use crate::daemon::lock;
use crate::daemon::lock::LockError;
use crate::engine::projects::{self, KeptError};

/// Why they cannot be told or changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineProjectsError {
    /// A daemon runs, but does not answer, or not here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store.
    #[error(transparent)]
    Store(#[from] KeptError),
}

/// The roots, in order.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn list_projects(state: &Path) -> Result<Vec<PathBuf>, OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(projects::list(state)?)
}

/// Keeps a canonical root.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn add_project(state: &Path, root: &Path) -> Result<(), OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(projects::add(state, root)?)
}

/// Forgets a root; whether it was kept.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn remove_project(state: &Path, root: &Path) -> Result<bool, OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(projects::remove(state, root)?)
}
