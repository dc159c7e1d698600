//! The loop of a sink: reads what may be sent, sends it, and notes what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::WEBHOOK;
use super::backoff::Backoff;
use super::http::{Receiver, Signed};
use super::message::Form;
use super::outbox::{Limits, Outbox, Outcome, Parcel};
use super::secret::Secrets;
use crate::config::{SecretSource, WebhookConfig};
use crate::core::time::Timestamp;
use crate::engine::inbox::{Command, Inbox};
use crate::engine::outbox::{Durable, Opened, SinkCommand, SinkHealth, SinkReport};
use crate::engine::view::Views;
use crate::store::{Advance, Journal, JournalReader, Refused};

/// How far behind the cursor events are looked at: so many are delivered again after a kill, at most.
const WINDOW: usize = 10_000;
/// How often an event may be refused before it is set aside.
const REFUSALS: u32 = 5;
/// Events that are set aside, at most.
const SET_ASIDE: u64 = 1_000;
/// Events that are looked at in one reading.
const PAGE: usize = 256;
/// What is committed is made durable at most so often, and only while something waits for it.
const BARRIER_PAUSE: Duration = Duration::from_millis(20);
/// What is delivered is noted at least so often.
const NOTE_PAUSE: Duration = Duration::from_millis(100);
/// How it stands is shown at most so often.
const SHOW_PAUSE: Duration = Duration::from_millis(50);
/// After the store refused something, the next try.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How often secrets are read again, and whether retention dropped something.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long an end may take.
const END_MOST: Duration = Duration::from_secs(1);

type Noted = Result<(), (Box<Advance>, String)>;

/// The webhook.
pub(super) struct Worker {
    config: WebhookConfig,
    inbox: Arc<Inbox>,
    views: Arc<Views>,
    journal: Journal,
    started: Instant,
    report: SinkReport,
}

/// Why a round ended.
enum End {
    Stop,
    /// The store is another one.
    Store,
}

/// Runs a sink until it is told to stop.
pub(super) fn run(mut worker: Worker, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For names of hosts.
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(sink = WEBHOOK, %error, "nothing is delivered");
            return;
        }
    };
    runtime.block_on(async {
        loop {
            let opened = tokio::select! {
                _ = stop.changed() => return,
                opened = worker.open() => opened,
            };
            match Round::new(&mut worker, opened).run(&mut stop).await {
                End::Stop => return,
                End::Store => {}
            }
        }
    });
    // A name that is being looked up keeps nobody waiting.
    runtime.shutdown_background();
}

impl Worker {
    pub(super) fn new(
        config: WebhookConfig,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: Journal,
    ) -> Self {
        let url = config.url.shown().into();
        let report = SinkReport { sink: WEBHOOK, url, ..SinkReport::default() };
        Self { config, inbox, views, journal, started: Instant::now(), report }
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> SinkCommand,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.inbox.command(Command::Sink(command(reply))).ok().map(|()| answer)
    }

