//! What is fixed of a project while it is watched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::core::ignore::{DefaultNames, IgnoreRules};
use crate::core::pattern::Pattern;
use crate::project::{FeaturePatterns, ProjectSettings};
use crate::scan::ScanLimits;
use crate::watch::DebounceTimes;

/// Settings of a watched project; other settings restart it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct ReconcileSettings {
    /// Canonical root.
    pub(in crate::engine) root: PathBuf,
    /// Directory of the user's own missions, and that of the user's own layouts; empty without any.
    pub(in crate::engine) user_dirs: Vec<PathBuf>,
    /// Files of which one is created and removed to find out whether events are delivered.
    pub(in crate::engine) probe_paths: Vec<PathBuf>,
    pub(in crate::engine) limits: ScanLimits,
    pub(in crate::engine) times: DebounceTimes,
    /// Time in which the scrub reads all files once; `None` disables it.
    pub(in crate::engine) scrub: Option<Duration>,
    /// Files within a feature that are not artifacts.
    pub(in crate::engine) ignore: IgnoreRules,
    /// The patterns from which `ignore` was made.
    pub(in crate::engine) ignore_patterns: Vec<Pattern>,
    pub(in crate::engine) ignore_defaults: DefaultNames,
    /// Where features may be by configuration; those of layouts are in the project's info.
    pub(in crate::engine) patterns: Arc<FeaturePatterns>,
    /// Why part of the settings is not used, for the project's status.
    pub(in crate::engine) problem: Option<String>,
}

impl ReconcileSettings {
    /// Returns the part that the reconciler needs.
    pub(in crate::engine) fn new(
        root: PathBuf,
        user_dirs: Vec<PathBuf>,
        probe_paths: Vec<PathBuf>,
        settings: &ProjectSettings,
        limits: ScanLimits,
        times: DebounceTimes,
        scrub: Option<Duration>,
    ) -> Self {
        let features = settings.features.iter().flatten();
        let patterns = FeaturePatterns::new(features.flat_map(|one| &one.include));
        let (ignore, problem) = make_ignore_rules(&settings.ignore, settings.ignore_defaults);
        Self {
            root,
            user_dirs,
            probe_paths,
            limits,
            times,
            scrub,
            ignore,
            ignore_patterns: settings.ignore.clone(),
            ignore_defaults: settings.ignore_defaults,
            patterns: Arc::new(patterns),
            problem,
        }
    }

    /// Returns the same settings with other `ignore` patterns.
    pub(in crate::engine) fn with_ignore(&self, patterns: &[Pattern]) -> Self {
        let (ignore, problem) = make_ignore_rules(patterns, self.ignore_defaults);
        Self { ignore, problem, ignore_patterns: patterns.to_vec(), ..self.clone() }
    }
}

/// Returns the rules, and why patterns are not used if they are not.
pub(in crate::engine) fn make_ignore_rules(
    patterns: &[Pattern],
    defaults: DefaultNames,
) -> (IgnoreRules, Option<String>) {
    match IgnoreRules::new(patterns, defaults) {
        Ok(ignore) => (ignore, None),
        Err(error) => {
            let problem = format!("cannot use the `ignore` patterns: {error}");
            (IgnoreRules::without_patterns(defaults), Some(problem))
        }
    }
}
