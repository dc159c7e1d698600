//! What a mission expects: specs by step, which spec a file belongs to, and which specs apply at a
//! step. Finding and reading manifest files is the task of `project`.
//!
//! An [`ExpectedArtifactManifest`] has the structure of the file; a [`Mission`] is a manifest
//! compiled with the order of its steps.

mod derived;
mod embedded;
mod expected;
mod parse;
mod steps;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, RequiredStatus};
use super::path::RelPath;
use super::pattern::{Pattern, PatternSet};
use super::yaml::ParseError;

pub use derived::{DerivedManifest, SchemaSpecs, derive_manifest};
pub use embedded::{
    EMBEDDED_MISSIONS, MissionEdition, SPEC_KITTY_3_MISSIONS, find_embedded_mission,
};
pub use expected::{ExpectedArtifactManifest, ExpectedArtifactSpec, StepRequirements};
pub use parse::parse_manifest;
pub use steps::{merge_step_order, parse_mission_steps, parse_runtime_steps};

/// Name of a mission type, such as `software-dev`: `[A-Za-z0-9][A-Za-z0-9_-]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MissionType(String);

/// A text that is not a mission type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mission type `{0}`; use letters, digits, `_` and `-`")]
pub struct InvalidMissionType(String);

impl MissionType {
    /// Parses the name of a mission type.
    ///
    /// # Errors
    /// [`InvalidMissionType`] if the name is empty, has another character, or begins with `_` or
    /// `-`.
    pub fn new(name: &str) -> Result<Self, InvalidMissionType> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if starts_well && name.bytes().all(is_allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidMissionType(name.to_owned()))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MissionType {
    type Error = InvalidMissionType;

    fn try_from(name: String) -> Result<Self, InvalidMissionType> {
        Self::new(&name)
    }
}

impl From<MissionType> for String {
    fn from(mission: MissionType) -> Self {
        mission.0
    }
}

impl Default for MissionType {
    /// Returns the mission of a feature that names none.
    fn default() -> Self {
        Self("software-dev".to_owned())
    }
}

/// The steps at which a spec applies. The order is that of how early it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ActiveFrom {
    Always,
    FromStep(usize),
    Never,
}

/// All entries of a manifest with one key, merged.
#[derive(Debug, Clone)]
pub struct ArtifactSpec {
    /// Key of the artifact; of a glob, the prefix of the keys of its files.
    pub key: Arc<str>,
    /// Class of the artifact.
    pub class: ArtifactClass,
    /// Expected path.
    pub pattern: Pattern,
    /// Step whose list has the first entry; `None` if that list is not one of a step.
    pub step_id: Option<Arc<str>>,
    /// `Required` if a required list has a blocking entry.
    pub status: RequiredStatus,
    /// True if an entry declares that a program writes it.
    pub generated: bool,
    /// From when on a missing artifact is listed.
    active_from: ActiveFrom,
}

/// A manifest compiled with the order of its steps, for classification and completeness.
#[derive(Debug)]
pub struct Mission {
    /// The manifest as written.
    pub manifest: ExpectedArtifactManifest,
    /// Ids of the steps in order.
    pub steps: Vec<Arc<str>>,
    /// Problems that do not make the manifest unusable.
    pub warnings: Vec<String>,
    /// One spec for each key, in the order in which they are matched: literal patterns first.
    specs: Vec<ArtifactSpec>,
    /// Indices in `specs` of the literal patterns, by path.
    literals: HashMap<RelPath, Vec<usize>>,
    /// The globs of `specs`.
    globs: PatternSet,
    /// Index in `specs` of each glob of `globs`.
    glob_indices: Vec<usize>,
    /// The directories below which a file may match a spec.
    dirs_above: PatternSet,
    /// Index in `specs` of each pattern of `dirs_above`.
    dir_indices: Vec<usize>,
    /// Keys of all specs.
    keys: HashSet<Arc<str>>,
    /// Of each step, the indices in `specs` of its own specs, and whether they block.
    step_specs: Vec<Vec<(usize, bool)>>,
}

