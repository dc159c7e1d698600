//! Tests of the dispatcher with a simulated clock, failing receivers, and crashes at any moment.

use proptest::prelude::*;

use crate::delivery::dispatcher::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> DispatchLimits {
    let backoff = ExponentialBackoff { initial: SECOND, max: Duration::from_mins(5) };
    DispatchLimits {
        max_window_events: 100,
        max_in_flight: 4,
        max_batch_events: 1,
        max_batch_bytes: 100,
        max_rejections: 3,
        max_dead_letters: 10,
        backoff,
    }
}

fn dispatcher(limits: DispatchLimits, partitions: &[&str]) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(limits, 0);
    for (seq, partition) in (1..).zip(partitions) {
        dispatcher.push(seq, 0, 1, partition);
    }
    dispatcher
}

fn entry(seq: u64, partition: &str, retry: bool) -> DeadLetterEntry {
    DeadLetterEntry { seq, partition: partition.to_owned(), retry }
}

fn retry_later() -> Outcome {
    Outcome::RetryLater("500".into(), None)
}

fn unavailable() -> Outcome {
    Outcome::Unavailable("refused".into(), None)
}

fn rejected() -> Outcome {
    Outcome::Rejected("400".into())
}

/// Returns all batches that can be sent now.
fn send_all(dispatcher: &mut Dispatcher, now: Duration) -> Vec<OutgoingBatch> {
    std::iter::from_fn(|| dispatcher.next_batch(now)).collect()
}

fn seqs(batches: &[OutgoingBatch]) -> Vec<Vec<u64>> {
    batches.iter().map(|batch| batch.seqs.clone()).collect()
}

#[test]
fn partition_has_one_batch_in_flight_and_waits_for_no_other() {
    let mut dispatcher = dispatcher(limits(), &["a", "a", "b", "c", "b"]);
    let sent = send_all(&mut dispatcher, SECOND);
    assert_eq!(seqs(&sent), [[1], [3], [4]]);
    dispatcher.on_outcome(sent[1].id, &Outcome::Accepted, SECOND, 1.0);
    dispatcher.on_outcome(sent[2].id, &Outcome::Accepted, SECOND, 1.0);
    assert_eq!((dispatcher.cursor(), dispatcher.settled_ahead()), (0, 2));
    let next = send_all(&mut dispatcher, SECOND);
    assert_eq!(seqs(&next), [[5]]);
    dispatcher.on_outcome(sent[0].id, &retry_later(), SECOND, 1.0);
    assert_eq!(
        send_all(&mut dispatcher, SECOND),
        [],
        "the first event waits for its retry, and later ones for it"
    );
    dispatcher.on_outcome(next[0].id, &Outcome::Accepted, SECOND, 1.0);
    assert_eq!(dispatcher.next_deadline(), Some(2 * SECOND));
    let sent = send_all(&mut dispatcher, 2 * SECOND);
    assert_eq!(seqs(&sent), [[1]]);
    dispatcher.on_outcome(sent[0].id, &Outcome::Accepted, 2 * SECOND, 1.0);
    assert_eq!((dispatcher.cursor(), dispatcher.settled_ahead()), (1, 3));
}

