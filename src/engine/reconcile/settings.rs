//! What is fixed of a project while it is watched.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::ignore::IgnoreRules;
use crate::project::{FeaturePatterns, ProjectSettings};
use crate::scan::ScanLimits;
use crate::watch::DebounceTimes;

/// Settings of a watched project; other settings restart it.
#[derive(Debug)]
pub(in crate::engine) struct ReconcileSettings {
    /// Canonical root.
    pub(in crate::engine) root: PathBuf,
    /// Directory of the user's own missions.
    pub(in crate::engine) user_missions: Option<PathBuf>,
    /// A file that is created and removed to find out whether events are delivered.
    pub(in crate::engine) probe_path: PathBuf,
    pub(in crate::engine) limits: ScanLimits,
    pub(in crate::engine) times: DebounceTimes,
    /// Time in which the scrub reads all files once; `None` disables it.
    pub(in crate::engine) scrub: Option<Duration>,
    /// Files within a feature that are not artifacts.
    pub(in crate::engine) ignore: IgnoreRules,
    /// Where features may be.
    pub(in crate::engine) patterns: FeaturePatterns,
    /// Why part of the settings is not used, for the project's status.
    pub(in crate::engine) problem: Option<String>,
}

impl ReconcileSettings {
    /// Returns the part that the reconciler needs.
    pub(in crate::engine) fn new(
        root: PathBuf,
        user_missions: Option<PathBuf>,
        probe_path: PathBuf,
        settings: &ProjectSettings,
        limits: ScanLimits,
        times: DebounceTimes,
        scrub: Option<Duration>,
    ) -> Self {
        let (ignore, problem) = match settings.ignore_rules() {
            Ok(ignore) => (ignore, None),
            Err(error) => {
                let problem = format!("cannot use the `ignore` patterns: {error}");
                (IgnoreRules::without_patterns(settings.ignore_defaults), Some(problem))
            }
        };
        let patterns = FeaturePatterns::new(&settings.feature_patterns());
        Self { root, user_missions, probe_path, limits, times, scrub, ignore, patterns, problem }
    }
}
