//! What the reconciler wants done, as values. `io::executor` does it and reports each tracked effect
//! once, as an [`Event`](super::event::Event) with the same [`EffectTag`].

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use super::planted::{Bug, is_planted};
use crate::core::artifact::FileSignature;
use crate::core::feature::MetaFields;
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sorted_chunks::SortedChunks;
use crate::project::FeatureDir;
use crate::watch::HintKind;

/// Number of an effect; later effects have higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct EffectId(pub(super) u64);

/// Identifies an effect in its completion. The epoch changes when all results that are under way
/// become worthless, as when the root is lost; results of an earlier epoch are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct EffectTag {
    pub(in crate::engine) id: EffectId,
    pub(in crate::engine) epoch: u32,
}

/// How the differences that a listing finds are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct RescanMode {
    /// Wait for the debounce times before a difference is checked.
    pub(in crate::engine) debounce: bool,
    /// Renew the watches of directories that are watched already.
    pub(in crate::engine) rewatch: bool,
}

impl RescanMode {
    /// The first listing: nothing was observed before, so there is nothing to wait for.
    pub(in crate::engine) const INITIAL: Self = Self { debounce: false, rewatch: false };
    /// Events were lost or directories replaced: watches may be of what was there before.
    pub(in crate::engine) const REWATCH: Self = Self { debounce: true, rewatch: true };
    /// Watches are good; directories that have none are compared again and again.
    pub(in crate::engine) const POLL: Self = Self { debounce: true, rewatch: false };
}

/// Which watches at and below a path are forgotten because the directory was removed or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Forget {
    No,
    Yes,
    /// Only if no directory is at the path now; else listing it renews its watches.
    UnlessDirectory,
}

/// What is known of a feature before a project's first scan.
#[derive(Debug, Clone)]
pub(in crate::engine) struct KnownFeature {
    pub(in crate::engine) dir: FeatureDir,
    /// False if the store does not know where its directory was.
    pub(in crate::engine) has_dir: bool,
    pub(in crate::engine) entries: SortedChunks<InventoryEntry>,
    /// What its `meta.json` contained when it was valid last.
    pub(in crate::engine) meta: Option<MetaFields>,
}

/// Something to do outside of the reconciler.
#[derive(Debug)]
pub(in crate::engine) enum Effect {
    /// Open the project, watch it and list all its features. Completed by `InitialScan`.
    ScanInitially { tag: EffectTag, known: BTreeMap<FeatureSlug, KnownFeature> },
    /// Show what is stored of a project that does not respond, without reading anything. Completed by
    /// `InitialScan`.
    ShowStored { tag: EffectTag, known: BTreeMap<FeatureSlug, KnownFeature> },
    /// Stat a file, and hash it if its signature is not `expected`. Completed by `FileChecked`.
    CheckFile {
        tag: EffectTag,
        feature: FeatureDir,
        path: RelPath,
        expected: Option<FileSignature>,
        /// Read it at the lowest priority, only to verify what is known.
        verify_only: bool,
    },
    /// Open a feature's directory. Completed by `FeatureDirChecked`.
    CheckFeatureDir { tag: EffectTag, feature: FeatureDir },
    /// Watch a directory of a feature and each one below it, and list it after that: one effect, so
    /// that no caller can get the order wrong. Completed by `Listed`.
    ListAndWatch { tag: EffectTag, feature: FeatureDir, dir: Option<RelPath>, rewatch: bool },
    /// Find out what a hint's path is. Completed by `Inspected`.
    Inspect { tag: EffectTag, path: PathBuf, forget: Forget, stat: bool },
    /// Forget the watches at and below a path; no completion.
    ForgetWatches { path: PathBuf },
    /// Check the root, read the project's metadata files and find its features, and watch the
    /// directories of both. `gone` are features whose metadata is read though they may be deleted.
    /// Completed by `MetadataRead`.
    ReadMetadata { tag: EffectTag, gone: Vec<FeatureDir>, present: Vec<FeatureDir> },
    /// Check the root and read the metadata files of these features alone. Completed by
    /// `FeaturesRead`.
    ReadFeatures { tag: EffectTag, features: Vec<FeatureDir> },
    /// Stat the root and git's lock. Completed by `RootProbed`.
    ProbeRoot { tag: EffectTag },
    /// Open the root again after it was lost. Completed by `RootSearched`.
    SearchRoot { tag: EffectTag },
    /// Release descriptors and watches of a root that was lost; no completion.
    LeaveRoot,
    /// Close the root's descriptor, so that its file system can be unmounted; no completion.
    CloseRoot,
    /// Replace the watcher and watch the metadata directories. Completed by `WatcherReplaced`.
    ReplaceWatcher { tag: EffectTag },
    /// Drop the watcher. Completed by `WatcherDropped`.
    DropWatcher { tag: EffectTag },
    /// Watch again what the kernel refused. Completed by `WatchesRetried`.
    RetryWatches { tag: EffectTag },
    /// Count how many of these directories are missing. Completed by `RemovalSampled`.
    SampleRemoval { tag: EffectTag, dirs: Vec<PathBuf> },
    /// Create and remove a file in a watched directory. Completed by `ProbeTouched`.
    TouchEventProbe { tag: EffectTag },
    /// Watch a directory in which a baseline may be created, or all of them with the one that contains
    /// them, and then look for baselines. Completed by `DossierDirWatched`.
    WatchDossierDir { tag: EffectTag, path: PathBuf, contains_others: bool },
    /// Log something; no completion.
    Report(Report),
}

