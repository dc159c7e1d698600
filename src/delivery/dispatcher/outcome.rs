//! What follows from how a parcel fared.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::dispatcher::{
    CIRCUIT_FAILURE_THRESHOLD, Dispatcher, NewDeadLetter, Outcome, OutgoingBatch,
};

impl Dispatcher {
    /// A parcel fared so; `chance` is from 0 to 1.
    pub(crate) fn on_outcome(
        &mut self,
        number: u64,
        outcome: &Outcome,
        now: Duration,
        chance: f64,
    ) {
        let Some(flight) = self.in_flight.remove(&number) else {
            return;
        };
        if *outcome == Outcome::Accepted {
            self.failing_partitions.clear();
            for (name, count) in &flight.partitions {
                self.on_accepted(name, *count);
            }
            if std::mem::take(&mut self.consecutive_circuit_opens) > 0 {
                self.circuit_open_until = now;
                self.clear_backoffs(now);
            }
            return;
        }
        let batch = flight.partitions.iter().map(|(_, count)| count).sum::<usize>() > 1;
        for (name, count) in &flight.partitions {
            let Some(lane) = self.partitions.get_mut(name) else {
                continue;
            };
            lane.in_flight = 0;
            if batch && !matches!(outcome, Outcome::Unavailable(..)) {
                lane.singles_remaining = lane.singles_remaining.max(*count);
            }
            match outcome {
                Outcome::Rejected(_) if batch => {}
                Outcome::Rejected(why) => self.on_rejected(name, why, now, chance),
                Outcome::RetryLater(_, asked) => {
                    lane.attempts = lane.attempts.saturating_add(1);
                    lane.retry_at = now + self.limits.backoff.delay(lane.attempts, chance, *asked);
                }
                Outcome::Unavailable(..) | Outcome::Accepted => {}
            }
            self.index_partition(name);
            if self.failing_partitions.len() < CIRCUIT_FAILURE_THRESHOLD {
                self.failing_partitions.insert(Arc::clone(name));
            }
        }
        let asked = match outcome {
            Outcome::Unavailable(_, asked) => Some(*asked),
            _ if self.failing_partitions.len() >= CIRCUIT_FAILURE_THRESHOLD && !batch => Some(None),
            _ => None,
        };
        if let Some(asked) = asked {
            // What was sent before a pause proves nothing new.
            if flight.circuit_opens_before == self.circuit_opens {
                self.consecutive_circuit_opens = self.consecutive_circuit_opens.saturating_add(1);
                self.circuit_opens += 1;
            }
            let pause =
                self.limits.backoff.delay(self.consecutive_circuit_opens.max(1), chance, asked);
            self.circuit_open_until = self.circuit_open_until.max(now + pause);
        }
    }

    /// Events of a parcel are not there any more; the rest of it, if any, is still to be sent.
    pub(crate) fn remove_missing(&mut self, parcel: &mut OutgoingBatch, missing: &[u64]) {
        let Some(flight) = self.in_flight.get_mut(&parcel.id) else {
            return;
        };
        let mut emptied = Vec::new();
        for (name, count) in &mut flight.partitions {
            let Some(lane) = self.partitions.get_mut(name) else {
                continue;
            };
            let before = lane.queue.len();
            lane.queue.retain(|seq| !missing.contains(seq));
            *count = count.saturating_sub(before - lane.queue.len());
            lane.in_flight = *count;
            if *count == 0 {
                emptied.push(Arc::clone(name));
            }
        }
        flight.partitions.retain(|(_, count)| *count > 0);
        if flight.partitions.is_empty() {
            self.in_flight.remove(&parcel.id);
        }
        parcel.seqs.retain(|seq| !missing.contains(seq));
        for seq in missing {
            if !self.redeliveries.remove(seq) && self.pending.remove(seq).is_some() {
                self.settled.dropped += 1;
            }
        }
        for name in emptied {
            self.index_partition(&name);
        }
    }

    fn on_accepted(&mut self, name: &Arc<str>, count: usize) {
        let Some(lane) = self.partitions.get_mut(name) else {
            return;
        };
        for seq in lane.queue.drain(..count) {
            if self.redeliveries.remove(&seq) {
                self.dead_letter_count = self.dead_letter_count.saturating_sub(1);
                self.settled.redelivered.push(seq);
            } else {
                self.pending.remove(&seq);
            }
        }
        lane.advance(count);
        self.index_partition(name);
    }

    fn on_rejected(&mut self, name: &Arc<str>, why: &Arc<str>, now: Duration, chance: f64) {
        let Some(lane) = self.partitions.get_mut(name) else {
            return;
        };
        lane.attempts = lane.attempts.saturating_add(1);
        lane.rejections = lane.rejections.saturating_add(1);
        lane.retry_at = now + self.limits.backoff.delay(lane.attempts, chance, None);
        let Some(seq) = lane.queue.front().copied() else {
            return;
        };
        let again = self.redeliveries.contains(&seq);
        let full = self.dead_letter_count >= self.limits.max_dead_letters && !again;
        if lane.rejections < self.limits.max_rejections || full {
            return;
        }
        lane.queue.pop_front();
        let rejected = NewDeadLetter { seq, attempts: lane.attempts, reason: Arc::clone(why) };
        lane.advance(1);
        lane.awaiting_dead_letter_ack = true;
        if !self.redeliveries.remove(&seq) {
            self.pending.remove(&seq);
            self.dead_letter_count += 1;
        }
        self.settled.rejected.push(rejected);
        self.settled.blocked_partitions.push(Arc::clone(name));
    }
}
