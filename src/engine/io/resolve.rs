//! Resolves configured paths without waiting for a file system that does not respond.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Time in which all paths are resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the canonical form of each path that exists on a file system that responds.
pub(in crate::engine) fn resolve_paths(
    paths: impl IntoIterator<Item = PathBuf>,
) -> BTreeMap<PathBuf, PathBuf> {
    let resolved = resolve_each(paths, Path::canonicalize);
    resolved.into_iter().filter_map(|(path, found)| Some((path, found.ok()?))).collect()
}

/// Returns what `resolve` returns for each path, or that it timed out. A thread whose call hangs ends
/// when that returns.
pub(in crate::engine) fn resolve_each(
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
            // Fails if the caller has stopped waiting.
            let _ = send.send((path, canonical));
        };
        // Without a thread the path counts as one that is not resolved.
        let _ = Builder::new().name("resolve".to_owned()).spawn(work);
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
