//! The first look at a project's features, on all cores: what steers each, and what lies in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::LiveProject;
use crate::core::path::FeatureSlug;
use crate::core::pattern::PatternSet;
use crate::core::sync::lock;
use crate::engine::feature::Stored;
use crate::project::{FeatureDir, FeatureInputs, Project};
use crate::scan::{Listing, ScanLimits, list_tree};

/// What was seen of a feature.
pub(super) struct Ahead {
    pub(super) inputs: FeatureInputs,
    /// What lies in it; `None` where a directory of it was not watched before it was listed.
    pub(super) listing: Option<io::Result<Listing>>,
}

/// What is looked with.
pub(super) struct Eyes<'a> {
    project: &'a Project,
    limits: &'a ScanLimits,
    ignore: &'a PatternSet,
    watched: &'a BTreeSet<PathBuf>,
}

impl LiveProject {
    pub(super) fn initial_scan(&self) -> Eyes<'_> {
        Eyes {
            project: &self.project,
            limits: &self.setup.limits,
            ignore: &self.ignore,
            watched: self.watching.watched_dirs(),
        }
    }
}

impl Eyes<'_> {
    /// Looks at all features; those that are stored have their directories watched already.
    pub(super) fn run(
        &self,
        dirs: &[FeatureDir],
        stored: &BTreeMap<FeatureSlug, Stored>,
    ) -> Vec<Option<Ahead>> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let seen = Mutex::new(dirs.iter().map(|_| None).collect::<Vec<_>>());
        std::thread::scope(|scope| {
            for _ in 0..cores.min(dirs.len()) {
                scope.spawn(|| {
                    while let Some((place, dir)) = take(&next, dirs) {
                        let listing = stored.get(&dir.slug).and_then(|_| self.list_watched(dir));
                        let ahead =
                            Ahead { inputs: self.project.read_feature_inputs(dir), listing };
                        let mut seen = lock(&seen);
                        seen[place] = Some(ahead);
                    }
                });
            }
        });
        seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_watched(&self, dir: &FeatureDir) -> Option<io::Result<Listing>> {
        let base = self.project.feature_path(dir);
        let mut all = true;
        let listing = self.project.open_feature(dir).and_then(|opened| {
            list_tree(opened, None, self.limits, self.ignore, |entered| {
                all &= match entered {
                    Some(path) => {
                        self.watched.contains(&base.join(OsStr::from_bytes(path.as_bytes())))
                    }
                    None => self.watched.contains(&base),
                };
            })
        });
        all.then_some(listing)
    }
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    Some((place, items.get(place)?))
}
