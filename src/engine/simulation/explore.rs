//! Runs many histories on all cores, and shrinks one that is wrong.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::checks::Violation;
use super::history::{History, Step, history};
use super::machine::run;
use crate::engine::reconcile::planted::{Bug, plant};

/// A wrong history.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) seed: u64,
    /// The shortest history that was found from it.
    pub(super) history: History,
    pub(super) violation: Violation,
}

/// Runs a history, with a bug planted if there is one. A panic is a violation, too.
pub(super) fn check(history: &History, bug: Option<Bug>) -> Result<(), Violation> {
    plant(bug);
    let result = catch_unwind(AssertUnwindSafe(|| run(history)));
    plant(None);
    result.unwrap_or_else(|_| Err(Violation::new("the engine panics")))
}

/// Runs the histories of `count` seeds from `first`. Returns the first that is wrong, shrunk.
pub(super) fn explore(
    first: u64,
    count: u64,
    steps: RangeInclusive<usize>,
    bug: Option<Bug>,
) -> Option<Finding> {
    let next = AtomicU64::new(0);
    let finding: Mutex<Option<Finding>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if let Some(found) = explore_one(first, number, steps.clone(), bug) {
                        next.store(count, Ordering::Relaxed);
                        let mut finding = finding.lock().unwrap_or_else(PoisonError::into_inner);
                        finding.get_or_insert(found);
                        return;
                    }
                }
            });
        }
    });
    finding.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn explore_one(
    first: u64,
    number: u64,
    steps: RangeInclusive<usize>,
    bug: Option<Bug>,
) -> Option<Finding> {
    let seed = first.wrapping_add(number);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = history(steps).new_tree(&mut runner).expect("a history");
    let found = tree.current();
    let violation = check(&found, bug).err()?;
    let (history, violation) = shrink(found, violation, bug);
    Some(Finding { seed, history, violation })
}

/// Removes from a wrong history what it does not need to be wrong.
fn shrink(history: History, violation: Violation, bug: Option<Bug>) -> (History, Violation) {
    let mut shortest = (history, violation);
    let attempt = |shortest: &mut (History, Violation), history: History| {
        let result = check(&history, bug);
        let is_wrong = result.is_err();
        if let Err(violation) = result {
            *shortest = (history, violation);
        }
        is_wrong
    };
    loop {
        let before = shortest.0.clone();
        let mut size = shortest.0.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < shortest.0.steps.len() {
                let mut shorter = shortest.0.clone();
                let end = (at + size).min(shorter.steps.len());
                shorter.steps.drain(at..end);
                if !attempt(&mut shortest, shorter) {
                    at += size;
                }
            }
            size /= 2;
        }
        for at in 0..shortest.0.steps.len() {
            let Step(_, then) = shortest.0.steps[at];
            for simpler in then.simpler() {
                let mut simple = shortest.0.clone();
                simple.steps[at].1 = simpler;
                if attempt(&mut shortest, simple) {
                    break;
                }
            }
        }
        for at in 0..shortest.0.steps.len() {
            for simpler in shortest.0.steps[at].0.simpler() {
                let mut simple = shortest.0.clone();
                simple.steps[at].0 = simpler;
                if attempt(&mut shortest, simple) {
                    break;
                }
            }
        }
        // An operation may be of no use but for the time after it.
        for at in (1..shortest.0.steps.len()).rev() {
            let mut shorter = shortest.0.clone();
            let removed = shorter.steps.remove(at);
            shorter.steps[at - 1].1 = shorter.steps[at - 1].1.followed_by(removed.1);
            attempt(&mut shortest, shorter);
        }
        if shortest.0.is_second_silent {
            let simple = History { is_second_silent: false, ..shortest.0.clone() };
            attempt(&mut shortest, simple);
        }
        if shortest.0.shares_instance {
            let simple = History { shares_instance: false, ..shortest.0.clone() };
            attempt(&mut shortest, simple);
        }
        if shortest.0 == before {
            return shortest;
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "what is found is a result of the tests")]
mod tests {
    use std::io::Write as _;

    use std::time::Duration;

    use super::super::history::{At, Close, Op, Size, Then};
    use super::super::machine::count_attempts;
    use super::super::regressions::regressions;
    use super::*;

    /// Number of histories of each kind; `DOSSIERD_SIMULATIONS` overrides it.
    const HISTORIES: u64 = 1_000;
    /// Length of a history in operations.
    const LENGTH: RangeInclusive<usize> = 60..=90;

    fn number_from_env(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|number| number.parse().expect("a number"))
    }

    fn assert_no_finding(first: u64) {
        let count = number_from_env("DOSSIERD_SIMULATIONS").unwrap_or(HISTORIES);
        // Not captured, so that a log contains it.
        let _ = writeln!(std::io::stderr(), "simulating {count} histories from seed {first}");
        if let Some(finding) = explore(first, count, LENGTH, None) {
            let Finding { seed, history, violation, .. } = finding;
            panic!("DOSSIERD_SEED={seed}: {}\n{history}", violation.0);
        }
    }

    #[test]
    fn histories_of_fixed_seeds_end_in_the_state_of_a_fresh_scan() {
        assert_no_finding(0);
    }

    #[test]
    fn histories_of_random_seeds_end_in_the_state_of_a_fresh_scan() {
        let random = || u64::from(uuid::Uuid::new_v4().as_fields().0) << 32;
        assert_no_finding(number_from_env("DOSSIERD_SEED").unwrap_or_else(random));
    }

    #[test]
    fn histories_that_were_wrong_once_are_right() {
        for (number, history) in regressions().iter().enumerate() {
            let result = check(history, None);
            assert_eq!(result, Ok(()), "regression {number}: {history}");
        }
    }

    #[test]
    fn attempts_without_descriptors_become_rarer() {
        let files = [0, 3, 7].map(|path| Op::Write(At(0, path), Size::Small, Close::Yes));
        let others =
            [Op::Overflow(0), Op::Remove(At(1, 2)), Op::Write(At(0, 4), Size::Large, Close::Yes)];
        let steps = files.into_iter().chain(others).map(|op| Step(op, Then::Run(10))).collect();
        let history = History::new(steps);
        let attempts = count_attempts(&history, Duration::from_mins(20)).unwrap();
        // After 1, 2, 4, 8, 16, 32 s, and then once a minute.
        assert!((20..=30).contains(&attempts), "{attempts}");
    }

    #[test]
    fn planted_bugs_are_found_within_20_000_histories_and_shrunk_to_10_operations() {
        for bug in [
            Bug::ListBeforeWatch,
            Bug::IgnoreOverflow,
            Bug::HoldOnce,
            Bug::RecheckIgnoresDebounce,
            Bug::TrustEqualMtime,
            Bug::TakeOldEpoch,
            Bug::PublishBeforeCommit,
            Bug::DeleteFromListing,
            Bug::TombstonesHideSpecs,
            Bug::DeleteHidden,
        ] {
            // Not every finding shrinks as far: an effect is chosen by its position among others.
            let mut first = 0;
            let short = loop {
                let finding = explore(first, 20_000 - first, LENGTH, Some(bug));
                let Some(Finding { seed, history, violation, .. }) = finding else {
                    break None;
                };
                if history.steps.len() <= 10 {
                    println!("{bug:?}: seed {seed}, {}\n{history}", violation.0);
                    break Some(history);
                }
                first = seed + 1;
            };
            assert!(short.is_some(), "{bug:?} is not found, or not in a short history");
        }
    }
}
