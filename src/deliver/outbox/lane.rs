//! Lanes: a feature's events that are to be sent, in order, and where each lane is listed.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Outbox;

/// One feature's.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) queue: VecDeque<u64>,
    /// How many of the first are on their way.
    pub(super) busy: usize,
    /// Tries of the first that failed, and those of them that were refusals.
    pub(super) tries: u32,
    pub(super) refusals: u32,
    pub(super) not_before: Duration,
    /// How many of the first go one by one, for together they failed.
    pub(super) alone: usize,
    /// Whether what was set aside of it is to be noted first.
    pub(super) held: bool,
}

impl Outbox {
    /// Puts an event into its lane, in order, behind what is on its way.
    pub(super) fn put(&mut self, seq: u64, name: &str) {
        let name = match self.lanes.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        self.unlist(&name);
        let lane = self.lanes.entry(Arc::clone(&name)).or_default();
        let later = lane.queue.iter().skip(lane.busy).rev().take_while(|at| **at > seq).count();
        lane.queue.insert(lane.queue.len() - later, seq);
        self.list(&name);
    }

    /// Takes events out that are not on their way; gives how many.
    pub(super) fn forget(&mut self, seqs: &[u64]) -> u64 {
        let gone: HashSet<u64> = seqs.iter().copied().collect();
        let names: Vec<Arc<str>> = self.lanes.keys().cloned().collect();
        let mut forgotten = 0;
        for name in names {
            self.unlist(&name);
            if let Some(lane) = self.lanes.get_mut(&name) {
                let (mut at, busy, head) = (0, lane.busy, lane.queue.front().copied());
                lane.queue.retain(|seq| {
                    at += 1;
                    let keep = at <= busy || !gone.contains(seq);
                    if !keep {
                        forgotten += 1;
                        self.pending.remove(seq);
                        self.again.remove(seq);
                    }
                    keep
                });
                if lane.queue.front().copied() != head {
                    lane.begin(0);
                }
            }
            self.list(&name);
        }
        forgotten
    }

    /// Lets all lanes be tried now.
    pub(super) fn end_waits(&mut self, now: Duration) {
        for ((_, seq), name) in std::mem::take(&mut self.waiting) {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.not_before = now;
            }
            self.ready.insert(seq, name);
        }
    }

    /// Lists a lane where it belongs, if nothing of it is on its way; one without events goes.
    pub(super) fn list(&mut self, name: &Arc<str>) {
        let Some(lane) = self.lanes.get(name) else {
            return;
        };
        match lane.queue.front() {
            _ if lane.busy > 0 || lane.held => {}
            None => {
                self.lanes.remove(name);
            }
            Some(seq) if lane.tries == 0 => {
                self.ready.insert(*seq, Arc::clone(name));
            }
            Some(seq) => {
                self.waiting.insert((lane.not_before, *seq), Arc::clone(name));
            }
        }
    }

    fn unlist(&mut self, name: &Arc<str>) {
        if let Some(lane) = self.lanes.get(name)
            && let Some(seq) = lane.queue.front()
            && lane.busy == 0
            && !lane.held
        {
            self.ready.remove(seq);
            self.waiting.remove(&(lane.not_before, *seq));
        }
    }
}

impl Lane {
    /// Another event is the first, after so many are settled.
    pub(super) fn begin(&mut self, settled: usize) {
        let alone = self.alone.saturating_sub(settled);
        let queue = std::mem::take(&mut self.queue);
        *self = Self { queue, alone, held: self.held, ..Self::default() };
    }
}
