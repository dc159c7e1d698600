//! The daemon as commands ask it: one connection, waited for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::args::SocketArgs;
use super::out;
use crate::client::{Answer, Client, ClientError, Target};
use crate::config::Folders;
use crate::wire::status::Health;

/// A connection to the daemon.
pub(super) struct Link {
    // Before the runtime, which drives it: fields are dropped in this order.
    client: Client,
    runtime: Runtime,
    heard: bool,
}

impl SocketArgs {
    /// Where the daemon is looked for.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        match &self.socket {
            Some(path) => Ok(path.clone()),
            None => Ok(folders()?.socket()),
        }
    }
}

/// The user's folders.
pub(super) fn folders() -> anyhow::Result<Folders> {
    Folders::of_user().context("cannot tell where the configuration lies")
}

/// What a client needs to run.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

impl Link {
    /// Connects, or fails with the mend.
    pub(super) fn open(args: &SocketArgs) -> anyhow::Result<Self> {
        Self::to(&args.path()?)
    }

    /// Connects; `None` where no daemon runs.
    pub(super) fn find(args: &SocketArgs) -> anyhow::Result<Option<Self>> {
        match Self::open(args) {
            Ok(link) => Ok(Some(link)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Connects to the daemon at `socket`.
    pub(super) fn to(socket: &Path) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(socket))?;
        Ok(Self { client, runtime, heard: false })
    }

    /// Asks for something.
    pub(super) fn get(&mut self, target: &Target) -> anyhow::Result<Answer> {
        let answer = self.runtime.block_on(self.client.get(target))?;
        self.hear();
        Ok(answer)
    }

    /// Asks for something; `None` where it does not come within that time. Then the connection is of
    /// no more use.
    pub(super) fn get_within(
        &mut self,
        target: &Target,
        patience: Duration,
    ) -> anyhow::Result<Option<Answer>> {
        let asked = async { timeout(patience, self.client.get(target)).await };
        let Ok(answer) = self.runtime.block_on(asked) else {
            return Ok(None);
        };
        let answer = answer?;
        self.hear();
        Ok(Some(answer))
    }

    /// Asks whether the first index stands; `None` likewise.
    pub(super) fn health_within(&mut self, patience: Duration) -> anyhow::Result<Option<Health>> {
        let asked = async { timeout(patience, self.client.health()).await };
        let health = self.runtime.block_on(asked).ok().transpose()?;
        Ok(health)
    }

    /// Asks for a model.
    pub(super) fn read<T: DeserializeOwned>(&mut self, target: &Target) -> anyhow::Result<T> {
        Ok(self.get(target)?.read()?)
    }

    /// Asks for a change.
    pub(super) fn post(&mut self, target: &Target, body: Vec<u8>) -> anyhow::Result<Answer> {
        let answer = self.runtime.block_on(self.client.post(target, body))?;
        self.hear();
        Ok(answer)
    }

    /// Asks for something to be taken away.
    pub(super) fn delete(&mut self, target: &Target) -> anyhow::Result<Answer> {
        let answer = self.runtime.block_on(self.client.delete(target))?;
        self.hear();
        Ok(answer)
    }

    /// Connects again.
    pub(super) fn reconnect(&mut self) -> anyhow::Result<()> {
        let socket = self.client.socket().to_owned();
        self.client = self.runtime.block_on(Client::connect(&socket))?;
        self.heard = false;
        Ok(())
    }

    /// Where the daemon listens.
    pub(super) fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// The process that made the socket.
    pub(super) fn peer(&self) -> Option<i32> {
        self.client.peer().pid
    }

    /// Runs what takes more than one answer.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn hear(&mut self) {
        if !std::mem::replace(&mut self.heard, true) {
            compare_versions(self.client.version());
        }
    }
}

/// Says when the daemon is of another version.
pub(super) fn compare_versions(daemon: Option<&str>) {
    let own = env!("CARGO_PKG_VERSION");
    if let Some(daemon) = daemon
        && daemon != own
    {
        out::warn(&format!(
            "the daemon is of version {daemon}, this command of {own}; restart the daemon"
        ));
    }
}

/// Whether it is only that no daemon runs.
pub(super) fn is_absence(error: &anyhow::Error) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    matches!(client, Some(ClientError::NoDaemon(_)))
}

/// Whether there is no daemon to talk to: none, or one that says nothing.
pub(super) fn is_unreachable(error: &anyhow::Error) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    matches!(
        client,
        Some(
            ClientError::NoDaemon(_)
                | ClientError::Foreign { .. }
                | ClientError::TimedOut { .. }
                | ClientError::Broken { action: "reach", .. }
        )
    )
}

/// Whether the daemon went away, or is about to: one that goes on is there again in a while.
pub(super) fn is_away(error: &anyhow::Error) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    let goes = matches!(
        client,
        Some(ClientError::NoDaemon(_) | ClientError::Broken { .. } | ClientError::TimedOut { .. })
    );
    goes || is_refusal(error, 503)
}

/// Whether the daemon refused with that status.
pub(super) fn is_refusal(error: &anyhow::Error, status: u16) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    matches!(client, Some(ClientError::Refused(problem)) if problem.status == status)
}

/// A pause while something is waited for that gives no sign.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ANSWER_TIMEOUT;
    use crate::engine::inbox::Command;

    #[test]
    fn who_is_not_answered_has_reached_no_daemon() {
        let (socket, after) = (PathBuf::from("/s"), ANSWER_TIMEOUT);
        let late = anyhow::Error::from(ClientError::TimedOut { socket, after });
        assert!(is_unreachable(&late) && !is_absence(&late));
    }

    #[test]
    fn a_daemon_whose_engine_hangs_says_so_before_it_is_given_up() {
        let reply = tokio::sync::oneshot::channel().0;
        let slowest = Command::AddProject { root: "/p".into(), keep: true, reply };
        // And then it waits until the project is shown.
        assert!(slowest.patience() + Duration::from_secs(10) < ANSWER_TIMEOUT);
    }
}
