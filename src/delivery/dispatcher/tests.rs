//! The rules under a simulated clock, against receivers that misbehave and kills at any moment.

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

fn outbox(limits: DispatchLimits, lanes: &[&str]) -> Dispatcher {
    let mut outbox = Dispatcher::new(limits, 0);
    for (seq, lane) in (1..).zip(lanes) {
        outbox.push(seq, 0, 1, lane);
    }
    outbox
}

fn entry(seq: u64, partition: &str, retry: bool) -> DeadLetterEntry {
    DeadLetterEntry { seq, partition: partition.to_owned(), retry }
}

fn failed() -> Outcome {
    Outcome::RetryLater("500".into(), None)
}

fn down() -> Outcome {
    Outcome::Unavailable("refused".into(), None)
}

fn refused() -> Outcome {
    Outcome::Rejected("400".into())
}

/// Everything that may be sent now.
fn all(outbox: &mut Dispatcher, now: Duration) -> Vec<OutgoingBatch> {
    std::iter::from_fn(|| outbox.next_batch(now)).collect()
}

fn seqs(parcels: &[OutgoingBatch]) -> Vec<Vec<u64>> {
    parcels.iter().map(|parcel| parcel.seqs.clone()).collect()
}

#[test]
fn of_a_lane_one_is_on_its_way_and_lanes_do_not_wait_for_each_other() {
    let mut outbox = outbox(limits(), &["a", "a", "b", "c", "b"]);
    let sent = all(&mut outbox, SECOND);
    assert_eq!(seqs(&sent), [[1], [3], [4]]);
    outbox.on_outcome(sent[1].id, &Outcome::Accepted, SECOND, 1.0);
    outbox.on_outcome(sent[2].id, &Outcome::Accepted, SECOND, 1.0);
    assert_eq!((outbox.cursor(), outbox.settled_ahead()), (0, 2));
    let next = all(&mut outbox, SECOND);
    assert_eq!(seqs(&next), [[5]]);
    outbox.on_outcome(sent[0].id, &failed(), SECOND, 1.0);
    assert_eq!(all(&mut outbox, SECOND), [], "the head waits, and what is behind it");
    outbox.on_outcome(next[0].id, &Outcome::Accepted, SECOND, 1.0);
    assert_eq!(outbox.next_deadline(), Some(2 * SECOND));
    let sent = all(&mut outbox, 2 * SECOND);
    assert_eq!(seqs(&sent), [[1]]);
    outbox.on_outcome(sent[0].id, &Outcome::Accepted, 2 * SECOND, 1.0);
    assert_eq!((outbox.cursor(), outbox.settled_ahead()), (1, 3));
}

#[test]
fn what_is_refused_for_good_is_set_aside_and_what_follows_goes_on() {
    let mut outbox = outbox(limits(), &["a", "a"]);
    let mut now = Duration::ZERO;
    for tries in 1..=3 {
        assert_eq!(outbox.take_settled(), Settled::default());
        let sent = outbox.next_batch(now).unwrap();
        assert_eq!(sent.seqs, [1], "try {tries}");
        outbox.on_outcome(sent.id, &refused(), now, 1.0);
        now = outbox.next_deadline().unwrap_or(now);
    }
    let rejected = NewDeadLetter { seq: 1, attempts: 3, reason: "400".into() };
    let settled = outbox.take_settled();
    assert_eq!(settled.rejected, [rejected]);
    assert_eq!(outbox.next_batch(now), None, "not before that is noted");
    outbox.unblock_partitions(&settled.blocked_partitions);
    assert_eq!((outbox.cursor(), outbox.dead_letter_count()), (1, 1));
    let second = outbox.next_batch(now).unwrap();
    assert_eq!(second.seqs, [2]);

    // Tried again when someone wants it, and then it is delivered.
    outbox.set_dead_letters([entry(1, "a", true)].into_iter());
    outbox.on_outcome(second.id, &Outcome::Accepted, now, 1.0);
    let sent = outbox.next_batch(now).unwrap();
    assert_eq!(sent.seqs, [1]);
    outbox.on_outcome(sent.id, &Outcome::Accepted, now, 1.0);
    assert_eq!(outbox.take_settled().redelivered, [1]);
    assert_eq!((outbox.cursor(), outbox.dead_letter_count()), (2, 0));
}

