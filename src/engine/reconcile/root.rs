//! Whether a project's root is present.
//!
//! A root that is removed, unmounted or unreadable deletes nothing: what was known of its features
//! is kept, as unknown. When it is present again the project starts again from what the store
//! holds, as after a restart of the daemon.

use std::time::Duration;

use super::backoff::Backoff;
use super::event::{FoundRoot, RootStatus};
use crate::core::inventory::InventoryEntry;
use crate::core::path::FeatureSlug;
use crate::core::sorted_chunks::SortedChunks;

/// Interval at which a lost root is searched.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);
/// Pause before the first search: another directory may be there already.
const FIRST_SEARCH: Duration = Duration::from_millis(50);

/// Pauses before a probe that did not complete in time is tried again.
const PROBE_RETRY_MIN: Duration = Duration::from_secs(1);
const PROBE_RETRY_MAX: Duration = Duration::from_mins(1);

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
    pub(super) error: String,
    /// Something is there that cannot be read.
    pub(super) unreadable: bool,
    search_at: Duration,
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
    pub(super) fn find_loss(&self, status: &RootStatus) -> Option<(String, bool)> {
        match status {
            RootStatus::Present if !self.replaced => None,
            RootStatus::Present | RootStatus::Replaced => {
                Some(("it was replaced by another directory".to_owned(), false))
            }
            RootStatus::Unavailable { error, unreadable } => Some((error.clone(), *unreadable)),
        }
    }

    pub(super) fn on_lost(&mut self, error: String, unreadable: bool, now: Duration) {
        self.away = Some(RootAway { error, unreadable, search_at: now + FIRST_SEARCH });
    }

    /// Searches at once, if the root is away.
    pub(super) fn search_now(&mut self, now: Duration) {
        if let Some(away) = &mut self.away {
            away.search_at = now;
        }
    }

    /// Returns true if the root is to be searched now.
    pub(super) fn start_search_if_due(&mut self, now: Duration) -> bool {
        let due = self.away.as_mut().filter(|away| away.search_at <= now && !self.returned);
        let is_due = due.is_some();
        if let Some(away) = due {
            away.search_at = now + SEARCH_INTERVAL;
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

/// Requests for a probe of the root, and retries of one that did not complete in time.
#[derive(Debug, Default)]
pub(super) struct ProbeSchedule {
    /// It was requested during the first scan, or while a probe was under way.
    is_requested: bool,
    /// When it is tried again after a probe that did not complete in time.
    retry_at: Option<Duration>,
    backoff: Backoff,
}

impl ProbeSchedule {
    /// Requests a probe once the one under way, or the first scan, is complete.
    pub(super) fn request(&mut self) {
        self.is_requested = true;
    }

    pub(super) fn take_request(&mut self) -> bool {
        std::mem::take(&mut self.is_requested)
    }

    pub(super) fn on_timed_out(&mut self, now: Duration) {
        self.is_requested = false;
        self.retry_at = Some(now + self.backoff.next_pause(PROBE_RETRY_MIN, PROBE_RETRY_MAX));
    }

    pub(super) fn on_completed(&mut self) {
        self.backoff = Backoff::default();
    }

    /// Returns true once if a probe is to be tried again now.
    pub(super) fn take_retry(&mut self, now: Duration) -> bool {
        self.retry_at.take_if(|due| *due <= now).is_some()
    }

    pub(super) fn next_retry(&self) -> Option<Duration> {
        self.retry_at
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
        assert_eq!(root.find_loss(&unavailable(true)), Some(("gone".to_owned(), true)));
        let replaced = Some(("it was replaced by another directory".to_owned(), false));
        assert_eq!(root.find_loss(&RootStatus::Replaced), replaced);
        root.on_removed();
        assert_eq!(root.find_loss(&RootStatus::Present), replaced);
    }

    #[test]
    fn a_lost_root_is_searched_four_times_a_second_until_it_is_found() {
        let ms = Duration::from_millis;
        let mut root = RootState::default();
        assert!(!root.start_search_if_due(ms(0)) && root.next_search().is_none());
        root.on_found();
        assert!(!root.has_returned(), "it was not away");
        root.on_lost("gone".to_owned(), false, ms(100));
        assert!(!root.start_search_if_due(ms(149)));
        assert!(root.start_search_if_due(ms(150)));
        assert_eq!(root.next_search(), Some(ms(400)));
        root.search_now(ms(200));
        assert!(root.start_search_if_due(ms(200)));
        root.on_found();
        assert!(root.has_returned());
        assert!(!root.start_search_if_due(ms(900)) && root.next_search().is_none());
    }
}
