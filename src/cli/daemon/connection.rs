//! The daemon as commands ask it: one connection, waited for.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cli::args::SocketArgs;
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;
use crate::client::{ApiResponse, Client, ClientError, RequestPath};
use crate::wire::status::Health;

/// A connection to the daemon.
pub(crate) struct DaemonConnection {
    // Before the runtime, which drives it: fields are dropped in this order.
    client: Client,
    runtime: Runtime,
    version_checked: bool,
}

impl DaemonConnection {
    /// Connects, or fails with the mend.
    pub(crate) fn connect(args: &SocketArgs) -> anyhow::Result<Self> {
        Self::connect_to(&args.path()?)
    }

    /// Connects; `None` where no daemon runs.
    pub(crate) fn connect_if_running(args: &SocketArgs) -> anyhow::Result<Option<Self>> {
        match Self::connect(args) {
            Ok(link) => Ok(Some(link)),
            Err(error) if is_not_running(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Connects to the daemon at `socket_path`.
    pub(crate) fn connect_to(socket: &Path) -> anyhow::Result<Self> {
        let runtime = new_runtime()?;
        let client = runtime.block_on(Client::connect(socket))?;
        Ok(Self { client, runtime, version_checked: false })
    }

    /// Asks for something.
    pub(crate) fn get(&mut self, target: &RequestPath) -> anyhow::Result<ApiResponse> {
        let answer = self.runtime.block_on(self.client.get(target))?;
        self.check_version_once();
        Ok(answer)
    }

    /// Asks for something; `None` where it does not come within that time. Then the connection is of
    /// no more use.
    pub(crate) fn get_with_timeout(
        &mut self,
        target: &RequestPath,
        patience: Duration,
    ) -> anyhow::Result<Option<ApiResponse>> {
        let asked = async { timeout(patience, self.client.get(target)).await };
        let Ok(answer) = self.runtime.block_on(asked) else {
            return Ok(None);
        };
        let answer = answer?;
        self.check_version_once();
        Ok(Some(answer))
    }

    /// Asks whether the first index stands; `None` likewise.
    pub(crate) fn health_with_timeout(
        &mut self,
        patience: Duration,
    ) -> anyhow::Result<Option<Health>> {
        let asked = async { timeout(patience, self.client.health()).await };
        let health = self.runtime.block_on(asked).ok().transpose()?;
        Ok(health)
    }

    /// Asks for a model.
    pub(crate) fn get_json<T: DeserializeOwned>(
        &mut self,
        target: &RequestPath,
    ) -> anyhow::Result<T> {
        Ok(self.get(target)?.parse()?)
    }

    /// Asks for a change.
    pub(crate) fn post(
        &mut self,
        target: &RequestPath,
        body: Vec<u8>,
    ) -> anyhow::Result<ApiResponse> {
        let answer = self.runtime.block_on(self.client.post(target, body))?;
        self.check_version_once();
        Ok(answer)
    }

    /// Asks for something to be taken away.
    pub(crate) fn delete(&mut self, target: &RequestPath) -> anyhow::Result<ApiResponse> {
        let answer = self.runtime.block_on(self.client.delete(target))?;
        self.check_version_once();
        Ok(answer)
    }

    /// Connects again.
    pub(crate) fn reconnect(&mut self) -> anyhow::Result<()> {
        let socket = self.client.socket().to_owned();
        self.client = self.runtime.block_on(Client::connect(&socket))?;
        self.version_checked = false;
        Ok(())
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// The process that made the socket.
    pub(crate) fn peer_pid(&self) -> Option<i32> {
        self.client.peer().pid
    }

    /// Runs what takes more than one answer.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn check_version_once(&mut self) {
        if !std::mem::replace(&mut self.version_checked, true) {
            warn_on_version_mismatch(self.client.version());
        }
    }
}

/// Says when the daemon is of another version.
pub(crate) fn warn_on_version_mismatch(daemon: Option<&str>) {
    let own = env!("CARGO_PKG_VERSION");
    if let Some(daemon) = daemon
        && daemon != own
    {
        output::warn(&format!(
            "the daemon is of version {daemon}, this command of {own}; restart the daemon"
        ));
    }
}

/// Whether it is only that no daemon runs.
pub(crate) fn is_not_running(error: &anyhow::Error) -> bool {
    matches!(client_error(error), Some(ClientError::NoDaemon(_)))
}

/// Whether there is no daemon to talk to: none, or one that says nothing.
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

/// Whether the connection broke, or the daemon was replaced by another.
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

/// Whether the daemon went away, or is about to: one that goes on is there again in a while.
pub(crate) fn is_disconnected(error: &anyhow::Error) -> bool {
    is_connection_lost(error)
        || matches!(client_error(error), Some(ClientError::TimedOut { .. }))
        || has_problem_status(error, 503)
}

/// Whether the daemon refused with that status.
pub(crate) fn has_problem_status(error: &anyhow::Error, status: u16) -> bool {
    let client = client_error(error);
    matches!(client, Some(ClientError::Problem(problem)) if problem.status == status)
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// A pause while something is waited for that gives no sign.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::client::RESPONSE_TIMEOUT;
    use crate::engine::inbox::Command;

    #[test]
    fn who_is_not_answered_has_reached_no_daemon() {
        let (socket, after) = (PathBuf::from("/s"), RESPONSE_TIMEOUT);
        let late = anyhow::Error::from(ClientError::TimedOut { socket, after });
        assert!(is_unreachable(&late) && !is_not_running(&late));
    }

    #[test]
    fn a_daemon_whose_engine_hangs_says_so_before_it_is_given_up() {
        let reply = tokio::sync::oneshot::channel().0;
        let slowest = Command::AddProject { root: "/p".into(), keep: true, reply };
        // And then it waits until the project is shown.
        assert!(slowest.patience() + Duration::from_secs(10) < RESPONSE_TIMEOUT);
    }
}
