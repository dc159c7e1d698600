//! The stored list of projects, for commands that read or change it while no daemon runs.
//!
//! Adds the instance lock to [`engine::offline_projects`](crate::engine::offline_projects): a daemon that starts at
//! the same moment must not have the store open.

use std::path::{Path, PathBuf};

use crate::config::{ProjectListError, UserDirs};
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
    /// The list of projects cannot be read or written.
    #[error(transparent)]
    List(#[from] ProjectListError),
}

/// Returns the canonical roots of the stored projects, sorted.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn list_projects(dirs: &UserDirs) -> Result<Vec<PathBuf>, OfflineProjectsError> {
    let (mut roots, _) = dirs.project_list().load()?;
    // The lock would create the directory.
    if dirs.state_dir.exists() {
        let _lock = lock::acquire(&dirs.state_dir)?;
        roots.extend(offline_projects::list(&dirs.state_dir)?);
    }
    Ok(roots.into_iter().collect())
}

/// Stores a project by its canonical root.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn add_project(dirs: &UserDirs, root: &Path) -> Result<(), OfflineProjectsError> {
    let _lock = lock::acquire(&dirs.state_dir)?;
    offline_projects::add(&dirs.state_dir, root)?;
    Ok(dirs.project_list().add(root)?)
}

/// Removes a project; returns false if it was not stored.
///
/// # Errors
/// [`OfflineProjectsError`].
pub fn remove_project(dirs: &UserDirs, root: &Path) -> Result<bool, OfflineProjectsError> {
    let _lock = lock::acquire(&dirs.state_dir)?;
    let list = dirs.project_list();
    let is_listed = list.load()?.0.contains(root);
    list.remove(root)?;
    Ok(offline_projects::remove(&dirs.state_dir, root)? || is_listed)
}
