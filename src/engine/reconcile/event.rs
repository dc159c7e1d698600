//! What happened, as values: hints of the watcher and completions of effects. The only way anything
//! reaches a project's state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::effect::EffectTag;
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::mounts::Mounts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::Pattern;
use crate::project::{FeatureDir, FeatureInputs, FeaturePatterns, LayoutPaths, Worktree};
use crate::scan::{Listing, PathState};
use crate::watch::HintKind;

/// Something that happened to a project.
#[derive(Debug)]
pub(in crate::engine) enum Event {
    /// The watcher reported something at an absolute path.
    Hint {
        path: PathBuf,
        kind: HintKind,
    },
    /// Events were lost.
    Overflow {
        /// Most of the events were of another project.
        by_others: bool,
    },
    /// A file system was mounted or unmounted, or responds again, or a directory above the root was
    /// moved.
    MountsChanged,
    /// The watches are not what they were.
    Watches(WatchReport),
    InitialScan {
        tag: EffectTag,
        result: Result<Box<InitialScan>, Box<RootUnavailable>>,
    },
    FileChecked {
        tag: EffectTag,
        slug: FeatureSlug,
        path: RelPath,
        state: PathState,
        /// Time that the check took.
        cost: Duration,
    },
    /// A file that was read only to verify what is known of it.
    FileVerified {
        tag: EffectTag,
        slug: FeatureSlug,
        path: RelPath,
        state: PathState,
    },
    DossierDirWatched {
        tag: EffectTag,
        has_baseline: bool,
    },
    FeatureDirChecked {
        tag: EffectTag,
        state: DirState,
    },
    Listed {
        tag: EffectTag,
        result: Result<Listing, ListError>,
        /// The directory was not watched before, or its watch was renewed.
        watched_anew: bool,
        cost: Duration,
    },
    Inspected {
        tag: EffectTag,
        inspection: Inspection,
    },
    MetadataRead {
        tag: EffectTag,
        result: Result<Box<Metadata>, MetadataError>,
        cost: Duration,
    },
    FeaturesRead {
        tag: EffectTag,
        result: Result<Box<FeaturesMetadata>, MetadataError>,
        cost: Duration,
    },
    RootProbed {
        tag: EffectTag,
        root: RootStatus,
        git_lock: Option<GitLock>,
        /// What is mounted below the root, if that is known.
        mounts: Option<Mounts>,
    },
    RootSearched {
        tag: EffectTag,
        found: Option<FoundRoot>,
    },
    WatcherReplaced {
        tag: EffectTag,
    },
    WatcherDropped {
        tag: EffectTag,
        sample: Vec<PathBuf>,
    },
    WatchesRetried {
        tag: EffectTag,
    },
    RemovalSampled {
        tag: EffectTag,
        missing: usize,
    },
    /// Whether the file was created; `false` too if its directory is not watched.
    ProbeTouched {
        tag: EffectTag,
        touched: bool,
    },
    /// Whether a snapshot file could be written.
    SnapshotWritten {
        slug: FeatureSlug,
        error: Option<String>,
    },
    /// The store dropped the event of a deletion.
    TombstoneExpired {
        slug: FeatureSlug,
        path: RelPath,
    },
    /// A call did not return in time. What is under way will not complete; there is another executor
    /// now, which has opened and watched nothing.
    ExecutorReplaced,
}

impl Event {
    /// Returns false if nothing changes by it, so that it may wait for another one.
    pub(in crate::engine) fn is_urgent(&self) -> bool {
        !matches!(self, Self::RootSearched { found: None, .. })
    }
}

/// What is at a root's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum RootStatus {
    /// The directory that was opened.
    Present,
    /// Another directory.
    Replaced,
    /// Nothing that can be read.
    Unavailable { error: String, unreadable: bool },
    /// A file system that does not respond.
    Unresponsive,
}

/// A lock by which git keeps other processes from changing the work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct GitLock {
    /// Time since it was taken; zero if that is in the future, by another clock.
    pub(in crate::engine) age: Duration,
    /// Time stamp of its file, in nanoseconds since 1970; another lock has another one.
    pub(in crate::engine) stamp_ns: i128,
}

/// What is at the path of a feature's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum DirState {
    Present,
    Missing,
    /// It cannot be opened for another reason.
    Unknown,
}

/// Why a directory cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum ListError {
    /// Nothing is there, or something else than a directory.
    NotADirectory,
    /// The process has no file descriptor or memory left.
    OutOfResources,
    /// The root is not the one that was opened, so nothing is known.
    RootReplaced,
    /// The directory, or one above it, cannot be read; `None` is the feature's own.
    Unreadable { dir: Option<RelPath>, error: String },
}

