//! What a round asks of the store's one writer: a barrier before more is sent, and a note of what was
//! settled.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{Round, STORE_PAUSE};
use crate::core::time::Timestamp;
use crate::deliver::WEBHOOK;
use crate::deliver::outbox::Settled;
use crate::engine::outbox::{SinkCommand, SinkHealth};
use crate::store::{Advance, Refused};

/// What is committed is made durable at most so often, and only while something waits for it.
const BARRIER_PAUSE: Duration = Duration::from_millis(20);
/// What is delivered is noted at least so often.
const NOTE_PAUSE: Duration = Duration::from_millis(100);
/// How long an end may take.
const END_MOST: Duration = Duration::from_secs(1);

pub(super) type Noted = Result<(), (Box<Advance>, String)>;

impl Round<'_> {
    pub(super) fn wants_barrier(&self, now: Duration) -> bool {
        self.barrier.is_none()
            && self.outbox.is_hungry(now)
            && self.outbox.scanned() >= self.durable.seq
            && *self.news.borrow() > self.durable.seq
    }

    pub(super) fn wants_note(&self) -> bool {
        let Advance { dropped, refused, delivered, .. } = &self.note;
        let moved = self.outbox.cursor() > self.noted || *dropped > 0;
        self.noting.is_none() && (moved || !refused.is_empty() || !delivered.is_empty())
    }

    pub(super) fn settle(&mut self, settled: Settled) {
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
    pub(super) fn ask_engine(&mut self, now: Duration) {
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

    pub(super) fn noted(&mut self, answer: Option<(Noted, Vec<Arc<str>>)>) {
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

    pub(super) fn store_failed(&mut self, why: &str) {
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

    /// Notes what is delivered, and ends without waiting for the network.
    pub(super) async fn end(mut self) {
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

/// The answer to what is being noted; never, where nothing is.
pub(super) async fn noted(
    noting: &mut Option<(oneshot::Receiver<Noted>, Vec<Arc<str>>)>,
) -> Option<(Noted, Vec<Arc<str>>)> {
    let Some((answer, _)) = noting else {
        return std::future::pending().await;
    };
    let answer = answer.await;
    let (_, held) = noting.take()?;
    Some((answer.ok()?, held))
}
