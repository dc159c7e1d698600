//! Delivery over one store: reads what may be sent, has it sent, has it noted, and says how it
//! stands. How a parcel is sent is in `sending`, what the store is asked for in `noting`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::WEBHOOK;
use super::http::Receiver;
use super::outbox::{Outbox, Outcome};
use super::secret::Secrets;
use super::worker::Worker;
use crate::core::time::Timestamp;
use crate::engine::outbox::{Durable, Opened, SinkHealth};
use crate::store::{Advance, JournalReader};
use noting::{Noted, noted};

/// Events that are looked at in one reading.
const PAGE: usize = 256;
/// How it stands is shown at most so often.
const SHOW_PAUSE: Duration = Duration::from_millis(50);
/// After the store refused something, the next try.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How often secrets are read again, and whether retention dropped something.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Why a round ended.
pub(super) enum End {
    Stop,
    /// The store is another one.
    Store,
}

/// Delivery over one store.
pub(super) struct Round<'a> {
    worker: &'a mut Worker,
    outbox: Outbox,
    reader: JournalReader,
    durable: Durable,
    news: watch::Receiver<u64>,
    receiver: Option<Arc<Receiver>>,
    secrets: Option<(Duration, Secrets)>,
    flights: JoinSet<(u64, usize, Outcome)>,
    barrier: Option<oneshot::Receiver<Result<Durable, String>>>,
    barrier_at: Duration,
    read_at: Duration,
    look_at: Duration,
    /// What is to be noted, of which lanes, and what is being noted.
    note: Advance,
    note_held: Vec<Arc<str>>,
    noting: Option<(oneshot::Receiver<Noted>, Vec<Arc<str>>)>,
    noted: u64,
    note_at: Duration,
    store_at: Duration,
    /// Whether what is set aside is to be read again.
    asked: bool,
    show_at: Option<Duration>,
}

impl<'a> Round<'a> {
    pub(super) fn new(worker: &'a mut Worker, opened: Opened) -> Self {
        let state = opened.state;
        worker.report.dropped = state.dropped;
        let now = worker.now();
        Self {
            outbox: Outbox::new(worker.limits(), state.cursor.min(opened.durable.seq)),
            reader: worker.journal.reader(),
            durable: opened.durable,
            news: worker.views.news(),
            receiver: None,
            secrets: None,
            flights: JoinSet::new(),
            barrier: None,
            barrier_at: now,
            read_at: now,
            look_at: now,
            note: Advance::default(),
            note_held: Vec::new(),
            noting: None,
            noted: state.cursor,
            note_at: now,
            store_at: now,
            asked: true,
            show_at: Some(now),
            worker,
        }
    }

