//! Resolves configured paths without waiting for a file system that does not respond.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::config::Config;

/// Time in which all paths are resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of threads; beyond it paths count as not resolved.
const MAX_THREADS: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Returns the canonical path of a directory, or that its file system does not respond.
///
/// # Errors
/// Those of the operating system; `NotADirectory` for anything else than a directory; `TimedOut`.
pub fn resolve_dir(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = resolve_each([path.to_owned()], canonical_dir);
    resolved.remove(path).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Resolves the paths of projects, as far as their file systems respond.
pub(in crate::engine) fn resolve_projects(config: &mut Config) {
    let resolved = resolve_paths(config.projects.iter().map(|project| project.path.clone()));
    config.resolve_projects(|path| resolved.get(path).cloned());
}

/// Returns the canonical form of each path that exists on a file system that responds.
pub fn resolve_paths(paths: impl IntoIterator<Item = PathBuf>) -> BTreeMap<PathBuf, PathBuf> {
    let resolved = resolve_each(paths, Path::canonicalize);
    resolved.into_iter().filter_map(|(path, found)| Some((path, found.ok()?))).collect()
}

fn canonical_dir(path: &Path) -> io::Result<PathBuf> {
    let root = path.canonicalize()?;
    let is_dir = root.metadata()?.is_dir();
    is_dir.then_some(root).ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

/// Returns what `resolve` returns for each path, or that it timed out. A thread whose call hangs ends
/// when that returns.
fn resolve_each(
    paths: impl IntoIterator<Item = PathBuf>,
    resolve: fn(&Path) -> io::Result<PathBuf>,
) -> BTreeMap<PathBuf, io::Result<PathBuf>> {
    let (send, results) = mpsc::channel();
    let mut resolved = BTreeMap::new();
    for path in paths {
        resolved.insert(path.clone(), Err(io::ErrorKind::TimedOut.into()));
        let send = send.clone();
        let work = move || {
            let canonical = resolve(&path);
            THREADS.fetch_sub(1, Ordering::Relaxed);
            // Fails if the caller has stopped waiting.
            let _ = send.send((path, canonical));
        };
        if THREADS.fetch_add(1, Ordering::Relaxed) >= MAX_THREADS
            || Builder::new().name("resolve".to_owned()).spawn(work).is_err()
        {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    drop(send);
    let end = Instant::now() + RESOLVE_TIMEOUT;
    let next = || results.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    resolved.extend(std::iter::from_fn(next));
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_exist_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let [link, missing] = ["link", "missing"].map(|name| dir.path().join(name));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let resolved = resolve_paths([link.clone(), missing]);
        assert_eq!(resolved, BTreeMap::from([(link, real)]));
    }
}
