//! What a mission expects: specs by step, how a file finds its spec, which specs apply now.
//!
//! [`ExpectedArtifactManifest`] is the text's own shape; a [`Mission`] is that manifest compiled
//! with its steps. Where manifests lie is `project`'s business.

mod embedded;
mod parse;
mod steps;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::artifact::{ArtifactClass, RequiredStatus};
use super::path::RelPath;
use super::pattern::{Pattern, PatternSet};
use super::yaml::ParseError;

pub use embedded::{EMBEDDED_MISSIONS, find_embedded_mission};
pub use parse::parse_manifest;
pub use steps::{merge_step_order, parse_mission_steps, parse_runtime_steps};

/// A mission type, such as `software-dev`: `[A-Za-z0-9][A-Za-z0-9_-]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MissionType(String);

impl MissionType {
    /// Takes a name; `None` when it is no mission type.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let first = name.bytes().next()?;
        (first.is_ascii_alphanumeric() && name.bytes().all(plain)).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MissionType {
    /// The mission of a feature that names none.
    fn default() -> Self {
        Self("software-dev".to_owned())
    }
}

/// One expected artifact (seed: `ExpectedArtifactSpec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedArtifactSpec {
    /// Key of the artifact, or for a glob the beginning of the keys.
    pub artifact_key: String,
    /// One of the six classes.
    pub artifact_class: ArtifactClass,
    /// Where it is expected, relative to the feature directory.
    pub path_pattern: Pattern,
    /// Whether its absence leaves the feature incomplete.
    pub blocking: bool,
}

/// A manifest as written (seed: `ExpectedArtifactManifest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedArtifactManifest {
    /// Version of the file's form.
    pub schema_version: String,
    /// Mission it is for.
    pub mission_type: String,
    /// Its own version, part of a baseline's key.
    pub manifest_version: String,
    /// Required at every step.
    pub required_always: Vec<ExpectedArtifactSpec>,
    /// Required from a step on, in the order written.
    pub required_by_step: Vec<(Arc<str>, Vec<ExpectedArtifactSpec>)>,
    /// Named, but never required.
    pub optional_always: Vec<ExpectedArtifactSpec>,
}

impl ExpectedArtifactManifest {
    /// The seed's `get_required_artifacts`: `required_always` and those of that one step.
    #[must_use]
    pub fn required_for_step(&self, step_id: &str) -> Vec<&ExpectedArtifactSpec> {
        let of_step = self.required_by_step.iter().filter(|(step, _)| step.as_ref() == step_id);
        self.required_always.iter().chain(of_step.flat_map(|(_, specs)| specs)).collect()
    }
}

/// From when on a spec's absence is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ActiveFrom {
    Always,
    FromStep(usize),
    Never,
}

/// All that a manifest says of one key.
#[derive(Debug, Clone)]
pub struct ArtifactSpec {
    /// The key.
    pub key: Arc<str>,
    /// The class.
    pub class: ArtifactClass,
    /// The pattern.
    pub pattern: Pattern,
    /// The step whose list owns it.
    pub step_id: Option<Arc<str>>,
    /// Required when it stands in a required list and blocks.
    pub status: RequiredStatus,
    /// From when on its absence is listed.
    listed_from: ActiveFrom,
    /// From when on its absence leaves the feature incomplete.
    required_from: ActiveFrom,
}

/// A manifest compiled with its steps: what classification and completeness ask.
#[derive(Debug)]
pub struct Mission {
    /// The manifest as written.
    pub manifest: ExpectedArtifactManifest,
    /// Step ids in order.
    pub steps: Vec<Arc<str>>,
    /// What is odd but no error.
    pub warnings: Vec<String>,
    /// One per key, in the order in which files are named: literal patterns first.
    specs: Vec<ArtifactSpec>,
    literals: HashMap<RelPath, Vec<usize>>,
    globs: PatternSet,
    glob_indices: Vec<usize>,
    keys: HashSet<Arc<str>>,
}

