//! Derives a manifest from the schema of a tool that is data itself: `openspec/schemas/<name>/schema.yaml`
//! of OpenSpec (`docs/specification.md#derived-manifests`). Only what is needed is read of the file,
//! which belongs to another program.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_yaml::Value;

use super::expected::{ExpectedArtifactManifest, ExpectedArtifactSpec, StepRequirements};
use crate::core::artifact::ArtifactClass;
use crate::core::digest::Digest;
use crate::core::pattern::Pattern;
use crate::core::yaml::{ParseError, parse};

/// Steps after those of the artifacts.
const LAST_STEPS: [&str; 2] = ["apply", "archive"];
/// Id of the artifact that a change may leave out.
const SPECS: &str = "specs";
/// Most artifacts of a schema.
const MAX_ARTIFACTS: usize = 256;
/// Number of hexadecimal digits of the version.
const VERSION_DIGITS: usize = 12;

/// What follows from a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedManifest {
    /// The manifest; its version is the beginning of the file's hash.
    pub manifest: ExpectedArtifactManifest,
    /// The steps, in the order of the file.
    pub steps: Vec<String>,
    /// The file with the boxes of the tasks, if the schema names one.
    pub tracks: Option<Pattern>,
}

/// Whether the changes are those without specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaSpecs {
    /// They have the specs of the schema.
    Required,
    /// Their metadata excludes specs.
    Skipped,
}

/// Derives the manifest of the mission `mission_type`. An artifact blocks that `apply` requires, directly
/// or not; without `apply`, each does. What `known`, the embedded manifest of the tool, has for a step
/// of the same id keeps its key and class, and does not block if it does not there.
///
/// # Errors
/// [`ParseError`] if the file is not YAML, or its artifacts are invalid.
pub fn derive_manifest(
    bytes: &[u8],
    mission_type: &str,
    specs: SchemaSpecs,
    known: Option<&ExpectedArtifactManifest>,
) -> Result<DerivedManifest, ParseError> {
    let document: Value = parse(bytes)?;
    let error = |message: String| ParseError::without_position(message);
    let artifacts = document.get("artifacts").and_then(Value::as_sequence);
    let artifacts = artifacts.ok_or_else(|| error("`artifacts` is missing".to_owned()))?;
    if artifacts.len() > MAX_ARTIFACTS {
        return Err(error(format!("more than {MAX_ARTIFACTS} artifacts")));
    }
    let all = artifacts.iter().enumerate().map(|(index, value)| Artifact::parse(index, value));
    let all: Vec<Artifact> = all.collect::<Result<_, _>>().map_err(error)?;
    let apply = document.get("apply");
    let required = required_by_apply(&all, apply);
    let is_wanted = |one: &&Artifact| specs == SchemaSpecs::Required || one.id != SPECS;
    let of_step = |artifact: &Artifact| {
        let known = known.and_then(|known| {
            let mut steps = known.required_by_step.iter();
            steps.find(|of| *of.step == *artifact.id)?.specs.first()
        });
        let spec = artifact.to_spec(required.contains(artifact.id.as_str()), known);
        StepRequirements { step: Arc::from(artifact.id.as_str()), specs: vec![spec] }
    };
    let wanted = || all.iter().filter(is_wanted);
    let tracks = apply.and_then(|apply| apply.get("tracks")).and_then(Value::as_str);
    let tracks = tracks.map(Pattern::new).transpose();
    Ok(DerivedManifest {
        steps: wanted().map(|one| one.id.clone()).chain(LAST_STEPS.map(str::to_owned)).collect(),
        tracks: tracks.map_err(|cause| error(format!("apply.tracks: {cause}")))?,
        manifest: ExpectedArtifactManifest {
            schema_version: "1.0".to_owned(),
            mission_type: mission_type.to_owned(),
            manifest_version: Digest::of(bytes).hex().as_str()[..VERSION_DIGITS].to_owned(),
            required_always: Vec::new(),
            required_by_step: wanted().map(of_step).collect(),
            optional_always: Vec::new(),
        },
    })
}

/// An artifact of a schema.
struct Artifact {
    id: String,
    generates: Pattern,
    requires: Vec<String>,
}

impl Artifact {
    fn parse(index: usize, value: &Value) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let id = text("id").ok_or_else(|| format!("artifacts[{index}]: `id` is missing"))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if id.is_empty() || !id.bytes().all(is_plain) || LAST_STEPS.contains(&id) {
            return Err(format!("artifacts[{index}].id: `{id}` is not a name of an artifact"));
        }
        let generates = text("generates");
        let generates =
            generates.ok_or_else(|| format!("artifacts[{index}]: `generates` is missing"))?;
        let generates = Pattern::new(generates)
            .map_err(|error| format!("artifacts[{index}].generates: {error}"))?;
        Ok(Self { id: id.to_owned(), generates, requires: names(value.get("requires")) })
    }

    fn to_spec(
        &self,
        is_required: bool,
        known: Option<&ExpectedArtifactSpec>,
    ) -> ExpectedArtifactSpec {
        let key = || format!("output.{}", self.id.to_ascii_lowercase());
        ExpectedArtifactSpec {
            artifact_key: known.map_or_else(key, |known| known.artifact_key.clone()),
            artifact_class: known.map_or(ArtifactClass::Output, |known| known.artifact_class),
            path_pattern: self.generates.clone(),
            blocking: is_required && known.is_none_or(|known| known.blocking),
            generated: false,
        }
    }
}

