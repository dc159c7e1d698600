//! Settings of a project from the configuration, with defaults for what it does not set.

use std::path::Path;
use std::time::Duration;

use crate::config::{Config, LimitsConfig, SettleConfig};
use crate::core::ignore::DefaultNames;
use crate::project::{ConfiguredFeatures, ProjectSettings};
use crate::scan::ScanLimits;
use crate::watch::DebounceTimes;

/// Returns the configuration's settings of the project at `root`.
#[must_use]
pub fn settings(config: &Config, root: &Path) -> ProjectSettings {
    let project = config.find_project(root);
    let ignore_defaults =
        if config.ignores_defaults(project) { DefaultNames::Ignored } else { DefaultNames::Listed };
    let Some(project) = project else {
        return ProjectSettings { ignore_defaults, ..ProjectSettings::default() };
    };
    ProjectSettings {
        is_configured: true,
        features: project
            .features
            .as_ref()
            .map(|patterns| patterns.iter().cloned().map(ConfiguredFeatures::from).collect()),
        mission: project.mission.clone(),
        step: project.step.clone(),
        ignore: project.ignore.clone(),
        ignore_defaults,
    }
}

/// Returns the configuration's scan limits, with defaults for those that are not set.
#[must_use]
pub fn limits(config: &LimitsConfig) -> ScanLimits {
    let default = ScanLimits::default();
    ScanLimits {
        max_file_bytes: config.file_bytes.unwrap_or(default.max_file_bytes),
        max_entries: config.entries.unwrap_or(default.max_entries),
        max_depth: config.depth.unwrap_or(default.max_depth),
    }
}

/// Returns the configuration's debounce times, with defaults for those that are not set.
pub(super) fn debounce_times(settle: &SettleConfig) -> DebounceTimes {
    let default = DebounceTimes::default();
    let or = |millis: Option<u64>, default| millis.map_or(default, Duration::from_millis);
    DebounceTimes {
        new_file_delay: or(settle.appear_ms, default.new_file_delay),
        quiet_period: or(settle.quiet_ms, default.quiet_period),
        max_wait: or(settle.max_ms, default.max_wait),
        deletion_grace: or(settle.vanish_ms, default.deletion_grace),
        git_lock_timeout: or(settle.git_ms, default.git_lock_timeout),
    }
}