    pub(super) async fn run(mut self, stop: &mut watch::Receiver<bool>) -> End {
        loop {
            self.turn();
            let now = self.worker.now();
            let wake = self.wakes_at(now).map(|at| self.worker.started + at);
            let hungry = self.outbox.is_hungry(now) || self.outbox.wants_more();
            let views = Arc::clone(&self.worker.views);
            tokio::select! {
                _ = stop.changed() => {
                    self.end().await;
                    return End::Stop;
                }
                () = views.board().asked() => {
                    self.asked = true;
                    self.outbox.hurry(now);
                }
                _ = self.news.changed(), if hungry => {
                    if self.is_other_store() {
                        return End::Store;
                    }
                }
                Some(ended) = self.flights.join_next() => {
                    self.landed(ended);
                    while let Some(ended) = self.flights.try_join_next() {
                        self.landed(ended);
                    }
                }
                answer = heard(&mut self.barrier) => {
                    self.barrier = None;
                    match answer {
                        Some(Ok(durable)) if durable.instance != self.durable.instance => {
                            return End::Store;
                        }
                        Some(Ok(durable)) => self.durable = durable,
                        Some(Err(why)) => self.store_failed(&why),
                        None => self.store_failed("the engine has ended"),
                    }
                }
                answer = noted(&mut self.noting) => {
                    self.noted(answer);
                    if self.is_other_store() {
                        return End::Store;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// All that can be done without waiting.
    fn turn(&mut self) {
        let now = self.worker.now();
        self.look(now);
        self.read(now);
        while let Some(parcel) = self.outbox.next(now) {
            self.send(parcel, now);
        }
        let settled = self.outbox.settled();
        self.settle(settled);
        self.ask_engine(now);
        if self.show_at.is_some_and(|at| at <= now) {
            self.show(now);
        }
    }

    fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let barrier = self.wants_barrier(now).then(|| self.barrier_at.max(self.store_at));
        let note = self.wants_note().then(|| self.note_at.max(self.store_at));
        let read = (self.read_at > now).then_some(self.read_at);
        let all = [self.outbox.wakes_at(), barrier, note, read, self.show_at];
        all.into_iter().flatten().min()
    }

    fn look(&mut self, now: Duration) {
        if self.asked && self.noting.is_none() && !self.wants_note() && self.store_at <= now {
            match self.reader.set_aside(WEBHOOK) {
                Ok(rows) => {
                    self.asked = false;
                    let names: Vec<(u64, String, bool)> = rows
                        .into_iter()
                        .map(|row| (row.seq, lane(&row.root_id, &row.feature), row.retry))
                        .collect();
                    let rows = names.iter().map(|(seq, lane, retry)| (*seq, &**lane, *retry));
                    self.outbox.put_aside(rows);
                    self.show_soon(now);
                }
                Err(error) => self.store_failed(&error.to_string()),
            }
        }
        if self.look_at <= now && self.outbox.is_retrying() {
            self.look_at = now + LOOK_PAUSE;
            if let Ok(oldest) = self.reader.oldest() {
                self.outbox.begins_at(oldest.min(self.durable.seq + 1));
            }
        }
    }

    /// Reads on in the journal, as far as it is durable.
    fn read(&mut self, now: Duration) {
        while self.read_at <= now
            && self.outbox.wants_more()
            && self.outbox.scanned() < self.durable.seq
        {
            let after = self.outbox.scanned();
            let limit = PAGE.min(self.outbox.room());
            match self.reader.outline(after, self.durable.seq, limit) {
                Ok(page) => {
                    let first = page.first().map_or(self.durable.seq + 1, |event| event.seq);
                    // There are no holes but what retention makes.
                    self.outbox.goes_on_at(first);
                    for event in &page {
                        let lane = lane(&event.root_id, &event.feature);
                        self.outbox.take(event.seq, event.emitted_ms, event.bytes, &lane);
                    }
                    self.show_soon(now);
                }
                Err(error) => {
                    self.read_at = now + STORE_PAUSE;
                    self.store_failed(&error.to_string());
                }
            }
        }
    }

    fn is_other_store(&self) -> bool {
        let instance = &self.worker.views.world().instance;
        !instance.is_empty() && **instance != *self.durable.instance
    }

    fn show_soon(&mut self, now: Duration) {
        self.show_at.get_or_insert(now + SHOW_PAUSE);
    }

    fn show(&mut self, now: Duration) {
        // What the store refused may be mended then, and nothing else tells of it.
        self.show_at = (now < self.store_at).then_some(self.store_at);
        let outbox = &self.outbox;
        let retrying = outbox.is_retrying() || now < self.store_at;
        let wait = outbox.wakes_at().filter(|at| retrying && *at > now);
        let report = &mut self.worker.report;
        report.cursor = outbox.cursor();
        report.ahead = outbox.ahead();
        report.oldest_at = outbox.oldest_ms().and_then(Timestamp::from_millis);
        report.set_aside = outbox.set_aside();
        report.health = if retrying { SinkHealth::Retrying } else { SinkHealth::Ok };
        report.next_try_at = wait.map(|at| (SystemTime::now() + at.saturating_sub(now)).into());
        if !retrying {
            report.last_error = None;
        }
        self.worker.views.board().show(report.clone());
    }
}

fn lane(root_id: &str, feature: &str) -> String {
    format!("{root_id}/{feature}")
}

/// The answer to something that was asked; never, where nothing was. `None`: there is no one who
/// answers.
async fn heard<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
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

mod noting;
mod sending;