impl Mission {
    /// Compiles `manifest`; `known_steps` are the ids of the step files in order, to which the
    /// manifest's own are added.
    ///
    /// # Errors
    /// [`ParseError`] when the patterns together are too large.
    pub fn new(
        manifest: ExpectedArtifactManifest,
        known_steps: &[String],
    ) -> Result<Self, ParseError> {
        let own: Vec<String> =
            manifest.required_by_step.iter().map(|(step, _)| step.to_string()).collect();
        let warnings = find_warnings(&manifest, known_steps);
        let steps: Vec<Arc<str>> =
            merge_step_order(known_steps, &own).into_iter().map(Arc::from).collect();
        let specs = compile_specs(&manifest, &steps);

        let mut literals = HashMap::<RelPath, Vec<usize>>::new();
        let mut glob_places = Vec::new();
        for (place, spec) in specs.iter().enumerate() {
            if spec.pattern.is_literal() {
                literals.entry(spec.pattern.path().clone()).or_default().push(place);
            } else {
                glob_places.push(place);
            }
        }
        let globs = PatternSet::new(glob_places.iter().map(|place| &specs[*place].pattern))
            .map_err(ParseError::without_position)?;
        let keys = specs.iter().map(|spec| Arc::clone(&spec.key)).collect();
        Ok(Self {
            manifest,
            steps,
            warnings,
            specs,
            literals,
            globs,
            glob_indices: glob_places,
            keys,
        })
    }

    /// The specs, one per key, in the order in which they name files.
    #[must_use]
    pub fn specs(&self) -> &[ArtifactSpec] {
        &self.specs
    }

    /// Puts the places of all specs whose pattern matches into `places`, the naming one first.
    pub fn matching_specs(&self, path: &RelPath, places: &mut Vec<usize>) {
        places.clear();
        self.globs.matches_into(path, places);
        for place in places.iter_mut() {
            *place = self.glob_indices[*place];
        }
        if let Some(literal) = self.literals.get(path) {
            places.splice(0..0, literal.iter().copied());
        }
    }

