//! The events that were committed last. A subscriber that has caught up gets them without a read of the
//! journal, which takes another thread and longer than all that the engine does for an edit.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::core::sync::lock;
use crate::store::{CommittedEvent, EventFilter, EventPage};

/// Maximum number of events, and of bytes of their envelopes.
const MAX_EVENTS: usize = 32;
const MAX_BYTES: usize = 32 * 1024;

/// Events with consecutive numbers, up to the last one.
#[derive(Debug, Default)]
pub struct RecentEvents(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    /// Identity of the store.
    instance: String,
    events: VecDeque<CommittedEvent>,
    bytes: usize,
}

impl RecentEvents {
    /// Adds the events of a commit, of which `seq` is the last. If they were not returned, none is
    /// kept.
    pub(in crate::engine) fn add(&self, instance: &str, seq: u64, events: Vec<CommittedEvent>) {
        let mut recent = lock(&self.0);
        let first = events.first().map_or(seq + 1, |event| event.stored.seq);
        if recent.instance != instance || recent.last() != Some(first - 1) {
            *recent = Recent { instance: instance.to_owned(), ..Recent::default() };
        }
        recent.bytes += events.iter().map(len).sum::<usize>();
        recent.events.extend(events);
        while recent.events.len() > MAX_EVENTS || recent.bytes > MAX_BYTES {
            let removed = recent.events.pop_front();
            recent.bytes -= removed.as_ref().map_or(recent.bytes, len);
        }
    }

    /// Returns the events after the number `after` that pass the filter, in the form of a read of the
    /// journal; `None` if that must be read, because they are not all here.
    #[must_use]
    pub fn after(&self, instance: &str, after: u64, filter: &EventFilter) -> Option<EventPage> {
        let recent = lock(&self.0);
        let first = recent.events.front()?.stored.seq;
        let last = recent.last()?.min(filter.max_seq.unwrap_or(u64::MAX));
        if recent.instance != instance || after + 1 < first || after >= last {
            return None;
        }
        let later = recent.events.iter().filter(|event| event.stored.seq > after);
        let events = later.filter(|event| filter.matches(event));
        let events = events.map(|event| event.stored.clone()).collect();
        Some(EventPage { events, last_scanned: last, has_gap: false })
    }
}

impl Recent {
    fn last(&self) -> Option<u64> {
        self.events.back().map(|event| event.stored.seq)
    }
}

fn len(event: &CommittedEvent) -> usize {
    event.stored.envelope_json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::FeatureSlug;
    use crate::store::StoredEvent;

    fn event(seq: u64, len: usize) -> CommittedEvent {
        let feature = if seq.is_multiple_of(2) { "even" } else { "odd" };
        CommittedEvent {
            stored: StoredEvent { seq, event_type: "t".to_owned(), envelope_json: "x".repeat(len) },
            root_id: "r".to_owned(),
            feature: FeatureSlug::new(feature.as_bytes()).unwrap(),
        }
    }

    /// The numbers of the events after a number, and of the last that was examined.
    fn after(recent: &RecentEvents, after: u64, filter: &EventFilter) -> Option<(Vec<u64>, u64)> {
        let page = recent.after("i", after, filter)?;
        assert!(!page.has_gap);
        Some((page.events.iter().map(|event| event.seq).collect(), page.last_scanned))
    }

    #[test]
    fn only_events_that_are_all_here_are_returned() {
        let (recent, all) = (RecentEvents::default(), EventFilter::default());
        let add = |numbers: std::ops::RangeInclusive<u64>, len| {
            recent.add("i", *numbers.end(), numbers.map(|seq| event(seq, len)).collect());
        };
        assert_eq!(after(&recent, 0, &all), None);
        add(5..=6, 1);
        add(7..=8, 1);
        for (from, expected) in [
            (3, None),
            (4, Some((vec![5, 6, 7, 8], 8))),
            (7, Some((vec![8], 8))),
            (8, None),
            (9, None),
        ] {
            assert_eq!(after(&recent, from, &all), expected, "after {from}");
        }
        let even = EventFilter { features: vec!["even".to_owned()], ..EventFilter::default() };
        assert_eq!(after(&recent, 4, &even), Some((vec![6, 8], 8)));
        let until_7 = EventFilter { max_seq: Some(7), ..EventFilter::default() };
        assert_eq!(after(&recent, 5, &until_7), Some((vec![6, 7], 7)));
        assert!(recent.after("other", 4, &all).is_none());
        add(9..=40, 1);
        assert_eq!(after(&recent, 7, &all), None, "at most 32 events");
        assert_eq!(after(&recent, 8, &all).unwrap().0.len(), 32);
        add(41..=43, MAX_BYTES / 2);
        assert_eq!(after(&recent, 41, &all), Some((vec![42, 43], 43)));
        assert_eq!(after(&recent, 40, &all), None, "at most 32 KiB");
        // Events that were not returned, and those of a commit after them.
        recent.add("i", 90, Vec::new());
        assert_eq!(after(&recent, 43, &all), None);
        add(91..=91, 1);
        assert_eq!(after(&recent, 89, &all), None);
        assert_eq!(after(&recent, 90, &all), Some((vec![91], 91)));
        recent.add("j", 92, vec![event(92, 1)]);
        assert!(recent.after("i", 91, &all).is_none());
        assert!(recent.after("j", 91, &all).is_some());
    }
}
