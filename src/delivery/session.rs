//! Delivery over one store: reads what may be sent, has it sent, has it noted, and says how it
//! stands. How a parcel is sent is in `sending`, what the store is asked for in `commit_in_flight`.

mod cursor_commit;
mod send;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::core::time::Timestamp;
use crate::delivery::WEBHOOK_SINK;
use crate::delivery::context::SinkContext;
use crate::delivery::dispatcher::{Dispatcher, Outcome};
use crate::delivery::http::WebhookClient;
use crate::delivery::secret::Secrets;
use crate::engine::outbox::{Durable, SinkError, SinkHealth, SinkRegistration};
use crate::store::{CursorUpdate, JournalReader};
use cursor_commit::{CommitResult, receive_commit};

/// Events that are looked at in one reading.
const PAGE_CAPACITY: usize = 256;
/// How it stands is shown at most so often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// After the store refused something, the next try.
pub(crate) const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often secrets are read again, and whether retention dropped something.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a round ended.
pub(crate) enum SessionEnd {
    Stopped,
    /// The store is another one.
    StoreReplaced,
}

/// Delivery over one store.
pub(crate) struct DeliverySession<'a> {
    context: &'a mut SinkContext,
    dispatcher: Dispatcher,
    reader: JournalReader,
    durable: Durable,
    seq_updates: watch::Receiver<u64>,
    receiver: Option<Arc<WebhookClient>>,
    secrets: Option<(Duration, Secrets)>,
    in_flight: JoinSet<(u64, usize, Outcome)>,
    pending_barrier: Option<oneshot::Receiver<Result<Durable, SinkError>>>,
    next_barrier_at: Duration,
    next_read_at: Duration,
    next_refresh_at: Duration,
    /// What is to be noted, of which lanes, and what is being noted.
    pending_update: CursorUpdate,
    pending_partitions: Vec<Arc<str>>,
    commit_in_flight: Option<(oneshot::Receiver<CommitResult>, Vec<Arc<str>>)>,
    committed_cursor: u64,
    next_commit_at: Duration,
    store_retry_at: Duration,
    /// Whether what is set aside is to be read again.
    dead_letters_changed: bool,
    publish_at: Option<Duration>,
}

impl<'a> DeliverySession<'a> {
    pub(crate) fn new(worker: &'a mut SinkContext, opened: SinkRegistration) -> Self {
        let state = opened.progress;
        worker.report.dropped = state.dropped;
        let now = worker.elapsed();
        Self {
            dispatcher: Dispatcher::new(
                worker.dispatch_limits(),
                state.cursor.min(opened.durable.seq),
            ),
            reader: worker.journal.reader(),
            durable: opened.durable,
            seq_updates: worker.views.news(),
            receiver: None,
            secrets: None,
            in_flight: JoinSet::new(),
            pending_barrier: None,
            next_barrier_at: now,
            next_read_at: now,
            next_refresh_at: now,
            pending_update: CursorUpdate::default(),
            pending_partitions: Vec::new(),
            commit_in_flight: None,
            committed_cursor: state.cursor,
            next_commit_at: now,
            store_retry_at: now,
            dead_letters_changed: true,
            publish_at: Some(now),
            context: worker,
        }
    }