    /// Whether `key` is one of the manifest's own.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Whether `key` begins with the key of a glob spec other than `own` and a dot.
    #[must_use]
    pub fn has_other_glob_prefix(&self, key: &str, own: Option<&ArtifactSpec>) -> bool {
        self.glob_indices
            .iter()
            .map(|place| &self.specs[*place].key)
            .filter(|glob| own.is_none_or(|own| own.key != **glob))
            .any(|glob| key.strip_prefix(glob.as_ref()).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Whether the steps have this id.
    #[must_use]
    pub fn has_step(&self, step: &str) -> bool {
        self.steps.iter().any(|known| known.as_ref() == step)
    }

    /// Whether the spec's absence is listed at `step`. With no step, or one that is not known, all
    /// of the required lists apply.
    #[must_use]
    pub fn is_listed(&self, spec: &ArtifactSpec, step: Option<&str>) -> bool {
        self.is_active(spec.listed_from, step)
    }

    /// Whether its absence leaves a feature incomplete at `step`.
    #[must_use]
    pub fn is_required(&self, spec: &ArtifactSpec, step: Option<&str>) -> bool {
        self.is_active(spec.required_from, step)
    }

    fn is_active(&self, from: ActiveFrom, step: Option<&str>) -> bool {
        let now = step.and_then(|step| self.steps.iter().position(|id| id.as_ref() == step));
        match from {
            ActiveFrom::Always => true,
            ActiveFrom::FromStep(from) => now.is_none_or(|now| from <= now),
            ActiveFrom::Never => false,
        }
    }
}

fn find_warnings(manifest: &ExpectedArtifactManifest, known_steps: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (step, _) in &manifest.required_by_step {
        if !known_steps.iter().any(|known| known == step.as_ref()) {
            warnings.push(format!("step `{step}` of `required_by_step` is in no mission file"));
        }
    }
    let by_step = manifest.required_by_step.iter().flat_map(|(_, specs)| specs);
    for spec in manifest.required_always.iter().chain(by_step).chain(&manifest.optional_always) {
        if spec.path_pattern.has_hidden_component() {
            let (key, pattern) = (&spec.artifact_key, &spec.path_pattern);
            warnings.push(format!("`{pattern}` of `{key}` is hidden, and so never an artifact"));
        }
    }
    warnings
}

/// One [`ArtifactSpec`] per key. The first required list that has it says from when on its absence is
/// listed, the first entry that blocks from when on it counts.
fn compile_specs(manifest: &ExpectedArtifactManifest, steps: &[Arc<str>]) -> Vec<ArtifactSpec> {
    let place = |id: &str| steps.iter().position(|step| step.as_ref() == id).unwrap_or(0);
    let mut by_step: Vec<_> = manifest.required_by_step.iter().collect();
    by_step.sort_by_key(|(step, _)| place(step));

    let always = manifest.required_always.iter().map(|spec| (spec, None, ActiveFrom::Always));
    let stepped = by_step.into_iter().flat_map(|(step, specs)| {
        let from = ActiveFrom::FromStep(place(step));
        specs.iter().map(move |spec| (spec, Some(step), from))
    });
    let optional = manifest.optional_always.iter().map(|spec| (spec, None, ActiveFrom::Never));

    let mut specs: Vec<ArtifactSpec> = Vec::new();
    let mut by_key = HashMap::<&str, usize>::new();
    for (written, step, applies) in always.chain(stepped).chain(optional) {
        let required = written.blocking && applies != ActiveFrom::Never;
        let Some(known) = by_key.get(written.artifact_key.as_str()) else {
            by_key.insert(&written.artifact_key, specs.len());
            specs.push(ArtifactSpec {
                key: written.artifact_key.as_str().into(),
                class: written.artifact_class,
                pattern: written.path_pattern.clone(),
                step_id: step.cloned(),
                status: if required { RequiredStatus::Required } else { RequiredStatus::Optional },
                listed_from: applies,
                required_from: if required { applies } else { ActiveFrom::Never },
            });
            continue;
        };
        let spec = &mut specs[*known];
        spec.listed_from = spec.listed_from.min(applies);
        if required && spec.status == RequiredStatus::Optional {
            spec.status = RequiredStatus::Required;
            spec.required_from = applies;
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
    fn literals_come_first_then_the_lists_in_step_order() {
        let mission = sample();
        assert_eq!(
            keys(mission.specs()),
            ["b.spec", "b.plan", "b.note", "c.spec", "a.all", "c.wp"]
        );
        let mut places = Vec::new();
        mission.matching_specs(&RelPath::new(&b"spec.md"[..]).unwrap(), &mut places);
        assert_eq!(
            keys(places.iter().map(|place| &mission.specs()[*place])),
            ["b.spec", "c.spec", "a.all"]
        );
    }

    #[test]
    fn required_for_one_step_is_the_seeds() {
        let mission = sample();
        let keys = |step| -> Vec<String> {
            let specs = mission.manifest.required_for_step(step);
            specs.into_iter().map(|spec| spec.artifact_key.clone()).collect()
        };
        assert_eq!(keys("second"), ["a.all", "b.plan"]);
        assert_eq!(keys("nowhere"), ["a.all"]);
    }

    #[test]
    fn completeness_is_cumulative() {
        let mission = sample();
        let applying = |step| keys(mission.specs().iter().filter(|s| mission.is_listed(s, step)));
        assert_eq!(applying(Some("first")), ["b.spec", "b.plan", "b.note", "a.all"]);
        let counting = |step| keys(mission.specs().iter().filter(|s| mission.is_required(s, step)));
        assert_eq!(counting(Some("first")), ["b.spec", "a.all"], "the plan does not block yet");
        assert_eq!(counting(Some("second")), ["b.spec", "b.plan", "a.all"]);
        assert_eq!(applying(Some("second")), ["b.spec", "b.plan", "b.note", "a.all"]);
        assert_eq!(applying(None), applying(Some("second")));
        assert_eq!(applying(Some("unheard-of")), applying(None));
    }

    #[test]
    fn status_is_the_specs_own() {
        let mission = sample();
        let required: Vec<&str> =
            keys(mission.specs().iter().filter(|spec| spec.status == RequiredStatus::Required));
        assert_eq!(required, ["b.spec", "b.plan", "a.all"], "optional lists never require");
        let steps: Vec<_> = mission.specs().iter().map(|spec| spec.step_id.as_deref()).collect();
        assert_eq!(steps, [Some("first"), Some("first"), Some("first"), None, None, None]);
    }

    #[test]
    fn odd_manifests_warn() {
        let text = SAMPLE.replace("note.md", ".note.md");
        let mission = Mission::new(parse_manifest(text.as_bytes()).unwrap(), &["first".to_owned()]);
        assert_eq!(
            mission.unwrap().warnings,
            [
                "step `second` of `required_by_step` is in no mission file",
                "`.note.md` of `b.note` is hidden, and so never an artifact"
            ]
        );
    }

    #[test]
    fn mission_types() {
        for good in ["software-dev", "x", "A_1"] {
            assert!(MissionType::new(good).is_some(), "{good}");
        }
        for bad in ["", "../x", "-x", "a b", "a/b", "\u{e9}"] {
            assert!(MissionType::new(bad).is_none(), "{bad}");
        }
    }
}
