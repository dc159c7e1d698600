//! How old the events of the journal are, for retention: pure.
//!
//! The wall clock may be wrong for a while, so an age is the time that is known to have passed since
//! (`docs/specification.md#age-of-events`). While this process runs, a clock counts that cannot be set.
//! What was committed before is known by the times of its events: the differences between them count, but
//! not one so large that it may be a step of the clock.

use std::time::Duration;

/// A difference between the times of two successive events counts if it is at most this part of the maximum
/// age.
const MAX_GAP_DIVISOR: u64 = 8;
/// Number of events before the start of which the times are examined.
const MAX_SAMPLES: u64 = 512;
/// Minimum time between two marks.
const MARK_INTERVAL: Duration = Duration::from_mins(1);
/// Maximum number of marks; beyond it every second one is removed.
const MAX_MARKS: usize = 1_024;

/// What is known of the ages of events.
#[derive(Debug, Default)]
pub(super) struct JournalAges {
    /// `None` before the first event or pruning of this run.
    start: Option<Start>,
    /// Ages of the events before the start, by number, and the maximum age for which they hold.
    earlier: Option<(Duration, Vec<AgedEvent>)>,
    /// By number: events up to it were committed by that time.
    marks: Vec<(u64, Duration)>,
}

/// The beginning of this run.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Number of the last event.
    seq: u64,
    wall_ms: i64,
    uptime: Duration,
}

/// The time of an event: its number and its wall clock time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventTime {
    pub(super) seq: u64,
    pub(super) emitted_ms: i64,
}

/// An event before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AgedEvent {
    /// Its time, but no later than that of any later event.
    time: EventTime,
    /// Its age at the start in milliseconds.
    age_ms: i64,
}

/// Which events are too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AgeLimit {
    /// Those up to this number.
    through: u64,
    /// Of those between `through` and this number, the ones up to `before_ms`.
    until: u64,
    before_ms: i64,
}

impl AgeLimit {
    /// Returns true if an event is too old.
    pub(super) fn is_expired(&self, event: EventTime) -> bool {
        event.seq <= self.through || event.seq < self.until && event.emitted_ms <= self.before_ms
    }
}

