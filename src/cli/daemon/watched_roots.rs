//! Has the daemon watch the projects that `watch` and `top` follow, until the daemon ends.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::args::ProjectArgs;
use crate::cli::daemon::autostart;
use crate::cli::render::output;
use crate::cli::scope::{Scope, root_text, roots_below};
use crate::client::{Client, RequestPath};
use crate::wire::status::Status;

/// Projects that must be watched.
#[derive(Debug, Clone)]
pub(crate) struct WatchedRoots {
    roots: Vec<PathBuf>,
    added: bool,
}

impl WatchedRoots {
    /// Selects the project of `scope`; without one, and without a feature, the projects below the current
    /// directory.
    pub(crate) fn new(scope: &Scope, args: &ProjectArgs) -> Self {
        let roots = match &scope.root {
            Some(root) => vec![root.clone()],
            None if scope.feature.is_some() => Vec::new(),
            None => roots_below(args),
        };
        Self { roots, added: false }
    }

    /// Returns true if the daemon watches a project because [`Self::ensure`] added it; after a restart it
    /// does not.
    pub(crate) fn was_added(&self) -> bool {
        self.added
    }

    /// Adds the projects to the daemon if needed, with a note the first time, and returns the current state.
    pub(crate) async fn ensure(&mut self, client: &mut Client) -> anyhow::Result<Status<'static>> {
        let path = RequestPath::new("/api/status").with_sync();
        let status: Status<'_> = client.get(&path).await?.parse()?;
        let is_watched = |root: &PathBuf| {
            let root = root_text(root);
            status.projects.iter().any(|project| project.root == root)
        };
        let missing: Vec<&PathBuf> = self.roots.iter().filter(|root| !is_watched(root)).collect();
        if missing.is_empty() {
            return Ok(status);
        }
        let is_first = !std::mem::replace(&mut self.added, true);
        for root in missing {
            let body = serde_json::to_vec(&json!({"path": root_text(root), "keep": false}))?;
            client.post(&RequestPath::new("/api/projects"), body).await?;
            if is_first {
                let root = root.display();
                output::note(&format!(
                    "{root} is now watched until the daemon ends; run `dossierd project add` to keep \
                     it"
                ));
            }
        }
        autostart::wait_until_ready(client).await?;
        Ok(client.get(&path).await?.parse()?)
    }
}
