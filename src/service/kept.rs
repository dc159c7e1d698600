//! The projects that are kept from one daemon to the next, while none runs.

use std::path::{Path, PathBuf};

use super::lock::{self, LockError};
use crate::engine::projects::{self, KeptError};

/// Why they cannot be told or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectsError {
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
/// [`ProjectsError`].
pub fn list_projects(state: &Path) -> Result<Vec<PathBuf>, ProjectsError> {
    let _lock = lock::take(state)?;
    Ok(projects::list(state)?)
}

/// Keeps a canonical root.
///
/// # Errors
/// [`ProjectsError`].
pub fn add_project(state: &Path, root: &Path) -> Result<(), ProjectsError> {
    let _lock = lock::take(state)?;
    Ok(projects::add(state, root)?)
}

/// Forgets a root; whether it was kept.
///
/// # Errors
/// [`ProjectsError`].
pub fn remove_project(state: &Path, root: &Path) -> Result<bool, ProjectsError> {
    let _lock = lock::take(state)?;
    Ok(projects::remove(state, root)?)
}
