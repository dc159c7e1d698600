//! Tests of pages, filters and retention of the journal.

use proptest::prelude::*;

use super::*;

#[test]
fn retention_by_age_deletes_older_events() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 3, at(0));
    store.note_time(time(0));
    events(&mut store, "1", 2, at(500_000));
    store.note_time(time(500_000));
    let mut reader = store.journal().reader();
    let hour = Duration::from_hours(1);
    assert_eq!(store.prune(hour, u64::MAX, time(500_000)).unwrap(), PruneResult::default());
    let minute = Duration::from_mins(1);
    assert_eq!(store.prune(minute, u64::MAX, time(500_000)).unwrap().events, 3);
    assert_eq!(store.prune(minute, u64::MAX, time(500_000)).unwrap().events, 0);
    assert_eq!(reader.oldest_seq().unwrap(), 4);
    let page = reader.page(0, 9, &EventFilter::default()).unwrap();
    assert_eq!((seqs(&page), page.last_scanned), (vec![4, 5], 5));
    for (after, has_gap) in [(0, true), (2, true), (3, false), (4, false), (9, false)] {
        assert_eq!(
            reader.page(after, 9, &EventFilter::default()).unwrap().has_gap,
            has_gap,
            "after {after}"
        );
    }
    assert_eq!(store.prune(minute, u64::MAX, time(900_000)).unwrap().events, 2);
    assert_eq!(reader.oldest_seq().unwrap(), 6);
    for (after, has_gap) in [(0, true), (4, true), (5, false)] {
        let page = reader.page(after, 9, &EventFilter::default()).unwrap();
        assert_eq!((page.last_scanned, page.has_gap), (5, has_gap), "after {after}");
    }
    drop(store);
    let mut store = open(&dir);
    assert_eq!(events(&mut store, "1", 1, at(900_000))[0].seq, 6);
}

#[test]
fn clock_that_is_wrong_for_an_hour_deletes_no_event() {
    const DAY: i64 = 86_400_000;
    let dir = temp_dir();
    let days = |count: i64| Duration::from_millis((count * DAY).unsigned_abs());
    let max_age = days(30);
    let prune = |store: &mut Store, wall: i64, uptime: i64| {
        let now = StoreTime { wall: at(wall * DAY), uptime: days(uptime) };
        store.prune(max_age, u64::MAX, now).unwrap().events
    };
    let mut store = open(&dir);
    for day in 0..16 {
        events(&mut store, "1", 1, at(day * DAY));
    }
    store.register_sink("webhook").unwrap();
    drop(store);
    // The daemon starts while the clock is 60 days ahead, and commits an event of that time.
    let mut store = open(&dir);
    assert_eq!(prune(&mut store, 76, 0), 0);
    events(&mut store, "1", 1, at(76 * DAY));
    store.note_time(StoreTime { wall: at(76 * DAY), uptime: days(0) });
    assert_eq!(prune(&mut store, 76, 0), 0);
    drop(store);
    // It is right again: neither that event nor the others are old before their time.
    let mut store = open(&dir);
    assert_eq!(prune(&mut store, 16, 0), 0);
    assert_eq!(prune(&mut store, 29, 13), 0);
    assert_eq!(prune(&mut store, 31, 15), 2);
    assert_eq!(store.journal().reader().oldest_seq().unwrap(), 3);
    // A step while it runs changes nothing, in either direction.
    for wall in [91, -60] {
        assert_eq!(prune(&mut store, wall, 15), 0);
    }
    assert_eq!(prune(&mut store, 60, 60), 15, "all, also the event of the future");
}

#[test]
fn retention_by_size_deletes_oldest_events_and_their_tombstones() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let deletion = |name: &str| FeatureChange {
        tombstones: vec![tombstone(name)],
        events: vec![
            missing_event("1", "before"),
            missing_event("1", name),
            indexed_event("1", "after"),
        ],
        ..change("1")
    };
    store.commit(vec![deletion("a"), deletion("b")], at(0)).unwrap();
    let sizes: Vec<u64> = store
        .journal()
        .reader()
        .page(0, 9, &EventFilter::default())
        .unwrap()
        .events
        .iter()
        .map(|event| event.envelope_json.len() as u64)
        .collect();
    let prune = |store: &mut Store, from: usize| {
        let bytes = sizes[from..].iter().sum();
        store.prune(Duration::MAX, bytes, time(1_000_000)).unwrap()
    };
    assert_eq!(prune(&mut store, 0), PruneResult::default());
    assert_eq!(prune(&mut store, 1), PruneResult { events: 1, tombstones: vec![] });
    let pruned = PrunedTombstone { root_id: "00ff".to_owned(), slug: slug("1"), path: path("a") };
    assert_eq!(prune(&mut store, 2), PruneResult { events: 1, tombstones: vec![pruned] });
    assert_eq!(stored(&store)[0].tombstones, [tombstone("b")]);
    assert_eq!(prune(&mut store, 6).events, 4);
    assert_eq!(stored(&store)[0].tombstones, []);
}

