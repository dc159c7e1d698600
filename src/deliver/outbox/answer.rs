//! What follows from how a parcel fared.

use std::sync::Arc;
use std::time::Duration;

use super::{LANES_FAILING, Outbox, Outcome, Parcel, Rejected};

impl Outbox {
    /// A parcel fared so; `chance` is from 0 to 1.
    pub(in crate::deliver) fn ended(
        &mut self,
        number: u64,
        outcome: &Outcome,
        now: Duration,
        chance: f64,
    ) {
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        if *outcome == Outcome::Taken {
            self.failing.clear();
            for (name, count) in &flight.lanes {
                self.taken(name, *count);
            }
            if std::mem::take(&mut self.pauses) > 0 {
                self.paused_until = now;
                self.end_waits(now);
            }
            return;
        }
        let batch = flight.lanes.iter().map(|(_, count)| count).sum::<usize>() > 1;
        for (name, count) in &flight.lanes {
            let Some(lane) = self.lanes.get_mut(name) else {
                continue;
            };
            lane.busy = 0;
            if batch && !matches!(outcome, Outcome::Unreachable(..)) {
                lane.alone = lane.alone.max(*count);
            }
            match outcome {
                Outcome::Refused(_) if batch => {}
                Outcome::Refused(why) => self.refused(name, why, now, chance),
                Outcome::Failed(_, asked) => {
                    lane.tries = lane.tries.saturating_add(1);
                    lane.not_before = now + self.limits.backoff.pause(lane.tries, chance, *asked);
                }
                Outcome::Unreachable(..) | Outcome::Taken => {}
            }
            self.list(name);
            if self.failing.len() < LANES_FAILING {
                self.failing.insert(Arc::clone(name));
            }
        }
        let asked = match outcome {
            Outcome::Unreachable(_, asked) => Some(*asked),
            _ if self.failing.len() >= LANES_FAILING && !batch => Some(None),
            _ => None,
        };
        if let Some(asked) = asked {
            // What was sent before a pause proves nothing new.
            if flight.pauses_before == self.pauses_made {
                self.pauses = self.pauses.saturating_add(1);
                self.pauses_made += 1;
            }
            let pause = self.limits.backoff.pause(self.pauses.max(1), chance, asked);
            self.paused_until = self.paused_until.max(now + pause);
        }
    }

    /// Events of a parcel are not there any more; the rest of it, if any, is still to be sent.
    pub(in crate::deliver) fn missing(&mut self, parcel: &mut Parcel, missing: &[u64]) {
        let Some(flight) = self.flights.get_mut(&parcel.number) else {
            return;
        };
        let mut emptied = Vec::new();
        for (name, count) in &mut flight.lanes {
            let Some(lane) = self.lanes.get_mut(name) else {
                continue;
            };
            let before = lane.queue.len();
            lane.queue.retain(|seq| !missing.contains(seq));
            *count = count.saturating_sub(before - lane.queue.len());
            lane.busy = *count;
            if *count == 0 {
                emptied.push(Arc::clone(name));
            }
        }
        flight.lanes.retain(|(_, count)| *count > 0);
        if flight.lanes.is_empty() {
            self.flights.remove(&parcel.number);
        }
        parcel.seqs.retain(|seq| !missing.contains(seq));
        for seq in missing {
            if !self.again.remove(seq) && self.pending.remove(seq).is_some() {
                self.settled.dropped += 1;
            }
        }
        for name in emptied {
            self.list(&name);
        }
    }

    fn taken(&mut self, name: &Arc<str>, count: usize) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        for seq in lane.queue.drain(..count) {
            if self.again.remove(&seq) {
                self.set_aside = self.set_aside.saturating_sub(1);
                self.settled.redelivered.push(seq);
            } else {
                self.pending.remove(&seq);
            }
        }
        lane.begin(count);
        self.list(name);
    }

    fn refused(&mut self, name: &Arc<str>, why: &Arc<str>, now: Duration, chance: f64) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        lane.tries = lane.tries.saturating_add(1);
        lane.refusals = lane.refusals.saturating_add(1);
        lane.not_before = now + self.limits.backoff.pause(lane.tries, chance, None);
        let Some(seq) = lane.queue.front().copied() else {
            return;
        };
        let again = self.again.contains(&seq);
        let full = self.set_aside >= self.limits.set_aside && !again;
        if lane.refusals < self.limits.refusals || full {
            return;
        }
        lane.queue.pop_front();
        let rejected = Rejected { seq, tries: lane.tries, why: Arc::clone(why) };
        lane.begin(1);
        lane.held = true;
        if !self.again.remove(&seq) {
            self.pending.remove(&seq);
            self.set_aside += 1;
        }
        self.settled.rejected.push(rejected);
        self.settled.held.push(Arc::clone(name));
    }
}
