//! The dossier of one feature: what was observed, put beside what its mission expects.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactKey, ArtifactRef, Observation, RequiredStatus};
use super::inventory::Inventory;
use super::key::disambiguate_key;
use super::manifest::{Mission, MissionType};
use super::path::FeatureSlug;
use super::snapshot::MissionDossierSnapshot;
use super::time::Timestamp;

/// What a dossier is of, and by what it is judged.
#[derive(Debug, Clone)]
pub struct FeatureContext {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Its absolute directory.
    pub feature_dir: PathBuf,
    /// Mission type.
    pub mission_type: MissionType,
    /// Run of the mission.
    pub mission_run_id: String,
    /// What the mission expects; `None` where no manifest is to be had.
    pub mission: Option<Arc<Mission>>,
    /// Current step, where one is known.
    pub step: Option<Arc<str>>,
    /// Why completeness cannot be judged whatever the artifacts are.
    pub unknown_reason: Option<UnknownReason>,
}

impl FeatureContext {
    /// Whether everything that a dossier depends on is the same.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let missions = match (&self.mission, &other.mission) {
            (Some(mine), Some(theirs)) => {
                Arc::ptr_eq(mine, theirs)
                    || (mine.manifest == theirs.manifest && mine.steps == theirs.steps)
            }
            (None, None) => true,
            _ => false,
        };
        missions
            && self.feature_slug == other.feature_slug
            && self.feature_dir == other.feature_dir
            && self.mission_type == other.mission_type
            && self.mission_run_id == other.mission_run_id
            && self.step == other.step
            && self.unknown_reason == other.unknown_reason
    }
}

/// What keeps a verdict from being given. Unknown is a state of its own, never "complete".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownReason {
    /// The manifest does not parse, and another stands in for it.
    InvalidManifest,
    /// `meta.json` does not say which mission this is.
    UnreadableMeta,
    /// The feature is beyond a budget, in words.
    LimitExceeded(String),
    /// The feature's directory cannot be read, in words.
    Unreadable(String),
    /// The feature's directory is not there any more.
    Deleted,
}

/// Whether all that is required is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// Every required artifact is present.
    Complete,
    /// At least one is not.
    Incomplete,
    /// It cannot be judged.
    Unknown,
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Unknown => "unknown",
        })
    }
}

impl Completeness {
    /// Complete exactly when nothing required is missing; unknown without a manifest, or where
    /// something keeps us from judging.
    #[must_use]
    pub fn of(terms: &FeatureContext, required_missing: u64) -> Self {
        if terms.mission.is_none() || terms.unknown_reason.is_some() {
            Self::Unknown
        } else if required_missing == 0 {
            Self::Complete
        } else {
            Self::Incomplete
        }
    }
}

/// Complete artifact inventory of a feature (seed: `MissionDossier`).
#[derive(Debug, Clone)]
pub struct MissionDossier {
    /// What it is of, and by what it is judged.
    pub context: Arc<FeatureContext>,
    /// All artifacts and absent specs, in byte order of key.
    pub artifacts: Arc<[Arc<ArtifactRef>]>,
    /// The snapshot of this very state, once computed.
    pub latest_snapshot: Option<Arc<MissionDossierSnapshot>>,
    /// First sight.
    pub dossier_created_at: Timestamp,
    /// Last change.
    pub dossier_updated_at: Timestamp,
}

impl MissionDossier {
    /// Puts what was observed, in any order, beside what the mission expects.
    #[must_use]
    pub fn assemble(
        terms: FeatureContext,
        mut observations: Vec<Observation>,
        now: Timestamp,
    ) -> Self {
        observations.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut inventory = Inventory::new(terms);
        for observation in observations {
            inventory.set(observation, now);
        }
        inventory.to_dossier(now)
    }

