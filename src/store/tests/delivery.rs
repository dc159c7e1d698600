//! Sinks: they move in one transaction, and what they set aside outlives the journal.

use crate::store::tests::*;

fn rejected(seq: u64) -> RejectedEvent {
    RejectedEvent { seq, tries: 5, rejected_at: at(9), error: "answered 400".to_owned() }
}

fn advance(cursor: u64) -> CursorUpdate {
    CursorUpdate { cursor, ..CursorUpdate::default() }
}

fn dead_letters(store: &Store) -> Vec<(u64, u32, bool)> {
    let all = store.journal().reader().dead_letters("webhook").unwrap();
    all.iter().map(|event| (event.seq, event.tries, event.retry)).collect()
}

#[test]
fn what_is_refused_is_kept_until_it_is_delivered_or_dropped() {
    let folder = folder();
    let mut store = open(&folder);
    let ids: Vec<String> =
        events(&mut store, "1", 4, at(0)).into_iter().map(|event| event.event_id).collect();
    let set = CursorUpdate { rejected: vec![rejected(2), rejected(3), rejected(4)], ..advance(4) };
    store.update_cursor("webhook", &set).unwrap();
    assert_eq!(dead_letters(&store), [(2, 5, false), (3, 5, false), (4, 5, false)]);
    assert_eq!(store.sink_progress("webhook").unwrap().unwrap().dead_letters, 3);

    // Retention takes the event, not what was set aside.
    store.prune(Duration::ZERO, 0, at(99)).unwrap();
    let mut reader = store.journal().reader();
    assert!(reader.envelope("webhook", 2).unwrap().unwrap().contains(&ids[1]));
    assert_eq!(reader.envelope("webhook", 1).unwrap(), None);
    assert_eq!(reader.envelope("other", 2).unwrap(), None);
    let kept = reader.dead_letters("webhook").unwrap().remove(0);
    assert_eq!(
        (kept.event_id, kept.feature.as_str(), kept.rejected_at),
        (ids[1].clone(), "1", at(9))
    );

    let one = DeadLetterSelector::Ids(vec![ids[1].clone(), "unknown".to_owned()]);
    assert_eq!(store.retry_dead_letters("webhook", &one).unwrap(), 1);
    assert_eq!(dead_letters(&store), [(2, 5, true), (3, 5, false), (4, 5, false)]);
    store
        .update_cursor("webhook", &CursorUpdate { rejected: vec![rejected(2)], ..advance(4) })
        .unwrap();
    assert_eq!(dead_letters(&store)[0], (2, 10, false), "refused once more");
    assert_eq!(store.retry_dead_letters("webhook", &DeadLetterSelector::All).unwrap(), 3);
    store.update_cursor("webhook", &CursorUpdate { redelivered: vec![2], ..advance(4) }).unwrap();
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
fn what_is_dropped_is_counted() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 3, at(0));
    store.update_cursor("webhook", &CursorUpdate { dropped: 2, ..advance(1) }).unwrap();
    // Set aside when retention has just taken it: it is lost, and counted.
    store.prune(Duration::ZERO, 0, at(99)).unwrap();
    let late = CursorUpdate { dropped: 1, rejected: vec![rejected(3)], ..advance(3) };
    store.update_cursor("webhook", &late).unwrap();
    let state = SinkProgress { cursor: 3, dropped: 4, dead_letters: 0 };
    assert_eq!(store.sink_progress("webhook").unwrap(), Some(state));
}

#[test]
fn an_outline_is_a_part_of_the_journal() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 2, at(0));
    events(&mut store, "2", 2, at(5));
    let mut reader = store.journal().reader();
    let seqs = |after, until, limit| -> Vec<u64> {
        let found = store.journal().reader().event_headers(after, until, limit).unwrap();
        found.iter().map(|event| event.seq).collect()
    };
    assert_eq!(seqs(0, 9, 9), [1, 2, 3, 4]);
    assert_eq!(seqs(1, 3, 9), [2, 3]);
    assert_eq!(seqs(0, 9, 1), [1]);
    let third = reader.event_headers(2, 3, 9).unwrap().remove(0);
    let envelope = reader.envelope("webhook", 3).unwrap().unwrap();
    let expect = EventHeader {
        seq: 3,
        emitted_ms: at(5).as_millis(),
        root_id: "00ff".to_owned(),
        feature: "2".to_owned(),
        bytes: envelope.len() as u64,
    };
    assert_eq!(third, expect);
}

#[test]
fn a_new_sink_has_lost_nothing_that_went_before_it() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 3, at(0));
    store.prune(Duration::ZERO, 0, at(99)).unwrap();
    let begun = |cursor| SinkProgress { cursor, ..SinkProgress::default() };
    assert_eq!(store.register_sink("early").unwrap(), begun(3), "nothing is kept");
    events(&mut store, "1", 2, at(100));
    assert_eq!(store.register_sink("webhook").unwrap(), begun(3));
    store.prune(Duration::ZERO, 0, at(199)).unwrap();
    assert_eq!(store.register_sink("webhook").unwrap(), begun(3), "it stays where it was");
    assert_eq!(store.register_sink("late").unwrap(), begun(5));
}
