//! Bugs that tests plant, to show that the simulation finds them. A program has none.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "some are planted in the simulation only"))]
pub(in crate::engine) enum Bug {
    /// A directory is listed before it is watched.
    ListBeforeWatch,
    /// Nothing is rescanned after an overflow.
    IgnoreOverflow,
    /// Only the first lock of git defers deletions.
    HoldOnce,
    /// The result of a recheck counts while its path is debounced.
    RecheckIgnoresDebounce,
    /// A file is taken as unchanged if its size and modification time are.
    TrustEqualMtime,
    /// Results of effects that were started before the root was lost are applied.
    TakeOldEpoch,
    /// Readers see a state before it is committed.
    PublishBeforeCommit,
    /// What a listing does not contain is deleted.
    DeleteFromListing,
    /// A spec whose file was deleted is not reported as absent, even if it did not apply then.
    TombstonesHideSpecs,
    /// What a mount hides is deleted.
    DeleteHidden,
}

/// Returns true if a bug is planted on this thread.
#[cfg(not(test))]
pub(in crate::engine) const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
pub(in crate::engine) use with_bugs::{is_planted, plant};

#[cfg(test)]
mod with_bugs {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(in crate::engine) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug on this thread, or removes it.
    pub(in crate::engine) fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}
