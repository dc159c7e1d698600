//! A blocking connection to the daemon, and the kinds of errors that commands distinguish.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cli::args::SocketArgs;
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;
use crate::cli::scope::root_text;
use crate::client::{ApiResponse, Client, ClientError, RequestPath};
use crate::wire::hint::HintCode;
use crate::wire::status::Health;

/// A connection to the daemon.
pub(crate) struct DaemonConnection {
    // Declared before the runtime that drives it, because fields are dropped in this order.
    client: Client,
    runtime: Runtime,
    version_checked: bool,
    /// Why responses may not include all earlier changes, as far as it was reported.
    not_synced: Option<String>,
}

impl DaemonConnection {
    /// Connects to the selected daemon.
    pub(crate) fn connect(args: &SocketArgs) -> anyhow::Result<Self> {
        Self::connect_to(&args.path()?)
    }

    /// Connects to the selected daemon; returns `None` if none runs.
    pub(crate) fn connect_if_running(args: &SocketArgs) -> anyhow::Result<Option<Self>> {
        match Self::connect(args) {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_not_running(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Connects to the daemon at `socket_path`.
    pub(crate) fn connect_to(socket: &Path) -> anyhow::Result<Self> {
        let runtime = new_runtime()?;
        let client = runtime.block_on(Client::connect(socket))?;
        Ok(Self { client, runtime, version_checked: false, not_synced: None })
    }

    /// Sends a GET request.
    pub(crate) fn get(&mut self, path: &RequestPath) -> anyhow::Result<ApiResponse> {
        let response = self.runtime.block_on(self.client.get(path))?;
        self.warn_once(&response);
        Ok(response)
    }

    /// Sends a GET request; returns `None` if no response arrives within `limit`. The connection
    /// cannot be used after that: reconnect, because the late response is still to come.
    pub(crate) fn get_with_timeout(
        &mut self,
        path: &RequestPath,
        limit: Duration,
    ) -> anyhow::Result<Option<ApiResponse>> {
        let request = async { timeout(limit, self.client.get(path)).await };
        let Ok(response) = self.runtime.block_on(request) else {
            return Ok(None);
        };
        let response = response?;
        self.warn_once(&response);
        Ok(Some(response))
    }

    /// Returns whether the initial scan is complete; `None` as in [`Self::get_with_timeout`].
    pub(crate) fn health_with_timeout(
        &mut self,
        limit: Duration,
    ) -> anyhow::Result<Option<Health>> {
        let request = async { timeout(limit, self.client.health()).await };
        let health = self.runtime.block_on(request).ok().transpose()?;
        Ok(health)
    }

    /// Sends a GET request and parses the response.
    pub(crate) fn get_json<T: DeserializeOwned>(
        &mut self,
        path: &RequestPath,
    ) -> anyhow::Result<T> {
        Ok(self.get(path)?.parse()?)
    }

    /// Sends a POST request.
    pub(crate) fn post(
        &mut self,
        path: &RequestPath,
        body: Vec<u8>,
    ) -> anyhow::Result<ApiResponse> {
        let response = self.runtime.block_on(self.client.post(path, body))?;
        self.warn_once(&response);
        Ok(response)
    }

    /// Sends a DELETE request.
    pub(crate) fn delete(&mut self, path: &RequestPath) -> anyhow::Result<ApiResponse> {
        let response = self.runtime.block_on(self.client.delete(path))?;
        self.warn_once(&response);
        Ok(response)
    }

    /// Adds a project to the daemon and its stored list. Returns false if the daemon watched it already.
    pub(crate) fn add_project(&mut self, root: &Path) -> anyhow::Result<bool> {
        let body = serde_json::to_vec(&json!({"path": root_text(root), "keep": true}))?;
        Ok(self.post(&RequestPath::new("/api/projects"), body)?.status == 201)
    }

    /// Replaces the connection with a new one to the same socket.
    pub(crate) fn reconnect(&mut self) -> anyhow::Result<()> {
        let socket = self.client.socket().to_owned();
        self.client = self.runtime.block_on(Client::connect(&socket))?;
        self.version_checked = false;
        Ok(())
    }

    /// Returns the path of the socket.
    pub(crate) fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// Returns the process that created the socket: the daemon, or systemd.
    pub(crate) fn peer_pid(&self) -> Option<i32> {
        self.client.peer().pid
    }

    /// Runs a future on the runtime of this connection.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Warns of a daemon with another version, and of a state that may be older than the request.
    fn warn_once(&mut self, response: &ApiResponse) {
        if !std::mem::replace(&mut self.version_checked, true) {
            warn_on_version_mismatch(self.client.version());
        }
        if let Some(reason) = &response.not_synced
            && self.not_synced.as_ref() != Some(reason)
        {
            output::warn(&format!("the latest changes may be missing: {reason}"));
            self.not_synced = Some(reason.clone());
        }
    }
}

/// Warns if the daemon has another version than this command.
pub(crate) fn warn_on_version_mismatch(daemon: Option<&str>) {
    let own = env!("CARGO_PKG_VERSION");
    if let Some(daemon) = daemon
        && daemon != own
    {
        output::warn(&format!(
            "the daemon has version {daemon}, this command {own}; restart the daemon"
        ));
    }
}

/// Returns true if no daemon runs.
pub(crate) fn is_not_running(error: &anyhow::Error) -> bool {
    matches!(client_error(error), Some(ClientError::NoDaemon(_)))
}

/// Returns true if no daemon can be reached: none runs, another user's does, or it does not respond.
pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
    matches!(
        client_error(error),
        Some(
            ClientError::NoDaemon(_)
                | ClientError::WrongUser { .. }
                | ClientError::TimedOut { .. }
                | ClientError::ConnectFailed { .. }
        )
    )
}

/// Returns true if the connection broke, for example because the daemon restarted.
pub(crate) fn is_connection_lost(error: &anyhow::Error) -> bool {
    matches!(
        client_error(error),
        Some(
            ClientError::NoDaemon(_)
                | ClientError::ConnectFailed { .. }
                | ClientError::ConnectionFailed { .. }
        )
    )
}

/// Returns true if the daemon ended, is stopping or starting, or does not respond; retrying may help.
pub(crate) fn is_disconnected(error: &anyhow::Error) -> bool {
    is_connection_lost(error)
        || matches!(client_error(error), Some(ClientError::TimedOut { .. }))
        || has_problem_status(error, 503) && !has_hint(error, HintCode::InvalidConfiguration)
}

/// Returns true if the daemon responded with a problem of this HTTP status.
pub(crate) fn has_problem_status(error: &anyhow::Error, status: u16) -> bool {
    let client = client_error(error);
    matches!(client, Some(ClientError::Problem(problem)) if problem.status == status)
}

/// Returns true if the daemon responded with a problem that has this hint.
pub(crate) fn has_hint(error: &anyhow::Error, hint: HintCode) -> bool {
    let client = client_error(error);
    matches!(client, Some(ClientError::Problem(problem)) if problem.hint_code == hint.as_str())
}

/// Returns the client's error in the chain, if there is one.
fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Pause between two checks of a condition that raises no event.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::client::RESPONSE_TIMEOUT;
    use crate::engine::command::Command;

    #[test]
    fn timeout_is_unreachable_but_not_absent() {
        let (socket, after) = (PathBuf::from("/s"), RESPONSE_TIMEOUT);
        let timed_out = anyhow::Error::from(ClientError::TimedOut { socket, after });
        assert!(is_unreachable(&timed_out) && !is_not_running(&timed_out));
    }

    #[test]
    fn response_timeout_is_longer_than_the_daemons_own_timeouts() {
        let reply = tokio::sync::oneshot::channel().0;
        let slowest = Command::AddProject { root: "/p".into(), keep: true, reply };
        // After the engine's reply the daemon waits until the project is visible.
        assert!(slowest.timeout() + Duration::from_secs(10) < RESPONSE_TIMEOUT);
    }
}
