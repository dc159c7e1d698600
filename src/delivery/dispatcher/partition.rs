//! A partition: the queue of one feature's events, which are delivered in order. Knows nothing of
//! other partitions; the dispatcher indexes them.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// The undelivered events of one feature.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// Numbers of events, in order; only redelivered dead letters are out of it.
    pub(crate) queue: VecDeque<u64>,
    /// Number of events at the front that are in flight.
    pub(crate) in_flight: usize,
    /// Failed attempts to deliver the first event.
    pub(crate) attempts: u32,
    /// Those of the attempts that the receiver rejected.
    pub(crate) rejections: u32,
    /// Time of the next attempt; meaningful if `attempts` is not 0.
    pub(crate) retry_at: Duration,
    /// Number of events at the front that are sent one by one, because a batch with them failed.
    pub(crate) singles_remaining: usize,
    /// True while a dead letter of this partition is not committed: nothing is sent until then.
    pub(crate) awaiting_dead_letter_ack: bool,
}

impl Partition {
    /// Inserts an event by its number, behind those in flight.
    pub(crate) fn insert_sorted(&mut self, seq: u64) {
        let later =
            self.queue.iter().skip(self.in_flight).rev().take_while(|at| **at > seq).count();
        self.queue.insert(self.queue.len() - later, seq);
    }

    /// Removes events that are not in flight. Returns those that were removed.
    pub(crate) fn remove(&mut self, seqs: &HashSet<u64>) -> Vec<u64> {
        let head = self.queue.front().copied();
        let (mut index, mut removed) = (0, Vec::new());
        self.queue.retain(|seq| {
            index += 1;
            let keep = index <= self.in_flight || !seqs.contains(seq);
            if !keep {
                removed.push(*seq);
            }
            keep
        });
        if self.queue.front().copied() != head {
            self.advance(0);
        }
        removed
    }

    /// Resets the state of the first event, after `settled` events were removed from the front.
    pub(crate) fn advance(&mut self, settled: usize) {
        *self = Self {
            queue: std::mem::take(&mut self.queue),
            singles_remaining: self.singles_remaining.saturating_sub(settled),
            awaiting_dead_letter_ack: self.awaiting_dead_letter_ack,
            ..Self::default()
        };
    }
}
