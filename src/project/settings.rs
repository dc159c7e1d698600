//! What the configuration says of one project.

use std::collections::BTreeMap;

use crate::core::manifest::MissionType;
use crate::core::pattern::Pattern;

/// What the configuration says of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectSettings {
    /// Where its features are; `kitty-specs/*` where nothing is said.
    pub features: Option<Vec<Pattern>>,
    /// Mission of features whose `meta.json` names none.
    pub mission: Option<MissionType>,
    /// Current step of features that no runtime has started.
    pub step: BTreeMap<String, String>,
    /// Paths in features that are no artifacts.
    pub ignore: Vec<Pattern>,
}

impl ProjectSettings {
    /// The `features` patterns, or the default one.
    #[must_use]
    pub fn feature_patterns(&self) -> Vec<Pattern> {
        self.features.clone().unwrap_or_else(|| Pattern::new("kitty-specs/*").into_iter().collect())
    }
}
