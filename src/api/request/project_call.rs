//! Runs work that accesses a project's files, with a timeout.

use std::time::Duration;

use tokio::time::timeout;

use crate::api::state::ApiState;
use crate::engine::read_model::{ProjectView, WatchState};

/// Time limit of such work. It is longer than the engine needs to find out that a file system does
/// not respond.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns what `call` returns; `None` if the project's file system does not respond. `call` may
/// then still be carried out.
pub(crate) async fn call_project<T: Send + 'static>(
    api: &ApiState,
    project: &ProjectView,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // The view of the caller may be older.
    let world = api.views.load();
    let mut projects = world.projects.iter().filter(|now| now.id == project.id);
    if projects.any(|now| now.watch.state == WatchState::Unresponsive) {
        return None;
    }
    timeout(CALL_TIMEOUT, api.calls.submit(project.id, call)).await.ok()?.ok()
}
