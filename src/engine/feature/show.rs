//! The present picture of a feature.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::LiveFeature;
use crate::core::feature::FeatureWatchState;
use crate::core::time::Timestamp;
use crate::engine::view::FeatureView;

/// How a feature's snapshot file stands to its snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Projection {
    /// Since it was last written, nothing changed.
    #[default]
    Same,
    /// Something may have.
    MayDiffer,
}

impl LiveFeature {
    /// Whether its snapshot is announced, and may be other than its file says since this was last
    /// asked.
    pub(in crate::engine) fn take_stale_snapshot(&mut self) -> bool {
        let announced = self.announced.is_some() && self.batch.is_empty();
        announced && std::mem::take(&mut self.projection) == Projection::MayDiffer
    }

    /// Takes that its file could not be written, and is to be once more.
    pub(in crate::engine) fn mark_snapshot_stale(&mut self) {
        self.projection = Projection::MayDiffer;
        self.view = None;
    }

    /// The present picture.
    pub(in crate::engine) fn view(
        &mut self,
        project: &Arc<str>,
        at: Timestamp,
    ) -> Arc<FeatureView> {
        let settled = self.is_checked() && !self.waits_for_git();
        let stale = |view: &FeatureView| match view.watch {
            FeatureWatchState::Settling => settled,
            FeatureWatchState::Live => !settled,
            FeatureWatchState::Degraded => self.polled && !settled,
            FeatureWatchState::Unreadable | FeatureWatchState::Gone => false,
        };
        let shown = self.view.as_ref().filter(|view| view.indexed == self.indexed);
        if let Some(view) = shown.filter(|view| !stale(view)) {
            return Arc::clone(view);
        }
        let verdict = self.verdict.clone().filter(|_| self.batch.is_empty());
        let watch = match FeatureWatchState::from_unknown_reason(
            self.inventory.context().unknown_reason.as_ref(),
        ) {
            FeatureWatchState::Live if !settled => FeatureWatchState::Settling,
            FeatureWatchState::Live if self.polled => FeatureWatchState::Degraded,
            watch => watch,
        };
        let id = self.announced.as_ref().and_then(|announced| announced.snapshot_id.parse().ok());
        // One that is not announced is computed when it is asked for.
        let announced = self.announced.as_ref().filter(|_| self.batch.is_empty());
        let computed_at = announced.and_then(|announced| announced.computed_at);
        let view = Arc::new(FeatureView {
            project: Arc::clone(project),
            dir: self.dir.clone(),
            indexed: self.indexed,
            terms: Arc::clone(self.inventory.context()),
            entries: self.inventory.entries().clone(),
            absent: self.inventory.absent_specs(at).map(Arc::new).collect(),
            tombstones: self.tombstones.iter().cloned().collect(),
            verdict,
            snapshot_id: id.unwrap_or_else(Uuid::new_v4),
            bearings: Arc::clone(&self.bearings),
            watch,
            computed_at: computed_at.unwrap_or(at),
            last_scanned_at: self.scanned_at,
            whole: OnceLock::new(),
        });
        self.view = Some(Arc::clone(&view));
        view
    }
}
