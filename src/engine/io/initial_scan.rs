//! The initial scan of a project: reads the inputs and lists the directory of each feature, on all
//! cores. It hashes no file and changes no state.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::core::path::FeatureSlug;
use crate::core::pattern::PatternSet;
use crate::core::progress;
use crate::core::sync::lock;
use crate::engine::reconcile::effect::KnownFeature;
use crate::project::{FeatureDir, FeatureInputs, Project};
use crate::scan::{FileSelection, Listing, ScanLimits, list_tree};

/// Result of the initial scan for one feature.
pub(super) struct InitialFeature {
    pub(super) inputs: FeatureInputs,
    /// The listing; `None` if a directory was listed before it was watched. Entries created in
    /// between could be missed, so the feature has to be listed again.
    pub(super) listing: Option<io::Result<Listing>>,
}

/// Lists features whose directories are watched already.
pub(super) struct InitialLister<'a> {
    pub(super) project: &'a Project,
    pub(super) limits: &'a ScanLimits,
    pub(super) ignore: &'a PatternSet,
    pub(super) watched: &'a BTreeSet<PathBuf>,
}

impl InitialLister<'_> {
    /// Scans all features, in the order of `dirs`. Only those that are known are listed, because
    /// only their directories are watched already.
    pub(super) fn run(
        &self,
        dirs: &[FeatureDir],
        known: &BTreeMap<FeatureSlug, KnownFeature>,
    ) -> Vec<InitialFeature> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let scanned = Mutex::new(BTreeMap::new());
        let steps = progress::current();
        let work = || {
            progress::set_current(steps.clone());
            while let Some((index, dir)) = take(&next, dirs) {
                let listing = known.get(&dir.slug).and_then(|_| self.list_watched(dir));
                let inputs = self.project.read_feature_inputs(dir);
                lock(&scanned).insert(index, InitialFeature { inputs, listing });
            }
        };
        std::thread::scope(|scope| {
            for number in 1..cores.min(dirs.len()) {
                // If the system refuses the thread, the others do its work.
                let name = format!("list-ahead-{number}");
                let _ = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
            }
            work();
        });
        scanned.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn list_watched(&self, dir: &FeatureDir) -> Option<io::Result<Listing>> {
        let base = self.project.feature_path(dir);
        let mut all_watched = true;
        let listing = self.project.open_feature(dir).and_then(|opened| {
            let selection =
                FileSelection { ignore: self.ignore, documents: dir.documents.as_deref() };
            list_tree(opened, None, self.limits, selection, |entered| {
                all_watched &= match entered {
                    Some(path) => {
                        self.watched.contains(&base.join(OsStr::from_bytes(path.as_bytes())))
                    }
                    None => self.watched.contains(&base),
                };
            })
        });
        all_watched.then_some(listing)
    }
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, items.get(index)?))
}