#[test]
fn no_more_is_set_aside_than_may_be() {
    let mut outbox = outbox(DispatchLimits { max_dead_letters: 1, ..limits() }, &["a", "a"]);
    let mut now = Duration::ZERO;
    for _ in 0..20 {
        let sent = outbox.next_batch(now).unwrap();
        outbox.on_outcome(sent.id, &refused(), now, 1.0);
        let held = outbox.take_settled().blocked_partitions;
        outbox.unblock_partitions(&held);
        now = outbox.next_deadline().unwrap();
    }
    assert_eq!((outbox.dead_letter_count(), outbox.cursor()), (1, 1));
    // Dropped by a person: there is room again.
    outbox.set_dead_letters(std::iter::empty());
    let sent = outbox.next_batch(now).unwrap();
    outbox.on_outcome(sent.id, &refused(), now, 1.0);
    assert_eq!((outbox.dead_letter_count(), outbox.cursor()), (1, 2));
}

#[test]
fn a_receiver_that_is_down_is_asked_by_one_parcel_at_a_time() {
    let mut outbox = outbox(limits(), &["a", "b", "c", "d", "e"]);
    let sent = all(&mut outbox, SECOND);
    assert_eq!(sent.len(), 4);
    for parcel in &sent {
        outbox.on_outcome(parcel.id, &down(), SECOND, 1.0);
    }
    assert_eq!(outbox.next_deadline(), Some(2 * SECOND), "four at once are one failure");
    assert_eq!(all(&mut outbox, SECOND), []);
    let probe = all(&mut outbox, 2 * SECOND);
    assert_eq!(seqs(&probe), [[1]]);
    outbox.on_outcome(probe[0].id, &down(), 2 * SECOND, 1.0);
    assert_eq!(outbox.next_deadline(), Some(4 * SECOND));
    let probe = all(&mut outbox, 4 * SECOND);
    outbox.on_outcome(probe[0].id, &Outcome::Accepted, 4 * SECOND, 1.0);
    assert_eq!(seqs(&all(&mut outbox, 4 * SECOND)), [[2], [3], [4], [5]]);
}

#[test]
fn what_a_receiver_asks_for_is_waited_for() {
    let mut outbox = outbox(limits(), &["a", "b"]);
    let sent = outbox.next_batch(SECOND).unwrap();
    let busy = Outcome::Unavailable("429".into(), Some(60 * SECOND));
    outbox.on_outcome(sent.id, &busy, SECOND, 0.0);
    assert_eq!((outbox.next_deadline(), outbox.next_batch(60 * SECOND)), (Some(61 * SECOND), None));
    outbox.retry_now(2 * SECOND);
    assert!(outbox.next_batch(2 * SECOND).is_some(), "but a person is quicker");
}

#[test]
fn a_receiver_that_fails_at_everything_is_left_alone_and_asked_for_all_when_it_is_back() {
    let mut outbox = outbox(limits(), &["a", "b", "c", "d"]);
    for parcel in all(&mut outbox, SECOND) {
        outbox.on_outcome(parcel.id, &failed(), SECOND, 1.0);
    }
    let mut now = SECOND;
    let mut tries = 0;
    while now < Duration::from_hours(72) {
        now = outbox.next_deadline().unwrap();
        let sent = all(&mut outbox, now);
        assert!(sent.len() <= 1);
        for parcel in sent {
            tries += 1;
            outbox.on_outcome(parcel.id, &failed(), now, 1.0);
        }
    }
    assert!((850..1_000).contains(&tries), "{tries} tries in three days");
    now = outbox.next_deadline().unwrap();
    let sent = outbox.next_batch(now).unwrap();
    outbox.on_outcome(sent.id, &Outcome::Accepted, now, 1.0);
    assert_eq!(all(&mut outbox, now).len(), 3, "each lane, though it has waits of its own");
}

#[test]
fn a_batch_that_fails_is_sent_one_by_one() {
    let limits = DispatchLimits { max_batch_events: 3, max_rejections: 1, ..limits() };
    let mut outbox = outbox(limits, &["a", "b", "a", "a"]);
    let sent = outbox.next_batch(SECOND).unwrap();
    assert_eq!(sent.seqs, [1, 3, 4], "in order in each lane");
    let other = outbox.next_batch(SECOND).unwrap();
    assert_eq!(other.seqs, [2]);
    outbox.on_outcome(sent.id, &refused(), SECOND, 1.0);
    let mut rejected = Vec::new();
    for (seq, outcome) in [(1, Outcome::Accepted), (3, refused()), (4, Outcome::Accepted)] {
        let sent = outbox.next_batch(SECOND).unwrap();
        assert_eq!(sent.seqs, [seq]);
        outbox.on_outcome(sent.id, &outcome, SECOND, 1.0);
        let settled = outbox.take_settled();
        rejected.extend(settled.rejected);
        outbox.unblock_partitions(&settled.blocked_partitions);
    }
    assert_eq!(rejected.len(), 1, "only the one that cannot be taken");
}