    /// Where the sink stands, once the store says so.
    async fn open(&mut self) -> Opened {
        loop {
            if let Some(answer) = self.ask(|reply| SinkCommand::Open { sink: WEBHOOK, reply })
                && let Ok(answer) = answer.await
            {
                match answer {
                    Ok(opened) => return opened,
                    Err(why) => {
                        self.report.last_error = Some(why.into());
                        self.report.health = SinkHealth::Retrying;
                        self.views.board().show(self.report.clone());
                    }
                }
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    fn limits(&self) -> Limits {
        let (first, most) = self.config.backoff;
        Limits {
            window: WINDOW,
            parcels: self.config.connections,
            batch: self.config.batch,
            refusals: REFUSALS,
            set_aside: SET_ASIDE,
            backoff: Backoff { first, most },
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Delivery over one store.
struct Round<'a> {
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
    fn new(worker: &'a mut Worker, opened: Opened) -> Self {
        let state = opened.state.unwrap_or_default();
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

    async fn run(mut self, stop: &mut watch::Receiver<bool>) -> End {
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

    fn wants_barrier(&self, now: Duration) -> bool {
        self.barrier.is_none()
            && self.outbox.is_hungry(now)
            && self.outbox.scanned() >= self.durable.seq
            && *self.news.borrow() > self.durable.seq
    }

    fn wants_note(&self) -> bool {
        let Advance { dropped, refused, delivered, .. } = &self.note;
        let moved = self.outbox.cursor() > self.noted || *dropped > 0;
        self.noting.is_none() && (moved || !refused.is_empty() || !delivered.is_empty())
    }

    /// Whether what was set aside, or dropped by retention, is to be looked up.
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
                        self.outbox.take(event.seq, event.emitted_ms, &lane);
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

    fn send(&mut self, mut parcel: Parcel, now: Duration) {
        match self.signed(&mut parcel, now) {
            Ok(None) => {}
            Ok(Some((receiver, signed))) => {
                let (number, count) = (parcel.number, parcel.seqs.len());
                self.flights.spawn(async move { (number, count, receiver.send(signed).await) });
            }
            Err(outcome) => self.ended(parcel.number, parcel.seqs.len(), &outcome),
        }
    }

    /// A parcel's request; `None` where nothing of it is there any more.
    fn signed(
        &mut self,
        parcel: &mut Parcel,
        now: Duration,
    ) -> Result<Option<(Arc<Receiver>, Signed)>, Outcome> {
        let waits = |why: String| Outcome::Unreachable(why.into(), None);
        let (mut texts, mut missing) = (Vec::with_capacity(parcel.seqs.len()), Vec::new());
        for seq in &parcel.seqs {
            match self.reader.envelope(WEBHOOK, *seq) {
                Ok(Some(text)) => texts.push(text),
                Ok(None) => missing.push(*seq),
                Err(error) => return Err(waits(error.to_string())),
            }
        }
        if !missing.is_empty() {
            self.outbox.missing(parcel, &missing);
            if parcel.seqs.is_empty() {
                return Ok(None);
            }
        }
        let config = &self.worker.config;
        if self.secrets.as_ref().is_none_or(|(read_at, _)| now >= *read_at + LOOK_PAUSE) {
            let from_file = matches!(config.secret, SecretSource::File(_));
            if self.secrets.is_none() || from_file {
                self.secrets = None;
                self.secrets = Some((now, Secrets::read(&config.secret).map_err(waits)?));
            }
        }
        let receiver = match &self.receiver {
            Some(receiver) => Arc::clone(receiver),
            None => {
                let receiver =
                    Receiver::new(config.url.clone(), config.timeout, config.connections);
                Arc::clone(self.receiver.insert(Arc::new(receiver.map_err(waits)?)))
            }
        };
        let form = Form { format: config.format, batch: config.batch > 1, gzip: config.gzip };
        let message = form.message(&texts);
        let message = message.map_err(|error| {
            Outcome::Refused(format!("the journal's event cannot be read: {error}").into())
        })?;
        let Some((_, secrets)) = &self.secrets else {
            return Ok(None);
        };
        let timestamp = Timestamp::from(SystemTime::now()).as_millis().div_euclid(1_000);
        let signature = secrets.sign(&message.id, timestamp, &message.text);
        Ok(Some((receiver, Signed { message, timestamp, signature })))
    }

    fn landed(&mut self, ended: Result<(u64, usize, Outcome), tokio::task::JoinError>) {
        // A task fails only by a panic, and the whole daemon ends with it.
        if let Ok((number, count, outcome)) = ended {
            self.ended(number, count, &outcome);
        }
    }

    fn ended(&mut self, number: u64, count: usize, outcome: &Outcome) {
        let now = self.worker.now();
        let report = &mut self.worker.report;
        match outcome {
            Outcome::Taken => {
                report.delivered += count as u64;
                if report.health == SinkHealth::Retrying && report.last_error.is_some() {
                    info!(sink = WEBHOOK, "the receiver takes events again");
                    report.last_error = None;
                }
            }
            Outcome::Refused(why) | Outcome::Failed(why, _) | Outcome::Unreachable(why, _) => {
                report.failures += 1;
                if report.last_error.as_ref() != Some(why) {
                    warn!(sink = WEBHOOK, why = &**why, "not delivered; it is tried again");
                    report.last_error = Some(Arc::clone(why));
                }
                report.health = SinkHealth::Retrying;
            }
        }
        self.outbox.ended(number, outcome, now, chance());
        self.show_soon(now);
    }

    fn settle(&mut self, settled: super::outbox::Settled) {
        let at = Timestamp::from(SystemTime::now());
        if settled.dropped > 0 {
            let events = settled.dropped;
            error!(sink = WEBHOOK, events, "dropped by the journal's retention, undelivered");
            self.worker.report.dropped += events;
            self.note.dropped += events;
        }
        for event in settled.rejected {
            error!(
                sink = WEBHOOK,
                seq = event.seq,
                tries = event.tries,
                why = &*event.why,
                "refused for good and set aside; see `dossierd delivery list`"
            );
            let error = event.why.to_string();
            self.note.refused.push(Refused { seq: event.seq, tries: event.tries, at, error });
        }
        self.note.delivered.extend(settled.redelivered);
        self.note_held.extend(settled.held);
    }

    /// Asks for what is to be durable or noted, where it is time for that.
    fn ask_engine(&mut self, now: Duration) {
        if now < self.store_at {
            return;
        }
        if self.wants_barrier(now) && now >= self.barrier_at {
            self.barrier_at = now + BARRIER_PAUSE;
            self.barrier = self.worker.ask(|reply| SinkCommand::Barrier { reply });
        }
        let urgent = self.asked || !self.note_held.is_empty() || self.flights.is_empty();
        if self.wants_note() && (now >= self.note_at || urgent) {
            self.start_note(now);
        }
    }

    fn start_note(&mut self, now: Duration) {
        self.note_at = now + NOTE_PAUSE;
        let cursor = self.outbox.cursor();
        let advance = Box::new(Advance { cursor, ..std::mem::take(&mut self.note) });
        let copy = (*advance).clone();
        let instance = Arc::clone(&self.durable.instance);
        let asked = self.worker.ask(|reply| SinkCommand::Advance {
            sink: WEBHOOK,
            instance,
            advance,
            reply,
        });
        match asked {
            Some(answer) => {
                self.noted = cursor;
                self.noting = Some((answer, std::mem::take(&mut self.note_held)));
            }
            None => self.note = copy,
        }
    }

    fn noted(&mut self, answer: Option<(Noted, Vec<Arc<str>>)>) {
        match answer {
            Some((Ok(()), held)) => self.outbox.release(&held),
            Some((Err((advance, why)), held)) => {
                // Once more, with what has come since.
                let since = std::mem::replace(&mut self.note, *advance);
                self.note.dropped += since.dropped;
                self.note.refused.extend(since.refused);
                self.note.delivered.extend(since.delivered);
                self.note_held.extend(held);
                self.noted = 0;
                self.store_failed(&why);
            }
            None => self.store_failed("the engine has ended"),
        }
    }

    fn store_failed(&mut self, why: &str) {
        let now = self.worker.now();
        self.store_at = now + STORE_PAUSE;
        let report = &mut self.worker.report;
        report.health = SinkHealth::Retrying;
        if report.last_error.as_deref() != Some(why) {
            warn!(sink = WEBHOOK, why, "the store cannot be used; it is tried again");
            report.last_error = Some(why.into());
        }
        self.show_soon(now);
    }

    fn is_other_store(&self) -> bool {
        let instance = &self.worker.views.world().instance;
        !instance.is_empty() && **instance != *self.durable.instance
    }

    fn show_soon(&mut self, now: Duration) {
        self.show_at.get_or_insert(now + SHOW_PAUSE);
    }

    fn show(&mut self, now: Duration) {
        self.show_at = None;
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

    /// Notes what is delivered, and ends without waiting for the network.
    async fn end(mut self) {
        while let Some(ended) = self.flights.try_join_next() {
            self.landed(ended);
        }
        self.flights.abort_all();
        let settled = self.outbox.settled();
        self.settle(settled);
        let all = async {
            if self.noting.is_some() {
                let answer = noted(&mut self.noting).await;
                self.noted(answer);
            }
            if self.wants_note() {
                self.start_note(self.worker.now());
                noted(&mut self.noting).await;
            }
        };
        let _ = tokio::time::timeout(END_MOST, all).await;
    }
}

fn lane(root_id: &str, feature: &str) -> String {
    format!("{root_id}/{feature}")
}

fn chance() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(high >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// The answer to something that was asked; never, where nothing was. `None`: there is no one who
/// answers.
async fn heard<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match asked {
        Some(answer) => answer.await.ok(),
        None => std::future::pending().await,
    }
}

async fn noted(
    noting: &mut Option<(oneshot::Receiver<Noted>, Vec<Arc<str>>)>,
) -> Option<(Noted, Vec<Arc<str>>)> {
    let Some((answer, _)) = noting else {
        return std::future::pending().await;
    };
    let answer = answer.await;
    let (_, held) = noting.take()?;
    Some((answer.ok()?, held))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
