//! Delivery from one store, until it is replaced or the sink is stopped: reads durable events, has
//! the dispatcher choose, commits what is settled, and publishes the sink's report. `send` builds
//! and sends requests; `cursor_commit` commits the cursor.

mod cursor_commit;
mod send;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::warn;

use crate::core::error::error_chain;
use crate::core::time::Timestamp;
use crate::delivery::context::{STORE_RETRY_INTERVAL, SinkContext};
use crate::delivery::dispatcher::{DeadLetterEntry, Dispatcher, Outcome};
use crate::delivery::http::WebhookClient;
use crate::delivery::secret::Secrets;
use crate::engine::sinks::{Durable, SinkCommand, SinkError, SinkHealth, SinkRegistration};
use crate::store::JournalReader;
use crate::wire::delivery::WEBHOOK_SINK;
use cursor_commit::CursorCommit;

/// Number of events read from the journal at a time.
const PAGE_CAPACITY: usize = 256;
/// Minimum time between two published reports.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// Minimum time between two syncs of the store that the sink requests. It requests one only if it
/// has nothing durable left to send.
const BARRIER_INTERVAL: Duration = Duration::from_millis(20);
/// Interval at which secrets are reread and the oldest event of the journal is determined.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout for the last commit when the sink is stopped; after it, events whose delivery is not
/// committed are sent again by the next run.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a session ended.
pub(crate) enum SessionEnd {
    Stopped,
    /// The store has another instance: the cursor has to be read again.
    StoreReplaced,
}

/// Delivery from one store.
pub(crate) struct DeliverySession<'a> {
    context: &'a mut SinkContext,
    dispatcher: Dispatcher,
    commit: CursorCommit,
    reader: JournalReader,
    durable: Durable,
    /// The number of the last committed event, durable or not.
    seq_updates: watch::Receiver<u64>,
    /// Created at the first request; dropped if it cannot reach the receiver over TLS.
    client: Option<Arc<WebhookClient>>,
    secrets: Option<CachedSecrets>,
    in_flight: JoinSet<SendResult>,
    pending_barrier: Option<oneshot::Receiver<Result<Durable, SinkError>>>,
    next_barrier_at: Duration,
    next_read_at: Duration,
    next_refresh_at: Duration,
    /// After an error of the store, the time of the next command.
    store_retry_at: Duration,
    /// True if the dead letters in the store may differ from those of the dispatcher.
    dead_letters_changed: bool,
    publish_at: Option<Duration>,
}

struct CachedSecrets {
    read_at: Duration,
    secrets: Arc<Secrets>,
}

/// How a request ended.
struct SendResult {
    /// The batch it sent.
    id: u64,
    /// Number of its events.
    events: usize,
    outcome: Outcome,
}

impl<'a> DeliverySession<'a> {
    pub(crate) fn new(context: &'a mut SinkContext, registration: SinkRegistration) -> Self {
        let SinkRegistration { durable, progress } = registration;
        context.report.dropped = progress.dropped;
        let now = context.elapsed();
        // Guards against a store whose cursor is ahead of its journal.
        let cursor = progress.cursor.min(durable.seq);
        Self {
            dispatcher: Dispatcher::new(context.dispatch_limits(), cursor),
            commit: CursorCommit::new(progress.cursor, now),
            reader: context.journal.reader(),
            durable,
            seq_updates: context.views.subscribe(),
            client: None,
            secrets: None,
            in_flight: JoinSet::new(),
            pending_barrier: None,
            next_barrier_at: now,
            next_read_at: now,
            next_refresh_at: now,
            store_retry_at: now,
            dead_letters_changed: true,
            publish_at: Some(now),
            context,
        }
    }