#[test]
fn a_parcel_is_no_larger_than_it_may_be() {
    let mut outbox = Dispatcher::new(DispatchLimits { max_batch_events: 9, ..limits() }, 0);
    for (seq, bytes, lane) in
        [(1, 60, "a"), (2, 40, "b"), (3, 1, "a"), (4, 500, "b"), (5, 99, "c"), (6, 2, "c")]
    {
        outbox.push(seq, 0, bytes, lane);
    }
    let mut sent = Vec::new();
    while let Some(parcel) = outbox.next_batch(SECOND) {
        outbox.on_outcome(parcel.id, &Outcome::Accepted, SECOND, 1.0);
        sent.push(parcel.seqs);
    }
    assert_eq!(sent, [&[1, 3][..], &[2], &[4], &[5], &[6]], "but one alone may be larger");
    assert_eq!(outbox.cursor(), 6);
}

#[test]
fn what_retention_drops_is_counted_and_the_rest_goes_on() {
    let mut outbox = outbox(limits(), &["a", "b", "a"]);
    outbox.skip_to(5);
    assert_eq!(outbox.take_settled().dropped, 1, "a hole takes nothing that is before it");
    let sent = outbox.next_batch(SECOND).unwrap();
    outbox.truncate_to(4);
    assert_eq!(outbox.take_settled().dropped, 2, "what is on its way is not lost yet");
    outbox.on_outcome(sent.id, &down(), SECOND, 1.0);
    outbox.truncate_to(10);
    assert_eq!(outbox.take_settled().dropped, 6);
    assert_eq!((outbox.cursor(), outbox.scanned(), outbox.next_deadline()), (9, 9, None));
    outbox.push(10, 0, 1, "a");
    outbox.push(11, 0, 1, "a");
    let mut sent = outbox.next_batch(10 * SECOND).unwrap();
    outbox.remove_missing(&mut sent, &[10]);
    assert_eq!((sent.seqs, outbox.in_flight.len()), (vec![], 0));
    assert_eq!(outbox.take_settled().dropped, 1);
    assert_eq!(outbox.next_batch(10 * SECOND).unwrap().seqs, [11]);
}

#[test]
fn what_is_set_aside_ahead_of_the_cursor_is_not_sent_after_a_restart() {
    let mut outbox = Dispatcher::new(limits(), 0);
    outbox.set_dead_letters([entry(2, "a", false), entry(3, "a", true)].into_iter());
    for seq in 1..=4 {
        outbox.push(seq, 0, 1, "a");
    }
    let mut sent = Vec::new();
    while let Some(parcel) = outbox.next_batch(SECOND) {
        sent.extend_from_slice(&parcel.seqs);
        outbox.on_outcome(parcel.id, &Outcome::Accepted, SECOND, 1.0);
    }
    sent.sort_unstable();
    assert_eq!(sent, [1, 3, 4]);
    assert_eq!((outbox.cursor(), outbox.dead_letter_count(), outbox.settled_ahead()), (4, 1, 0));
    assert_eq!(outbox.take_settled().redelivered, [3]);
}

#[test]
fn three_days_offline_cost_no_memory_and_lose_nothing() {
    let limits = DispatchLimits { max_window_events: 10_000, max_in_flight: 8, ..limits() };
    let mut outbox = Dispatcher::new(limits, 0);
    let lanes = ["a", "b", "c", "d", "e"];
    let (mut now, mut chance, mut last) = (Duration::ZERO, 0.0, [0; 5]);
    let (mut tries, mut taken, total) = (0_u32, 0_u64, 100_000);
    while outbox.cursor() < total {
        while outbox.scanned() < total && outbox.needs_events() {
            let seq = outbox.scanned() + 1;
            outbox.push(seq, 0, 1, lanes[usize::try_from(seq % 5).unwrap()]);
        }
        assert!(outbox.pending.len() <= MAX_READ_AHEAD, "{} held", outbox.pending.len());
        let sent = all(&mut outbox, now);
        if sent.is_empty() {
            now = outbox.next_deadline().unwrap();
        }
        for parcel in sent {
            chance = (chance + 0.618) % 1.0;
            if now < Duration::from_hours(72) {
                tries += 1;
                let outcome = if tries.is_multiple_of(2) { down() } else { failed() };
                outbox.on_outcome(parcel.id, &outcome, now, chance);
            } else {
                let lane = &mut last[usize::try_from(parcel.seqs[0] % 5).unwrap()];
                assert!(parcel.seqs[0] > *lane, "in order");
                *lane = parcel.seqs[0];
                taken += 1;
                outbox.on_outcome(parcel.id, &Outcome::Accepted, now, chance);
            }
        }
    }
    assert_eq!(taken, total);
    assert!(tries < 3_000, "{tries} tries");
    assert_eq!(outbox.take_settled(), Settled::default());
}

