//! The projects that the store keeps, while no daemon has it open. The caller holds the daemon's lock.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::run::boot_id;
use crate::core::identity::root_id;
use crate::project::Machine;
pub use crate::store::StoreSummary;
use crate::store::{Store, StoreError};

/// Why the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KeptError(#[from] StoreError);

/// The roots that are kept in the store of that state directory.
///
/// # Errors
/// [`KeptError`].
pub fn list(state: &Path) -> Result<Vec<PathBuf>, KeptError> {
    with(state, |store| store.projects())
}

/// Keeps a canonical root.
///
/// # Errors
/// [`KeptError`].
pub fn add(state: &Path, root: &Path) -> Result<(), KeptError> {
    with(state, |store| store.add_project(root, SystemTime::now().into()))
}

/// Forgets a root, and what is known of its features; whether it was kept.
///
/// # Errors
/// [`KeptError`].
pub fn remove(state: &Path, root: &Path) -> Result<bool, KeptError> {
    let id =
        root_id(&Machine::current().id, std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()));
    with(state, |store| {
        let kept = store.projects()?.iter().any(|known| known == root);
        if kept {
            store.remove_project(root, &id)?;
        }
        Ok(kept)
    })
}

/// What a look at the store finds; `None` where there is none. No lock is needed for that.
///
/// # Errors
/// [`KeptError`].
pub fn check(state: &Path) -> Result<Option<StoreSummary>, KeptError> {
    Ok(crate::store::check_integrity(state)?)
}

fn with<T>(
    state: &Path,
    work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
) -> Result<T, KeptError> {
    let mut store = Store::open(state, &boot_id())?.store;
    let done = work(&mut store)?;
    store.close()?;
    Ok(done)
}
