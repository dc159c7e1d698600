//! What a round asks of the store's one writer: a barrier before more is sent, and a note of what was
//! settled.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::core::error::error_chain;
use crate::core::time::Timestamp;
use crate::delivery::WEBHOOK_SINK;
use crate::delivery::dispatcher::Settled;
use crate::delivery::session::{DeliverySession, STORE_RETRY_INTERVAL};
use crate::engine::outbox::{RejectedUpdate, SinkCommand, SinkError, SinkHealth};
use crate::store::{CursorUpdate, RejectedEvent};

/// What is committed is made durable at most so often, and only while something waits for it.
const BARRIER_INTERVAL: Duration = Duration::from_millis(20);
/// What is delivered is noted at least so often.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// How long an end may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) type CommitResult = Result<(), RejectedUpdate>;

impl DeliverySession<'_> {
    pub(crate) fn needs_barrier(&self, now: Duration) -> bool {
        self.pending_barrier.is_none()
            && self.dispatcher.has_send_capacity(now)
            && self.dispatcher.scanned() >= self.durable.seq
            && *self.seq_updates.borrow() > self.durable.seq
    }

    pub(crate) fn needs_commit(&self) -> bool {
        let CursorUpdate { dropped, rejected: refused, redelivered: delivered, .. } =
            &self.pending_update;
        let moved = self.dispatcher.cursor() > self.committed_cursor || *dropped > 0;
        self.commit_in_flight.is_none() && (moved || !refused.is_empty() || !delivered.is_empty())
    }

    pub(crate) fn record_settled(&mut self, settled: Settled) {
        let at = Timestamp::from(SystemTime::now());
        if settled.dropped > 0 {
            let events = settled.dropped;
            error!(sink = WEBHOOK_SINK, events, "dropped by the journal's retention, undelivered");
            self.context.report.dropped += events;
            self.pending_update.dropped += events;
        }
        for event in settled.rejected {
            error!(
                sink = WEBHOOK_SINK,
                seq = event.seq,
                tries = event.attempts,
                why = &*event.reason,
                "refused for good and set aside; see `dossierd delivery list`"
            );
            let error = event.reason.to_string();
            self.pending_update.rejected.push(RejectedEvent {
                seq: event.seq,
                tries: event.attempts,
                rejected_at: at,
                error,
            });
        }
        self.pending_update.redelivered.extend(settled.redelivered);
        self.pending_partitions.extend(settled.blocked_partitions);
    }

    /// Asks for what is to be durable or noted, where it is time for that.
    pub(crate) fn send_commands(&mut self, now: Duration) {
        if now < self.store_retry_at {
            return;
        }
        if self.needs_barrier(now) && now >= self.next_barrier_at {
            self.next_barrier_at = now + BARRIER_INTERVAL;
            self.pending_barrier =
                self.context.send_command(|reply| SinkCommand::Barrier { reply });
        }
        let urgent = self.dead_letters_changed
            || !self.pending_partitions.is_empty()
            || self.in_flight.is_empty();
        if self.needs_commit() && (now >= self.next_commit_at || urgent) {
            self.start_commit(now);
        }
    }

    fn start_commit(&mut self, now: Duration) {
        self.next_commit_at = now + COMMIT_INTERVAL;
        let cursor = self.dispatcher.cursor();
        let update = Box::new(CursorUpdate { cursor, ..std::mem::take(&mut self.pending_update) });
        let copy = (*update).clone();
        let instance = Arc::clone(&self.durable.instance);
        let asked = self.context.send_command(|reply| SinkCommand::Advance {
            sink: WEBHOOK_SINK,
            instance,
            update,
            reply,
        });
        match asked {
            Some(answer) => {
                self.committed_cursor = cursor;
                self.commit_in_flight =
                    Some((answer, std::mem::take(&mut self.pending_partitions)));
            }
            None => self.pending_update = copy,
        }
    }

    pub(crate) fn on_committed(&mut self, answer: Option<(CommitResult, Vec<Arc<str>>)>) {
        match answer {
            Some((Ok(()), held)) => self.dispatcher.unblock_partitions(&held),
            Some((Err(RejectedUpdate { update, error }), held)) => {
                // Once more, with what has come since.
                let since = std::mem::replace(&mut self.pending_update, *update);
                self.pending_update.dropped += since.dropped;
                self.pending_update.rejected.extend(since.rejected);
                self.pending_update.redelivered.extend(since.redelivered);
                self.pending_partitions.extend(held);
                self.committed_cursor = 0;
                self.on_store_error(&error);
            }
            None => self.on_store_error(&SinkError::EngineStopped),
        }
    }

    pub(crate) fn on_store_error(&mut self, error: &SinkError) {
        let why = error_chain(error);
        let now = self.context.elapsed();
        self.store_retry_at = now + STORE_RETRY_INTERVAL;
        let report = &mut self.context.report;
        report.health = SinkHealth::Retrying;
        if report.last_error.as_deref() != Some(&*why) {
            warn!(sink = WEBHOOK_SINK, why, "the store cannot be used; it is tried again");
            report.last_error = Some(why.into());
        }
        self.schedule_publish(now);
    }

    /// Notes what is delivered, and ends without waiting for the network.
    pub(crate) async fn shut_down(mut self) {
        while let Some(ended) = self.in_flight.try_join_next() {
            self.on_send_finished(ended);
        }
        self.in_flight.abort_all();
        let settled = self.dispatcher.take_settled();
        self.record_settled(settled);
        let all = async {
            if self.commit_in_flight.is_some() {
                let answer = receive_commit(&mut self.commit_in_flight).await;
                self.on_committed(answer);
            }
            if self.needs_commit() {
                self.start_commit(self.context.elapsed());
                receive_commit(&mut self.commit_in_flight).await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, all).await;
    }
}

/// The answer to what is being noted; never, where nothing is.
pub(crate) async fn receive_commit(
    noting: &mut Option<(oneshot::Receiver<CommitResult>, Vec<Arc<str>>)>,
) -> Option<(CommitResult, Vec<Arc<str>>)> {
    let Some((answer, _)) = noting else {
        return std::future::pending().await;
    };
    let answer = answer.await;
    let (_, held) = noting.take()?;
    Some((answer.ok()?, held))
}
