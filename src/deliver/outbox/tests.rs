//! The rules under a simulated clock, against receivers that misbehave and kills at any moment.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    let backoff = Backoff { first: SECOND, most: Duration::from_mins(5) };
    Limits { window: 100, parcels: 4, batch: 1, bytes: 100, refusals: 3, set_aside: 10, backoff }
}

fn outbox(limits: Limits, lanes: &[&str]) -> Outbox {
    let mut outbox = Outbox::new(limits, 0);
    for (seq, lane) in (1..).zip(lanes) {
        outbox.take(seq, 0, 1, lane);
    }
    outbox
}

fn failed() -> Outcome {
    Outcome::Failed("500".into(), None)
}

fn down() -> Outcome {
    Outcome::Unreachable("refused".into(), None)
}

fn refused() -> Outcome {
    Outcome::Refused("400".into())
}

/// Everything that may be sent now.
fn all(outbox: &mut Outbox, now: Duration) -> Vec<Parcel> {
    std::iter::from_fn(|| outbox.next(now)).collect()
}

fn seqs(parcels: &[Parcel]) -> Vec<Vec<u64>> {
    parcels.iter().map(|parcel| parcel.seqs.clone()).collect()
}

#[test]
fn of_a_lane_one_is_on_its_way_and_lanes_do_not_wait_for_each_other() {
    let mut outbox = outbox(limits(), &["a", "a", "b", "c", "b"]);
    let sent = all(&mut outbox, SECOND);
    assert_eq!(seqs(&sent), [[1], [3], [4]]);
    outbox.ended(sent[1].number, &Outcome::Taken, SECOND, 1.0);
    outbox.ended(sent[2].number, &Outcome::Taken, SECOND, 1.0);
    assert_eq!((outbox.cursor(), outbox.ahead()), (0, 2));
    let next = all(&mut outbox, SECOND);
    assert_eq!(seqs(&next), [[5]]);
    outbox.ended(sent[0].number, &failed(), SECOND, 1.0);
    assert_eq!(all(&mut outbox, SECOND), [], "the head waits, and what is behind it");
    outbox.ended(next[0].number, &Outcome::Taken, SECOND, 1.0);
    assert_eq!(outbox.wakes_at(), Some(2 * SECOND));
    let sent = all(&mut outbox, 2 * SECOND);
    assert_eq!(seqs(&sent), [[1]]);
    outbox.ended(sent[0].number, &Outcome::Taken, 2 * SECOND, 1.0);
    assert_eq!((outbox.cursor(), outbox.ahead()), (1, 3));
}

#[test]
fn what_is_refused_for_good_is_set_aside_and_what_follows_goes_on() {
    let mut outbox = outbox(limits(), &["a", "a"]);
    let mut now = Duration::ZERO;
    for tries in 1..=3 {
        assert_eq!(outbox.settled(), Settled::default());
        let sent = outbox.next(now).unwrap();
        assert_eq!(sent.seqs, [1], "try {tries}");
        outbox.ended(sent.number, &refused(), now, 1.0);
        now = outbox.wakes_at().unwrap_or(now);
    }
    let rejected = Rejected { seq: 1, tries: 3, why: "400".into() };
    let settled = outbox.settled();
    assert_eq!(settled.rejected, [rejected]);
    assert_eq!(outbox.next(now), None, "not before that is noted");
    outbox.release(&settled.held);
    assert_eq!((outbox.cursor(), outbox.set_aside()), (1, 1));
    let second = outbox.next(now).unwrap();
    assert_eq!(second.seqs, [2]);

    // Tried again when someone wants it, and then it is delivered.
    outbox.put_aside([(1, "a", true)].into_iter());
    outbox.ended(second.number, &Outcome::Taken, now, 1.0);
    let sent = outbox.next(now).unwrap();
    assert_eq!(sent.seqs, [1]);
    outbox.ended(sent.number, &Outcome::Taken, now, 1.0);
    assert_eq!(outbox.settled().redelivered, [1]);
    assert_eq!((outbox.cursor(), outbox.set_aside()), (2, 0));
}