    /// The seed's `get_required_artifacts`: those of `required_always` and of that one step; all
    /// required ones without a step; none without a manifest.
    #[must_use]
    pub fn required_artifacts(&self, step_id: Option<&str>) -> Vec<&ArtifactRef> {
        let Some(mission) = &self.context.mission else {
            return Vec::new();
        };
        let all = self.artifacts.iter().map(Arc::as_ref);
        let required = all.filter(|artifact| is_required(artifact));
        let Some(step_id) = step_id else {
            return required.collect();
        };
        let specs = mission.manifest.required_for_step(step_id);
        required
            .filter(|artifact| {
                specs.iter().any(|spec| {
                    let rest = artifact.artifact_key.strip_prefix(spec.artifact_key.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            })
            .collect()
    }

    /// The required artifacts that are not present.
    #[must_use]
    pub fn missing_required_artifacts(&self, step_id: Option<&str>) -> Vec<&ArtifactRef> {
        let mut missing = self.required_artifacts(step_id);
        missing.retain(|artifact| !artifact.is_present());
        missing
    }

    /// Whether all that is required is there.
    #[must_use]
    pub fn completeness_status(&self) -> Completeness {
        let missing = self.artifacts.iter().filter(|a| is_required(a) && !a.is_present());
        Completeness::of(&self.context, missing.count() as u64)
    }

    /// The artifact with that key.
    #[must_use]
    pub fn find_artifact(&self, key: &str) -> Option<&ArtifactRef> {
        let place = self.artifacts.binary_search_by(|a| a.artifact_key.as_ref().cmp(key)).ok()?;
        self.artifacts.get(place).map(Arc::as_ref)
    }
}

fn is_required(artifact: &ArtifactRef) -> bool {
    artifact.required_status == RequiredStatus::Required
}

/// Artifacts in byte order of key, each key once.
pub fn sorted_artifacts(
    artifacts: impl Iterator<Item = Arc<ArtifactRef>>,
) -> Arc<[Arc<ArtifactRef>]> {
    let mut artifacts: Vec<Arc<ArtifactRef>> = artifacts.collect();
    sort_and_disambiguate(&mut artifacts);
    artifacts.into()
}

/// Sorts by key, and makes keys distinct where names were crafted so that they collide.
fn sort_and_disambiguate(artifacts: &mut [Arc<ArtifactRef>]) {
    let order = |a: &Arc<ArtifactRef>, b: &Arc<ArtifactRef>| {
        (&a.artifact_key, &a.relative_path).cmp(&(&b.artifact_key, &b.relative_path))
    };
    artifacts.sort_unstable_by(order);
    if !artifacts.windows(2).any(|pair| pair[0].artifact_key == pair[1].artifact_key) {
        return;
    }
    let mut count = HashMap::<ArtifactKey, usize>::new();
    for artifact in artifacts.iter() {
        *count.entry(artifact.artifact_key.clone()).or_default() += 1;
    }
    for artifact in artifacts.iter_mut() {
        if count.get(&artifact.artifact_key).is_some_and(|count| *count > 1) {
            let key = disambiguate_key(&artifact.artifact_key, &artifact.relative_path);
            Arc::make_mut(artifact).artifact_key = key;
        }
    }
    artifacts.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::artifact::ErrorReason;
    use crate::core::digest::Digest;
    use crate::core::manifest::parse_manifest;
    use crate::core::testing::{feature_context, observed, unreadable};

    const MANIFEST: &str = r#"
mission_type: sample
required_always:
  - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md, blocking: true}
required_by_step:
  plan:
    - {artifact_key: output.plan, artifact_class: output, path_pattern: plan.md, blocking: true}
  tasks:
    - {artifact_key: output.wp, artifact_class: output, path_pattern: "tasks/WP*.md", blocking: true}
    - {artifact_key: evidence.note, artifact_class: evidence, path_pattern: note.md}
"#;

    fn dossier(step: Option<&str>, observations: Vec<Observation>) -> MissionDossier {
        let steps = ["plan".to_owned(), "tasks".to_owned()];
        let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &steps).unwrap();
        MissionDossier::assemble(
            feature_context(Some(mission), step),
            observations,
            Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
        )
    }

    fn listed(dossier: &MissionDossier) -> Vec<(&str, &str)> {
        let word = |a: &ArtifactRef| match a.error_reason() {
            None => "present",
            Some(ErrorReason::NotFound) => "not_found",
            Some(_) => "unreadable",
        };
        dossier.artifacts.iter().map(|a| (a.artifact_key.as_ref(), word(a))).collect()
    }

    #[test]
    fn absent_specs_that_apply_are_listed_once() {
        let spec = || observed("spec.md", "x");
        let plan = dossier(Some("plan"), vec![spec()]);
        assert_eq!(listed(&plan), [("input.spec", "present"), ("output.plan", "not_found")]);
        assert_eq!(plan.completeness_status(), Completeness::Incomplete);

        let tasks =
            dossier(None, vec![spec(), unreadable("plan.md"), observed("tasks/WP01.md", "y")]);
        assert_eq!(
            listed(&tasks),
            [
                ("evidence.note", "not_found"),
                ("input.spec", "present"),
                ("output.plan", "unreadable"),
                ("output.wp.WP01", "present"),
            ]
        );
        assert_eq!(
            tasks
                .missing_required_artifacts(None)
                .iter()
                .map(|a| &*a.artifact_key)
                .collect::<Vec<_>>(),
            ["output.plan"]
        );
    }

    #[test]
    fn a_glob_is_satisfied_by_one_and_incomplete_by_an_unreadable_one() {
        let base = vec![observed("spec.md", "x"), observed("plan.md", "y")];
        let with = |more: Vec<Observation>| dossier(Some("tasks"), [base.clone(), more].concat());
        let complete = with(vec![observed("tasks/WP01.md", "z")]);
        assert_eq!(complete.completeness_status(), Completeness::Complete);
        let half = with(vec![observed("tasks/WP01.md", "z"), unreadable("tasks/WP02.md")]);
        assert_eq!(half.completeness_status(), Completeness::Incomplete);
        assert!(half.find_artifact("output.wp").is_none(), "it is satisfied");
        let none = with(vec![unreadable("tasks/WP02.md")]);
        assert!(
            none.find_artifact("output.wp").is_some()
                && none.find_artifact("output.wp.WP02").is_some()
        );
    }

    #[test]
    fn queries_are_the_seeds() {
        let all = dossier(None, vec![observed("spec.md", "x"), observed("tasks/WP01.md", "y")]);
        let keys = |step| -> Vec<&str> {
            all.required_artifacts(step).iter().map(|a| a.artifact_key.as_ref()).collect()
        };
        assert_eq!(keys(None), ["input.spec", "output.plan", "output.wp.WP01"]);
        assert_eq!(keys(Some("tasks")), ["input.spec", "output.wp.WP01"]);
        assert_eq!(keys(Some("unheard-of")), ["input.spec"]);
    }

    #[test]
    fn doubt_is_unknown() {
        let whole = dossier(Some("plan"), vec![observed("spec.md", "x"), observed("plan.md", "y")]);
        assert_eq!(whole.completeness_status(), Completeness::Complete);
        let mut doubted = whole.clone();
        Arc::make_mut(&mut doubted.context).unknown_reason = Some(UnknownReason::InvalidManifest);
        assert_eq!(doubted.completeness_status(), Completeness::Unknown);
        let mut bare = whole;
        Arc::make_mut(&mut bare.context).mission = None;
        assert_eq!(bare.completeness_status(), Completeness::Unknown);
        assert!(bare.required_artifacts(None).is_empty());
    }

    /// Two names of replaced bytes whose paths' hashes share the 8 digits of a key, found by
    /// search: anyone can make such a pair.
    #[test]
    fn crafted_collisions_stay_distinct() {
        let mut by_digits = HashMap::new();
        let (one, two) = (0u32..)
            .find_map(|n| {
                let name: String = n
                    .to_le_bytes()
                    .iter()
                    .map(|byte| char::from_u32(0x4e00 + u32::from(*byte)).unwrap())
                    .collect();
                let digits = Digest::of(name.as_bytes()).to_string()[..8].to_owned();
                by_digits.insert(digits, name.clone()).map(|other| (other, name))
            })
            .unwrap();
        let both = dossier(Some("plan"), vec![observed(&one, "1"), observed(&two, "2")]);
        let keys: Vec<&str> = both
            .artifacts
            .iter()
            .map(|a| a.artifact_key.as_ref())
            .filter(|key| key.starts_with("other."))
            .collect();
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1]);
        assert_eq!(both.find_artifact(keys[0]).unwrap().artifact_key.as_ref(), keys[0]);
    }
}
