//! Tests of cursors and dead letters.

use crate::store::tests::*;

fn rejected(seq: u64) -> RejectedEvent {
    RejectedEvent { seq, tries: 5, rejected_at: at(9), error: "HTTP 400 Bad Request".to_owned() }
}

fn update(cursor: u64) -> CursorUpdate {
    CursorUpdate { cursor, ..CursorUpdate::default() }
}

fn dead_letters(store: &Store) -> Vec<(u64, u32, bool)> {
    let all = store.journal().reader().dead_letters("webhook").unwrap();
    all.iter().map(|event| (event.seq, event.tries, event.retry)).collect()
}

#[test]
fn dead_letters_persist_until_delivered_or_tombstone() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let ids: Vec<String> =
        events(&mut store, "1", 4, at(0)).into_iter().map(|event| event.event_id).collect();
    let rejected_update =
        CursorUpdate { rejected: vec![rejected(2), rejected(3), rejected(4)], ..update(4) };
    store.update_cursor("webhook", &rejected_update).unwrap();
    assert_eq!(dead_letters(&store), [(2, 5, false), (3, 5, false), (4, 5, false)]);
    assert_eq!(store.sink_progress("webhook").unwrap().unwrap().dead_letters, 3);

    // Retention deletes the event, not the dead letter.
    store.prune(Duration::ZERO, 0, time(99)).unwrap();
    let mut reader = store.journal().reader();
    assert!(reader.envelope("webhook", 2).unwrap().unwrap().contains(&ids[1]));
    assert_eq!(reader.envelope("webhook", 1).unwrap(), None);
    assert_eq!(reader.envelope("other", 2).unwrap(), None);
    let dead_letter = reader.dead_letters("webhook").unwrap().remove(0);
    assert_eq!(
        (dead_letter.event_id, dead_letter.feature.as_str(), dead_letter.rejected_at),
        (ids[1].clone(), "1", at(9))
    );

    let one = DeadLetterSelector::Ids(vec![ids[1].clone(), "unknown".to_owned()]);
    assert_eq!(store.retry_dead_letters("webhook", &one).unwrap(), 1);
    assert_eq!(dead_letters(&store), [(2, 5, true), (3, 5, false), (4, 5, false)]);
    store
        .update_cursor("webhook", &CursorUpdate { rejected: vec![rejected(2)], ..update(4) })
        .unwrap();
    assert_eq!(dead_letters(&store)[0], (2, 10, false), "rejected again");
    assert_eq!(store.retry_dead_letters("webhook", &DeadLetterSelector::All).unwrap(), 3);
    store.update_cursor("webhook", &CursorUpdate { redelivered: vec![2], ..update(4) }).unwrap();
    assert_eq!(
        store
            .delete_dead_letters("webhook", &DeadLetterSelector::Ids(vec![ids[2].clone()]))
            .unwrap(),
        1
    );
    assert_eq!(store.delete_dead_letters("other", &DeadLetterSelector::All).unwrap(), 0);
    assert_eq!(dead_letters(&store), [(4, 5, true)]);
}

#[test]
fn events_deleted_before_delivery_are_counted() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 3, at(0));
    store.update_cursor("webhook", &CursorUpdate { dropped: 2, ..update(1) }).unwrap();
    // Rejected after retention deleted it: no dead letter remains, so it counts as dropped.
    store.prune(Duration::ZERO, 0, time(99)).unwrap();
    let late = CursorUpdate { dropped: 1, rejected: vec![rejected(3)], ..update(3) };
    store.update_cursor("webhook", &late).unwrap();
    let progress = SinkProgress { cursor: 3, dropped: 4, dead_letters: 0 };
    assert_eq!(store.sink_progress("webhook").unwrap(), Some(progress));
}

#[test]
fn event_headers_are_those_of_the_requested_range() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 2, at(0));
    events(&mut store, "2", 2, at(5));
    let mut reader = store.journal().reader();
    let seqs = |after, until, limit| -> Vec<u64> {
        let headers = store.journal().reader().event_headers(after, until, limit).unwrap();
        headers.iter().map(|header| header.seq).collect()
    };
    assert_eq!(seqs(0, 9, 9), [1, 2, 3, 4]);
    assert_eq!(seqs(1, 3, 9), [2, 3]);
    assert_eq!(seqs(0, 9, 1), [1]);
    let third = reader.event_headers(2, 3, 9).unwrap().remove(0);
    let envelope = reader.envelope("webhook", 3).unwrap().unwrap();
    let expected = EventHeader {
        seq: 3,
        emitted_ms: at(5).as_millis(),
        root_id: "00ff".to_owned(),
        feature: "2".to_owned(),
        bytes: envelope.len() as u64,
    };
    assert_eq!(third, expected);
}

#[test]
fn new_sink_starts_at_the_oldest_event_and_counts_none_as_dropped() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 3, at(0));
    store.prune(Duration::ZERO, 0, time(99)).unwrap();
    let registered = |cursor| SinkProgress { cursor, ..SinkProgress::default() };
    assert_eq!(store.register_sink("early").unwrap(), registered(3), "the journal is empty");
    events(&mut store, "1", 2, at(100));
    assert_eq!(store.register_sink("webhook").unwrap(), registered(3));
    store.prune(Duration::ZERO, 0, time(199)).unwrap();
    assert_eq!(
        store.register_sink("webhook").unwrap(),
        registered(3),
        "the cursor of a registered sink does not move"
    );
    assert_eq!(store.register_sink("late").unwrap(), registered(5));
}
