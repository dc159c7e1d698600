//! Whether a project's root is present.
//!
//! A root that is removed, unmounted or unreadable deletes nothing: what was known of its features
//! is kept, as unknown. When it is present again the project starts again from what the store
//! holds, as after a restart of the daemon.

use std::time::Duration;

use super::event::{FoundRoot, RootStatus};
use crate::core::backoff::Backoff;
use crate::core::inventory::InventoryEntry;
use crate::core::path::FeatureSlug;
use crate::core::sorted_chunks::SortedChunks;

/// Pause before a lost root is searched first: another directory may be there already.
const FIRST_SEARCH: Duration = Duration::from_millis(50);
/// Pause before the next search; each further one is twice as long, so a root that returns is found
/// after as long as it was away. Mounts, moves of the directories above it, and requests with
/// `sync=true` cause a search at once.
const SEARCH_PAUSE_MIN: Duration = Duration::from_millis(250);
/// The same for a file system that does not respond.
const RESPONSE_PAUSE_MIN: Duration = Duration::from_secs(1);
const SEARCH_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Searches after pauses of at least as long happen at multiples of [`SEARCH_INTERVAL`], together with those of
/// other roots: the processor is woken once for all of them.
const SEPARATE_PAUSE_MAX: Duration = Duration::from_secs(15);
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);

/// What the status reports of a root for which [`looks_unmounted`] is true.
pub(super) const UNMOUNTED: &str = "it is empty or on another file system and contains none of the \
                                    known features; mount the file system, or remove the project \
                                    and add it again";

/// What is known of the root.
#[derive(Debug, Default)]
pub(super) struct RootState {
    away: Option<RootAway>,
    /// The directory itself was removed or moved, whatever is at its path now.
    replaced: bool,
    /// It is present again, and the project is to be restarted.
    returned: bool,
}

/// Why the root is away.
#[derive(Debug)]
pub(super) struct RootAway {
    pub(super) loss: RootLoss,
    search_at: Duration,
    searches: Backoff,
}

/// Why a root was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RootLoss {
    pub(super) error: String,
    pub(super) kind: LossKind,
}

/// What is at the path of a root that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LossKind {
    /// Nothing, or another directory.
    Unavailable,
    /// Something that cannot be read.
    Unreadable,
    /// A file system that does not respond.
    Unresponsive,
}

impl RootLoss {
    pub(super) fn unavailable(error: &str) -> Self {
        Self { error: error.to_owned(), kind: LossKind::Unavailable }
    }

    pub(super) fn unresponsive() -> Self {
        let error = "its file system does not respond".to_owned();
        Self { error, kind: LossKind::Unresponsive }
    }
}

