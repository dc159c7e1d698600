//! Asks the daemon for what an event does not contain, for lines that people read: how many lines an edit added and
//! removed, and why completeness became unknown. The daemon has both a moment after the event, so this waits, and
//! gives up soon.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::cli::render::event_format::FormattedEvent;
use crate::client::{Client, RequestPath};
use crate::core::event::{ArtifactIndexed, Change, Payload};
use crate::core::feature_context::Completeness;
use crate::wire::events::ReceivedEvent;
use crate::wire::history::VersionList;
use crate::wire::overview::Overview;

/// Longest time that a line waits for its details.
const MAX_WAIT: Duration = Duration::from_millis(400);
/// Pause between two requests.
const POLL_INTERVAL: Duration = Duration::from_millis(40);
/// Time without waiting after the details of an event did not arrive: there is a backlog, or no history.
const REST: Duration = Duration::from_secs(5);

/// Finds the details of events.
pub(crate) struct EventDetails {
    socket: PathBuf,
    client: Option<Client>,
    /// Until when no numbers of lines are requested.
    rest_until: Option<Instant>,
    /// Until when a reason is requested once only.
    reasons_rest_until: Option<Instant>,
}

impl EventDetails {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, client: None, rest_until: None, reasons_rest_until: None }
    }

    /// Adds to the line of an edit how many lines it added and removed, if that is known soon.
    pub(crate) async fn add_changed_lines(
        &mut self,
        event: &ReceivedEvent,
        line: FormattedEvent,
    ) -> FormattedEvent {
        match event.payload() {
            Some(Payload::ArtifactIndexed(artifact)) if artifact.change == Change::Modified => {
                line.with_lines(self.changed_lines(event, &artifact).await)
            }
            _ => line,
        }
    }

    /// Returns the numbers of lines added and removed by an edit; `None` if they are not known soon.
    async fn changed_lines(
        &mut self,
        event: &ReceivedEvent,
        artifact: &ArtifactIndexed,
    ) -> Option<(u32, u32)> {
        let begin = Instant::now();
        if self.rest_until.is_some_and(|until| begin < until) {
            return None;
        }
        let path = of_feature("/api/dossier/versions", event)
            .with("artifact_key", &artifact.relative_path.text())
            .with("limit", "1");
        while begin.elapsed() < MAX_WAIT {
            let Some(list) = self.request::<VersionList<'static>>(&path).await else { break };
            let hash = artifact.content_hash_sha256;
            let newest = list.versions.first();
            if let Some(version) = newest.filter(|one| one.content_hash_sha256 == hash) {
                return version.added_lines.zip(version.removed_lines);
            }
            sleep(POLL_INTERVAL).await;
        }
        self.rest_until = Some(Instant::now() + REST);
        None
    }

    /// Returns why completeness became unknown; `None` if the daemon does not know soon.
    pub(crate) async fn unknown_reason(&mut self, event: &ReceivedEvent) -> Option<String> {
        let path = of_feature("/api/dossier/overview", event);
        let begin = Instant::now();
        loop {
            // It shows the state of the event a moment after the event.
            let overview: Overview<'static> = self.request(&path).await?;
            if overview.completeness_status == Completeness::Unknown {
                return overview.unknown_reason.map(Cow::into_owned);
            }
            if self.reasons_rest_until.is_some_and(|until| begin < until) {
                return None;
            }
            if begin.elapsed() >= MAX_WAIT {
                self.reasons_rest_until = Some(Instant::now() + REST);
                return None;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn request<T: DeserializeOwned>(&mut self, path: &RequestPath) -> Option<T> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.socket).await.ok()?,
        };
        let parsed = client.get(path).await.ok()?.parse().ok()?;
        self.client = Some(client);
        Some(parsed)
    }
}

/// Returns a request about the feature of an event.
fn of_feature(path: &str, event: &ReceivedEvent) -> RequestPath {
    RequestPath::new(path).with("feature", &event.feature_slug).with("project", &event.root_id)
}
