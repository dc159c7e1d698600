//! The parser of `layout.yaml`. It is strict, and each error has a position where there is one.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::model::{
    ChurnRule, FeatureKind, FeatureRule, FieldCondition, Layout, Marker, MissionRule,
    ProgressOrigin, ProgressPlace, ProgressRule, StepOrigin, StepRule, Variable,
};
use super::path_template::PathTemplate;
use crate::core::manifest::MissionType;
use crate::core::pattern::{Pattern, PatternSet};
use crate::core::yaml::{MapOnly, ParseError, deserialize_text, parse_strict};

/// Versions of the file format that are known.
const SCHEMA_VERSIONS: [&str; 2] = ["1", "1.0"];

/// Most items of a list of a layout.
const MAX_ITEMS: usize = 256;

/// Parses a layout (`docs/specification.md#layout-format`).
///
/// # Errors
/// [`ParseError`] for unknown, missing and repeated keys and for invalid values.
pub fn parse_layout(bytes: &[u8]) -> Result<Layout, ParseError> {
    let MapOnly(file) = parse_strict::<MapOnly<LayoutFile>>(bytes)?;
    let layout = Layout {
        name: file.name.0,
        markers: file.markers,
        variables: file.variables,
        features: file.features,
        missions: file.missions.into_iter().map(MissionRule::from).collect(),
        step: file.step,
        optional_steps: file.optional_steps,
        progress: file.progress,
        churn: file.churn,
        state_files: file.state_files,
    };
    match find_problem(&layout) {
        Some(problem) => Err(ParseError::without_position(problem)),
        None => Ok(layout),
    }
}

/// Returns what is wrong between several values.
fn find_problem(layout: &Layout) -> Option<String> {
    let counts = [
        ("markers", layout.markers.len()),
        ("features", layout.features.len()),
        ("missions", layout.missions.len()),
        ("step", layout.step.len()),
        ("progress", layout.progress.len()),
        ("churn", layout.churn.len()),
        ("state_files", layout.state_files.len()),
    ];
    if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count > MAX_ITEMS) {
        return Some(format!("{key}: more than {MAX_ITEMS} items"));
    }
    let boxes = layout.churn.iter().flat_map(|rule| &rule.files);
    let sets = [
        ("markers", PatternSet::new(layout.markers.iter().map(|marker| &marker.path))),
        ("churn", PatternSet::new(boxes)),
        ("state_files", PatternSet::new(&layout.state_files)),
    ];
    for (key, set) in sets {
        if let Err(error) = set {
            return Some(format!("{key}: {error}"));
        }
    }
    for (index, rule) in layout.features.iter().enumerate() {
        let templates = rule.include.iter().chain(&rule.exclude).chain(&rule.only_if);
        for name in templates.flat_map(PathTemplate::variables) {
            if !layout.variables.contains_key(name) {
                return Some(format!("features[{index}]: unknown variable `{name}`"));
            }
        }
        if rule.kind == FeatureKind::Documents && rule.mission.is_none() && rule.include.is_empty()
        {
            return Some(format!("features[{index}]: `include` is empty"));
        }
    }
    for (index, rule) in layout.missions.iter().enumerate() {
        if rule.mission.is_none() && rule.when.as_ref().is_none_or(|when| when.field.is_none()) {
            return Some(format!("missions[{index}]: one of `use` and `when.field` is needed"));
        }
    }
    for (index, rule) in layout.step.iter().enumerate() {
        if rule.source == StepOrigin::State && rule.file.is_none() {
            return Some(format!("step[{index}]: a step from `state` needs `file`"));
        }
    }
    for (index, rule) in layout.progress.iter().enumerate() {
        let needs_field = rule.from != ProgressOrigin::Checkboxes;
        if needs_field && rule.field.is_none() {
            return Some(format!("progress[{index}]: `field` is missing"));
        }
        if rule.place == ProgressPlace::Coordination
            && (rule.from == ProgressOrigin::Relation
                || rule.files.iter().any(|file| !file.is_literal()))
        {
            return Some(format!("progress[{index}]: `in: coordination` needs files without `*`"));
        }
        if rule.from == ProgressOrigin::Relation {
            let partner = rule.field.as_deref().map(Pattern::new);
            let both = rule.files.iter().map(Pattern::as_str).chain(rule.field.as_deref());
            if matches!(partner, Some(Err(_)))
                || both.into_iter().any(|one| one.matches('*').count() != 1)
            {
                return Some(format!(
                    "progress[{index}]: a relation needs patterns with exactly one `*`"
                ));
            }
        }
    }
    None
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutFile {
    #[expect(dead_code, reason = "checked while it is parsed")]
    schema_version: SchemaVersion,
    name: LayoutName,
    #[serde(default)]
    markers: Vec<Marker>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    features: Vec<FeatureRule>,
    #[serde(default)]
    missions: Vec<MissionEntry>,
    #[serde(default)]
    step: Vec<StepRule>,
    #[serde(default)]
    optional_steps: Vec<String>,
    #[serde(default)]
    progress: Vec<ProgressRule>,
    #[serde(default)]
    churn: Vec<ChurnRule>,
    #[serde(default)]
    state_files: Vec<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MissionEntry {
    when: Option<FieldCondition>,
    #[serde(rename = "use")]
    mission: Option<MissionType>,
}

impl From<MissionEntry> for MissionRule {
    fn from(entry: MissionEntry) -> Self {
        Self { when: entry.when, mission: entry.mission }
    }
}

struct SchemaVersion;

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |text| {
            if SCHEMA_VERSIONS.contains(&text) {
                Ok(Self)
            } else {
                Err(format!("unknown version `{text}`; use `1`"))
            }
        })
    }
}

struct LayoutName(String);

impl<'de> Deserialize<'de> for LayoutName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The main mission of a layout has its name.
        deserialize_text(deserializer, |text| match MissionType::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!("invalid name `{text}`; use letters, digits, `_` and `-`")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_position_key_and_fix() {
        for (text, expected) in [
            ("schema_version: 1\n", "1:1: missing field `name`"),
            ("schema_version: 2\nname: x\n", "1:17: schema_version: unknown version `2`; use `1`"),
            ("schema_version: 1\nname: a b\n", "2:7: name: invalid name `a b`"),
            (
                "schema_version: 1\nname: x\nmarkrs: []\n",
                "3:1: unknown field `markrs`, expected one of",
            ),
            (
                "schema_version: 1\nname: x\nmarkers:\n  - {path: .x, kind: folder}\n",
                "4:22: markers[0].kind: unknown variant `folder`, expected `dir` or `file`",
            ),
            (
                "schema_version: 1\nname: x\nfeatures:\n  - {include: ../x}\n",
                "features[0].include: invalid pattern `../x`: the path has a `..` component",
            ),
            (
                "schema_version: 1\nname: x\nfeatures:\n  - {include: '${out}/*'}\n",
                "features[0]: unknown variable `out`",
            ),
            (
                "schema_version: 1\nname: x\nmissions: [{when: {file: a.json}}]\n",
                "missions[0]: one of `use` and `when.field` is needed",
            ),
            (
                "schema_version: 1\nname: x\nprogress: [{from: relation, files: '*-P.md', field: 'S.md'}]\n",
                "progress[0]: a relation needs patterns with exactly one `*`",
            ),
            ("schema_version: 1\nname: x\nname: y\n", "3:1: duplicate"),
            (
                &format!("schema_version: 1\nname: x\nstate_files: [{}]\n", "a, ".repeat(257)),
                "state_files: more than 256 items",
            ),
        ] {
            let error = parse_layout(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