impl Mission {
    /// Compiles `manifest`. The order of steps is that of `known_steps`, the ids of the step files,
    /// completed by the ids of the manifest.
    ///
    /// # Errors
    /// [`ParseError`] if the patterns together are too large.
    pub fn new(
        manifest: ExpectedArtifactManifest,
        known_steps: &[String],
    ) -> Result<Self, ParseError> {
        let own: Vec<String> =
            manifest.required_by_step.iter().map(|of| of.step.to_string()).collect();
        let warnings = find_warnings(&manifest, known_steps);
        let steps: Vec<Arc<str>> =
            merge_step_order(known_steps, &own).into_iter().map(Arc::from).collect();
        let specs = compile_specs(&manifest, &steps);

        let mut literals = HashMap::<RelPath, Vec<usize>>::new();
        let mut glob_indices = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            if spec.pattern.is_literal() {
                literals.entry(spec.pattern.path().clone()).or_default().push(index);
            } else {
                glob_indices.push(index);
            }
        }
        let globs = PatternSet::new(glob_indices.iter().map(|index| &specs[*index].pattern))
            .map_err(|error| ParseError::without_position(error.to_string()))?;
        let dirs = specs.iter().enumerate().flat_map(|(index, spec)| {
            spec.pattern.dirs_above().into_iter().map(move |dir| (index, dir))
        });
        let (dir_indices, dirs): (Vec<usize>, Vec<Pattern>) = dirs.unzip();
        let dirs_above = PatternSet::new(&dirs)
            .map_err(|error| ParseError::without_position(error.to_string()))?;
        let keys = specs.iter().map(|spec| Arc::clone(&spec.key)).collect();
        let step_specs = steps.iter().map(|step| specs_of_step(&manifest, step, &specs)).collect();
        Ok(Self {
            manifest,
            steps,
            warnings,
            specs,
            literals,
            globs,
            glob_indices,
            dirs_above,
            dir_indices,
            keys,
            step_specs,
        })
    }

    /// Returns the specs, one for each key, in the order in which they are matched
    /// (`docs/specification.md#spec-order`).
    #[must_use]
    pub fn specs(&self) -> &[ArtifactSpec] {
        &self.specs
    }

    /// Replaces the content of `indices` by the indices of all specs whose pattern matches. The
    /// first is the primary spec, which determines key and class.
    pub fn matching_specs(&self, path: &RelPath, indices: &mut Vec<usize>) {
        self.globs.matches_into(path, indices);
        for index in indices.iter_mut() {
            *index = self.glob_indices[*index];
        }
        if let Some(literal) = self.literals.get(path) {
            indices.splice(0..0, literal.iter().copied());
        }
    }

    /// Returns the spec that determines key and class of the file at a path.
    #[must_use]
    pub fn primary_spec(&self, path: &RelPath) -> Option<&ArtifactSpec> {
        let mut indices = Vec::new();
        self.matching_specs(path, &mut indices);
        self.specs.get(*indices.first()?)
    }

    /// Returns the paths of the literal specs.
    pub fn literal_paths(&self) -> impl Iterator<Item = &RelPath> {
        self.literals.keys()
    }

    /// Returns the indices of the specs that may match something below a path, in ascending order.
    #[must_use]
    pub fn specs_below(&self, path: &RelPath) -> Vec<usize> {
        let mut indices = Vec::new();
        self.dirs_above.matches_into(path, &mut indices);
        let mut specs: Vec<usize> = indices.iter().map(|dir| self.dir_indices[*dir]).collect();
        specs.dedup();
        specs
    }

    /// Returns true if a spec has the key.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Returns true if `key` begins with a dot after the key of a glob spec other than `own`.
    #[must_use]
    pub fn has_other_glob_prefix(&self, key: &str, own: Option<&ArtifactSpec>) -> bool {
        self.glob_indices
            .iter()
            .map(|index| &self.specs[*index].key)
            .filter(|glob| own.is_none_or(|own| own.key != **glob))
            .any(|glob| key.strip_prefix(glob.as_ref()).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Returns the own specs of a step by their index, and whether they block.
    #[must_use]
    pub fn specs_of_step(&self, step: usize) -> &[(usize, bool)] {
        self.step_specs.get(step).map_or(&[], Vec::as_slice)
    }

    /// Returns true if there is a step with this id.
    #[must_use]
    pub fn has_step(&self, step: &str) -> bool {
        self.steps.iter().any(|known| known.as_ref() == step)
    }

    /// Returns true if a missing artifact of the spec is listed at `step`. Without a step, or with
    /// an unknown one, all required lists apply.
    #[must_use]
    pub fn is_listed(&self, spec: &ArtifactSpec, step: Option<&str>) -> bool {
        let current = step.and_then(|step| self.steps.iter().position(|id| id.as_ref() == step));
        match spec.active_from {
            ActiveFrom::Always => true,
            ActiveFrom::FromStep(from) => current.is_none_or(|current| from <= current),
            ActiveFrom::Never => false,
        }
    }

    /// Returns true if a missing artifact of the spec leaves the feature incomplete at `step`.
    #[must_use]
    pub fn is_required(&self, spec: &ArtifactSpec, step: Option<&str>) -> bool {
        spec.status == RequiredStatus::Required && self.is_listed(spec, step)
    }
}

/// Returns the specs in the list of a step by their index, and whether they block.
fn specs_of_step(
    manifest: &ExpectedArtifactManifest,
    step: &str,
    specs: &[ArtifactSpec],
) -> Vec<(usize, bool)> {
    let lists = manifest.required_by_step.iter().filter(|of| of.step.as_ref() == step);
    let entries = lists.flat_map(|of| &of.specs);
    let index = |key: &str| specs.iter().position(|spec| spec.key.as_ref() == key);
    entries.filter_map(|entry| Some((index(&entry.artifact_key)?, entry.blocking))).collect()
}

fn find_warnings(manifest: &ExpectedArtifactManifest, known_steps: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for StepRequirements { step, .. } in &manifest.required_by_step {
        if !known_steps.iter().any(|known| known == step.as_ref()) {
            warnings.push(format!("step `{step}` of `required_by_step` is in no mission file"));
        }
    }
    let by_step = manifest.required_by_step.iter().flat_map(|of| &of.specs);
    for spec in manifest.required_always.iter().chain(by_step).chain(&manifest.optional_always) {
        if spec.path_pattern.has_hidden_component() {
            let (key, pattern) = (&spec.artifact_key, &spec.path_pattern);
            warnings.push(format!(
                "`{pattern}` of `{key}` matches nothing: hidden files are never artifacts"
            ));
        }
    }
    warnings
}

/// Returns one [`ArtifactSpec`] for each key. It is listed from the first required list that has an
/// entry of this key, and required if an entry in one of them is blocking.
fn compile_specs(manifest: &ExpectedArtifactManifest, steps: &[Arc<str>]) -> Vec<ArtifactSpec> {
    let position = |id: &str| steps.iter().position(|step| step.as_ref() == id).unwrap_or(0);
    let mut by_step: Vec<_> = manifest.required_by_step.iter().collect();
    by_step.sort_by_key(|of| position(&of.step));

    let always = manifest.required_always.iter().map(|spec| (spec, None, ActiveFrom::Always));
    let stepped = by_step.into_iter().flat_map(|StepRequirements { step, specs }| {
        let from = ActiveFrom::FromStep(position(step));
        specs.iter().map(move |spec| (spec, Some(step), from))
    });
    let optional = manifest.optional_always.iter().map(|spec| (spec, None, ActiveFrom::Never));

    let mut specs: Vec<ArtifactSpec> = Vec::new();
    let mut by_key = HashMap::<&str, usize>::new();
    for (entry, step, from) in always.chain(stepped).chain(optional) {
        let required = entry.blocking && from != ActiveFrom::Never;
        let Some(index) = by_key.get(entry.artifact_key.as_str()) else {
            by_key.insert(&entry.artifact_key, specs.len());
            specs.push(ArtifactSpec {
                key: entry.artifact_key.as_str().into(),
                class: entry.artifact_class,
                pattern: entry.path_pattern.clone(),
                step_id: step.cloned(),
                status: if required { RequiredStatus::Required } else { RequiredStatus::Optional },
                generated: entry.generated,
                active_from: from,
            });
            continue;
        };
        let spec = &mut specs[*index];
        spec.active_from = spec.active_from.min(from);
        spec.generated |= entry.generated;
        if required {
            spec.status = RequiredStatus::Required;
        }
    }
    specs.sort_by_key(|spec| !spec.pattern.is_literal());
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
schema_version: "1.0"
mission_type: sample
manifest_version: "3"
required_always:
  - {artifact_key: a.all, artifact_class: output, path_pattern: "*.md", blocking: true}
required_by_step:
  second:
    - {artifact_key: b.plan, artifact_class: output, path_pattern: plan.md, blocking: true}
  first:
    - {artifact_key: b.spec, artifact_class: input, path_pattern: spec.md, blocking: true}
    - {artifact_key: b.plan, artifact_class: output, path_pattern: plan.md}
    - {artifact_key: b.note, artifact_class: evidence, path_pattern: note.md}
optional_always:
  - {artifact_key: c.spec, artifact_class: input, path_pattern: spec.md, blocking: true}
  - {artifact_key: c.wp, artifact_class: output, path_pattern: "tasks/WP*.md"}
"#;

    fn sample() -> Mission {
        let manifest = parse_manifest(SAMPLE.as_bytes()).unwrap();
        Mission::new(manifest, &["first".to_owned(), "second".to_owned()]).unwrap()
    }

    fn keys<'a>(specs: impl IntoIterator<Item = &'a ArtifactSpec>) -> Vec<&'a str> {
        specs.into_iter().map(|spec| spec.key.as_ref()).collect()
    }

    #[test]
    fn specs_have_literals_first_then_lists_in_step_order() {
        let mission = sample();
        assert_eq!(
            keys(mission.specs()),
            ["b.spec", "b.plan", "b.note", "c.spec", "a.all", "c.wp"]
        );
        let mut indices = Vec::new();
        mission.matching_specs(&RelPath::new(&b"spec.md"[..]).unwrap(), &mut indices);
        assert_eq!(
            keys(indices.iter().map(|index| &mission.specs()[*index])),
            ["b.spec", "c.spec", "a.all"]
        );
    }

    #[test]
    fn required_for_step_leaves_out_other_steps() {
        let mission = sample();
        let keys = |step| -> Vec<String> {
            let specs = mission.manifest.required_for_step(step);
            specs.into_iter().map(|spec| spec.artifact_key.clone()).collect()
        };
        assert_eq!(keys("second"), ["a.all", "b.plan"]);
        assert_eq!(keys("nowhere"), ["a.all"]);
    }

    #[test]
    fn a_step_includes_the_specs_of_earlier_steps() {
        let mission = sample();
        let listed = |step| keys(mission.specs().iter().filter(|s| mission.is_listed(s, step)));
        assert_eq!(listed(Some("first")), ["b.spec", "b.plan", "b.note", "a.all"]);
        let required = |step| keys(mission.specs().iter().filter(|s| mission.is_required(s, step)));
        assert_eq!(required(Some("first")), ["b.spec", "b.plan", "a.all"], "one entry blocks");
        assert_eq!(required(Some("second")), ["b.spec", "b.plan", "a.all"]);
        assert_eq!(listed(Some("second")), ["b.spec", "b.plan", "b.note", "a.all"]);
        assert_eq!(listed(None), listed(Some("second")));
        assert_eq!(listed(Some("unknown")), listed(None));
    }

    #[test]
    fn status_and_step_id_do_not_depend_on_the_current_step() {
        let mission = sample();
        let required: Vec<&str> =
            keys(mission.specs().iter().filter(|spec| spec.status == RequiredStatus::Required));
        assert_eq!(required, ["b.spec", "b.plan", "a.all"], "optional lists never require");
        let steps: Vec<_> = mission.specs().iter().map(|spec| spec.step_id.as_deref()).collect();
        assert_eq!(steps, [Some("first"), Some("first"), Some("first"), None, None, None]);
    }

    #[test]
    fn unknown_steps_and_hidden_patterns_are_warnings() {
        let text = SAMPLE.replace("note.md", ".note.md");
        let mission = Mission::new(parse_manifest(text.as_bytes()).unwrap(), &["first".to_owned()]);
        assert_eq!(
            mission.unwrap().warnings,
            [
                "step `second` of `required_by_step` is in no mission file",
                "`.note.md` of `b.note` matches nothing: hidden files are never artifacts"
            ]
        );
    }

    #[test]
    fn mission_type_accepts_letters_digits_underscores_and_hyphens() {
        for good in ["software-dev", "x", "A_1"] {
            assert!(MissionType::new(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "-x", "a b", "a/b", "\u{e9}"] {
            assert!(MissionType::new(bad).is_err(), "{bad}");
        }
    }
}
