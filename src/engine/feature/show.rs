//! Builds the published view of a feature, and decides whether its snapshot file may be stale.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::LiveFeature;
use crate::core::feature::FeatureWatchState;
use crate::core::time::Timestamp;
use crate::engine::view::FeatureView;

/// State of a feature's snapshot file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Projection {
    /// Nothing changed since it was last written.
    #[default]
    Same,
    /// Something may have changed since it was last written.
    MayDiffer,
}

impl LiveFeature {
    /// Returns true if the snapshot file has to be checked, and resets that. Only a snapshot that
    /// was announced by an event is written.
    pub(in crate::engine) fn take_stale_snapshot(&mut self) -> bool {
        let announced = self.announced.is_some() && self.batch.is_empty();
        announced && std::mem::take(&mut self.projection) == Projection::MayDiffer
    }

    /// Requests another write of the snapshot file, after one that failed.
    pub(in crate::engine) fn mark_snapshot_stale(&mut self) {
        self.projection = Projection::MayDiffer;
        self.view = None;
    }

    /// Returns the current view; the same as before if nothing changed.
    pub(in crate::engine) fn view(
        &mut self,
        project: &Arc<str>,
        at: Timestamp,
    ) -> Arc<FeatureView> {
        let is_settled = self.is_checked() && !self.waits_for_git();
        let is_stale = |view: &FeatureView| match view.watch {
            FeatureWatchState::Settling => is_settled,
            FeatureWatchState::Live => !is_settled,
            FeatureWatchState::Degraded => self.polled && !is_settled,
            FeatureWatchState::Unreadable | FeatureWatchState::Gone => false,
        };
        let published = self.view.as_ref().filter(|view| view.indexed == self.indexed);
        if let Some(view) = published.filter(|view| !is_stale(view)) {
            return Arc::clone(view);
        }
        let evaluation = self.evaluation.clone().filter(|_| self.batch.is_empty());
        let watch = match FeatureWatchState::from_unknown_reason(
            self.inventory.context().unknown_reason.as_ref(),
        ) {
            FeatureWatchState::Live if !is_settled => FeatureWatchState::Settling,
            FeatureWatchState::Live if self.polled => FeatureWatchState::Degraded,
            watch => watch,
        };
        let id = self.announced.as_ref().and_then(|announced| announced.snapshot_id.parse().ok());
        // A snapshot that was not announced is computed when a client requests it.
        let announced = self.announced.as_ref().filter(|_| self.batch.is_empty());
        let computed_at = announced.and_then(|announced| announced.computed_at);
        let view = Arc::new(FeatureView {
            project: Arc::clone(project),
            dir: self.dir.clone(),
            indexed: self.indexed,
            context: Arc::clone(self.inventory.context()),
            entries: self.inventory.entries().clone(),
            absent: self.inventory.absent_specs(at).map(Arc::new).collect(),
            tombstones: self.tombstones.iter().cloned().collect(),
            evaluation,
            snapshot_id: id.unwrap_or_else(Uuid::new_v4),
            metadata: Arc::clone(&self.metadata),
            watch,
            computed_at: computed_at.unwrap_or(at),
            last_scanned_at: self.scanned_at,
            cached_feature: OnceLock::new(),
        });
        self.view = Some(Arc::clone(&view));
        view
    }
}
