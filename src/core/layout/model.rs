//! A layout as it is written (`docs/specification.md#layout-format`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::document_set::DOCUMENTS_MISSION;
use super::path_template::PathTemplate;
use super::values::{one_or_many, optional_scalar};
use crate::core::manifest::MissionType;
use crate::core::pattern::Pattern;

/// Name of the layout whose conventions the data model was made for.
pub const SPEC_KITTY: &str = "spec-kitty";

/// The conventions of one spec-driven tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the layout, and of its main mission.
    pub name: String,
    /// Paths by which a root is recognised.
    pub markers: Vec<Marker>,
    /// Directories that the tool lets people configure.
    pub variables: BTreeMap<String, Variable>,
    /// Which directories are features; the first rule that matches one counts.
    pub features: Vec<FeatureRule>,
    /// Which mission a feature has; the first rule that applies counts.
    pub missions: Vec<MissionRule>,
    /// What names the current step of a feature.
    pub step: Vec<StepRule>,
    /// Steps that `next_step` leaves out.
    pub optional_steps: Vec<String>,
    /// Where the progress of a feature is; the first rule with a file counts.
    pub progress: Vec<ProgressRule>,
    /// Which differences are bookkeeping only.
    pub churn: Vec<ChurnRule>,
    /// Files that are metadata of a feature, hidden ones too, and never artifacts.
    pub state_files: Vec<Pattern>,
}

/// A path that shows that a root has the layout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Pattern of the path, relative to the root.
    pub path: Pattern,
    /// Whether it is a file or a directory.
    pub kind: MarkerKind,
    /// Whether it counts only where no other marker does.
    #[serde(default)]
    pub weak: bool,
}

/// What a marker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerKind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
}

/// A directory that is named in a file of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The files, the first that names it counts.
    #[serde(deserialize_with = "one_or_many")]
    pub file: Vec<Pattern>,
    /// Path of the field in the file; the whole text of the file without one.
    pub field: Option<String>,
    /// Its value if no file names it.
    pub default: String,
}

/// What kind of feature a rule finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// Work on it may go on.
    #[default]
    Active,
    /// It is finished: its completeness is shown and does not count.
    Archived,
    /// The documents of the whole project.
    Documents,
}

/// A rule for directories that are features.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRule {
    /// Patterns of the directories; of a documents rule, those of the files.
    #[serde(deserialize_with = "one_or_many")]
    pub include: Vec<PathTemplate>,
    /// Patterns of directories that are not features though `include` matches them.
    #[serde(default, deserialize_with = "one_or_many")]
    pub exclude: Vec<PathTemplate>,
    /// What kind of features they are.
    #[serde(default)]
    pub kind: FeatureKind,
    /// One of these must exist. A path that begins with `include` is looked for in the directory
    /// itself, any other one in the root.
    #[serde(default, deserialize_with = "one_or_many")]
    pub only_if: Vec<PathTemplate>,
    /// Their mission, whatever the rules of `missions` are.
    pub mission: Option<MissionType>,
}

/// A rule for the mission of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissionRule {
    /// When it applies; always without a condition.
    pub when: Option<FieldCondition>,
    /// The mission; without one, the value of the field of `when`.
    pub mission: Option<MissionType>,
}

/// A condition on a field of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldCondition {
    /// The file, relative to the feature.
    pub file: Pattern,
    /// Path of the field in the file. Without one the file must exist.
    pub field: Option<String>,
    /// The value that it must have. Without one the field must exist.
    #[serde(default, deserialize_with = "optional_scalar")]
    pub equals: Option<String>,
}

/// Source of the current step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepOrigin {
    /// A runtime issued it.
    Runtime,
    /// A state file of the feature names it.
    State,
    /// The files that exist show it.
    Files,
}

/// A rule for the current step of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRule {
    /// The source.
    pub source: StepOrigin,
    /// The file that names the step.
    pub file: Option<Pattern>,
    /// Path of the field in the file.
    pub field: Option<String>,
    /// Steps by the value of the field; a value that is not listed is the step itself.
    #[serde(default)]
    pub map: BTreeMap<String, String>,
}

/// How progress is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressOrigin {
    /// Boxes of Markdown lists.
    Checkboxes,
    /// States of items in a field.
    Field,
    /// States of items in a field, with the lanes of work packages.
    Lanes,
    /// Files, and those with a partner of the same stem.
    Relation,
}

/// State of one item of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Not begun.
    Open,
    /// Begun.
    InProgress,
    /// Finished.
    Done,
    /// Counts nowhere.
    None,
}

/// Whether boxes in fenced code count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fences {
    /// They count.
    Include,
    /// They do not.
    #[default]
    Exclude,
}

/// Where the files of a rule are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressPlace {
    /// In the feature.
    #[default]
    Feature,
    /// In the feature's directory of the worktree in which its mission is coordinated. The rule is left
    /// out where a mission has none, or it does not exist.
    Coordination,
}

/// A rule for the progress of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressRule {
    /// How it is counted.
    pub from: ProgressOrigin,
    /// The files, relative to the place.
    #[serde(deserialize_with = "one_or_many")]
    pub files: Vec<Pattern>,
    /// Where the files are.
    #[serde(default, rename = "in")]
    pub place: ProgressPlace,
    /// Path of the field; of a relation, the pattern of the partners.
    pub field: Option<String>,
    /// Pattern of the keys in the field that are items; all of them without one.
    pub keys: Option<Pattern>,
    /// States by the values in the field.
    #[serde(default)]
    pub map: BTreeMap<String, ItemState>,
    /// Whether boxes in fenced code count.
    #[serde(default)]
    pub fences: Fences,
}

/// A rule for differences that are bookkeeping only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChurnRule {
    /// The files, relative to the feature.
    #[serde(deserialize_with = "one_or_many")]
    pub files: Vec<Pattern>,
    /// Keys of the front matter, or of the file, that tools rewrite.
    #[serde(default, deserialize_with = "one_or_many")]
    pub keys: Vec<String>,
    /// Whether the marks of boxes are bookkeeping.
    #[serde(default)]
    pub checkboxes: bool,
}

impl Layout {
    /// Returns the layout of the documents of a project: nothing but their names is known of them.
    #[must_use]
    pub fn of_documents() -> Self {
        Self {
            name: DOCUMENTS_MISSION.to_owned(),
            markers: Vec::new(),
            variables: BTreeMap::new(),
            features: Vec::new(),
            missions: Vec::new(),
            step: Vec::new(),
            optional_steps: Vec::new(),
            progress: Vec::new(),
            churn: Vec::new(),
            state_files: Vec::new(),
        }
    }

    /// Returns true if the layout reads the mission of a feature from its `meta.json`.
    #[must_use]
    pub fn reads_meta(&self) -> bool {
        let mut conditions = self.missions.iter().filter_map(|rule| rule.when.as_ref());
        conditions.any(|when| when.file.as_str() == "meta.json")
    }

    /// Returns true if a rule of `step` has that source.
    #[must_use]
    pub fn has_step_from(&self, origin: StepOrigin) -> bool {
        self.step.iter().any(|rule| rule.source == origin)
    }

    /// Returns true if the mission is one of the layout: it has its name, or its name and a suffix,
    /// or a rule names it.
    #[must_use]
    pub fn has_mission(&self, mission: &MissionType) -> bool {
        let rest = mission.as_str().strip_prefix(self.name.as_str());
        let named = || self.missions.iter().any(|rule| rule.mission.as_ref() == Some(mission));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) || named()
    }
}
