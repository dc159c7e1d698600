//! The event loop on the engine thread, the only owner of live state.
//!
//! Each iteration drains the inbox, passes the messages to the reconciler and executes its effects,
//! commits all pending changes in one transaction, and only then publishes the new state and
//! answers the clients that wait for it.
//!
//! Everything that touches the file system of a project runs on the threads of `call_pool`; the WAL
//! is checkpointed by `wal_checkpointer`. The engine thread itself waits only for the daemon's own
//! files: it creates cookie files and commits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::commit::{Committer, Recovery};
use super::opened_store::{EngineError, EngineStore};
use super::registry::Registry;
use super::sync_waiters::SyncWaiters;
use crate::core::time::Timestamp;
use crate::engine::clock::Tick;
use crate::engine::command::Command;
use crate::engine::inbox::{HintRests, Inbox, Messages, PendingHints};
use crate::engine::io::call_pool::{CallPool, Lane};
use crate::engine::io::snapshot_writer::SnapshotWriter;
use crate::engine::io::wal_checkpointer::WalCheckpointer;
use crate::engine::messages::{FileResult, SnapshotWritten};
use crate::engine::read_model::{EngineState, StatePublisher};
use crate::engine::reconcile::effect::RescanMode;
use crate::engine::reconcile::event::Event;
use crate::engine::timeouts::{SHUTDOWN_TIMEOUT, SNAPSHOT_TIMEOUT};
use crate::watch::Hint;

/// The state of the engine thread.
pub(super) struct EventLoop {
    started: Instant,
    inbox: Arc<Inbox>,
    rests: HintRests,
    views: Arc<StatePublisher>,
    registry: Registry,
    pool: CallPool,
    snapshot_writer: SnapshotWriter,
    pub(super) committer: Committer,
    waiters: SyncWaiters,
}

impl EventLoop {
    /// Starts the helper threads and all projects.
    ///
    /// # Errors
    /// [`EngineError::Thread`].
    pub(super) fn new(
        registry: Registry,
        opened: EngineStore,
        pool: CallPool,
        inbox: Arc<Inbox>,
        views: Arc<StatePublisher>,
    ) -> Result<Self, EngineError> {
        let EngineStore { store, quarantined, load_error } = opened;
        let written = Arc::clone(&inbox);
        let report = move |result| written.snapshot_written(result);
        let snapshot_writer = SnapshotWriter::start(pool.clone(), report);
        let failed = Arc::clone(&inbox);
        let checkpointer =
            WalCheckpointer::start(store.checkpointer(), move |error| failed.store_failed(error));
        let checkpointer = checkpointer.map_err(EngineError::Thread)?;
        let quarantined = quarantined.as_deref();
        let mut engine = Self {
            started: Instant::now(),
            pool,
            snapshot_writer: snapshot_writer.map_err(EngineError::Thread)?,
            committer: Committer::new(store, quarantined, checkpointer, Arc::clone(&views)),
            registry,
            waiters: SyncWaiters::default(),
            inbox,
            rests: HintRests::default(),
            views,
        };
        let now = engine.now();
        if let Some(error) = &load_error {
            engine.committer.on_store_error(error, now);
        }
        engine.registry.start_all(&mut engine.committer, &engine.pool, now);
        Ok(engine)
    }

