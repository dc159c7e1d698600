//! The stored list of projects, for commands that read or change it while no daemon runs.
//!
//! Adds the instance lock to [`engine::offline_projects`](crate::engine::offline_projects): a daemon that starts at
//! the same moment must not have the store open.

use std::path::{Path, PathBuf};

use crate::daemon::lock;
use crate::daemon::lock::LockError;
use crate::engine::offline_projects::{self, OfflineStoreError};

/// Why the stored projects cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineProjectsError {
    /// A daemon runs, but at another socket or without responding.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] OfflineStoreError),
}

/// Returns the canonical roots of the stored projects, sorted.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn list_projects(state: &Path) -> Result<Vec<PathBuf>, OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(offline_projects::list(state)?)
}

/// Stores a project by its canonical root.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn add_project(state: &Path, root: &Path) -> Result<(), OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(offline_projects::add(state, root)?)
}

/// Removes a project; returns false if it was not stored.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn remove_project(state: &Path, root: &Path) -> Result<bool, OfflineProjectsError> {
    let _lock = lock::acquire(state)?;
    Ok(offline_projects::remove(state, root)?)
}