#[test]
fn event_rejected_too_often_is_dead_lettered_and_later_ones_continue() {
    let mut dispatcher = dispatcher(limits(), &["a", "a"]);
    let mut now = Duration::ZERO;
    for attempt in 1..=3 {
        assert_eq!(dispatcher.take_settled(), Settled::default());
        let sent = dispatcher.next_batch(now).unwrap();
        assert_eq!(sent.seqs, [1], "attempt {attempt}");
        dispatcher.on_outcome(sent.id, &rejected(), now, 1.0);
        now = dispatcher.next_deadline().unwrap_or(now);
    }
    let dead_letter = NewDeadLetter { seq: 1, attempts: 3, reason: "400".into() };
    let settled = dispatcher.take_settled();
    assert_eq!(settled.rejected, [dead_letter]);
    assert_eq!(dispatcher.next_batch(now), None, "the partition is blocked until the commit");
    dispatcher.unblock_partitions(&settled.blocked_partitions);
    assert_eq!((dispatcher.cursor(), dispatcher.dead_letter_count()), (1, 1));
    let second = dispatcher.next_batch(now).unwrap();
    assert_eq!(second.seqs, [2]);

    // Marked for another delivery, which succeeds.
    dispatcher.set_dead_letters([entry(1, "a", true)].into_iter());
    dispatcher.on_outcome(second.id, &Outcome::Accepted, now, 1.0);
    let sent = dispatcher.next_batch(now).unwrap();
    assert_eq!(sent.seqs, [1]);
    dispatcher.on_outcome(sent.id, &Outcome::Accepted, now, 1.0);
    assert_eq!(dispatcher.take_settled().redelivered, [1]);
    assert_eq!((dispatcher.cursor(), dispatcher.dead_letter_count()), (2, 0));
}

#[test]
fn rejected_event_waits_if_there_are_too_many_dead_letters() {
    let mut dispatcher =
        dispatcher(DispatchLimits { max_dead_letters: 1, ..limits() }, &["a", "a"]);
    let mut now = Duration::ZERO;
    for _ in 0..20 {
        let sent = dispatcher.next_batch(now).unwrap();
        dispatcher.on_outcome(sent.id, &rejected(), now, 1.0);
        let blocked = dispatcher.take_settled().blocked_partitions;
        dispatcher.unblock_partitions(&blocked);
        now = dispatcher.next_deadline().unwrap();
    }
    assert_eq!((dispatcher.dead_letter_count(), dispatcher.cursor()), (1, 1));
    // A person deleted the dead letter, so another one is possible.
    dispatcher.set_dead_letters(std::iter::empty());
    let sent = dispatcher.next_batch(now).unwrap();
    dispatcher.on_outcome(sent.id, &rejected(), now, 1.0);
    assert_eq!((dispatcher.dead_letter_count(), dispatcher.cursor()), (1, 2));
}

#[test]
fn unavailable_receiver_gets_one_batch_at_a_time() {
    let mut dispatcher = dispatcher(limits(), &["a", "b", "c", "d", "e"]);
    let sent = send_all(&mut dispatcher, SECOND);
    assert_eq!(sent.len(), 4);
    for batch in &sent {
        dispatcher.on_outcome(batch.id, &unavailable(), SECOND, 1.0);
    }
    assert_eq!(dispatcher.next_deadline(), Some(2 * SECOND), "concurrent failures count as one");
    assert_eq!(send_all(&mut dispatcher, SECOND), []);
    let probe = send_all(&mut dispatcher, 2 * SECOND);
    assert_eq!(seqs(&probe), [[1]]);
    dispatcher.on_outcome(probe[0].id, &unavailable(), 2 * SECOND, 1.0);
    assert_eq!(dispatcher.next_deadline(), Some(4 * SECOND));
    let probe = send_all(&mut dispatcher, 4 * SECOND);
    dispatcher.on_outcome(probe[0].id, &Outcome::Accepted, 4 * SECOND, 1.0);
    assert_eq!(seqs(&send_all(&mut dispatcher, 4 * SECOND)), [[2], [3], [4], [5]]);
}