#[test]
fn no_more_is_set_aside_than_may_be() {
    let mut outbox = outbox(Limits { set_aside: 1, ..limits() }, &["a", "a"]);
    let mut now = Duration::ZERO;
    for _ in 0..20 {
        let sent = outbox.next(now).unwrap();
        outbox.ended(sent.number, &refused(), now, 1.0);
        let held = outbox.settled().held;
        outbox.release(&held);
        now = outbox.wakes_at().unwrap();
    }
    assert_eq!((outbox.set_aside(), outbox.cursor()), (1, 1));
    // Dropped by a person: there is room again.
    outbox.put_aside(std::iter::empty());
    let sent = outbox.next(now).unwrap();
    outbox.ended(sent.number, &refused(), now, 1.0);
    assert_eq!((outbox.set_aside(), outbox.cursor()), (1, 2));
}

#[test]
fn a_receiver_that_is_down_is_asked_by_one_parcel_at_a_time() {
    let mut outbox = outbox(limits(), &["a", "b", "c", "d", "e"]);
    let sent = all(&mut outbox, SECOND);
    assert_eq!(sent.len(), 4);
    for parcel in &sent {
        outbox.ended(parcel.number, &down(), SECOND, 1.0);
    }
    assert_eq!(outbox.wakes_at(), Some(2 * SECOND), "four at once are one failure");
    assert_eq!(all(&mut outbox, SECOND), []);
    let probe = all(&mut outbox, 2 * SECOND);
    assert_eq!(seqs(&probe), [[1]]);
    outbox.ended(probe[0].number, &down(), 2 * SECOND, 1.0);
    assert_eq!(outbox.wakes_at(), Some(4 * SECOND));
    let probe = all(&mut outbox, 4 * SECOND);
    outbox.ended(probe[0].number, &Outcome::Taken, 4 * SECOND, 1.0);
    assert_eq!(seqs(&all(&mut outbox, 4 * SECOND)), [[2], [3], [4], [5]]);
}

#[test]
fn what_a_receiver_asks_for_is_waited_for() {
    let mut outbox = outbox(limits(), &["a", "b"]);
    let sent = outbox.next(SECOND).unwrap();
    let busy = Outcome::Unreachable("429".into(), Some(60 * SECOND));
    outbox.ended(sent.number, &busy, SECOND, 0.0);
    assert_eq!((outbox.wakes_at(), outbox.next(60 * SECOND)), (Some(61 * SECOND), None));
    outbox.hurry(2 * SECOND);
    assert!(outbox.next(2 * SECOND).is_some(), "but a person is quicker");
}

#[test]
fn a_receiver_that_fails_at_everything_is_left_alone_and_asked_for_all_when_it_is_back() {
    let mut outbox = outbox(limits(), &["a", "b", "c", "d"]);
    for parcel in all(&mut outbox, SECOND) {
        outbox.ended(parcel.number, &failed(), SECOND, 1.0);
    }
    let mut now = SECOND;
    let mut tries = 0;
    while now < Duration::from_hours(72) {
        now = outbox.wakes_at().unwrap();
        let sent = all(&mut outbox, now);
        assert!(sent.len() <= 1);
        for parcel in sent {
            tries += 1;
            outbox.ended(parcel.number, &failed(), now, 1.0);
        }
    }
    assert!((850..1_000).contains(&tries), "{tries} tries in three days");
    now = outbox.wakes_at().unwrap();
    let sent = outbox.next(now).unwrap();
    outbox.ended(sent.number, &Outcome::Taken, now, 1.0);
    assert_eq!(all(&mut outbox, now).len(), 3, "each lane, though it has waits of its own");
}

