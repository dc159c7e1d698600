//! Waits for a state that the engine publishes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::engine::read_model::{EngineState, StatePublisher};

/// Returns the first result that `find` has for a published state, the current one included;
/// `None` if there is none within `limit`.
pub(crate) async fn wait_until<T>(
    views: &StatePublisher,
    limit: Duration,
    mut find: impl FnMut(&Arc<EngineState>) -> Option<T>,
) -> Option<T> {
    let mut updates = views.subscribe();
    let found = async {
        loop {
            // Marked as seen before the state is read: one published meanwhile wakes us again.
            updates.borrow_and_update();
            if let Some(result) = find(&views.load()) {
                return Some(result);
            }
            updates.changed().await.ok()?;
        }
    };
    timeout(limit, found).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wait_until_checks_the_current_state_and_ends_at_its_limit() {
        let views = StatePublisher::default();
        let zero = |world: &Arc<EngineState>| (world.seq == 0).then_some("found");
        assert_eq!(wait_until(&views, Duration::MAX, zero).await, Some("found"));
        let never = |_: &Arc<EngineState>| None::<()>;
        assert_eq!(wait_until(&views, Duration::ZERO, never).await, None);
    }
}
