//! Lists, adds and removes the projects in the store while no daemon runs.
//!
//! It takes no lock: the caller holds the daemon's lock, except for [`check`].

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::core::identity::root_id;
use crate::project::Machine;
pub use crate::store::StoreSummary;
use crate::store::{Store, StoreError, boot_id};

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OfflineStoreError(#[from] StoreError);

/// Returns the project roots in the store of the state directory `state`.
///
/// # Errors
/// [`OfflineStoreError`].
pub fn list(state: &Path) -> Result<Vec<PathBuf>, OfflineStoreError> {
    with(state, |store| store.projects())
}

/// Adds a project root, which must be canonical.
///
/// # Errors
/// [`OfflineStoreError`].
pub fn add(state: &Path, root: &Path) -> Result<(), OfflineStoreError> {
    with(state, |store| store.add_project(root, SystemTime::now().into()))
}

/// Removes a project root and the stored state of its features. Returns true if it was stored.
///
/// # Errors
/// [`OfflineStoreError`].
pub fn remove(state: &Path, root: &Path) -> Result<bool, OfflineStoreError> {
    let id =
        root_id(&Machine::current().id, std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()));
    with(state, |store| {
        let is_stored = store.projects()?.iter().any(|known| known == root);
        if is_stored {
            store.remove_project(root, &id)?;
        }
        Ok(is_stored)
    })
}

/// Checks the integrity of the store; returns `None` if there is no store. Needs no lock.
///
/// # Errors
/// [`OfflineStoreError`].
pub fn check(state: &Path) -> Result<Option<StoreSummary>, OfflineStoreError> {
    Ok(crate::store::check_integrity(state)?)
}

fn with<T>(
    state: &Path,
    work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
) -> Result<T, OfflineStoreError> {
    let mut store = Store::open(state, &boot_id())?.store;
    let result = work(&mut store)?;
    store.close()?;
    Ok(result)
}