    pub(crate) async fn run(mut self, stop: &mut watch::Receiver<bool>) -> SessionEnd {
        loop {
            self.run_ready_work();
            let now = self.context.elapsed();
            let wake = self.next_deadline(now).map(|at| self.context.started + at);
            let hungry = self.dispatcher.has_send_capacity(now) || self.dispatcher.needs_events();
            let views = Arc::clone(&self.context.views);
            tokio::select! {
                _ = stop.changed() => {
                    self.shut_down().await;
                    return SessionEnd::Stopped;
                }
                () = views.board().retry_requested() => {
                    self.dead_letters_changed = true;
                    self.dispatcher.retry_now(now);
                }
                _ = self.seq_updates.changed(), if hungry => {
                    if self.is_store_replaced() {
                        return SessionEnd::StoreReplaced;
                    }
                }
                Some(ended) = self.in_flight.join_next() => {
                    self.on_send_finished(ended);
                    while let Some(ended) = self.in_flight.try_join_next() {
                        self.on_send_finished(ended);
                    }
                }
                answer = receive_or_pending(&mut self.pending_barrier) => {
                    self.pending_barrier = None;
                    match answer {
                        Some(Ok(durable)) if durable.instance != self.durable.instance => {
                            return SessionEnd::StoreReplaced;
                        }
                        Some(Ok(durable)) => self.durable = durable,
                        Some(Err(error)) => self.on_store_error(&error),
                        None => self.on_store_error(&SinkError::EngineStopped),
                    }
                }
                answer = receive_commit(&mut self.commit_in_flight) => {
                    self.on_committed(answer);
                    if self.is_store_replaced() {
                        return SessionEnd::StoreReplaced;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// All that can be done without waiting.
    fn run_ready_work(&mut self) {
        let now = self.context.elapsed();
        self.refresh(now);
        self.read_journal(now);
        while let Some(parcel) = self.dispatcher.next_batch(now) {
            self.send(parcel, now);
        }
        let settled = self.dispatcher.take_settled();
        self.record_settled(settled);
        self.send_commands(now);
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_report(now);
        }
    }

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let barrier =
            self.needs_barrier(now).then(|| self.next_barrier_at.max(self.store_retry_at));
        let note = self.needs_commit().then(|| self.next_commit_at.max(self.store_retry_at));
        let read = (self.next_read_at > now).then_some(self.next_read_at);
        let all = [self.dispatcher.next_deadline(), barrier, note, read, self.publish_at];
        all.into_iter().flatten().min()
    }

    fn refresh(&mut self, now: Duration) {
        if self.dead_letters_changed
            && self.commit_in_flight.is_none()
            && !self.needs_commit()
            && self.store_retry_at <= now
        {
            match self.reader.dead_letters(WEBHOOK_SINK) {
                Ok(rows) => {
                    self.dead_letters_changed = false;
                    let names: Vec<(u64, String, bool)> = rows
                        .into_iter()
                        .map(|row| (row.seq, partition_key(&row.root_id, &row.feature), row.retry))
                        .collect();
                    let rows = names.iter().map(|(seq, lane, retry)| (*seq, &**lane, *retry));
                    self.dispatcher.set_dead_letters(rows);
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

    /// Reads on in the journal, as far as it is durable.
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
                    // There are no holes but what retention makes.
                    self.dispatcher.skip_to(first);
                    for event in &page {
                        let lane = partition_key(&event.root_id, &event.feature);
                        self.dispatcher.push(event.seq, event.emitted_ms, event.bytes, &lane);
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

    fn is_store_replaced(&self) -> bool {
        let instance = &self.context.views.world().instance;
        !instance.is_empty() && **instance != *self.durable.instance
    }

    fn schedule_publish(&mut self, now: Duration) {
        self.publish_at.get_or_insert(now + PUBLISH_INTERVAL);
    }

    fn publish_report(&mut self, now: Duration) {
        // What the store refused may be mended then, and nothing else tells of it.
        self.publish_at = (now < self.store_retry_at).then_some(self.store_retry_at);
        let outbox = &self.dispatcher;
        let retrying = outbox.is_retrying() || now < self.store_retry_at;
        let wait = outbox.next_deadline().filter(|at| retrying && *at > now);
        let report = &mut self.context.report;
        report.cursor = outbox.cursor();
        report.ahead = outbox.settled_ahead();
        report.oldest_at = outbox.oldest_pending_ms().and_then(Timestamp::from_millis);
        report.dead_letters = outbox.dead_letter_count();
        report.health = if retrying { SinkHealth::Retrying } else { SinkHealth::Ok };
        report.next_try_at = wait.map(|at| (SystemTime::now() + at.saturating_sub(now)).into());
        if !retrying {
            report.last_error = None;
        }
        self.context.views.board().publish(report.clone());
    }
}

fn partition_key(root_id: &str, feature: &str) -> String {
    format!("{root_id}/{feature}")
}

/// The answer to something that was asked; never, where nothing was. `None`: there is no one who
/// answers.
async fn receive_or_pending<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match asked {
        Some(answer) => answer.await.ok(),
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