#[test]
fn address_without_a_receiver_is_tried_for_an_hour_and_dead_letters_nothing() {
    let no_receiver = || Outcome::NoReceiver("HTTP 404".into(), None);
    let hour = Duration::from_hours(1);
    // A deployment of some minutes, and one that never ends.
    for (returns_at, expected) in [
        (Some(Duration::from_mins(7)), false),
        (Some(Duration::from_mins(59)), false),
        (None, true),
    ] {
        let mut dispatcher = dispatcher(limits(), &["a", "a", "b", "c"]);
        let mut now = Duration::ZERO;
        let mut tries = 0;
        while let Some(sent) = dispatcher.next_batch(now) {
            let outcome = match returns_at {
                Some(at) if now >= at => Outcome::Accepted,
                _ => no_receiver(),
            };
            tries += 1;
            dispatcher.on_outcome(sent.id, &outcome, now, 1.0);
            now = now.max(dispatcher.next_deadline().unwrap_or(now));
        }
        assert_eq!(dispatcher.take_settled(), Settled::default());
        assert_eq!(dispatcher.is_refused(), expected);
        assert_eq!(dispatcher.cursor(), if expected { 0 } else { 4 });
        if expected {
            assert!(now >= hour && now < hour + Duration::from_mins(6), "{now:?}");
            assert!(tries > 12, "{tries}");
            assert_eq!(dispatcher.next_deadline(), None);
            assert_eq!(dispatcher.next_batch(hour * 1_000), None);
            assert!(dispatcher.is_retrying() && !dispatcher.has_send_capacity(now));
            // A person retries: everything is delivered if there is a receiver now.
            dispatcher.retry_now(now);
            while let Some(sent) = dispatcher.next_batch(now) {
                dispatcher.on_outcome(sent.id, &Outcome::Accepted, now, 1.0);
            }
            assert_eq!((dispatcher.cursor(), dispatcher.is_refused()), (4, false));
        }
    }
}

#[test]
fn hour_without_a_receiver_begins_again_after_another_response() {
    let mut dispatcher = dispatcher(limits(), &["a"]);
    let mut now = Duration::ZERO;
    for minutes in [0, 50, 55, 60, 110] {
        now = now.max(Duration::from_mins(minutes));
        dispatcher.retry_now(now);
        let sent = dispatcher.next_batch(now).unwrap();
        let outcome = match minutes {
            55 => unavailable(),
            _ => Outcome::NoReceiver("HTTP 410".into(), None),
        };
        dispatcher.on_outcome(sent.id, &outcome, now, 1.0);
        assert!(!dispatcher.is_refused(), "{minutes}");
    }
}

#[test]
fn retry_after_is_respected_unless_a_person_retries() {
    let mut dispatcher = dispatcher(limits(), &["a", "b"]);
    let sent = dispatcher.next_batch(SECOND).unwrap();
    let busy = Outcome::Unavailable("429".into(), Some(60 * SECOND));
    dispatcher.on_outcome(sent.id, &busy, SECOND, 0.0);
    assert_eq!(
        (dispatcher.next_deadline(), dispatcher.next_batch(60 * SECOND)),
        (Some(61 * SECOND), None)
    );
    dispatcher.retry_now(2 * SECOND);
    assert!(dispatcher.next_batch(2 * SECOND).is_some(), "a manual retry ends the pause");
}

#[test]
fn circuit_opens_if_all_partitions_fail_and_all_resume_when_it_closes() {
    let mut dispatcher = dispatcher(limits(), &["a", "b", "c", "d"]);
    for batch in send_all(&mut dispatcher, SECOND) {
        dispatcher.on_outcome(batch.id, &retry_later(), SECOND, 1.0);
    }
    let mut now = SECOND;
    let mut attempts = 0;
    while now < Duration::from_hours(72) {
        now = dispatcher.next_deadline().unwrap();
        let sent = send_all(&mut dispatcher, now);
        assert!(sent.len() <= 1);
        for batch in sent {
            attempts += 1;
            dispatcher.on_outcome(batch.id, &retry_later(), now, 1.0);
        }
    }
    assert!((850..1_000).contains(&attempts), "{attempts} attempts in three days");
    now = dispatcher.next_deadline().unwrap();
    let sent = dispatcher.next_batch(now).unwrap();
    dispatcher.on_outcome(sent.id, &Outcome::Accepted, now, 1.0);
    assert_eq!(
        send_all(&mut dispatcher, now).len(),
        3,
        "accepting one ends the delays of all partitions"
    );
}