impl Effect {
    /// Returns the tag of an effect that has a completion.
    pub(in crate::engine) fn tag(&self) -> Option<EffectTag> {
        match self {
            Self::ScanInitially { tag, .. }
            | Self::ShowStored { tag, .. }
            | Self::CheckFile { tag, .. }
            | Self::CheckFeatureDir { tag, .. }
            | Self::ListAndWatch { tag, .. }
            | Self::Inspect { tag, .. }
            | Self::ReadMetadata { tag, .. }
            | Self::ReadFeatures { tag, .. }
            | Self::ProbeRoot { tag }
            | Self::SearchRoot { tag }
            | Self::ReplaceWatcher { tag }
            | Self::DropWatcher { tag }
            | Self::RetryWatches { tag }
            | Self::SampleRemoval { tag, .. }
            | Self::WatchDossierDir { tag, .. }
            | Self::TouchEventProbe { tag } => Some(*tag),
            Self::ForgetWatches { .. } | Self::LeaveRoot | Self::CloseRoot | Self::Report(_) => {
                None
            }
        }
    }
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Report {
    /// The features are listed for the first time.
    Watching { features: usize },
    /// The inotify queue overflowed or the watcher was replaced; everything is rescanned.
    Rescanning { rescans: u64 },
    /// The file system delivers no events.
    NoEvents,
    /// The watcher does not respond.
    WatcherUnresponsive,
    /// Directories that the kernel had refused to watch are watched again.
    WatchesRecovered { watched: u64, total: u64 },
    /// The process has no file descriptor or memory left.
    OutOfResources,
    /// The root cannot be read any more.
    RootLost { error: String },
    /// Reading a file again found a change that neither an event nor its times had shown.
    UndetectedChange { feature: FeatureSlug, path: RelPath },
}

/// Why a tracked effect is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    InitialScan,
    List { slug: FeatureSlug, dir: Option<RelPath>, mode: RescanMode },
    Inspect { relative: RelPath, kind: HintKind },
    DossierDir,
    Metadata,
    FeatureDir { slug: FeatureSlug },
    RootProbe,
    RootSearch,
    ReplaceWatcher,
    DropWatcher,
    RetryWatches,
    RemovalSample,
    EventProbe,
}

/// Effects that are to be executed, and those under way.
#[derive(Debug, Default)]
pub(super) struct EffectQueue {
    next_id: u64,
    epoch: u32,
    outgoing: VecDeque<Effect>,
    in_flight: BTreeMap<EffectId, Purpose>,
}

impl EffectQueue {
    /// Emits an effect that has a completion.
    pub(super) fn emit(&mut self, purpose: Purpose, effect: impl FnOnce(EffectTag) -> Effect) {
        let tag = self.next_tag();
        self.in_flight.insert(tag.id, purpose);
        self.outgoing.push_back(effect(tag));
    }

    /// Emits an effect that is not tracked here: a file check, or one without a completion.
    pub(super) fn emit_untracked(&mut self, effect: Effect) {
        self.outgoing.push_back(effect);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.outgoing.push_back(Effect::Report(report));
    }

    /// Returns the tag of the next effect.
    pub(super) fn next_tag(&mut self) -> EffectTag {
        self.next_id += 1;
        EffectTag { id: EffectId(self.next_id), epoch: self.epoch }
    }

    /// Returns the number of the newest effect: each one that is emitted from now on has a higher one.
    pub(super) fn newest_id(&self) -> EffectId {
        EffectId(self.next_id)
    }

    /// Records a completion. Returns why the effect was under way, or `None` if its result is stale.
    pub(super) fn finish(&mut self, tag: EffectTag) -> Option<Purpose> {
        let purpose = self.in_flight.remove(&tag.id);
        purpose.filter(|_| self.is_current(tag))
    }

    pub(super) fn is_in_flight(&self, id: EffectId) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// Returns true if an effect that is as old as `id`, or older, is under way.
    pub(super) fn is_any_in_flight_until(&self, id: EffectId) -> bool {
        self.in_flight.first_key_value().is_some_and(|(oldest, _)| *oldest <= id)
    }

    pub(super) fn is_current(&self, tag: EffectTag) -> bool {
        tag.epoch == self.epoch || is_planted(Bug::TakeOldEpoch)
    }

    /// Makes all results that are under way stale.
    pub(super) fn start_epoch(&mut self) {
        self.epoch += 1;
        if !is_planted(Bug::TakeOldEpoch) {
            self.in_flight.clear();
        }
    }

    /// Returns true if an effect for this purpose is under way.
    pub(super) fn has(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.in_flight.values().any(wanted)
    }

    /// Returns the newest effect that is under way for this purpose.
    pub(super) fn find(&self, wanted: impl Fn(&Purpose) -> bool) -> Option<EffectId> {
        let found = self.in_flight.iter().filter(|(_, purpose)| wanted(purpose));
        found.map(|(id, _)| *id).max()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.outgoing.pop_front()
    }
}