#[test]
fn a_batch_that_fails_is_sent_one_by_one() {
    let limits = Limits { batch: 3, refusals: 1, ..limits() };
    let mut outbox = outbox(limits, &["a", "b", "a", "a"]);
    let sent = outbox.next(SECOND).unwrap();
    assert_eq!(sent.seqs, [1, 3, 4], "in order in each lane");
    let other = outbox.next(SECOND).unwrap();
    assert_eq!(other.seqs, [2]);
    outbox.ended(sent.number, &refused(), SECOND, 1.0);
    let mut rejected = Vec::new();
    for (seq, outcome) in [(1, Outcome::Taken), (3, refused()), (4, Outcome::Taken)] {
        let sent = outbox.next(SECOND).unwrap();
        assert_eq!(sent.seqs, [seq]);
        outbox.ended(sent.number, &outcome, SECOND, 1.0);
        let settled = outbox.settled();
        rejected.extend(settled.rejected);
        outbox.release(&settled.held);
    }
    assert_eq!(rejected.len(), 1, "only the one that cannot be taken");
}

#[test]
fn a_parcel_is_no_larger_than_it_may_be() {
    let mut outbox = Outbox::new(Limits { batch: 9, ..limits() }, 0);
    for (seq, bytes, lane) in
        [(1, 60, "a"), (2, 40, "b"), (3, 1, "a"), (4, 500, "b"), (5, 99, "c"), (6, 2, "c")]
    {
        outbox.take(seq, 0, bytes, lane);
    }
    let mut sent = Vec::new();
    while let Some(parcel) = outbox.next(SECOND) {
        outbox.ended(parcel.number, &Outcome::Taken, SECOND, 1.0);
        sent.push(parcel.seqs);
    }
    assert_eq!(sent, [&[1, 3][..], &[2], &[4], &[5], &[6]], "but one alone may be larger");
    assert_eq!(outbox.cursor(), 6);
}

#[test]
fn what_retention_drops_is_counted_and_the_rest_goes_on() {
    let mut outbox = outbox(limits(), &["a", "b", "a"]);
    outbox.goes_on_at(5);
    assert_eq!(outbox.settled().dropped, 1, "a hole takes nothing that is before it");
    let sent = outbox.next(SECOND).unwrap();
    outbox.begins_at(4);
    assert_eq!(outbox.settled().dropped, 2, "what is on its way is not lost yet");
    outbox.ended(sent.number, &down(), SECOND, 1.0);
    outbox.begins_at(10);
    assert_eq!(outbox.settled().dropped, 6);
    assert_eq!((outbox.cursor(), outbox.scanned(), outbox.wakes_at()), (9, 9, None));
    outbox.take(10, 0, 1, "a");
    outbox.take(11, 0, 1, "a");
    let mut sent = outbox.next(10 * SECOND).unwrap();
    outbox.missing(&mut sent, &[10]);
    assert_eq!((sent.seqs, outbox.flights.len()), (vec![], 0));
    assert_eq!(outbox.settled().dropped, 1);
    assert_eq!(outbox.next(10 * SECOND).unwrap().seqs, [11]);
}

#[test]
fn what_is_set_aside_ahead_of_the_cursor_is_not_sent_after_a_restart() {
    let mut outbox = Outbox::new(limits(), 0);
    outbox.put_aside([(2, "a", false), (3, "a", true)].into_iter());
    for seq in 1..=4 {
        outbox.take(seq, 0, 1, "a");
    }
    let mut sent = Vec::new();
    while let Some(parcel) = outbox.next(SECOND) {
        sent.extend_from_slice(&parcel.seqs);
        outbox.ended(parcel.number, &Outcome::Taken, SECOND, 1.0);
    }
    sent.sort_unstable();
    assert_eq!(sent, [1, 3, 4]);
    assert_eq!((outbox.cursor(), outbox.set_aside(), outbox.ahead()), (4, 1, 0));
    assert_eq!(outbox.settled().redelivered, [3]);
}

