//! Processes the messages of one iteration: hints, results of file checks, commands.

use std::collections::HashSet;

use tracing::warn;

use super::Engine;
use crate::engine::inbox::{Command, Letters, Projected};
use crate::engine::project::{Counting, Now};

impl Engine {
    /// Processes all messages. Returns true if one of them is the stop command.
    pub(super) fn process_messages(&mut self, letters: Letters, now: Now) -> bool {
        let mut cookies = HashSet::new();
        for (id, hints) in letters.hints {
            let Some(project) = self.projects.get_mut(&id) else {
                continue;
            };
            if let Some(error) = hints.failed {
                let root = project.setup.root.display();
                warn!(%root, error, "file watcher reported an error");
            }
            if hints.lost {
                project.events_lost(now);
            }
            for (path, kind) in hints.at {
                if project.on_hint(&path, kind, &self.pool, now) {
                    cookies.insert(path);
                }
            }
        }
        for done in letters.done {
            self.views.counters().path_checked(&done.look);
            if let Some(project) = self.projects.get_mut(&done.id) {
                project.on_file_result(done, &self.pool, now);
            }
        }
        if let Some(error) = letters.store {
            self.on_store_error(&error, now);
        }
        if letters.mounts {
            for project in self.projects.values_mut() {
                project.mounts_changed(now);
            }
        }
        for Projected { root_id, slug, error } in letters.projected {
            let project = self.projects.values_mut().find(|one| one.project.root_id == root_id);
            if let Some(project) = project {
                project.projected(slug, error, now);
            }
        }
        for waiter in &mut self.waiters {
            waiter.cookies.retain(|cookie| !cookies.contains(cookie));
        }
        for cookie in cookies {
            let _ = std::fs::remove_file(cookie);
        }
        let mut stop = false;
        for command in letters.commands {
            stop |= self.handle_command(command, now);
        }
        stop
    }

    /// Handles one command. Returns true if it is the stop command.
    fn handle_command(&mut self, command: Command, now: Now) -> bool {
        match command {
            Command::Sync { feature, reply } => self.start_sync(feature, reply, now),
            Command::Rescan { project, feature, reply } => {
                for (id, live) in &mut self.projects {
                    if project.is_some_and(|wanted| wanted != *id) {
                        continue;
                    }
                    match &feature {
                        Some(slug) => live.compare_one(slug, Counting::Rewatch, &self.pool, now),
                        None => live.compare_all(Counting::Rewatch, &self.pool, now),
                    }
                }
                // Fails if the client has disconnected.
                let _ = reply.send(());
            }
            Command::AddProject { root, keep, reply } => {
                let _ = reply.send(self.add_project(&root, keep, now));
            }
            Command::RemoveProject { id, reply } => {
                let _ = reply.send(self.remove_project(id));
            }
            Command::Reload { config, reply } => {
                let _ = reply.send(self.reload(*config, now));
            }
            Command::Ping { reply } => {
                let _ = reply.send(());
            }
            Command::Sink(command) => self.handle_sink_command(command, now),
            Command::Stop => return true,
        }
        false
    }
}
