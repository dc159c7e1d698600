//! Lanes: a feature's events that are to be sent, in order, and where each lane is listed.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::dispatcher::Dispatcher;

/// One feature's.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) queue: VecDeque<u64>,
    /// How many of the first are on their way.
    pub(crate) in_flight: usize,
    /// Tries of the first that failed, and those of them that were refusals.
    pub(crate) attempts: u32,
    pub(crate) rejections: u32,
    pub(crate) retry_at: Duration,
    /// How many of the first go one by one, for together they failed.
    pub(crate) singles_remaining: usize,
    /// Whether what was set aside of it is to be noted first.
    pub(crate) awaiting_dead_letter_ack: bool,
}

impl Dispatcher {
    /// Puts an event into its lane, in order, behind what is on its way.
    pub(crate) fn enqueue(&mut self, seq: u64, name: &str) {
        let name = match self.partitions.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        self.unindex_partition(&name);
        let lane = self.partitions.entry(Arc::clone(&name)).or_default();
        let later =
            lane.queue.iter().skip(lane.in_flight).rev().take_while(|at| **at > seq).count();
        lane.queue.insert(lane.queue.len() - later, seq);
        self.index_partition(&name);
    }

    /// Takes events out that are not on their way; gives how many.
    pub(crate) fn remove_events(&mut self, seqs: &[u64]) -> u64 {
        let gone: HashSet<u64> = seqs.iter().copied().collect();
        let names: Vec<Arc<str>> = self.partitions.keys().cloned().collect();
        let mut forgotten = 0;
        for name in names {
            self.unindex_partition(&name);
            if let Some(lane) = self.partitions.get_mut(&name) {
                let (mut at, busy, head) = (0, lane.in_flight, lane.queue.front().copied());
                lane.queue.retain(|seq| {
                    at += 1;
                    let keep = at <= busy || !gone.contains(seq);
                    if !keep {
                        forgotten += 1;
                        self.pending.remove(seq);
                        self.redeliveries.remove(seq);
                    }
                    keep
                });
                if lane.queue.front().copied() != head {
                    lane.advance(0);
                }
            }
            self.index_partition(&name);
        }
        forgotten
    }

    /// Lets all lanes be tried now.
    pub(crate) fn clear_backoffs(&mut self, now: Duration) {
        for ((_, seq), name) in std::mem::take(&mut self.backing_off) {
            if let Some(lane) = self.partitions.get_mut(&name) {
                lane.retry_at = now;
            }
            self.ready.insert(seq, name);
        }
    }

    /// Lists a lane where it belongs, if nothing of it is on its way; one without events goes.
    pub(crate) fn index_partition(&mut self, name: &Arc<str>) {
        let Some(lane) = self.partitions.get(name) else {
            return;
        };
        match lane.queue.front() {
            _ if lane.in_flight > 0 || lane.awaiting_dead_letter_ack => {}
            None => {
                self.partitions.remove(name);
            }
            Some(seq) if lane.attempts == 0 => {
                self.ready.insert(*seq, Arc::clone(name));
            }
            Some(seq) => {
                self.backing_off.insert((lane.retry_at, *seq), Arc::clone(name));
            }
        }
    }

    fn unindex_partition(&mut self, name: &Arc<str>) {
        if let Some(lane) = self.partitions.get(name)
            && let Some(seq) = lane.queue.front()
            && lane.in_flight == 0
            && !lane.awaiting_dead_letter_ack
        {
            self.ready.remove(seq);
            self.backing_off.remove(&(lane.retry_at, *seq));
        }
    }
}

impl Partition {
    /// Another event is the first, after so many are settled.
    pub(crate) fn advance(&mut self, settled: usize) {
        let alone = self.singles_remaining.saturating_sub(settled);
        let queue = std::mem::take(&mut self.queue);
        *self = Self {
            queue,
            singles_remaining: alone,
            awaiting_dead_letter_ack: self.awaiting_dead_letter_ack,
            ..Self::default()
        };
    }
}
