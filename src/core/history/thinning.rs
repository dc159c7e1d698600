//! Which versions of a path are kept, and in which order a full store removes them
//! (`docs/specification.md#kept-versions`).
//!
//! Within an hour or a day the newest version wins. So the result does not depend on how often the
//! rule is applied: a version that is dropped would have been dropped later, too.

use std::time::Duration;

/// Number of versions of a path that are kept, however close they are.
pub const NEWEST: usize = 16;
/// Age up to which one version an hour is kept; beyond it, one a day.
pub const HOURLY: Duration = Duration::from_hours(24);

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What the rules ask of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionTimes {
    /// Time at which it became current, in milliseconds since 1970.
    pub from_ms: i64,
    /// Time at which it was replaced or deleted; `None` while it is current.
    pub until_ms: Option<i64>,
    /// True if a baseline names its content.
    pub is_named: bool,
}

/// Returns for each version of a path whether it is kept at the time `now_ms`. `versions` are those
/// that are stored, newest first. A version that was not current since `max_age` is dropped unless a
/// baseline names it.
#[must_use]
pub fn kept_versions(versions: &[VersionTimes], now_ms: i64, max_age: Duration) -> Vec<bool> {
    let max_age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
    let hourly = i64::try_from(HOURLY.as_millis()).unwrap_or(i64::MAX);
    // The hour and the day for which a newer version is kept already.
    let (mut hour, mut day) = (None, None);
    let mut kept = Vec::with_capacity(versions.len());
    for (rank, version) in versions.iter().enumerate() {
        let unused = version.until_ms.map_or(0, |until| now_ms.saturating_sub(until));
        let age = now_ms.saturating_sub(version.from_ms);
        let (this_hour, this_day) =
            (version.from_ms.div_euclid(HOUR_MS), version.from_ms.div_euclid(DAY_MS));
        let is_of_slot = rank >= NEWEST
            && if age <= hourly { hour != Some(this_hour) } else { day != Some(this_day) };
        if is_of_slot {
            (hour, day) = (Some(this_hour), Some(this_day));
        }
        kept.push(version.is_named || unused <= max_age && (rank < NEWEST || is_of_slot));
    }
    kept
}

/// A version that a full store may give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionCandidate {
    /// Number of newer versions of its path that are stored.
    pub rank: u32,
    /// True if it is current.
    pub is_current: bool,
    /// True if a baseline names its content.
    pub is_named: bool,
    /// Time at which it became current, in milliseconds since 1970.
    pub from_ms: i64,
}

/// Sorts by this key put first what a full store gives up first: the versions with most newer ones of
/// the same path, the oldest first; then the last contents of deleted files; then current ones; and
/// last what a baseline names. So a file that changes all the time costs no other its newest versions.
#[must_use]
pub fn eviction_key(candidate: &EvictionCandidate) -> impl Ord + use<> {
    let EvictionCandidate { rank, is_current, is_named, from_ms } = *candidate;
    (is_named, is_current, std::cmp::Reverse(rank), from_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_AGE: Duration = Duration::from_hours(24 * 90);
    const MINUTE: i64 = 60_000;

    /// Versions that became current at these times, newest first, each replaced by the next.
    fn versions(newest_first: &[i64]) -> Vec<VersionTimes> {
        let mut until_ms = None;
        let version = |from_ms: &i64| {
            let version = VersionTimes { from_ms: *from_ms, until_ms, is_named: false };
            until_ms = Some(*from_ms);
            version
        };
        newest_first.iter().map(version).collect()
    }

    fn thin(all: &[VersionTimes], now: i64) -> Vec<VersionTimes> {
        let kept = kept_versions(all, now, MAX_AGE);
        all.iter().zip(kept).filter_map(|(version, kept)| kept.then_some(*version)).collect()
    }

    #[test]
    fn newest_versions_are_kept_then_one_an_hour_then_one_a_day() {
        let now = 1_000 * DAY_MS;
        // One a minute for three days.
        let times: Vec<i64> = (0..3 * 24 * 60).map(|minute| now - minute * MINUTE).collect();
        let kept = thin(&versions(&times), now);
        let ages: Vec<i64> = kept.iter().map(|version| (now - version.from_ms) / MINUTE).collect();
        assert_eq!(ages[..NEWEST], (0..16).collect::<Vec<i64>>());
        // The newest version of an hour, of the current hour the newest after the first 16.
        assert_eq!(ages[NEWEST..NEWEST + 3], [16, 61, 121]);
        assert_eq!(kept.len(), NEWEST + 24 + 2, "{ages:?}");
        assert_eq!(ages[ages.len() - 2..], [1_441, 2_881]);
    }

    #[test]
    fn unused_versions_expire_unless_they_are_current_or_named() {
        let now = 1_000 * DAY_MS;
        let version = |from_day: i64, until_day: Option<i64>, is_named| VersionTimes {
            from_ms: from_day * DAY_MS,
            until_ms: until_day.map(|day| day * DAY_MS),
            is_named,
        };
        for (version, expected) in [
            (version(1, None, false), true),
            // Accepted long ago, and replaced yesterday.
            (version(1, Some(999), false), true),
            (version(1, Some(909), false), false),
            (version(1, Some(910), false), true),
            (version(1, Some(2), true), true),
            // The clock was set back.
            (version(2_000, Some(2_001), false), true),
        ] {
            assert_eq!(kept_versions(&[version], now, MAX_AGE), [expected], "{version:?}");
        }
    }

    #[test]
    fn eviction_spares_newest_current_and_named_versions() {
        let candidate = |rank, is_current, is_named, from_ms| EvictionCandidate {
            rank,
            is_current,
            is_named,
            from_ms,
        };
        let expected = [
            candidate(15, false, false, 9),
            candidate(3, false, false, 1),
            candidate(3, false, false, 2),
            // Deleted files.
            candidate(0, false, false, 1),
            candidate(0, false, false, 3),
            candidate(0, true, false, 0),
            candidate(40, false, true, 0),
            candidate(0, true, true, 0),
        ];
        let mut sorted = expected;
        sorted.reverse();
        sorted.sort_by_key(eviction_key);
        assert_eq!(sorted, expected);
    }

    proptest! {
        #[test]
        fn thinning_often_keeps_what_thinning_once_keeps(
            steps in prop::collection::vec((1_i64..DAY_MS, any::<bool>()), 1..120),
        ) {
            let (mut now, mut times, mut often) = (0, Vec::new(), Vec::<VersionTimes>::new());
            for (step, is_thinned) in steps {
                now += step / if step % 3 == 0 { 1 } else { 500 };
                times.insert(0, now);
                if let Some(newest) = often.first_mut() {
                    newest.until_ms = Some(now);
                }
                often.insert(0, VersionTimes { from_ms: now, until_ms: None, is_named: false });
                if is_thinned {
                    often = thin(&often, now);
                }
            }
            let once = thin(&versions(&times), now);
            let often = thin(&often, now);
            let starts = |all: &[VersionTimes]| all.iter().map(|one| one.from_ms).collect::<Vec<_>>();
            prop_assert_eq!(starts(&often), starts(&once));
            // One a day, and some.
            prop_assert!(once.len() <= NEWEST + 25 + 91);
        }
    }
}
