//! Commits the cursor and dead letters of a sink through the engine, one update at a time. Decides
//! what is committed, not when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::error;

use crate::core::time::Timestamp;
use crate::delivery::context::SinkContext;
use crate::delivery::dispatcher::Settled;
use crate::engine::sinks::{RejectedUpdate, SinkCommand, SinkError};
use crate::store::{CursorUpdate, RejectedEvent};
use crate::wire::delivery::WEBHOOK_SINK;

/// Maximum time between a delivery and the commit of the cursor. After a crash, events delivered
/// since the last commit are sent again.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// Progress that is not committed yet.
pub(crate) struct CursorCommit {
    /// Progress since the update in flight, or since the last one.
    pending: CursorUpdate,
    /// Partitions that are blocked until `pending` is committed.
    pending_partitions: Vec<Arc<str>>,
    in_flight: Option<InFlightCommit>,
    /// Cursor of the last update that was committed or is in flight; 0 after a failed one.
    committed_cursor: u64,
    next_commit_at: Duration,
}

struct InFlightCommit {
    reply: oneshot::Receiver<Result<(), RejectedUpdate>>,
    /// Partitions that are blocked until this is committed.
    partitions: Vec<Arc<str>>,
}

impl CursorCommit {
    /// Creates a state in which the cursor is committed.
    pub(crate) fn new(committed_cursor: u64, now: Duration) -> Self {
        Self {
            pending: CursorUpdate::default(),
            pending_partitions: Vec::new(),
            in_flight: None,
            committed_cursor,
            next_commit_at: now,
        }
    }

    /// Adds settled events to the next update.
    pub(crate) fn record_settled(&mut self, settled: Settled) {
        let rejected_at = Timestamp::from(SystemTime::now());
        if settled.dropped > 0 {
            let events = settled.dropped;
            error!(sink = WEBHOOK_SINK, events, "retention deleted events that were not delivered");
            self.pending.dropped += events;
        }
        for event in settled.rejected {
            error!(
                sink = WEBHOOK_SINK,
                seq = event.seq,
                attempts = event.attempts,
                error = &*event.reason,
                "event rejected permanently, moved to dead letters; see `dossierd delivery list`"
            );
            self.pending.rejected.push(RejectedEvent {
                seq: event.seq,
                tries: event.attempts,
                rejected_at,
                error: event.reason.to_string(),
            });
        }
        self.pending.redelivered.extend(settled.redelivered);
        self.pending_partitions.extend(settled.blocked_partitions);
    }

    /// Returns true if an update was sent and not answered yet.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Returns true if there is progress to commit and no update is in flight. `cursor` is the
    /// dispatcher's.
    pub(crate) fn is_needed(&self, cursor: u64) -> bool {
        let CursorUpdate { dropped, rejected, redelivered, .. } = &self.pending;
        let has_moved = cursor > self.committed_cursor || *dropped > 0;
        self.in_flight.is_none() && (has_moved || !rejected.is_empty() || !redelivered.is_empty())
    }

    /// Returns true if partitions are blocked until the next update is committed.
    pub(crate) fn blocks_partitions(&self) -> bool {
        !self.pending_partitions.is_empty()
    }

    /// Returns the time from which the next update may be sent.
    pub(crate) fn next_commit_at(&self) -> Duration {
        self.next_commit_at
    }

    /// Sends the next update to the engine. If the engine's queue is full, the update is kept.
    pub(crate) fn start(
        &mut self,
        context: &SinkContext,
        instance: &Arc<str>,
        cursor: u64,
        now: Duration,
    ) {
        self.next_commit_at = now + COMMIT_INTERVAL;
        let update = Box::new(CursorUpdate { cursor, ..std::mem::take(&mut self.pending) });
        let copy = (*update).clone();
        let instance = Arc::clone(instance);
        let sink = WEBHOOK_SINK;
        let reply =
            context.send_command(|reply| SinkCommand::Advance { sink, instance, update, reply });
        match reply {
            Some(reply) => {
                self.committed_cursor = cursor;
                let partitions = std::mem::take(&mut self.pending_partitions);
                self.in_flight = Some(InFlightCommit { reply, partitions });
            }
            None => self.pending = copy,
        }
    }

    /// Waits for the reply to the update in flight, forever if there is none. Returns the partitions
    /// to unblock. After an error the update is part of the next one.
    ///
    /// Cancel safe: an update whose reply was not received stays in flight.
    pub(crate) async fn finish(&mut self) -> Result<Vec<Arc<str>>, SinkError> {
        let reply = match &mut self.in_flight {
            Some(in_flight) => (&mut in_flight.reply).await,
            None => std::future::pending().await,
        };
        let partitions = self.in_flight.take().map(|commit| commit.partitions).unwrap_or_default();
        match reply {
            Ok(Ok(())) => Ok(partitions),
            Ok(Err(RejectedUpdate { update, error })) => {
                let since = std::mem::replace(&mut self.pending, *update);
                self.pending.dropped += since.dropped;
                self.pending.rejected.extend(since.rejected);
                self.pending.redelivered.extend(since.redelivered);
                self.pending_partitions.extend(partitions);
                self.committed_cursor = 0;
                Err(error)
            }
            Err(_) => Err(SinkError::EngineStopped),
        }
    }
}