#[test]
fn events_of_a_failed_batch_are_sent_one_by_one() {
    let limits = DispatchLimits { max_batch_events: 3, max_rejections: 1, ..limits() };
    let mut dispatcher = dispatcher(limits, &["a", "b", "a", "a"]);
    let sent = dispatcher.next_batch(SECOND).unwrap();
    assert_eq!(sent.seqs, [1, 3, 4], "in order within each partition");
    let other = dispatcher.next_batch(SECOND).unwrap();
    assert_eq!(other.seqs, [2]);
    dispatcher.on_outcome(sent.id, &rejected(), SECOND, 1.0);
    let mut dead_letters = Vec::new();
    for (seq, outcome) in [(1, Outcome::Accepted), (3, rejected()), (4, Outcome::Accepted)] {
        let sent = dispatcher.next_batch(SECOND).unwrap();
        assert_eq!(sent.seqs, [seq]);
        dispatcher.on_outcome(sent.id, &outcome, SECOND, 1.0);
        let settled = dispatcher.take_settled();
        dead_letters.extend(settled.rejected);
        dispatcher.unblock_partitions(&settled.blocked_partitions);
    }
    assert_eq!(dead_letters.len(), 1, "only the rejected event");
}

#[test]
fn batch_does_not_exceed_its_size_limit() {
    let mut dispatcher = Dispatcher::new(DispatchLimits { max_batch_events: 9, ..limits() }, 0);
    for (seq, bytes, partition) in
        [(1, 60, "a"), (2, 40, "b"), (3, 1, "a"), (4, 500, "b"), (5, 99, "c"), (6, 2, "c")]
    {
        dispatcher.push(seq, 0, bytes, partition);
    }
    let mut sent = Vec::new();
    while let Some(batch) = dispatcher.next_batch(SECOND) {
        dispatcher.on_outcome(batch.id, &Outcome::Accepted, SECOND, 1.0);
        sent.push(batch.seqs);
    }
    assert_eq!(sent, [&[1, 3][..], &[2], &[4], &[5], &[6]], "a single event may be larger");
    assert_eq!(dispatcher.cursor(), 6);
}

#[test]
fn events_deleted_by_retention_are_counted_and_later_ones_continue() {
    let mut dispatcher = dispatcher(limits(), &["a", "b", "a"]);
    dispatcher.skip_to(5);
    assert_eq!(dispatcher.take_settled().dropped, 1, "only events that were not read");
    let sent = dispatcher.next_batch(SECOND).unwrap();
    dispatcher.truncate_to(4);
    assert_eq!(dispatcher.take_settled().dropped, 2, "events in flight are not dropped yet");
    dispatcher.on_outcome(sent.id, &unavailable(), SECOND, 1.0);
    dispatcher.truncate_to(10);
    assert_eq!(dispatcher.take_settled().dropped, 6);
    assert_eq!(
        (dispatcher.cursor(), dispatcher.scanned(), dispatcher.next_deadline()),
        (9, 9, None)
    );
    dispatcher.push(10, 0, 1, "a");
    dispatcher.push(11, 0, 1, "a");
    let mut sent = dispatcher.next_batch(10 * SECOND).unwrap();
    dispatcher.remove_missing(&mut sent, &[10]);
    assert_eq!((sent.seqs, dispatcher.in_flight.len()), (vec![], 0));
    assert_eq!(dispatcher.take_settled().dropped, 1);
    assert_eq!(dispatcher.next_batch(10 * SECOND).unwrap().seqs, [11]);
}