/// What a hint's path is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) struct Inspection {
    /// The path itself was watched, or should have been.
    pub(in crate::engine) was_wanted: bool,
    /// Watches at or below it were forgotten.
    pub(in crate::engine) forgot: bool,
    /// What is there now, where that was requested.
    pub(in crate::engine) file_kind: Option<HintFileKind>,
    /// It is a directory that can be listed, and its entries accessed; false where the kind was not requested.
    pub(in crate::engine) is_accessible: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum HintFileKind {
    File,
    Directory,
    /// Nothing: there is another hint for its removal.
    Missing,
    /// Something else, or not known.
    Other,
}

/// How many directories are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine) struct WatchReport {
    pub(in crate::engine) watched: u64,
    /// Directories that the inotify instance watches for all projects that share it.
    pub(in crate::engine) on_instance: u64,
    /// Directories that there are to watch.
    pub(in crate::engine) total: u64,
    /// The uppermost directories that are not watched though they should be, sorted.
    pub(in crate::engine) refused: Vec<PathBuf>,
    /// Why these are not watched.
    pub(in crate::engine) refusal: Option<String>,
    /// Why there is no watcher at all.
    pub(in crate::engine) unavailable: Option<String>,
    /// The watcher was dropped because it did not respond in time.
    pub(in crate::engine) unresponsive: bool,
}

/// A project's identity and what was wrong with its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine) struct ProjectInfo {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) root_id: String,
    pub(in crate::engine) project_uuid: String,
    pub(in crate::engine) node_id: String,
    /// Files outside of features, below the root, each of which is metadata of a feature.
    pub(in crate::engine) outside_files: Vec<RelPath>,
    /// Patterns of paths in features that are not artifacts.
    pub(in crate::engine) ignore: Vec<Pattern>,
    /// Where features may be, by the layouts of the root.
    pub(in crate::engine) patterns: Arc<FeaturePatterns>,
    /// Paths outside of features on which the layouts depend.
    pub(in crate::engine) layout_paths: Arc<LayoutPaths>,
    pub(in crate::engine) errors: Vec<FileError>,
    pub(in crate::engine) warnings: Vec<String>,
    /// The worktrees that are followed; `None` if it is not known which there are.
    pub(in crate::engine) worktrees: Option<Vec<Worktree>>,
    /// The remote file system that the root is on, if it is.
    pub(in crate::engine) remote: Option<&'static str>,
}

/// A project's metadata files, as they were read.
#[derive(Debug)]
pub(in crate::engine) struct Metadata {
    pub(in crate::engine) info: Arc<ProjectInfo>,
    /// The features that were found, in order of slug.
    pub(in crate::engine) features: Vec<(FeatureDir, FeatureInputs)>,
    /// What is left of features that were not found.
    pub(in crate::engine) gone: BTreeMap<FeatureSlug, FeatureInputs>,
    /// Features of which only a shared baseline is there.
    pub(in crate::engine) orphans: Vec<(FeatureDir, FeatureInputs)>,
    pub(in crate::engine) skipped: Vec<SkippedDir>,
    /// Features of which only is known that a directory above them may not be read.
    pub(in crate::engine) hidden: BTreeSet<FeatureSlug>,
    /// Known features whose directory is there and is none of a feature any more, or has another slug.
    pub(in crate::engine) unselected: Vec<FeatureSlug>,
    /// A directory is watched now that was not while it was read: what was read may be stale.
    pub(in crate::engine) watched_more: bool,
}

/// The metadata of some features.
#[derive(Debug)]
pub(in crate::engine) struct FeaturesMetadata {
    pub(in crate::engine) info: Arc<ProjectInfo>,
    pub(in crate::engine) features: Vec<(FeatureDir, FeatureInputs)>,
}

/// Why a project's metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum MetadataError {
    OutOfResources,
    Root(RootStatus),
}

/// A project as it was first scanned.
#[derive(Debug)]
pub(in crate::engine) struct InitialScan {
    pub(in crate::engine) metadata: Metadata,
    /// Features whose directories were all watched before they were listed.
    pub(in crate::engine) listings: BTreeMap<FeatureSlug, Result<Listing, ListError>>,
    /// Known features that were not found though their directory is there: the configuration does
    /// not select them any more.
    pub(in crate::engine) unselected: Vec<FeatureSlug>,
    pub(in crate::engine) root: FoundRoot,
    pub(in crate::engine) git_lock: Option<GitLock>,
    /// What was mounted below the root when it began, if that is known.
    pub(in crate::engine) mounts: Option<Mounts>,
}

/// A root that could be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct FoundRoot {
    /// The features below it.
    pub(in crate::engine) features: Vec<FeatureSlug>,
    /// Nothing at all is in it.
    pub(in crate::engine) is_empty: bool,
    /// Its path leads elsewhere through a symbolic link.
    pub(in crate::engine) is_linked: bool,
    pub(in crate::engine) device: u64,
}

/// A root that could not be opened.
#[derive(Debug)]
pub(in crate::engine) struct RootUnavailable {
    pub(in crate::engine) status: RootStatus,
    pub(in crate::engine) info: Arc<ProjectInfo>,
    /// What is known of features without reading a file.
    pub(in crate::engine) features: BTreeMap<FeatureSlug, FeatureInputs>,
}
