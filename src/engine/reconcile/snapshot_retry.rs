//! Snapshot files that could not be written: reported, and written again later.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::path::FeatureSlug;

/// Pause before the files are written again, where nothing changes meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The features whose snapshot file could not be written, and why.
#[derive(Debug, Default)]
pub(super) struct SnapshotRetry {
    errors: BTreeMap<FeatureSlug, String>,
    retry_at: Option<Duration>,
}

impl SnapshotRetry {
    /// Records how writing a file went. Returns true if that changes the project's status.
    pub(super) fn record(
        &mut self,
        slug: FeatureSlug,
        error: Option<String>,
        now: Duration,
    ) -> bool {
        let changed = self.errors.get(&slug) != error.as_ref();
        match error {
            Some(error) => self.errors.insert(slug, error),
            None => self.errors.remove(&slug),
        };
        let due = self.retry_at.unwrap_or(now + RETRY_INTERVAL);
        self.retry_at = (!self.errors.is_empty()).then_some(due);
        changed
    }

    /// Returns the features whose file is to be written again now.
    pub(super) fn take_due(
        &mut self,
        exists: impl Fn(&FeatureSlug) -> bool,
        now: Duration,
    ) -> Vec<FeatureSlug> {
        if self.retry_at.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.errors.retain(|slug, _| exists(slug));
        self.retry_at = (!self.errors.is_empty()).then_some(now + RETRY_INTERVAL);
        self.errors.keys().cloned().collect()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Returns what the status reports, if a file could not be written.
    pub(super) fn message(&self) -> Option<String> {
        let (slug, error) = self.errors.first_key_value()?;
        let others = match self.errors.len() - 1 {
            0 => String::new(),
            more => format!(" and of {more} more"),
        };
        Some(format!("cannot write the snapshot file of {slug}{others}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_files_are_written_again_each_minute_until_they_can_be() {
        let slug = |name: &str| FeatureSlug::new(name.as_bytes()).unwrap();
        let secs = Duration::from_secs;
        let mut retry = SnapshotRetry::default();
        assert!(!retry.record(slug("a"), None, secs(0)));
        assert!(retry.record(slug("a"), Some("read-only".to_owned()), secs(1)));
        assert!(!retry.record(slug("a"), Some("read-only".to_owned()), secs(2)));
        assert!(retry.record(slug("b"), Some("full".to_owned()), secs(3)));
        let text = "cannot write the snapshot file of a and of 1 more: read-only";
        assert_eq!(retry.message().as_deref(), Some(text));
        assert_eq!(retry.next_due(), Some(secs(61)));
        assert!(retry.take_due(|_| true, secs(60)).is_empty());
        assert_eq!(retry.take_due(|known| *known == slug("b"), secs(61)), [slug("b")]);
        assert_eq!(retry.next_due(), Some(secs(121)));
        assert!(retry.record(slug("b"), None, secs(62)));
        assert_eq!((retry.message(), retry.next_due()), (None, None));
    }
}
