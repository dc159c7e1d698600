//! Scans the features of a project once, without a daemon. The result is what one-shot commands
//! print, and equals the state that a daemon publishes. It writes nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use uuid::Uuid;

use crate::core::content::StaticHash;
use crate::core::drift::Drift;
use crate::core::feature::{DossierTimes, Feature, FeatureMetadata, FeatureWatchState};
use crate::core::feature_context::UnknownReason;
use crate::core::ignore::IgnoredBy;
use crate::core::inventory::Inventory;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::{PatternSet, PatternSetError};
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::project::{FeatureDir, Project};
use crate::scan::{
    FeatureScan, FileSelection, ListedFile, OpenedFeature, Progress, ScanLimits, ScanOptions,
    UnreadableDir, list_tree, read_path, scan,
};

/// Size of the buffer for files that are artifacts though their names are ignored by default.
const EXCEPTION_BUFFER_BYTES: usize = 64 << 10;

/// Options of a scan.
#[derive(Debug)]
pub struct OneShotOptions<'a> {
    /// Limits of each feature.
    pub limits: ScanLimits,
    /// [`StaticHash::Compute`] if a baseline is made from the result. Otherwise this hash is
    /// computed only for features that have a baseline.
    pub static_part: StaticHash,
    /// Counts what has been scanned.
    pub progress: &'a Progress,
}

