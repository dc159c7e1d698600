//! One look at the features of a project, without a daemon: what the one-shot commands print, and
//! what a live state must equal.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use uuid::Uuid;

use crate::config::{Config, LimitsConfig};
use crate::core::content::StaticPart;
use crate::core::dossier::{Doubt, MissionDossier};
use crate::core::drift::Drift;
use crate::core::feature::{Feature, Watch};
use crate::core::pattern::PatternSet;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::project::{FeatureDir, Project, Settings};
use crate::scan::{Limits, Opened, Options, Progress, Scanned, scan};

/// What the configuration says of the project at `root`.
#[must_use]
pub fn settings(config: &Config, root: &std::path::Path) -> Settings {
    config.project(root).map_or_else(Settings::default, |said| Settings {
        features: said.features.clone(),
        mission: said.mission.clone(),
        step: said.step.clone(),
        ignore: said.ignore.clone(),
    })
}

/// The budgets that the configuration sets.
#[must_use]
pub fn limits(said: &LimitsConfig) -> Limits {
    let default = Limits::default();
    Limits {
        file_bytes: said.file_bytes.unwrap_or(default.file_bytes),
        entries: said.entries.unwrap_or(default.entries),
        depth: said.depth.unwrap_or(default.depth),
    }
}

/// How to look.
#[derive(Debug)]
pub struct Look<'a> {
    /// Budgets of each feature.
    pub limits: Limits,
    /// [`StaticPart::Hash`] where a baseline will be made of what is seen; else only features that
    /// have one pay for it.
    pub static_part: StaticPart,
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
    let options = Options {
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
                Ok(Opened {
                    descriptor: project.open_feature(feature)?,
                    static_part: if compared { StaticPart::Hash } else { look.static_part },
                })
            };
            let done = |place: usize, scanned: Scanned| {
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
fn feature(project: &Project, dir: &FeatureDir, scanned: Scanned) -> Feature {
    let inputs = project.inputs(dir);
    let now = Timestamp::from(SystemTime::now());
    let mut terms = inputs.terms;
    let racy = scanned.observations.iter().filter(|seen| seen.racy).count() as u64;
    let unseen = scanned
        .unreadable
        .map(Doubt::Unreadable)
        .or_else(|| scanned.over_budget.map(Doubt::OverBudget));
    let unjudged = match &unseen {
        Some(Doubt::Unreadable(why) | Doubt::OverBudget(why)) => Some(Drift::unjudged(why)),
        _ if matches!(terms.doubt, Some(Doubt::MissionUnreadable)) => {
            Some(Drift::unjudged("meta.json cannot be read"))
        }
        _ => None,
    };
    terms.doubt = unseen.or(terms.doubt);
    let watch = Watch::of(terms.doubt.as_ref());
    let mut dossier = MissionDossier::assemble(terms, scanned.observations, now);
    let snapshot = Arc::new(MissionDossierSnapshot::compute(&dossier, Uuid::new_v4(), now));
    let (baseline, key) = (&inputs.bearings.baseline, &inputs.bearings.key);
    let drift = unjudged.unwrap_or_else(|| Drift::judge(baseline, key, &snapshot));
    dossier.latest_snapshot = Some(Arc::clone(&snapshot));
    Feature {
        project: Arc::clone(&project.name),
        dossier,
        snapshot,
        bearings: Arc::new(inputs.bearings),
        drift,
        watch,
        racy,
        last_scanned_at: Some(now),
    }
}
