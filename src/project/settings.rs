//! The settings of one project in the configuration.

use std::collections::BTreeMap;

use crate::core::ignore::{DefaultNames, IgnoreRules};
use crate::core::manifest::MissionType;
use crate::core::pattern::{Pattern, PatternSetError};

/// The settings of one project in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectSettings {
    /// Patterns of feature directories; `None` means `kitty-specs/*`.
    pub features: Option<Vec<Pattern>>,
    /// Mission of features whose `meta.json` names none.
    pub mission: Option<MissionType>,
    /// Current step, by slug, of features for which no runtime has issued one.
    pub step: BTreeMap<String, String>,
    /// Patterns of paths in features that are not artifacts.
    pub ignore: Vec<Pattern>,
    /// Whether temporary files of editors and the like are ignored, too.
    pub ignore_defaults: DefaultNames,
}

impl ProjectSettings {
    /// Returns the `features` patterns, or the default pattern.
    #[must_use]
    pub fn feature_patterns(&self) -> Vec<Pattern> {
        self.features.clone().unwrap_or_else(|| Pattern::new("kitty-specs/*").into_iter().collect())
    }

    /// Returns what is ignored in the features.
    ///
    /// # Errors
    /// [`PatternSetError`] if the patterns are together too large.
    pub fn ignore_rules(&self) -> Result<IgnoreRules, PatternSetError> {
        IgnoreRules::new(&self.ignore, self.ignore_defaults)
    }
}
