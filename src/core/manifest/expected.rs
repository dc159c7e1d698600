//! A manifest as it is written (`docs/specification.md#manifest-format`).

use std::sync::Arc;

use crate::core::artifact::ArtifactClass;
use crate::core::pattern::Pattern;

/// One expected artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedArtifactSpec {
    /// Key of the artifact; of a glob, the prefix of the keys of its files.
    pub artifact_key: String,
    /// Class of the artifact; not `other`.
    pub artifact_class: ArtifactClass,
    /// Expected path, relative to the feature directory.
    pub path_pattern: Pattern,
    /// True if the feature is incomplete without the artifact.
    pub blocking: bool,
    /// True if a program writes it.
    pub generated: bool,
}

/// The artifacts that are required from a step on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRequirements {
    /// Id of the step.
    pub step: Arc<str>,
    /// The artifacts, in the order of the file.
    pub specs: Vec<ExpectedArtifactSpec>,
}

/// The content of `expected-artifacts.yaml`.
///
/// # Examples
/// ```
/// use dossierd::core::manifest::parse_manifest;
///
/// let manifest = parse_manifest(
///     br#"
/// mission_type: software-dev
/// required_always:
///   - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md, blocking: true}
/// required_by_step:
///   plan:
///     - {artifact_key: output.plan, artifact_class: output, path_pattern: plan.md}
/// "#,
/// )?;
/// assert_eq!(manifest.required_by_step[0].step.as_ref(), "plan");
/// let keys = manifest.required_for_step("plan").into_iter().map(|spec| &*spec.artifact_key);
/// assert_eq!(keys.collect::<Vec<_>>(), ["input.spec", "output.plan"]);
///
/// let error = parse_manifest(b"mission_type: x\nrequired: []\n").unwrap_err();
/// assert_eq!((error.line, error.column), (Some(2), Some(1)));
/// # Ok::<(), dossierd::core::yaml::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedArtifactManifest {
    /// Version of the file format.
    pub schema_version: String,
    /// Mission that the manifest is for.
    pub mission_type: String,
    /// Version of the manifest, part of a baseline's key.
    pub manifest_version: String,
    /// Artifacts that are required at every step.
    pub required_always: Vec<ExpectedArtifactSpec>,
    /// Artifacts that are required from a step on, in the order of the file.
    pub required_by_step: Vec<StepRequirements>,
    /// Artifacts that are never required.
    pub optional_always: Vec<ExpectedArtifactSpec>,
}

impl ExpectedArtifactManifest {
    /// Returns the specs of `required_always` and of the step `step_id`, without those of earlier
    /// steps.
    #[must_use]
    pub fn required_for_step(&self, step_id: &str) -> Vec<&ExpectedArtifactSpec> {
        let of_step = self.required_by_step.iter().filter(|of| of.step.as_ref() == step_id);
        self.required_always.iter().chain(of_step.flat_map(|of| &of.specs)).collect()
    }
}
