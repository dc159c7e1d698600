//! Snapshot files that cannot be written: said, and tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LiveProject, Now};
use crate::core::path::FeatureSlug;

/// How long until they are tried again, where nothing changes meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The features whose file cannot be written, and why.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    errors: BTreeMap<FeatureSlug, String>,
    retry_at: Option<Duration>,
}

impl Unwritten {
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.retry_at
    }

    /// What is wrong, if anything is.
    pub(super) fn message(&self) -> Option<String> {
        let (slug, why) = self.errors.first_key_value()?;
        let others = match self.errors.len() - 1 {
            0 => String::new(),
            more => format!(" (and of {more} more)"),
        };
        Some(format!("the snapshot file of {slug}{others} cannot be written: {why}"))
    }
}

impl LiveProject {
    /// Takes how the last try to write a snapshot file went.
    pub(in crate::engine) fn projected(
        &mut self,
        slug: FeatureSlug,
        fault: Option<String>,
        now: Now,
    ) {
        let Unwritten { errors, retry_at } = &mut self.unwritten;
        self.changed |= errors.get(&slug) != fault.as_ref();
        match fault {
            Some(why) => errors.insert(slug, why),
            None => errors.remove(&slug),
        };
        let due = retry_at.unwrap_or(now.elapsed + RETRY_INTERVAL);
        *retry_at = (!errors.is_empty()).then_some(due);
    }

    /// Tries again what could not be written.
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
