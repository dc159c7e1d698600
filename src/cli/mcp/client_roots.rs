//! The directories that a client works in, and the current one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rmcp::service::{Peer, RoleServer};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Timeout for the client to answer.
const ROOTS_TIMEOUT: Duration = Duration::from_secs(2);

/// The directories, requested until the client has answered, and again when it reports a change.
#[derive(Debug, Default)]
pub(super) struct ClientRoots(Mutex<Option<Vec<PathBuf>>>);

impl ClientRoots {
    /// Returns the directories; the current one if the client has none.
    pub(super) async fn get(&self, peer: &Peer<RoleServer>) -> Vec<PathBuf> {
        let mut roots = self.0.lock().await;
        if let Some(known) = &*roots {
            return known.clone();
        }
        let answer = request_roots(peer).await;
        let has_answered = answer.is_some();
        let mut found = answer.unwrap_or_default();
        if found.is_empty() {
            found.extend(std::env::current_dir());
        }
        // One that did not answer in time is asked again.
        *roots = has_answered.then(|| found.clone());
        found
    }

    /// Forgets the directories, because the client has others now.
    pub(super) async fn clear(&self) {
        *self.0.lock().await = None;
    }
}

#[expect(deprecated, reason = "clients of 2025 and earlier have roots")]
async fn request_roots(peer: &Peer<RoleServer>) -> Option<Vec<PathBuf>> {
    let has_roots = peer.peer_info().is_some_and(|client| client.capabilities.roots.is_some());
    if !has_roots {
        return Some(Vec::new());
    }
    match timeout(ROOTS_TIMEOUT, peer.list_roots()).await {
        Ok(Ok(list)) => {
            Some(list.roots.iter().filter_map(|root| parse_file_uri(&root.uri)).collect())
        }
        _ => None,
    }
}

/// Returns the path of a `file:` URI on this machine.
fn parse_file_uri(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://")?;
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let path = PathBuf::from(OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_uris_of_this_machine_are_paths() {
        for (uri, path) in [
            ("file:///a/b%20c", Some("/a/b c")),
            ("file://localhost/a", Some("/a")),
            ("file://other/a", None),
            ("https://x/a", None),
        ] {
            assert_eq!(parse_file_uri(uri), path.map(PathBuf::from), "{uri}");
        }
    }
}