/// Returns the ids of the artifacts that are needed before the work begins.
fn required_by_apply(artifacts: &[Artifact], apply: Option<&Value>) -> BTreeSet<String> {
    let mut open = names(apply.and_then(|apply| apply.get("requires")));
    if open.is_empty() {
        return artifacts.iter().map(|one| one.id.clone()).collect();
    }
    let mut required = BTreeSet::new();
    while let Some(id) = open.pop() {
        let found = artifacts.iter().find(|one| one.id == id);
        if required.insert(id) {
            open.extend(found.into_iter().flat_map(|one| one.requires.iter().cloned()));
        }
    }
    required
}

fn names(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_sequence).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::manifest::{MissionEdition, find_embedded_mission, parse_manifest};

    const SCHEMA: &str = "name: own\nversion: 1\nartifacts:\n\
        - {id: proposal, generates: proposal.md, template: proposal.md, requires: []}\n\
        - {id: specs, generates: 'specs/**/*.md', requires: [proposal]}\n\
        - {id: design, generates: design.md, requires: [proposal]}\n\
        - {id: review, generates: review.md, requires: [specs]}\n\
        - {id: notes, generates: 'notes/*.md'}\n\
        - {id: tasks, generates: work/tasks.md, requires: [design, review]}\n\
        apply: {requires: [tasks], tracks: work/tasks.md, instruction: x}\n";

    fn derive(text: &str, specs: SchemaSpecs) -> Result<DerivedManifest, ParseError> {
        let known = find_embedded_mission("openspec", MissionEdition::First).unwrap().manifest;
        let known = parse_manifest(known.as_bytes()).unwrap();
        derive_manifest(text.as_bytes(), "openspec-own", specs, Some(&known))
    }

    fn specs_of(derived: &DerivedManifest) -> Vec<String> {
        let steps = derived.manifest.required_by_step.iter();
        let text = |of: &StepRequirements| {
            let spec = &of.specs[0];
            let blocks = if spec.blocking { " blocks" } else { "" };
            format!("{} {} {}{blocks}", of.step, spec.artifact_key, spec.path_pattern)
        };
        steps.map(text).collect()
    }

    #[test]
    fn steps_keys_and_what_blocks_follow_from_the_schema() {
        let derived = derive(SCHEMA, SchemaSpecs::Required).unwrap();
        assert_eq!(
            derived.steps,
            ["proposal", "specs", "design", "review", "notes", "tasks", "apply", "archive"]
        );
        assert_eq!(
            specs_of(&derived),
            [
                "proposal input.proposal proposal.md blocks",
                "specs input.delta specs/**/*.md blocks",
                "design output.design design.md",
                "review output.review review.md blocks",
                "notes output.notes notes/*.md",
                "tasks workflow.tasks work/tasks.md blocks",
            ]
        );
        assert_eq!(derived.tracks.as_ref().map(Pattern::as_str), Some("work/tasks.md"));
        let hash = Digest::of(SCHEMA.as_bytes()).hex();
        assert_eq!(derived.manifest.manifest_version, hash.as_str()[..12]);
        let without = derive(SCHEMA, SchemaSpecs::Skipped).unwrap();
        assert!(!without.steps.iter().any(|step| step == "specs"));
        let all = derive("artifacts: [{id: a, generates: a.md}]", SchemaSpecs::Required).unwrap();
        assert_eq!(specs_of(&all), ["a output.a a.md blocks"]);
    }

    #[test]
    fn schemas_that_cannot_be_used_are_errors_with_their_place() {
        for (text, expected) in [
            ("artifacts: [", "1:"),
            ("name: x\n", "`artifacts` is missing"),
            ("artifacts: [{generates: a.md}]", "artifacts[0]: `id` is missing"),
            ("artifacts: [{id: a}]", "artifacts[0]: `generates` is missing"),
            ("artifacts: [{id: a b, generates: a}]", "artifacts[0].id: `a b` is not a name"),
            ("artifacts: [{id: apply, generates: a}]", "artifacts[0].id: `apply` is not a name"),
            ("artifacts: [{id: a, generates: ../a}]", "artifacts[0].generates: invalid pattern"),
            ("artifacts: [{id: a, generates: a}]\napply: {tracks: /x}", "apply.tracks: invalid"),
        ] {
            let error = derive(text, SchemaSpecs::Required).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let circle = "artifacts: [{id: a, generates: a, requires: [b]}, \
                      {id: b, generates: b, requires: [a]}]\napply: {requires: [a, x]}";
        let derived = derive(circle, SchemaSpecs::Required).unwrap();
        assert_eq!(specs_of(&derived), ["a output.a a blocks", "b output.b b blocks"]);
    }
}