#[test]
fn dead_letters_after_the_cursor_are_not_sent_after_a_restart() {
    let mut dispatcher = Dispatcher::new(limits(), 0);
    dispatcher.set_dead_letters([entry(2, "a", false), entry(3, "a", true)].into_iter());
    for seq in 1..=4 {
        dispatcher.push(seq, 0, 1, "a");
    }
    let mut sent = Vec::new();
    while let Some(batch) = dispatcher.next_batch(SECOND) {
        sent.extend_from_slice(&batch.seqs);
        dispatcher.on_outcome(batch.id, &Outcome::Accepted, SECOND, 1.0);
    }
    sent.sort_unstable();
    assert_eq!(sent, [1, 3, 4]);
    assert_eq!(
        (dispatcher.cursor(), dispatcher.dead_letter_count(), dispatcher.settled_ahead()),
        (4, 1, 0)
    );
    assert_eq!(dispatcher.take_settled().redelivered, [3]);
}

#[test]
fn three_days_offline_use_bounded_memory_and_lose_no_event() {
    let limits = DispatchLimits { max_window_events: 10_000, max_in_flight: 8, ..limits() };
    let mut dispatcher = Dispatcher::new(limits, 0);
    let partitions = ["a", "b", "c", "d", "e"];
    let (mut now, mut jitter, mut last) = (Duration::ZERO, 0.0, [0; 5]);
    let (mut attempts, mut accepted, total) = (0_u32, 0_u64, 100_000);
    while dispatcher.cursor() < total {
        while dispatcher.scanned() < total && dispatcher.needs_events() {
            let seq = dispatcher.scanned() + 1;
            dispatcher.push(seq, 0, 1, partitions[usize::try_from(seq % 5).unwrap()]);
        }
        assert!(dispatcher.pending.len() <= MAX_READ_AHEAD, "{} pending", dispatcher.pending.len());
        let sent = send_all(&mut dispatcher, now);
        if sent.is_empty() {
            now = dispatcher.next_deadline().unwrap();
        }
        for batch in sent {
            jitter = (jitter + 0.618) % 1.0;
            if now < Duration::from_hours(72) {
                attempts += 1;
                let outcome =
                    if attempts.is_multiple_of(2) { unavailable() } else { retry_later() };
                dispatcher.on_outcome(batch.id, &outcome, now, jitter);
            } else {
                let last_seq = &mut last[usize::try_from(batch.seqs[0] % 5).unwrap()];
                assert!(batch.seqs[0] > *last_seq, "events of a partition are in order");
                *last_seq = batch.seqs[0];
                accepted += 1;
                dispatcher.on_outcome(batch.id, &Outcome::Accepted, now, jitter);
            }
        }
    }
    assert_eq!(accepted, total);
    assert!(attempts < 3_000, "{attempts} attempts");
    assert_eq!(dispatcher.take_settled(), Settled::default());
}

/// What happens to a batch.
#[derive(Debug, Clone, Copy)]
enum SimulatedOutcome {
    Accepted,
    /// The receiver stores the events, and the connection breaks before its response.
    AcceptedWithoutResponse,
    RetryLater,
    Unavailable,
    Rejected,
    /// The receiver stores the events, and the daemon is killed.
    SenderKilled,
}

impl SimulatedOutcome {
    /// Returns true if the receiver stores the events.
    fn is_received(self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedWithoutResponse | Self::SenderKilled)
    }
}

fn any_outcome() -> impl Strategy<Value = SimulatedOutcome> {
    prop_oneof![
        6 => Just(SimulatedOutcome::Accepted),
        1 => Just(SimulatedOutcome::AcceptedWithoutResponse),
        2 => Just(SimulatedOutcome::RetryLater),
        1 => Just(SimulatedOutcome::Unavailable),
        2 => Just(SimulatedOutcome::Rejected),
        1 => Just(SimulatedOutcome::SenderKilled),
    ]
}