impl RootState {
    pub(super) fn away(&self) -> Option<&RootAway> {
        self.away.as_ref()
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Returns true if the project is to be restarted because its root is present again.
    pub(super) fn has_returned(&self) -> bool {
        self.returned
    }

    /// Records that the directory itself was removed.
    pub(super) fn on_removed(&mut self) {
        self.replaced = true;
    }

    /// Returns why the root is not the one that is watched, given what is at its path.
    pub(super) fn find_loss(&self, status: &RootStatus) -> Option<RootLoss> {
        match status {
            RootStatus::Present if !self.replaced => None,
            RootStatus::Present | RootStatus::Replaced => {
                Some(RootLoss::unavailable("it was replaced by another directory"))
            }
            RootStatus::Unavailable { error, unreadable } => {
                let kind = if *unreadable { LossKind::Unreadable } else { LossKind::Unavailable };
                Some(RootLoss { error: error.clone(), kind })
            }
            RootStatus::Unresponsive => Some(RootLoss::unresponsive()),
        }
    }

    pub(super) fn on_lost(&mut self, loss: RootLoss, now: Duration) {
        let mut away =
            RootAway { loss, search_at: now + FIRST_SEARCH, searches: Backoff::default() };
        if away.loss.kind == LossKind::Unresponsive {
            away.pause(now);
        }
        self.away = Some(away);
    }

    /// Records that a search did not complete in time.
    pub(super) fn on_search_timed_out(&mut self, now: Duration) {
        if let Some(away) = &mut self.away {
            away.loss = RootLoss { error: away.loss.error.clone(), kind: LossKind::Unresponsive };
            away.pause(now);
        }
    }

    /// Searches at once, if the root is away.
    pub(super) fn search_now(&mut self, now: Duration) {
        if let Some(away) = &mut self.away {
            away.search_at = now;
        }
    }

    /// Searches at once if the root is away and its file system responds: a client asks for it.
    pub(super) fn search_for_client(&mut self, now: Duration) {
        if self.away.as_ref().is_some_and(|away| away.loss.kind != LossKind::Unresponsive) {
            self.search_now(now);
        }
    }

    /// Returns true if the root is to be searched now.
    pub(super) fn start_search_if_due(&mut self, now: Duration) -> bool {
        let due = self.away.as_mut().filter(|away| away.search_at <= now && !self.returned);
        let is_due = due.is_some();
        if let Some(away) = due {
            away.pause(now);
        }
        is_due
    }

    pub(super) fn on_found(&mut self) {
        self.returned = self.away.is_some();
    }

    pub(super) fn next_search(&self) -> Option<Duration> {
        self.away.as_ref().filter(|_| !self.returned).map(|away| away.search_at)
    }
}

impl RootAway {
    fn pause(&mut self, now: Duration) {
        let pause = match self.loss.kind {
            LossKind::Unavailable | LossKind::Unreadable => {
                self.searches.next_pause(SEARCH_PAUSE_MIN, SEARCH_PAUSE_MAX)
            }
            LossKind::Unresponsive => {
                self.searches.next_pause(RESPONSE_PAUSE_MIN, SEARCH_PAUSE_MAX)
            }
        };
        self.search_at = now + pause;
        if pause >= SEPARATE_PAUSE_MAX {
            let interval = SEARCH_INTERVAL.as_nanos();
            let late = u64::try_from(self.search_at.as_nanos() % interval).unwrap_or_default();
            self.search_at -= Duration::from_nanos(late);
        }
    }
}

/// Returns true if this is not where the project was indexed: none of its features is there, and
/// the root is empty or on another device, as when its file system is not mounted.
pub(super) fn looks_unmounted<'a>(
    found: &FoundRoot,
    known: impl Iterator<Item = (&'a FeatureSlug, &'a SortedChunks<InventoryEntry>)> + Clone,
) -> bool {
    if known.clone().any(|(slug, _)| found.features.binary_search(slug).is_ok()) {
        return false;
    }
    let entries = known.flat_map(|(_, entries)| entries.iter());
    let mut signatures = entries.filter_map(|entry| entry.signature).peekable();
    signatures.peek().is_some()
        && (found.is_empty || signatures.all(|signature| signature.device != found.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_that_was_opened_is_the_root() {
        let unavailable = |unreadable| RootStatus::Unavailable { error: "gone".into(), unreadable };
        let mut root = RootState::default();
        assert_eq!(root.find_loss(&RootStatus::Present), None);
        let gone = RootLoss { error: "gone".to_owned(), kind: LossKind::Unreadable };
        assert_eq!(root.find_loss(&unavailable(true)), Some(gone));
        assert_eq!(root.find_loss(&RootStatus::Unresponsive), Some(RootLoss::unresponsive()));
        let replaced = Some(RootLoss::unavailable("it was replaced by another directory"));
        assert_eq!(root.find_loss(&RootStatus::Replaced), replaced);
        root.on_removed();
        assert_eq!(root.find_loss(&RootStatus::Present), replaced);
    }

    #[test]
    fn a_lost_root_is_searched_after_growing_pauses_until_it_is_found() {
        let ms = Duration::from_millis;
        let mut root = RootState::default();
        assert!(!root.start_search_if_due(ms(0)) && root.next_search().is_none());
        root.on_found();
        assert!(!root.has_returned(), "it was not away");
        root.on_lost(RootLoss::unavailable("gone"), ms(100));
        let mut now = ms(100);
        // The last ones are rounded down to multiples of five seconds.
        for pause in [50, 250, 500, 1_000, 2_000, 4_000, 8_000, 14_100, 30_000, 60_000, 60_000] {
            assert!(!root.start_search_if_due(now + ms(pause - 1)), "{pause}");
            now += ms(pause);
            assert!(root.start_search_if_due(now), "{pause}");
        }
        for search in [RootState::search_now, RootState::search_for_client] {
            assert!(!root.start_search_if_due(now));
            search(&mut root, now);
            assert!(root.start_search_if_due(now));
        }
        root.on_found();
        assert!(root.has_returned());
        assert!(!root.start_search_if_due(now * 2) && root.next_search().is_none());
    }

    #[test]
    fn a_root_that_does_not_respond_is_searched_once_a_minute_in_the_end() {
        let secs = Duration::from_secs;
        let mut root = RootState::default();
        root.on_lost(RootLoss::unresponsive(), secs(0));
        let mut now = secs(0);
        for pause in [1, 2, 4, 8, 15, 30, 60, 60] {
            assert_eq!(root.next_search(), Some(now + secs(pause)));
            now += secs(pause);
            assert!(root.start_search_if_due(now));
        }
        root.on_search_timed_out(now);
        root.search_for_client(now);
        assert_eq!(root.next_search(), Some(now + secs(60)), "no client has it examined earlier");
    }
}
