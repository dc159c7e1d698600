//! Calls of clients that access a project's files: contents and baselines.

use tokio::sync::oneshot;

use super::call_pool::{CallPool, Lane};
use crate::engine::ids::ProjectId;

/// Runs calls of clients, in turn with those of other projects.
#[derive(Debug, Clone)]
pub struct ProjectCalls(CallPool);

impl ProjectCalls {
    pub(in crate::engine) fn new(pool: CallPool) -> Self {
        Self(pool)
    }

    /// Returns how many effects of projects have been started so far, once none is left.
    #[cfg(test)]
    pub(in crate::engine) fn count_effects(&self) -> u64 {
        self.0.count_calls(Lane::Project)
    }

    /// Queues a call. The receiver fails if the project is removed or does not respond; while the
    /// call itself hangs it receives nothing.
    #[must_use]
    pub fn submit<T: Send + 'static>(
        &self,
        project: ProjectId,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        self.submit_to(Lane::Client, project, call)
    }

    /// Queues a call as [`ProjectCalls::submit`] does, with the lowest priority.
    #[must_use]
    pub fn submit_background<T: Send + 'static>(
        &self,
        project: ProjectId,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        self.submit_to(Lane::Verify, project, call)
    }

    fn submit_to<T: Send + 'static>(
        &self,
        lane: Lane,
        project: ProjectId,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, result) = oneshot::channel();
        let call = move |_: &mut Vec<u8>| {
            // Fails if the client has stopped waiting.
            let _ = reply.send(call());
        };
        self.0.submit(lane, project, None, Box::new(call));
        result
    }
}
