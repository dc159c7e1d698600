//! The settings of one project in the configuration.

use std::collections::BTreeMap;

use crate::core::ignore::{DefaultNames, IgnoreRules};
use crate::core::manifest::MissionType;
use crate::core::pattern::{Pattern, PatternSetError};

/// Directories that are features by configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredFeatures {
    /// Patterns of the directories.
    pub include: Vec<Pattern>,
    /// Patterns of directories that are none.
    pub exclude: Vec<Pattern>,
    /// Their mission, if it is given.
    pub mission: Option<MissionType>,
}

impl From<Pattern> for ConfiguredFeatures {
    fn from(include: Pattern) -> Self {
        Self { include: vec![include], exclude: Vec::new(), mission: None }
    }
}

/// The settings of one project in the user's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectSettings {
    /// Whether the configuration has an entry for the project.
    pub is_configured: bool,
    /// Directories that are features; `None` means as the layouts of the root find them.
    pub features: Option<Vec<ConfiguredFeatures>>,
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
    /// Returns what is ignored in the features.
    ///
    /// # Errors
    /// [`PatternSetError`] if the patterns are together too large.
    pub fn ignore_rules(&self) -> Result<IgnoreRules, PatternSetError> {
        IgnoreRules::new(&self.ignore, self.ignore_defaults)
    }
}