#[test]
fn tombstones_are_loaded_in_order_of_deletion() {
    let dir = temp_dir();
    let mut store = open(&dir);
    for name in ["b", "c", "a"] {
        let deletion = FeatureChange {
            tombstones: vec![tombstone(name)],
            events: vec![missing_event("1", name)],
            ..change("1")
        };
        store.commit(vec![deletion], at(0)).unwrap();
    }
    assert_eq!(stored(&store)[0].tombstones, ["b", "c", "a"].map(tombstone));
}

#[test]
fn page_with_a_filter_skips_other_events() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let mixed = |feature| FeatureChange {
        events: vec![indexed_event(feature, "x"), missing_event(feature, "x")],
        ..change(feature)
    };
    let committed = store.commit(vec![mixed("1"), mixed("2")], at(0)).unwrap();
    let mut reader = store.journal().reader();
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let types = texts(&["mission_dossier_artifact_missing"]);
    for (filter, expected, last_scanned) in [
        (EventFilter { types: types.clone(), ..EventFilter::default() }, vec![2, 4], 4),
        (EventFilter { types, features: texts(&["1", "3"]), ..EventFilter::default() }, vec![2], 4),
        (
            EventFilter { root_id: Some("00ff".into()), ..EventFilter::default() },
            vec![1, 2, 3, 4],
            4,
        ),
        (EventFilter { root_id: Some("other".into()), ..EventFilter::default() }, vec![], 4),
        (EventFilter { max_seq: Some(3), ..EventFilter::default() }, vec![1, 2, 3], 3),
        (EventFilter { max_seq: Some(0), ..EventFilter::default() }, vec![], 0),
    ] {
        let page = reader.page(0, 9, &filter).unwrap();
        let matching = committed.events.iter().filter(|event| filter.matches(event));
        let matching: Vec<u64> = matching.map(|event| event.stored.seq).collect();
        assert_eq!(matching, expected, "{filter:?}");
        assert_eq!((seqs(&page), page.last_scanned), (expected, last_scanned), "{filter:?}");
        assert_eq!(reader.page(4, 9, &filter).unwrap().last_scanned, 4);
    }
    let page = reader.page(0, 1, &EventFilter::default()).unwrap();
    assert_eq!((seqs(&page), page.last_scanned), (vec![1], 1));
    assert_eq!(reader.page(70, 9, &EventFilter::default()).unwrap().last_scanned, 70);
}

#[test]
fn page_ends_at_its_limit_of_bytes_and_large_envelopes_are_read_in_parts() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 4, at(0));
    let mut reader = store.journal().reader();
    let all = reader.page(0, 9, &EventFilter::default()).unwrap().events;
    let bytes: Vec<u64> = all.iter().map(|event| event.envelope_json.len() as u64).collect();
    let mut read = |bytes, whole_event| {
        let limits = PageLimits { events: 9, bytes, whole_event };
        let page = reader.bounded_page(0, limits, &EventFilter::default()).unwrap();
        let seqs: Vec<u64> = page.events.iter().map(EventRow::seq).collect();
        assert_eq!(seqs.last(), Some(&page.last_scanned));
        page.events
    };
    for (limit, count) in
        [(0, 1), (bytes[0] + bytes[1] - 1, 1), (bytes[0] + bytes[1], 2), (u64::MAX, 4)]
    {
        assert_eq!(read(limit, u64::MAX).len(), count, "{limit} bytes");
    }
    let large = read(u64::MAX, bytes[0] - 1);
    let expected = LargeEvent { seq: 1, event_type: all[0].event_type.clone(), bytes: bytes[0] };
    assert_eq!(large[0], EventRow::Large(expected));
    let (mut envelope, mut reader) = (Vec::new(), store.journal().reader());
    loop {
        let part = reader.envelope_part(1, envelope.len() as u64, 10).unwrap().unwrap();
        if part.is_empty() {
            break;
        }
        assert!(part.len() <= 10);
        envelope.extend(part);
    }
    assert_eq!(envelope, all[0].envelope_json.as_bytes());
    assert_eq!(reader.envelope_part(99, 0, 10).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pages_of_any_size_contain_all_matching_events(
        features in proptest::collection::vec("[a-c]", 1..40),
        selected in proptest::collection::vec("[a-c]", 0..3),
        limit in 1_usize..9,
        after in 0_u64..40,
    ) {
        let dir = temp_dir();
        let mut store = open(&dir);
        let changes = features.iter().map(|feature| {
            FeatureChange { events: vec![indexed_event(feature, "x")], ..change(feature) }
        });
        store.commit(changes.collect(), at(0)).unwrap();
        let expected: Vec<u64> = (1..)
            .zip(&features)
            .filter(|(_, feature)| selected.is_empty() || selected.contains(feature))
            .map(|(seq, _)| seq)
            .filter(|seq| *seq > after)
            .collect();
        let filter = EventFilter { features: selected, ..EventFilter::default() };
        let (mut reader, mut cursor, mut seqs_read) = (store.journal().reader(), after, Vec::new());
        loop {
            let page = reader.page(cursor, limit, &filter).unwrap();
            prop_assert!(page.events.len() <= limit);
            seqs_read.extend(seqs(&page));
            if page.last_scanned == cursor {
                break;
            }
            cursor = page.last_scanned;
        }
        prop_assert_eq!(seqs_read, expected);
        prop_assert_eq!(cursor, store.seq().max(after));
    }
}