proptest! {
    /// Whatever a receiver does, and however often the sender is killed, every event is finally
    /// delivered or a dead letter, and a receiver that ignores duplicates gets each partition in
    /// order.
    #[test]
    fn no_event_is_lost_and_partitions_stay_in_order(
        partitions in proptest::collection::vec(0..4_usize, 1..60),
        outcomes in proptest::collection::vec(any_outcome(), 0..200),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 300),
        batch in 1..5_usize,
        window in 1..30_usize,
    ) {
        let names = ["a", "b", "c", "d"];
        let limits = DispatchLimits {
            max_batch_events: batch,
            max_window_events: window,
            max_dead_letters: 1_000,
            ..limits()
        };
        let total = partitions.len() as u64;
        let partition_of = |seq: u64| partitions[usize::try_from(seq - 1).unwrap()];
        let mut received: Vec<Vec<u64>> = vec![Vec::new(); names.len()];
        let (mut committed, mut dead_letters) = (0, BTreeSet::new());
        let (mut dispatcher, mut now) = (Dispatcher::new(limits, 0), Duration::ZERO);
        let (mut outcomes, mut picks) = (outcomes.into_iter(), picks.iter().cycle());
        let mut in_flight: Vec<OutgoingBatch> = Vec::new();
        for step in 0.. {
            prop_assert!(step < 20_000, "no end: {dispatcher:?}");
            while dispatcher.scanned() < total && dispatcher.needs_events() {
                let seq = dispatcher.scanned() + 1;
                dispatcher.push(seq, 0, 1, names[partition_of(seq)]);
            }
            prop_assert!(dispatcher.scanned() - dispatcher.cursor() <= window as u64);
            in_flight.extend(send_all(&mut dispatcher, now));
            if in_flight.is_empty() {
                match dispatcher.next_deadline() {
                    Some(at) => {
                        prop_assert!(at >= now || dispatcher.next_batch(now).is_none());
                        now = now.max(at);
                        continue;
                    }
                    None => {
                        let settled = dispatcher.take_settled();
                        if settled.blocked_partitions.is_empty() {
                            break;
                        }
                        dead_letters.extend(settled.rejected.into_iter().map(|event| event.seq));
                        committed = dispatcher.cursor();
                        dispatcher.unblock_partitions(&settled.blocked_partitions);
                        continue;
                    }
                }
            }
            let batch = in_flight.swap_remove(picks.next().unwrap().index(in_flight.len()));
            let simulated = outcomes.next().unwrap_or(SimulatedOutcome::Accepted);
            if simulated.is_received() {
                for seq in &batch.seqs {
                    let partition = &mut received[partition_of(*seq)];
                    if !partition.contains(seq) {
                        let is_in_order = partition.last().is_none_or(|last| last < seq);
                        prop_assert!(is_in_order, "{seq}: {partition:?}");
                        partition.push(*seq);
                    }
                }
            }
            let outcome = match simulated {
                SimulatedOutcome::Accepted => Outcome::Accepted,
                SimulatedOutcome::AcceptedWithoutResponse | SimulatedOutcome::Unavailable => {
                    unavailable()
                }
                SimulatedOutcome::RetryLater => retry_later(),
                SimulatedOutcome::Rejected => rejected(),
                SimulatedOutcome::SenderKilled => {
                    dispatcher = Dispatcher::new(limits, committed);
                    let entry = |seq: &u64| entry(*seq, names[partition_of(*seq)], false);
                    dispatcher.set_dead_letters(dead_letters.iter().map(entry));
                    in_flight.clear();
                    continue;
                }
            };
            dispatcher.on_outcome(batch.id, &outcome, now, 0.5);
            // Commits now and then.
            if step % 3 == 0 {
                let settled = dispatcher.take_settled();
                dead_letters.extend(settled.rejected.into_iter().map(|event| event.seq));
                committed = dispatcher.cursor();
                dispatcher.unblock_partitions(&settled.blocked_partitions);
            }
        }
        dead_letters.extend(dispatcher.take_settled().rejected.into_iter().map(|event| event.seq));
        prop_assert_eq!(dispatcher.cursor(), total);
        for seq in 1..=total {
            let is_received = received[partition_of(seq)].contains(&seq);
            prop_assert!(is_received || dead_letters.contains(&seq), "{} is lost", seq);
        }
    }
}
