//! Asks the daemon how many lines an edit added and removed, for lines that people read. The daemon
//! stores a version after its event, so this waits for a moment, and gives up soon.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::{Client, RequestPath};
use crate::core::event::{ArtifactIndexed, Change, Payload};
use crate::wire::events::ReceivedEvent;
use crate::wire::history::VersionList;

/// Longest time that a line waits for its numbers.
const MAX_WAIT: Duration = Duration::from_millis(400);
/// Pause between two requests.
const POLL_INTERVAL: Duration = Duration::from_millis(40);
/// Time without waiting after the numbers of a line did not arrive: there is a backlog, or no history.
const REST: Duration = Duration::from_secs(5);

/// Finds the numbers of changed lines of events.
pub(crate) struct LineCounts {
    socket: PathBuf,
    client: Option<Client>,
    rest_until: Option<Instant>,
}

impl LineCounts {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, client: None, rest_until: None }
    }

    /// Returns the numbers of lines added and removed by an edit; `None` if they are not known soon.
    pub(crate) async fn find(&mut self, event: &ReceivedEvent) -> Option<(u32, u32)> {
        let Some(Payload::ArtifactIndexed(artifact)) = event.payload() else { return None };
        if artifact.change != Change::Modified {
            return None;
        }
        let begin = Instant::now();
        if self.rest_until.is_some_and(|until| begin < until) {
            return None;
        }
        while begin.elapsed() < MAX_WAIT {
            match self.request(event, &artifact).await {
                Some(list) => {
                    let newest = list.versions.first();
                    let hash = artifact.content_hash_sha256;
                    if let Some(version) = newest.filter(|one| one.content_hash_sha256 == hash) {
                        return version.added_lines.zip(version.removed_lines);
                    }
                    sleep(POLL_INTERVAL).await;
                }
                None => break,
            }
        }
        self.rest_until = Some(Instant::now() + REST);
        None
    }

    async fn request(
        &mut self,
        event: &ReceivedEvent,
        artifact: &ArtifactIndexed,
    ) -> Option<VersionList<'static>> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.socket).await.ok()?,
        };
        let path = RequestPath::new("/api/dossier/versions")
            .with("feature", &event.feature_slug)
            .with("project", &event.root_id)
            .with("artifact_key", &artifact.relative_path.text())
            .with("limit", "1");
        let list = client.get(&path).await.ok()?.parse().ok()?;
        self.client = Some(client);
        Some(list)
    }
}