#[test]
fn three_days_offline_cost_no_memory_and_lose_nothing() {
    let limits = Limits { window: 10_000, parcels: 8, ..limits() };
    let mut outbox = Outbox::new(limits, 0);
    let lanes = ["a", "b", "c", "d", "e"];
    let (mut now, mut chance, mut last) = (Duration::ZERO, 0.0, [0; 5]);
    let (mut tries, mut taken, total) = (0_u32, 0_u64, 100_000);
    while outbox.cursor() < total {
        while outbox.scanned() < total && outbox.wants_more() {
            let seq = outbox.scanned() + 1;
            outbox.take(seq, 0, 1, lanes[usize::try_from(seq % 5).unwrap()]);
        }
        assert!(outbox.pending.len() <= AHEAD, "{} held", outbox.pending.len());
        let sent = all(&mut outbox, now);
        if sent.is_empty() {
            now = outbox.wakes_at().unwrap();
        }
        for parcel in sent {
            chance = (chance + 0.618) % 1.0;
            if now < Duration::from_hours(72) {
                tries += 1;
                let outcome = if tries.is_multiple_of(2) { down() } else { failed() };
                outbox.ended(parcel.number, &outcome, now, chance);
            } else {
                let lane = &mut last[usize::try_from(parcel.seqs[0] % 5).unwrap()];
                assert!(parcel.seqs[0] > *lane, "in order");
                *lane = parcel.seqs[0];
                taken += 1;
                outbox.ended(parcel.number, &Outcome::Taken, now, chance);
            }
        }
    }
    assert_eq!(taken, total);
    assert!(tries < 3_000, "{tries} tries");
    assert_eq!(outbox.settled(), Settled::default());
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
        let limits = Limits { batch, window, set_aside: 1_000, ..limits() };
        let total = lanes.len() as u64;
        let lane_of = |seq: u64| lanes[usize::try_from(seq - 1).unwrap()];
        let mut had: Vec<Vec<u64>> = vec![Vec::new(); names.len()];
        let (mut noted, mut aside) = (0, BTreeSet::new());
        let (mut outbox, mut now) = (Outbox::new(limits, 0), Duration::ZERO);
        let (mut deeds, mut picks) = (deeds.into_iter(), picks.iter().cycle());
        let mut flying: Vec<Parcel> = Vec::new();
        for turn in 0.. {
            prop_assert!(turn < 20_000, "it does not end: {outbox:?}");
            while outbox.scanned() < total && outbox.wants_more() {
                let seq = outbox.scanned() + 1;
                outbox.take(seq, 0, 1, names[lane_of(seq)]);
            }
            prop_assert!(outbox.scanned() - outbox.cursor() <= window as u64);
            flying.extend(all(&mut outbox, now));
            if flying.is_empty() {
                match outbox.wakes_at() {
                    Some(at) => {
                        prop_assert!(at >= now || outbox.next(now).is_none());
                        now = now.max(at);
                        continue;
                    }
                    None => {
                        let settled = outbox.settled();
                        if settled.held.is_empty() {
                            break;
                        }
                        aside.extend(settled.rejected.into_iter().map(|event| event.seq));
                        noted = outbox.cursor();
                        outbox.release(&settled.held);
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
                Deed::Take => Outcome::Taken,
                Deed::TakeAndBreak | Deed::Down => down(),
                Deed::Fail => failed(),
                Deed::Refuse => refused(),
                Deed::Kill => {
                    outbox = Outbox::new(limits, noted);
                    outbox.put_aside(aside.iter().map(|seq| (*seq, names[lane_of(*seq)], false)));
                    flying.clear();
                    continue;
                }
            };
            outbox.ended(parcel.number, &outcome, now, 0.5);
            // Noted now and then.
            if turn % 3 == 0 {
                let settled = outbox.settled();
                aside.extend(settled.rejected.into_iter().map(|event| event.seq));
                noted = outbox.cursor();
                outbox.release(&settled.held);
            }
        }
        aside.extend(outbox.settled().rejected.into_iter().map(|event| event.seq));
        prop_assert_eq!(outbox.cursor(), total);
        for seq in 1..=total {
            prop_assert!(aside.contains(&seq) || had[lane_of(seq)].contains(&seq), "{} is lost", seq);
        }
    }
}
