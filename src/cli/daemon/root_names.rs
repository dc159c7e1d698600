//! Finds the path of a project by its identity, which is all that events have.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::client::{Client, RequestPath};
use crate::wire::status::Status;

/// The paths of the projects of a daemon.
pub(crate) struct RootNames {
    socket: PathBuf,
    names: HashMap<String, String>,
}

impl RootNames {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, names: HashMap::new() }
    }

    /// Returns the path of a project; empty if the daemon does not watch it any more.
    pub(crate) async fn find(&mut self, root_id: &str) -> String {
        if !self.names.contains_key(root_id) {
            // A project that is not known now is not requested again for each of its events.
            self.names.insert(root_id.to_owned(), String::new());
            self.update().await;
        }
        self.names.get(root_id).cloned().unwrap_or_default()
    }

    async fn update(&mut self) {
        let Ok(mut client) = Client::connect(&self.socket).await else { return };
        let Ok(response) = client.get(&RequestPath::new("/api/status")).await else { return };
        let Ok(status) = response.parse::<Status<'_>>() else { return };
        for project in status.projects {
            self.names.insert(project.root_id.into_owned(), project.root.into_owned());
        }
    }
}
