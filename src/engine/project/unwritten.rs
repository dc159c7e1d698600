//! Snapshot files that cannot be written: said, and tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LiveProject, Now};
use crate::core::path::FeatureSlug;

/// How long until they are tried again, where nothing changes meanwhile.
const AGAIN: Duration = Duration::from_mins(1);

/// The features whose file cannot be written, and why.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    faults: BTreeMap<FeatureSlug, String>,
    again_at: Option<Duration>,
}

impl Unwritten {
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.again_at
    }

    /// What is wrong, if anything is.
    pub(super) fn said(&self) -> Option<String> {
        let (slug, why) = self.faults.first_key_value()?;
        let others = match self.faults.len() - 1 {
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
        let Unwritten { faults, again_at } = &mut self.unwritten;
        self.changed |= faults.get(&slug) != fault.as_ref();
        match fault {
            Some(why) => faults.insert(slug, why),
            None => faults.remove(&slug),
        };
        let due = again_at.unwrap_or(now.elapsed + AGAIN);
        *again_at = (!faults.is_empty()).then_some(due);
    }

    /// Tries again what could not be written.
    pub(super) fn project_again(&mut self, now: Now) {
        if self.unwritten.again_at.is_none_or(|due| due > now.elapsed) {
            return;
        }
        self.unwritten.again_at = Some(now.elapsed + AGAIN);
        self.unwritten.faults.retain(|slug, _| self.features.contains_key(slug));
        let slugs: Vec<FeatureSlug> = self.unwritten.faults.keys().cloned().collect();
        for slug in slugs {
            if let Some(feature) = self.wake(&slug) {
                feature.project_again();
            }
        }
    }
}