impl JournalAges {
    /// Records that events up to `seq` are committed. `uptime` is of a clock that cannot be set.
    pub(super) fn note(&mut self, seq: u64, wall_ms: i64, uptime: Duration) {
        self.start.get_or_insert(Start { seq, wall_ms, uptime });
        let is_new = self
            .marks
            .last()
            .is_none_or(|(marked, at)| *marked < seq && at.saturating_add(MARK_INTERVAL) <= uptime);
        if is_new {
            self.marks.push((seq, uptime));
        }
        if self.marks.len() > MAX_MARKS {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
    }

    /// Returns the numbers of the events whose times are to be passed to [`Self::set_earlier`] before
    /// the ages are used; none if that was done. `oldest` is the oldest event in the journal.
    pub(super) fn samples(&self, oldest: u64, max_age: Duration) -> Vec<u64> {
        let is_done = self.earlier.as_ref().is_some_and(|(known, _)| *known == max_age);
        let Some(last) = self.start.map(|start| start.seq).filter(|last| *last >= oldest) else {
            return Vec::new();
        };
        if is_done {
            return Vec::new();
        }
        let stride = (last - oldest) / MAX_SAMPLES + 1;
        let step = usize::try_from(stride).unwrap_or(usize::MAX);
        let samples = (oldest..last).step_by(step);
        samples.chain([last]).collect()
    }

    /// Records the times of the events before the start, by number.
    pub(super) fn set_earlier(&mut self, times: &[EventTime], max_age: Duration) {
        let now = self.start.map_or(0, |start| start.wall_ms);
        let max_gap = millis(max_age) / MAX_GAP_DIVISOR.cast_signed();
        self.earlier = Some((max_age, ages(times, now, max_gap)));
    }

    /// Returns which events are older than `max_age`.
    pub(super) fn limit(&self, max_age: Duration, uptime: Duration) -> AgeLimit {
        let Some(start) = self.start else {
            return AgeLimit::default();
        };
        let marked = self.marks.iter().rev().find(|(_, at)| uptime.saturating_sub(*at) >= max_age);
        let through = marked.map_or(0, |(seq, _)| *seq);
        let passed = millis(uptime.saturating_sub(start.uptime));
        let left =
            |event: &AgedEvent| millis(max_age).saturating_sub(event.age_ms).saturating_sub(passed);
        let events = self.earlier.as_ref().map_or(&[][..], |(_, events)| events);
        let expired = events.partition_point(|event| left(event) <= 0);
        let last = expired.checked_sub(1).map_or(0, |index| events[index].time.seq);
        let mut limit = AgeLimit { through: through.max(last), ..AgeLimit::default() };
        if let Some(next) = events.get(expired)
            && left(next) <= millis(max_age) / MAX_GAP_DIVISOR.cast_signed()
        {
            limit.until = next.time.seq;
            limit.before_ms = next.time.emitted_ms.saturating_sub(left(next));
        }
        limit
    }
}

/// Returns the ages of events at the time `now`: the sum of the differences to the next one that are at most
/// `max_gap`. A time that is later than that of a later event is wrong.
fn ages(times: &[EventTime], now: i64, max_gap: i64) -> Vec<AgedEvent> {
    let (mut later, mut age_ms) = (now, 0_i64);
    let mut ages = Vec::with_capacity(times.len());
    for EventTime { seq, emitted_ms } in times.iter().rev().copied() {
        let emitted_ms = emitted_ms.min(later);
        let gap = later.saturating_sub(emitted_ms);
        if gap <= max_gap {
            age_ms = age_ms.saturating_add(gap);
        }
        later = emitted_ms;
        ages.push(AgedEvent { time: EventTime { seq, emitted_ms }, age_ms });
    }
    ages.reverse();
    ages
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn days(count: u64) -> Duration {
        Duration::from_hours(24 * count)
    }

    /// Returns the number of events that are older than 30 days: `emitted` are the days of those that
    /// were committed before the start, which is at `now`; then the process runs for `running` days.
    fn expired(emitted: &[i64], now: i64, running: u64) -> u64 {
        let times = (1..).zip(emitted);
        let times: Vec<EventTime> =
            times.map(|(seq, day)| EventTime { seq, emitted_ms: day * DAY }).collect();
        let last = emitted.len() as u64;
        let mut ages = JournalAges::default();
        let uptime = days(1_000);
        ages.note(last, now * DAY, uptime);
        assert_eq!(ages.samples(1, days(30)).len(), emitted.len());
        ages.set_earlier(&times, days(30));
        assert_eq!(ages.samples(1, days(30)), [0; 0]);
        let limit = ages.limit(days(30), uptime + days(running));
        times.iter().take_while(|event| limit.is_expired(**event)).count() as u64
    }

    #[test]
    fn age_is_the_time_that_is_known_to_have_passed() {
        let daily: Vec<i64> = (100..140).collect();
        let with = |index: usize, day: i64| {
            let mut changed = daily.clone();
            changed[index] = day;
            changed
        };
        for (emitted, now, running, count) in [
            // Days 100 to 110 are 30 days old on day 140; each day more is another one.
            (daily.clone(), 140, 0, 11),
            (daily.clone(), 140, 5, 16),
            (daily.clone(), 140, 40, 40),
            // The clock is 60 days ahead, or has gone back, when the process starts.
            (daily.clone(), 200, 0, 10),
            (daily.clone(), 100, 0, 0),
            (daily.clone(), 0, 0, 0),
            (daily.clone(), 0, 30, 40),
            // One event is of a wrong time.
            (with(5, 10_000), 140, 0, 11),
            (with(0, 10_000), 140, 0, 11),
            (with(5, 0), 140, 0, 11),
            (with(39, 10_000), 140, 0, 11),
            // No daemon ran for long.
            (vec![0, 1, 2, 100], 101, 0, 0),
            (vec![0, 1, 2, 100], 101, 27, 1),
            (vec![], 101, 99, 0),
        ] {
            assert_eq!(expired(&emitted, now, running), count, "{emitted:?} {now} {running}");
        }
    }

    #[test]
    fn events_of_this_run_age_by_the_clock_that_cannot_be_set() {
        let mut ages = JournalAges::default();
        let hour = Duration::from_hours(1);
        for (seq, wall, uptime) in [(5, 0, 1), (6, 90, 2), (7, -90, 3), (7, 0, 4)] {
            ages.note(seq, wall * DAY, hour * uptime);
        }
        let last = |uptime: u32| ages.limit(hour, hour * uptime).through;
        assert_eq!([last(1), last(2), last(3), last(4), last(9)], [0, 5, 6, 7, 7]);
    }

    #[test]
    fn few_samples_of_many_events_find_the_exact_limit() {
        let mut ages = JournalAges::default();
        let count = 100_000;
        let time = |seq: u64| EventTime { seq, emitted_ms: seq.cast_signed() * 60_000 };
        ages.note(count, time(count).emitted_ms, Duration::ZERO);
        let max_age = Duration::from_hours(100);
        let samples = ages.samples(1, max_age);
        assert!(samples.len() <= 513, "{}", samples.len());
        assert_eq!(samples.last(), Some(&count));
        let times: Vec<EventTime> = samples.into_iter().map(time).collect();
        ages.set_earlier(&times, max_age);
        let limit = ages.limit(max_age, Duration::ZERO);
        let expired = (1..=count).take_while(|seq| limit.is_expired(time(*seq))).count() as u64;
        assert_eq!(expired, count - 100 * 60);
    }

    #[test]
    fn number_of_marks_is_bounded() {
        let mut ages = JournalAges::default();
        for minute in 0..10_000_u32 {
            ages.note(u64::from(minute), 0, Duration::from_mins(minute.into()));
        }
        assert!(ages.marks.len() <= MAX_MARKS);
        assert!(ages.marks.is_sorted());
    }
}