/// What a receiver does with a parcel, and what the sender hears.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Take,
    TakeAndBreak,
    Fail,
    Down,
    Refuse,
    Kill,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Take),
        1 => Just(Deed::TakeAndBreak),
        2 => Just(Deed::Fail),
        1 => Just(Deed::Down),
        2 => Just(Deed::Refuse),
        1 => Just(Deed::Kill),
    ]
}

proptest! {
    /// Whatever a receiver does, and however often the sender is killed: in the end every event is
    /// with the receiver or set aside, and a receiver that passes over what it has had gets each
    /// lane in order.
    #[test]
    fn nothing_is_lost_and_order_is_kept(
        lanes in proptest::collection::vec(0..4_usize, 1..60),
        deeds in proptest::collection::vec(deed(), 0..200),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 300),
        batch in 1..5_usize,
        window in 1..30_usize,
    ) {
        let names = ["a", "b", "c", "d"];
        let limits = DispatchLimits { max_batch_events: batch, max_window_events: window, max_dead_letters: 1_000, ..limits() };
        let total = lanes.len() as u64;
        let lane_of = |seq: u64| lanes[usize::try_from(seq - 1).unwrap()];
        let mut had: Vec<Vec<u64>> = vec![Vec::new(); names.len()];
        let (mut noted, mut aside) = (0, BTreeSet::new());
        let (mut outbox, mut now) = (Dispatcher::new(limits, 0), Duration::ZERO);
        let (mut deeds, mut picks) = (deeds.into_iter(), picks.iter().cycle());
        let mut flying: Vec<OutgoingBatch> = Vec::new();
        for turn in 0.. {
            prop_assert!(turn < 20_000, "it does not end: {outbox:?}");
            while outbox.scanned() < total && outbox.needs_events() {
                let seq = outbox.scanned() + 1;
                outbox.push(seq, 0, 1, names[lane_of(seq)]);
            }
            prop_assert!(outbox.scanned() - outbox.cursor() <= window as u64);
            flying.extend(all(&mut outbox, now));
            if flying.is_empty() {
                match outbox.next_deadline() {
                    Some(at) => {
                        prop_assert!(at >= now || outbox.next_batch(now).is_none());
                        now = now.max(at);
                        continue;
                    }
                    None => {
                        let settled = outbox.take_settled();
                        if settled.blocked_partitions.is_empty() {
                            break;
                        }
                        aside.extend(settled.rejected.into_iter().map(|event| event.seq));
                        noted = outbox.cursor();
                        outbox.unblock_partitions(&settled.blocked_partitions);
                        continue;
                    }
                }
            }
            let parcel = flying.swap_remove(picks.next().unwrap().index(flying.len()));
            let deed = deeds.next().unwrap_or(Deed::Take);
            if matches!(deed, Deed::Take | Deed::TakeAndBreak | Deed::Kill) {
                for seq in &parcel.seqs {
                    let lane = &mut had[lane_of(*seq)];
                    if !lane.contains(seq) {
                        prop_assert!(lane.last().is_none_or(|last| last < seq), "{seq}: {lane:?}");
                        lane.push(*seq);
                    }
                }
            }
            let outcome = match deed {
                Deed::Take => Outcome::Accepted,
                Deed::TakeAndBreak | Deed::Down => down(),
                Deed::Fail => failed(),
                Deed::Refuse => refused(),
                Deed::Kill => {
                    outbox = Dispatcher::new(limits, noted);
                    outbox.set_dead_letters(aside.iter().map(|seq| entry(*seq, names[lane_of(*seq)], false)));
                    flying.clear();
                    continue;
                }
            };
            outbox.on_outcome(parcel.id, &outcome, now, 0.5);
            // Noted now and then.
            if turn % 3 == 0 {
                let settled = outbox.take_settled();
                aside.extend(settled.rejected.into_iter().map(|event| event.seq));
                noted = outbox.cursor();
                outbox.unblock_partitions(&settled.blocked_partitions);
            }
        }
        aside.extend(outbox.take_settled().rejected.into_iter().map(|event| event.seq));
        prop_assert_eq!(outbox.cursor(), total);
        for seq in 1..=total {
            prop_assert!(aside.contains(&seq) || had[lane_of(seq)].contains(&seq), "{} is lost", seq);
        }
    }
}