/// A scan could not start.
#[derive(Debug, thiserror::Error)]
pub enum OneShotError {
    /// The project's `ignore` patterns are too large to compile together.
    #[error("cannot use the `ignore` patterns: {0}")]
    Ignore(#[from] PatternSetError),
    /// A feature's directory cannot be listed.
    #[error("cannot list the feature: {0}")]
    List(#[source] io::Error),
    /// The system refuses to create a thread.
    #[error("cannot start a thread; raise the limit of tasks (`ulimit -u`)")]
    Thread(#[source] io::Error),
}

/// Scans `features`, on as many threads as there are cores.
///
/// `render` is called with each feature on the thread that scanned it, whose processor cache
/// contains it; `sink` is called with the results on the calling thread, in the order of
/// `features`.
///
/// # Errors
/// [`OneShotError`].
pub fn scan_features<T: Send>(
    project: &Project,
    features: &[FeatureDir],
    options: &OneShotOptions<'_>,
    render: impl Fn(Feature) -> T + Sync,
    mut sink: impl FnMut(T),
) -> Result<(), OneShotError> {
    let scan_options = ScanOptions {
        limits: options.limits,
        ignore: project.settings.ignore_rules()?,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (finished, results) = mpsc::channel();
    let (scan_options, render) = (&scan_options, &render);
    std::thread::scope(|scope| {
        // The thread owns the only sender, so the receiving loop ends with the thread.
        let work = move || {
            let open = |index: usize| {
                let feature = &features[index];
                let has_baseline = project.has_baseline(&feature.slug)
                    || project.is_archived(feature) && project.may_have_former_baseline(feature);
                Ok(OpenedFeature {
                    descriptor: project.open_feature(feature)?,
                    documents: feature.documents.clone(),
                    churn: project.churn_rules(feature),
                    static_part: if has_baseline {
                        StaticHash::Compute
                    } else {
                        options.static_part
                    },
                })
            };
            let done = |index: usize, scanned: FeatureScan| {
                let feature = feature(project, &features[index], scanned, scan_options);
                let _ = finished.send((index, render(feature)));
            };
            scan(features.len(), open, scan_options, options.progress, done);
        };
        let thread = std::thread::Builder::new().name("scan_features".to_owned());
        thread.spawn_scoped(scope, work).map_err(OneShotError::Thread)?;
        let mut unordered = BTreeMap::new();
        let mut next = 0;
        for (index, result) in results {
            unordered.insert(index, result);
            while let Some(result) = unordered.remove(&next) {
                sink(result);
                next += 1;
            }
        }
        Ok(())
    })
}

/// A file below a feature that is not an artifact.
#[derive(Debug, PartialEq, Eq)]
pub struct IgnoredFile {
    /// Its path below the feature.
    pub path: RelPath,
    /// What ignores it.
    pub ignored_by: IgnoredBy,
    /// The pattern that matches it.
    pub pattern: String,
}

/// Lists the files of a feature that are ignored, by path, and the directories that cannot be read.
/// Hidden files are left out.
///
/// # Errors
/// [`OneShotError`].
pub fn list_ignored(
    project: &Project,
    dir: &FeatureDir,
    limits: &ScanLimits,
) -> Result<(Vec<IgnoredFile>, Vec<UnreadableDir>), OneShotError> {
    let rules = project.settings.ignore_rules()?;
    let inputs = project.read_feature_inputs(dir);
    let exceptions = rules.exceptions(inputs.context.mission.as_deref(), &inputs.metadata.baseline);
    let opened = project.open_feature(dir).map_err(OneShotError::List)?;
    let everything = PatternSet::default();
    let selection = FileSelection { ignore: &everything, documents: dir.documents.as_deref() };
    let listing = list_tree(opened, None, limits, selection, |_| {}).map_err(OneShotError::List)?;
    let files = listing.files.into_iter().flatten().filter_map(|ListedFile { path, .. }| {
        let configured = rules.configured_pattern(&path);
        let by_default = || rules.default_name(&path).filter(|_| !exceptions.contains(&path));
        let (ignored_by, pattern) = match configured {
            Some(pattern) => (IgnoredBy::Configuration, pattern.to_owned()),
            None => (IgnoredBy::DefaultName, by_default()?.to_owned()),
        };
        Some(IgnoredFile { path, ignored_by, pattern })
    });
    let mut files: Vec<IgnoredFile> = files.collect();
    files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok((files, listing.unreadable))
}

/// Returns a feature of which only a shared baseline is left: all that it has is missing.
#[must_use]
pub fn missing_feature(project: &Project, slug: FeatureSlug) -> Feature {
    let dir = project.expected_dir(slug);
    let inputs = project.read_gone_feature_inputs(&dir);
    let now = Timestamp::from(SystemTime::now());
    let mut context = inputs.context;
    context.unknown_reason = Some(UnknownReason::Deleted);
    let inventory = Inventory::new(context);
    let metadata = inputs.metadata;
    assemble(project, &inventory, metadata, now, |metadata, _| {
        Drift::of_missing_feature(&metadata.baseline)
    })
}

/// Returns the state of a feature whose files are in an inventory. `compare` returns its drift.
fn assemble(
    project: &Project,
    inventory: &Inventory,
    metadata: FeatureMetadata,
    now: Timestamp,
    compare: impl FnOnce(&FeatureMetadata, &MissionDossierSnapshot) -> Drift,
) -> Feature {
    let dossier = inventory.to_dossier(now);
    let snapshot = Arc::new(MissionDossierSnapshot::compute(&dossier, Uuid::new_v4(), now));
    let drift = compare(&metadata, &snapshot);
    let unknown_reason = inventory.context().unknown_reason.as_ref();
    Feature {
        project: Arc::clone(&project.name),
        dossier,
        snapshot,
        entries: inventory.entries().clone(),
        metadata: Arc::new(metadata),
        drift,
        watch: FeatureWatchState::from_unknown_reason(unknown_reason),
        racy_count: inventory.entries().iter().filter(|entry| entry.racy).count() as u64,
        last_scanned_at: Some(now),
        times: DossierTimes::default(),
    }
}

/// Combines the files of a feature with its manifest and its baseline.
fn feature(
    project: &Project,
    dir: &FeatureDir,
    mut scanned: FeatureScan,
    options: &ScanOptions,
) -> Feature {
    let inputs = project.read_feature_inputs(dir);
    let now = Timestamp::from(SystemTime::now());
    let mut context = inputs.context;
    if !scanned.ignored_by_default.is_empty() {
        let exceptions =
            options.ignore.exceptions(context.mission.as_deref(), &inputs.metadata.baseline);
        let mut buffer = vec![0; EXCEPTION_BUFFER_BYTES];
        let files = scanned.ignored_by_default.iter().filter(|path| exceptions.contains(*path));
        let read = files.filter_map(|path| {
            let (opened, churn) = (project.open_feature(dir).ok()?, &inputs.metadata.churn);
            read_path(opened, path, churn, &options.limits, &mut buffer)
        });
        scanned.observations.extend(read);
    }
    let listing_blocker = scanned
        .unreadable
        .map(UnknownReason::Unreadable)
        .or_else(|| scanned.limit_exceeded.map(UnknownReason::from));
    let indeterminate = match &listing_blocker {
        Some(UnknownReason::Unreadable(reason) | UnknownReason::LimitExceeded(reason)) => {
            Some(Drift::indeterminate(reason))
        }
        _ if matches!(context.unknown_reason, Some(UnknownReason::UnreadableMeta)) => {
            Some(Drift::indeterminate("cannot read meta.json"))
        }
        _ => None,
    };
    context.unknown_reason = listing_blocker.or(context.unknown_reason);
    let inventory = Inventory::from_observations(context, scanned.observations, now);
    assemble(project, &inventory, inputs.metadata, now, |metadata, snapshot| {
        let compare = || {
            let key = metadata.compared_key();
            Drift::compare_with(&metadata.baseline, &key, snapshot, &metadata.churn)
        };
        indeterminate.unwrap_or_else(compare)
    })
}
