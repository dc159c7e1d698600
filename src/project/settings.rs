//! The settings of one project in the configuration.

use std::collections::BTreeMap;

use crate::core::manifest::MissionType;
use crate::core::pattern::Pattern;

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
}

impl ProjectSettings {
    /// Returns the `features` patterns, or the default pattern.
    #[must_use]
    pub fn feature_patterns(&self) -> Vec<Pattern> {
        self.features.clone().unwrap_or_else(|| Pattern::new("kitty-specs/*").into_iter().collect())
    }
}