    /// Runs the loop until [`Command::Stop`], then ends the helper threads and closes the store.
    ///
    /// # Errors
    /// [`EngineError::Store`] if the store cannot be closed, [`EngineError::ThreadEnded`].
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        let mut stop_deadline = None;
        // The first iteration does not wait: the start of the projects left changes to commit.
        let mut messages = Messages::default();
        loop {
            #[cfg(debug_assertions)]
            crate::engine::failpoint::hang_while_requested();
            #[cfg(debug_assertions)]
            crate::engine::failpoint::panic_if_requested();
            let now = self.now();
            if let Some(thread) = messages.failed_thread.take() {
                return Err(EngineError::ThreadEnded(thread));
            }
            if self.process_messages(messages, now) {
                stop_deadline.get_or_insert(now.monotonic + SHUTDOWN_TIMEOUT);
            }
            self.reconcile(now);
            self.publish(now);
            let store_works = self.committer.health.degraded.is_none();
            self.waiters.resolve(&mut self.registry.projects, store_works, &self.pool, now);
            let is_done = || {
                let mut projects = self.registry.projects.values();
                // Nothing can be found out about a root that is away.
                !self.inbox.has_hints()
                    && projects.all(|one| one.state.is_at_rest() || one.state.is_root_away())
            };
            if stop_deadline.is_some_and(|deadline| deadline <= now.monotonic || is_done()) {
                break;
            }
            let due = self.next_deadline().into_iter().chain(stop_deadline).min();
            let until = due.map(|due| self.started + due);
            // The check of a small file takes less time than to wait and to be woken.
            let is_awaited = self.pool.has_one_call(Lane::SmallFile);
            messages = self.inbox.take(until, &mut self.rests, is_awaited);
        }
        self.committer.checkpointer.stop();
        let closed = self.committer.store.close();
        // After the store: these files can be made again.
        self.snapshot_writer.stop();
        self.pool.finish(Lane::Snapshot, SNAPSHOT_TIMEOUT);
        self.pool.stop();
        Ok(closed?)
    }

    /// Processes all messages. Returns true if one of them is the stop command.
    fn process_messages(&mut self, messages: Messages, now: Tick) -> bool {
        let (pool, projects) = (&self.pool, &mut self.registry.projects);
        if messages.hints.values().any(PendingHints::have_closed_file) {
            pool.wake_ahead(Lane::SmallFile);
        }
        for (id, project) in projects.iter_mut() {
            project.state.set_hints_pending(self.rests.contains(*id));
        }
        let mut cookies = Vec::new();
        for (id, hints) in messages.hints {
            let Some(project) = projects.get_mut(&id) else {
                continue;
            };
            if let Some(error) = &hints.failed {
                let root = project.settings.root.display();
                warn!(%root, error, "file watcher reported an error");
            }
            if hints.overflow || hints.overflow_by_others {
                let by_others = !hints.overflow;
                project.handle(Event::Overflow { by_others }, pool, now);
            }
            for (path, kind) in hints.paths {
                if path.starts_with(project.cookies()) {
                    if hints.is_partial {
                        self.inbox.hint(id, Hint::At(path, kind));
                    } else {
                        cookies.push((id, path));
                    }
                } else {
                    project.handle(Event::Hint { path, kind }, pool, now);
                }
            }
        }
        for FileResult { id, tag, slug, path, state, cost, verify_only } in messages.file_results {
            self.views.metrics().path_checked(&state);
            if let Some(project) = projects.get_mut(&id) {
                let event = if verify_only {
                    Event::FileVerified { tag, slug, path, state }
                } else {
                    Event::FileChecked { tag, slug, path, state, cost }
                };
                project.handle(event, pool, now);
            }
        }
        for result in messages.effect_results {
            if matches!(result.event, Event::InitialScan { .. } | Event::MetadataRead { .. }) {
                self.views.metrics().metadata_read();
            }
            if let Some(project) = projects.get_mut(&result.id) {
                project.on_effect_result(result, pool, now);
            }
        }
        for overdue in pool.supervise(Instant::now()) {
            if let Some(project) = projects.get_mut(&overdue.project) {
                project.on_overdue(overdue, pool, now);
            }
        }
        if messages.mounts_changed {
            for project in projects.values_mut() {
                project.handle(Event::MountsChanged, pool, now);
            }
        }
        for SnapshotWritten { id, slug, error } in messages.snapshots_written {
            if let Some(project) = projects.get_mut(&id) {
                project.handle(Event::SnapshotWritten { slug, error }, pool, now);
            }
        }
        if let Some(error) = messages.store_error {
            self.committer.on_store_error(&error, now);
        }
        self.waiters.on_cookies(&cookies);
        let mut stop = false;
        for command in messages.commands {
            stop |= self.handle_command(command, now);
        }
        stop
    }

    /// Handles one command. Returns true if it is the stop command.
    fn handle_command(&mut self, command: Command, now: Tick) -> bool {
        let (registry, committer, pool) = (&mut self.registry, &mut self.committer, &self.pool);
        // Sending a reply fails if the client has stopped waiting.
        match command {
            Command::Sync { feature, reply } => {
                self.waiters.start(feature, reply, &mut registry.projects, pool, now);
            }
            Command::Rescan { project, feature, reply } => {
                for (id, watched) in &mut registry.projects {
                    if project.is_some_and(|selected| selected != *id) {
                        continue;
                    }
                    match &feature {
                        Some(slug) => watched.state.rescan_feature(slug, RescanMode::REWATCH, now),
                        None => watched.state.rescan(RescanMode::REWATCH, now),
                    }
                    watched.run_effects(pool);
                }
                let _ = reply.send(());
            }
            Command::AddProject { root, keep, reply } => {
                let _ = reply.send(registry.add(&root, keep, committer, pool, now));
            }
            Command::RemoveProject { id, reply } => {
                let _ = reply.send(registry.remove(id, committer, pool));
            }
            Command::Reload { config, reply } => {
                let _ = reply.send(registry.reload(*config, committer, pool, now));
            }
            Command::RestoreStore { reply } => {
                let _ = reply.send(committer.restore_file(now));
            }
            Command::Ping { reply } => {
                let _ = reply.send(());
            }
            Command::Sink(command) => committer.handle_sink_command(command, now),
            Command::Stop => return true,
        }
        false
    }

    /// Runs what is due: checks, restarts of projects, commits, pruning.
    fn reconcile(&mut self, now: Tick) {
        let (registry, committer, pool) = (&mut self.registry, &mut self.committer, &self.pool);
        pool.submit_together(|| {
            for project in registry.projects.values_mut() {
                project.on_deadline(pool, now);
            }
        });
        registry.restart_returned(committer, pool, now);
        registry.follow_worktrees(committer, pool, now);
        for project in registry.projects.values_mut() {
            project.state.finish_initial(now);
        }
        match committer.recover(now) {
            Recovery::Usable => {}
            Recovery::NeedsRestart => {
                registry.restart_all(committer, pool, now);
                self.publish(now);
            }
            Recovery::Unusable => return,
        }
        let (registry, committer, pool) = (&mut self.registry, &mut self.committer, &self.pool);
        let retention = &registry.factory.config.journal;
        committer.commit(&mut registry.projects, retention, pool, now);
        committer.prune(&mut registry.projects, retention, pool, now);
    }

    /// Publishes the new state if it changed, and queues the snapshot files that may be stale.
    fn publish(&mut self, now: Tick) {
        let store_works = self.committer.health.degraded.is_none();
        let projects = self.registry.projects.values_mut();
        // A worktree that was removed is not reported as missing.
        let projects = projects.filter(|project| !project.is_removed_worktree());
        let projects: Vec<_> = projects
            .map(|project| project.publish(&self.snapshot_writer, &self.pool, store_works, now))
            .collect();
        let published = self.views.load();
        if published.instance.is_empty() && projects.iter().any(Option::is_none) {
            // Readers begin with all projects.
            return;
        }
        let projects: Vec<_> = projects.into_iter().flatten().collect();
        let store = &self.committer.store;
        let (seq, degraded) = (store.seq(), self.committer.health.degraded.clone());
        let same = published.seq == seq
            && published.degraded == degraded
            && published.projects.len() == projects.len()
            && published.projects.iter().zip(&projects).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same || published.instance.is_empty() {
            self.views.publish(EngineState {
                instance: store.instance().to_owned(),
                seq,
                durable_seq: store.durable_seq(),
                degraded,
                quarantined: self.committer.health.quarantined.clone(),
                projects,
            });
        }
    }

    fn now(&self) -> Tick {
        Tick { monotonic: self.started.elapsed(), wall: Timestamp::from(SystemTime::now()) }
    }

    /// Returns when the next iteration is due without a message.
    fn next_deadline(&self) -> Option<Duration> {
        let health = &self.committer.health;
        let projects = self.registry.projects.values();
        // After a failed commit nothing is tried before `retry_at`.
        let projects = projects
            .filter_map(|project| project.state.next_deadline())
            .map(|due| due.max(health.retry_at));
        let calls = self.pool.next_check().map(|at| at.saturating_duration_since(self.started));
        projects.chain(self.waiters.next_deadline()).chain([health.next_due()]).chain(calls).min()
    }
}
