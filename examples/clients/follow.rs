//! Rust, with this crate: the state of all features, then events, over restarts of the daemon.

use std::path::Path;

use dossierd::client::{Client, ClientError, FollowEvent, Follower, RequestPath};
use dossierd::wire::events::ReceivedEvent;
use dossierd::wire::status::Status;

/// Passes a line for each feature to `print`, and then one for each event, until it returns false.
pub(crate) async fn follow(
    socket: &Path,
    mut print: impl FnMut(String) -> bool,
) -> Result<(), ClientError> {
    let mut client = Client::connect(socket).await?;
    let response = client.get(&RequestPath::new("/api/status").with_sync()).await?;
    let status: Status<'_> = response.parse()?;
    for feature in status.projects.iter().flat_map(|project| &project.features) {
        print(format!("{}: {}", feature.feature_slug, feature.completeness_status));
    }
    // Everything after the status, without a gap in between.
    let mut follower = Follower::new(socket, &format!("{}:{}", status.instance, status.seq));
    loop {
        let message = match follower.next().await? {
            FollowEvent::Message(message) => message,
            FollowEvent::Disconnected(_) | FollowEvent::Reconnected => continue,
        };
        // A `gap` and its snapshots are not events.
        let Ok(event) = serde_json::from_str::<ReceivedEvent>(&message.data) else { continue };
        if !print(format!("{} {} {}", event.seq, event.event_type, event.feature_slug)) {
            return Ok(());
        }
    }
}
