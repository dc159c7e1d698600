//! One look at the features of a project, without a daemon: what the one-shot commands print, and
//! what a live state must equal.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use uuid::Uuid;

use crate::config::{Config, LimitsConfig};
use crate::core::content::StaticHash;
use crate::core::drift::Drift;
use crate::core::feature::{Feature, FeatureWatchState};
use crate::core::feature_context::UnknownReason;
use crate::core::inventory::Inventory;
use crate::core::pattern::PatternSet;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::project::{FeatureDir, Project, ProjectSettings};
use crate::scan::{FeatureScan, OpenedFeature, Progress, ScanLimits, ScanOptions, scan};

/// What the configuration says of the project at `root`.
#[must_use]
pub fn settings(config: &Config, root: &std::path::Path) -> ProjectSettings {
    config.find_project(root).map_or_else(ProjectSettings::default, |said| ProjectSettings {
        features: said.features.clone(),
        mission: said.mission.clone(),
        step: said.step.clone(),
        ignore: said.ignore.clone(),
    })
}

/// The budgets that the configuration sets.
#[must_use]
pub fn limits(said: &LimitsConfig) -> ScanLimits {
    let default = ScanLimits::default();
    ScanLimits {
        max_file_bytes: said.file_bytes.unwrap_or(default.max_file_bytes),
        max_entries: said.entries.unwrap_or(default.max_entries),
        max_depth: said.depth.unwrap_or(default.max_depth),
    }
}

/// How to look.
#[derive(Debug)]
pub struct Look<'a> {
    /// Budgets of each feature.
    pub limits: ScanLimits,
    /// [`StaticHash::Compute`] where a baseline will be made of what is seen; else only features that
    /// have one pay for it.
    pub static_part: StaticHash,
    /// How far it has come.
    pub progress: &'a Progress,
}

/// Looks at `features`, on as many threads as there are cores. `render` turns each into what is
/// wanted of it, on the thread that has it in its cache; `sink` takes these in order.
///
/// # Errors
/// When the project's `ignore` patterns are together more than can be compiled.
pub fn survey<T: Send>(
    project: &Project,
    features: &[FeatureDir],
    look: &Look<'_>,
    render: impl Fn(Feature) -> T + Sync,
    mut sink: impl FnMut(T),
) -> Result<(), String> {
    let options = ScanOptions {
        limits: look.limits,
        ignore: PatternSet::new(&project.settings.ignore)?,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (finished, results) = mpsc::channel();
    let (options, render) = (&options, &render);
    std::thread::scope(|scope| {
        // The sender ends with this thread, and the receiving loop with it.
        scope.spawn(move || {
            let open = |place: usize| {
                let feature = &features[place];
                let compared = project.has_baseline(&feature.slug);
                Ok(OpenedFeature {
                    descriptor: project.open_feature(feature)?,
                    static_part: if compared { StaticHash::Compute } else { look.static_part },
                })
            };
            let done = |place: usize, scanned: FeatureScan| {
                let feature = feature(project, &features[place], scanned);
                let _ = finished.send((place, render(feature)));
            };
            scan(features.len(), open, options, look.progress, done);
        });
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (place, result) in results {
            waiting.insert(place, result);
            while let Some(result) = waiting.remove(&next) {
                sink(result);
                next += 1;
            }
        }
    });
    Ok(())
}

/// Puts what was scanned beside what is expected and what was accepted.
fn feature(project: &Project, dir: &FeatureDir, scanned: FeatureScan) -> Feature {
    let inputs = project.read_feature_inputs(dir);
    let now = Timestamp::from(SystemTime::now());
    let mut terms = inputs.context;
    let racy = scanned.observations.iter().filter(|seen| seen.racy).count() as u64;
    let unseen = scanned
        .unreadable
        .map(UnknownReason::Unreadable)
        .or_else(|| scanned.limit_exceeded.map(UnknownReason::from));
    let unjudged = match &unseen {
        Some(UnknownReason::Unreadable(why) | UnknownReason::LimitExceeded(why)) => {
            Some(Drift::indeterminate(why))
        }
        _ if matches!(terms.unknown_reason, Some(UnknownReason::UnreadableMeta)) => {
            Some(Drift::indeterminate("meta.json cannot be read"))
        }
        _ => None,
    };
    terms.unknown_reason = unseen.or(terms.unknown_reason);
    let watch = FeatureWatchState::from_unknown_reason(terms.unknown_reason.as_ref());
    let dossier = Inventory::from_observations(terms, scanned.observations, now).to_dossier(now);
    let snapshot = Arc::new(MissionDossierSnapshot::compute(&dossier, Uuid::new_v4(), now));
    let (baseline, key) = (&inputs.metadata.baseline, &inputs.metadata.baseline_key);
    let drift = unjudged.unwrap_or_else(|| Drift::compare(baseline, key, &snapshot));
    Feature {
        project: Arc::clone(&project.name),
        dossier,
        snapshot,
        metadata: Arc::new(inputs.metadata),
        drift,
        watch,
        racy_count: racy,
        last_scanned_at: Some(now),
    }
}