    pub(crate) async fn run(mut self, stop: &mut watch::Receiver<bool>) -> SessionEnd {
        loop {
            self.run_ready_work();
            let now = self.context.elapsed();
            let deadline = self.next_deadline(now).map(|at| self.context.started_at + at);
            let wants_events =
                self.dispatcher.has_send_capacity(now) || self.dispatcher.needs_events();
            let views = Arc::clone(&self.context.views);
            tokio::select! {
                _ = stop.changed() => {
                    self.shut_down().await;
                    return SessionEnd::Stopped;
                }
                () = views.sinks().retry_requested() => {
                    self.dead_letters_changed = true;
                    self.dispatcher.retry_now(now);
                }
                _ = self.seq_updates.changed(), if wants_events => {
                    if self.is_store_replaced() {
                        return SessionEnd::StoreReplaced;
                    }
                }
                Some(result) = self.in_flight.join_next() => {
                    self.on_send_finished(result);
                    while let Some(result) = self.in_flight.try_join_next() {
                        self.on_send_finished(result);
                    }
                }
                reply = receive_or_pending(&mut self.pending_barrier) => {
                    self.pending_barrier = None;
                    match reply.unwrap_or(Err(SinkError::EngineStopped)) {
                        Ok(durable) if durable.instance != self.durable.instance => {
                            return SessionEnd::StoreReplaced;
                        }
                        Ok(durable) => self.durable = durable,
                        Err(error) => self.on_store_error(&error),
                    }
                }
                result = self.commit.finish() => {
                    self.on_commit_finished(result);
                    if self.is_store_replaced() {
                        return SessionEnd::StoreReplaced;
                    }
                }
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Does all work that does not have to wait.
    fn run_ready_work(&mut self) {
        let now = self.context.elapsed();
        self.refresh(now);
        self.read_journal(now);
        while let Some(batch) = self.dispatcher.next_batch(now) {
            self.send(batch, now);
        }
        self.record_settled();
        self.send_commands(now);
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_report(now);
        }
    }

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let after_retry = |at: Duration| at.max(self.store_retry_at);
        let barrier = self.needs_barrier(now).then(|| after_retry(self.next_barrier_at));
        let commit = self.needs_commit().then(|| after_retry(self.commit.next_commit_at()));
        let read = (self.next_read_at > now).then_some(self.next_read_at);
        let all = [self.dispatcher.next_deadline(), barrier, commit, read, self.publish_at];
        all.into_iter().flatten().min()
    }

    /// Passes to the dispatcher what others changed in the store: dead letters, and retention.
    fn refresh(&mut self, now: Duration) {
        if self.dead_letters_changed
            && !self.commit.is_in_flight()
            && !self.needs_commit()
            && self.store_retry_at <= now
        {
            match self.reader.dead_letters(WEBHOOK_SINK) {
                Ok(rows) => {
                    self.dead_letters_changed = false;
                    let entries = rows.into_iter().map(|row| DeadLetterEntry {
                        seq: row.seq,
                        partition: partition_key(&row.root_id, &row.feature),
                        retry: row.retry,
                    });
                    self.dispatcher.set_dead_letters(entries);
                    self.schedule_publish(now);
                }
                Err(error) => self.on_store_error(&error.into()),
            }
        }
        if self.next_refresh_at <= now && self.dispatcher.is_retrying() {
            self.next_refresh_at = now + REFRESH_INTERVAL;
            if let Ok(oldest) = self.reader.oldest_seq() {
                self.dispatcher.truncate_to(oldest.min(self.durable.seq + 1));
            }
        }
    }

    /// Reads durable events from the journal, as many as the dispatcher needs.
    fn read_journal(&mut self, now: Duration) {
        while self.next_read_at <= now
            && self.dispatcher.needs_events()
            && self.dispatcher.scanned() < self.durable.seq
        {
            let after = self.dispatcher.scanned();
            let limit = PAGE_CAPACITY.min(self.dispatcher.window_capacity());
            match self.reader.event_headers(after, self.durable.seq, limit) {
                Ok(page) => {
                    let first = page.first().map_or(self.durable.seq + 1, |event| event.seq);
                    // Numbers are consecutive: only retention can have deleted those in between.
                    self.dispatcher.skip_to(first);
                    for event in &page {
                        let partition = partition_key(&event.root_id, &event.feature);
                        self.dispatcher.push(event.seq, event.emitted_ms, event.bytes, &partition);
                    }
                    self.schedule_publish(now);
                }
                Err(error) => {
                    self.next_read_at = now + STORE_RETRY_INTERVAL;
                    self.on_store_error(&error.into());
                }
            }
        }
    }

    /// Sends the commands that are due to the engine: a barrier, so that more events become durable,
    /// and a cursor update.
    fn send_commands(&mut self, now: Duration) {
        if now < self.store_retry_at {
            return;
        }
        if self.needs_barrier(now) && now >= self.next_barrier_at {
            self.next_barrier_at = now + BARRIER_INTERVAL;
            self.pending_barrier =
                self.context.send_command(|reply| SinkCommand::Barrier { reply });
        }
        let is_urgent = self.dead_letters_changed
            || self.commit.blocks_partitions()
            || self.in_flight.is_empty();
        if self.needs_commit() && (now >= self.commit.next_commit_at() || is_urgent) {
            self.start_commit(now);
        }
    }

    fn needs_barrier(&self, now: Duration) -> bool {
        self.pending_barrier.is_none()
            && self.dispatcher.has_send_capacity(now)
            && self.dispatcher.scanned() >= self.durable.seq
            && *self.seq_updates.borrow() > self.durable.seq
    }

    fn needs_commit(&self) -> bool {
        self.commit.is_needed(self.dispatcher.cursor())
    }

    fn record_settled(&mut self) {
        let settled = self.dispatcher.take_settled();
        self.context.report.dropped += settled.dropped;
        self.commit.record_settled(settled);
    }

    fn start_commit(&mut self, now: Duration) {
        let cursor = self.dispatcher.cursor();
        self.commit.start(self.context, &self.durable.instance, cursor, now);
    }

    fn on_commit_finished(&mut self, result: Result<Vec<Arc<str>>, SinkError>) {
        match result {
            Ok(partitions) => self.dispatcher.unblock_partitions(&partitions),
            Err(error) => self.on_store_error(&error),
        }
    }

    /// Records an error of the store and delays further commands to it.
    fn on_store_error(&mut self, error: &SinkError) {
        let error = error_chain(error);
        let now = self.context.elapsed();
        self.store_retry_at = now + STORE_RETRY_INTERVAL;
        let report = &mut self.context.report;
        report.health = SinkHealth::Retrying;
        if report.last_error.as_deref() != Some(&*error) {
            warn!(sink = WEBHOOK_SINK, error, "cannot use the store; will retry");
            report.last_error = Some(error.into());
        }
        self.schedule_publish(now);
    }

    fn is_store_replaced(&self) -> bool {
        let instance = &self.context.views.load().instance;
        !instance.is_empty() && **instance != *self.durable.instance
    }

    fn schedule_publish(&mut self, now: Duration) {
        self.publish_at.get_or_insert(now + PUBLISH_INTERVAL);
    }

    fn publish_report(&mut self, now: Duration) {
        // At `store_retry_at` the health changes, and nothing else publishes it.
        self.publish_at = (now < self.store_retry_at).then_some(self.store_retry_at);
        let dispatcher = &self.dispatcher;
        let is_retrying = dispatcher.is_retrying() || now < self.store_retry_at;
        let next_try_at = dispatcher.next_deadline().filter(|at| is_retrying && *at > now);
        let report = &mut self.context.report;
        report.cursor = dispatcher.cursor();
        report.ahead = dispatcher.settled_ahead();
        report.oldest_at = dispatcher.oldest_pending_ms().and_then(Timestamp::from_millis);
        report.dead_letters = dispatcher.dead_letter_count();
        report.health = match is_retrying {
            _ if dispatcher.is_refused() => SinkHealth::Refused,
            true => SinkHealth::Retrying,
            false => SinkHealth::Ok,
        };
        report.next_try_at =
            next_try_at.map(|at| (SystemTime::now() + at.saturating_sub(now)).into());
        if !is_retrying {
            report.last_error = None;
        }
        self.context.views.sinks().publish(report.clone());
    }

    /// Commits what is settled and aborts all requests; does not wait for the network.
    async fn shut_down(mut self) {
        while let Some(result) = self.in_flight.try_join_next() {
            self.on_send_finished(result);
        }
        self.in_flight.abort_all();
        self.record_settled();
        let commit_all = async {
            if self.commit.is_in_flight() {
                let result = self.commit.finish().await;
                self.on_commit_finished(result);
            }
            if self.needs_commit() {
                self.start_commit(self.context.elapsed());
                if self.commit.is_in_flight() {
                    let _ = self.commit.finish().await;
                }
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, commit_all).await;
    }
}

/// Returns the key of a feature's partition. It is the `partitionkey` of a `CloudEvents` event, too.
fn partition_key(root_id: &str, feature: &str) -> String {
    format!("{root_id}/{feature}")
}

/// Waits for a reply, forever if none is expected. Returns `None` if the sender was dropped.
async fn receive_or_pending<T>(reply: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match reply {
        Some(receiver) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
