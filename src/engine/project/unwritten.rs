//! Reports snapshot files that could not be written and retries them. The writing itself is done by
//! `projector`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LiveProject, Now};
use crate::core::path::FeatureSlug;

/// Time until failed writes are retried if the snapshot does not change before.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The features whose snapshot file could not be written, with the errors.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    errors: BTreeMap<FeatureSlug, String>,
    retry_at: Option<Duration>,
}

impl Unwritten {
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Returns a message about the failed writes, if there are any.
    pub(super) fn message(&self) -> Option<String> {
        let (slug, error) = self.errors.first_key_value()?;
        let others = match self.errors.len() - 1 {
            0 => String::new(),
            count => format!(" and of {count} more"),
        };
        Some(format!("cannot write the snapshot file of {slug}{others}: {error}"))
    }
}

impl LiveProject {
    /// Records the result of the last attempt to write a snapshot file.
    pub(in crate::engine) fn projected(
        &mut self,
        slug: FeatureSlug,
        error: Option<String>,
        now: Now,
    ) {
        let Unwritten { errors, retry_at } = &mut self.unwritten;
        self.changed |= errors.get(&slug) != error.as_ref();
        match error {
            Some(error) => errors.insert(slug, error),
            None => errors.remove(&slug),
        };
        let due = retry_at.unwrap_or(now.elapsed + RETRY_INTERVAL);
        *retry_at = (!errors.is_empty()).then_some(due);
    }

    /// Retries failed writes if it is time for it.
    pub(super) fn retry_snapshots(&mut self, now: Now) {
        if self.unwritten.retry_at.is_none_or(|due| due > now.elapsed) {
            return;
        }
        self.unwritten.retry_at = Some(now.elapsed + RETRY_INTERVAL);
        self.unwritten.errors.retain(|slug, _| self.features.contains_key(slug));
        let slugs: Vec<FeatureSlug> = self.unwritten.errors.keys().cloned().collect();
        for slug in slugs {
            if let Some(feature) = self.activate(&slug) {
                feature.mark_snapshot_stale();
            }
        }
    }
}
