//! Requests to the daemon, each on a connection of its own, so that calls do not wait for each other and a
//! cancelled one leaves nothing behind.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::args::SocketArgs;
use crate::client::{Client, ClientError, RequestPath};
use crate::wire::status::Status;

/// The daemon, if one runs.
#[derive(Debug)]
pub(super) struct DaemonSource {
    socket: SocketArgs,
}

impl DaemonSource {
    pub(super) fn new(socket: SocketArgs) -> Self {
        Self { socket }
    }

    /// Returns the socket at which a daemon is looked for now.
    pub(super) fn socket(&self) -> anyhow::Result<PathBuf> {
        self.socket.path()
    }

    /// Sends a `GET` request.
    pub(super) async fn get(&self, path: &RequestPath) -> anyhow::Result<Value> {
        let mut client = Client::connect(&self.socket()?).await?;
        Ok(client.get(path).await?.parse()?)
    }

    /// Sends a `POST` request.
    pub(super) async fn post(&self, path: &RequestPath, body: &Value) -> anyhow::Result<Value> {
        let mut client = Client::connect(&self.socket()?).await?;
        Ok(client.post(path, serde_json::to_vec(body)?).await?.parse()?)
    }

    /// Returns the status; `None` if no daemon runs.
    pub(super) async fn status(
        &self,
        path: &RequestPath,
    ) -> anyhow::Result<Option<Status<'static>>> {
        let mut client = match Client::connect(&self.socket()?).await {
            Ok(client) => client,
            Err(ClientError::NoDaemon(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(client.get(path).await?.parse()?))
    }
}
