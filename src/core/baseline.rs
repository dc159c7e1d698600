//! Baselines: accepted states, as they are written in `parity-baseline.json`
//! (`docs/specification.md#baseline-file`). Finding the file and writing it durably is the task of
//! `project`.
//!
//! Other programs write five of the fields; `tree_hash_sha256` and `artifacts` are additions of
//! dossierd. Readers of the five-field format ignore them, and a file without them is valid.

pub mod accept;

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ArtifactRef, ArtifactState, RequiredStatus};
use super::digest::Digest;
use super::identity::{BaselineKey, RawBaselineKey};
use super::path::RelPath;
use super::snapshot::{MissionDossierSnapshot, parity_hash, tree_hash};
use super::time::Timestamp;
use super::yaml::{MapOnly, ParseError, parse_json};

/// An accepted state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Project, machine, branch, mission and manifest for which the state was accepted.
    pub baseline_key: BaselineKey,
    /// Hash of `baseline_key`.
    pub baseline_key_hash: Digest,
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// Time of acceptance, as it is written in the file.
    pub captured_at: String,
    /// `node_id` of the machine on which the state was accepted.
    pub captured_by: Option<String>,
    /// Tree hash of the accepted state; `None` in a file that another program wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_hash_sha256: Option<Digest>,
    /// The present artifacts; `None` in a file that another program wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Vec<BaselineArtifact>>,
    /// Commit that was checked out; in a shared baseline only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Paths of present artifacts that git ignores; in a shared baseline only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<RelPath>,
}

/// For whom a baseline counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineScope {
    /// This machine and user.
    #[default]
    Local,
    /// The team, which commits it.
    Shared,
}

impl fmt::Display for BaselineScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Shared => "shared",
        })
    }
}

/// One artifact of an accepted state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineArtifact {
    /// Key at the time of acceptance.
    pub artifact_key: Box<str>,
    /// Path below the feature directory.
    pub relative_path: RelPath,
    /// Hash of the raw bytes.
    pub content_hash_sha256: Digest,
    /// Hash without runtime fields of the front matter, for work packages.
    pub static_hash_sha256: Option<Digest>,
    /// Class at the time of acceptance.
    pub artifact_class: ArtifactClass,
    /// Whether the feature was incomplete without it.
    pub required_status: RequiredStatus,
}

/// The content of a feature's baseline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineFile {
    /// There is no file.
    Absent,
    /// The file is not a valid baseline; it is not changed.
    Corrupt(ParseError),
    /// The file is a baseline.
    Valid(Box<Baseline>),
}

impl Baseline {
    /// Returns the baseline of a snapshot, accepted at `at`.
    #[must_use]
    pub fn capture(snapshot: &MissionDossierSnapshot, key: &BaselineKey, at: Timestamp) -> Self {
        let artifacts =
            snapshot.artifact_summaries.iter().filter_map(|a| BaselineArtifact::from_present(a));
        Self {
            baseline_key_hash: key.hash(),
            parity_hash_sha256: snapshot.parity_hash_sha256,
            captured_at: at.to_string(),
            captured_by: Some(key.node_id.clone()),
            tree_hash_sha256: Some(snapshot.tree_hash_sha256),
            artifacts: Some(artifacts.collect()),
            baseline_key: key.clone(),
            git_commit: None,
            left_out: Vec::new(),
        }
    }

    /// Returns the same baseline for a team: without the artifacts that git ignores.
    #[must_use]
    pub fn into_shared(mut self, ignored: &HashSet<RelPath>, git_commit: Option<String>) -> Self {
        let is_ignored = |one: &BaselineArtifact| ignored.contains(&one.relative_path);
        if let Some(artifacts) = &mut self.artifacts {
            let left_out = artifacts.iter().filter(|one| is_ignored(one));
            self.left_out = left_out.map(|one| one.relative_path.clone()).collect();
            artifacts.retain(|one| !is_ignored(one));
            let present = artifacts.iter().map(|one| (&one.relative_path, one.content_hash_sha256));
            self.tree_hash_sha256 = Some(tree_hash(present.collect()));
            let mut hashes: Vec<Digest> =
                artifacts.iter().map(|one| one.content_hash_sha256).collect();
            hashes.sort_unstable();
            self.parity_hash_sha256 = parity_hash(&hashes);
        }
        self.left_out.sort_unstable();
        Self { git_commit, ..self }
    }

    /// Returns the text of the file of a shared baseline: sorted keys, a line for each artifact, so that
    /// changes can be reviewed and merged.
    ///
    /// # Errors
    /// Those of the serialisation.
    pub fn to_shared_text(&self) -> Result<String, serde_json::Error> {
        // The keys of `Value` are sorted.
        let mut value = serde_json::to_value(self)?;
        let mut text = String::from("{\n");
        let object = value.as_object_mut().into_iter().flatten();
        let mut lines = Vec::new();
        for (key, value) in object {
            let key = serde_json::to_string(key)?;
            match value.as_array() {
                Some(items) if !items.is_empty() => {
                    let items: Result<Vec<String>, _> =
                        items.iter().map(serde_json::to_string).collect();
                    let items = items?.join(",\n    ");
                    lines.push(format!("  {key}: [\n    {items}\n  ]"));
                }
                _ => lines.push(format!("  {key}: {}", serde_json::to_string(value)?)),
            }
        }
        text.push_str(&lines.join(",\n"));
        text.push_str("\n}\n");
        Ok(text)
    }

    /// Parses a baseline file.
    ///
    /// # Errors
    /// [`ParseError`] if the file is not valid JSON, a field is missing or invalid,
    /// `baseline_key_hash` is not the hash of `baseline_key`, or a path is repeated.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let MapOnly(raw): MapOnly<RawBaseline> = parse_json(bytes)?;
        let actual = raw.baseline_key.hash;
        if actual != raw.baseline_key_hash {
            let message =
                format!("`baseline_key_hash` is not the hash of `baseline_key`, which is {actual}");
            return Err(ParseError::without_position(message));
        }
        let artifacts: Option<Vec<BaselineArtifact>> =
            raw.artifacts.map(|list| list.into_iter().map(|MapOnly(artifact)| artifact).collect());
        let mut paths = HashSet::new();
        for artifact in artifacts.iter().flatten() {
            if !paths.insert(&artifact.relative_path) {
                let path = artifact.relative_path.text();
                return Err(ParseError::without_position(format!(
                    "duplicate path `{path}` in `artifacts`"
                )));
            }
        }
        Ok(Self {
            baseline_key: raw.baseline_key.key,
            baseline_key_hash: raw.baseline_key_hash,
            parity_hash_sha256: raw.parity_hash_sha256,
            captured_at: raw.captured_at,
            captured_by: raw.captured_by,
            tree_hash_sha256: raw.tree_hash_sha256,
            artifacts,
            git_commit: raw.git_commit,
            left_out: raw.left_out,
        })
    }
}

impl BaselineFile {
    /// Returns the hashes of the artifacts that it names; `None` if they cannot be read.
    #[must_use]
    pub fn hashes(&self) -> Option<Vec<Digest>> {
        let artifacts = match self {
            Self::Absent => &[][..],
            Self::Valid(baseline) => baseline.artifacts.as_deref().unwrap_or_default(),
            Self::Corrupt(_) => return None,
        };
        Some(artifacts.iter().map(|artifact| artifact.content_hash_sha256).collect())
    }

    /// Returns a digest of the accepted state, its time and its author. Each acceptance has another
    /// one, so it shows whether a baseline was replaced. Absent and corrupt files have the same.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        let accepted = match self {
            Self::Absent | Self::Corrupt(_) => None,
            Self::Valid(baseline) => Some((
                baseline.baseline_key_hash,
                baseline.parity_hash_sha256,
                baseline.tree_hash_sha256,
                &baseline.captured_at,
                &baseline.captured_by,
            )),
        };
        Digest::of(&serde_json::to_vec(&accepted).unwrap_or_default())
    }
}

impl BaselineArtifact {
    fn from_present(artifact: &ArtifactRef) -> Option<Self> {
        let ArtifactState::Present { hash, static_hash } = &artifact.state else {
            return None;
        };
        Some(Self {
            artifact_key: artifact.artifact_key.clone(),
            relative_path: artifact.relative_path.clone(),
            content_hash_sha256: *hash,
            static_hash_sha256: static_hash.as_deref().copied(),
            artifact_class: artifact.artifact_class,
            required_status: artifact.required_status,
        })
    }
}

#[derive(Deserialize)]
struct RawBaseline {
    baseline_key: RawBaselineKey,
    baseline_key_hash: Digest,
    parity_hash_sha256: Digest,
    captured_at: String,
    #[serde(default)]
    captured_by: Option<String>,
    #[serde(default)]
    tree_hash_sha256: Option<Digest>,
    #[serde(default)]
    artifacts: Option<Vec<MapOnly<BaselineArtifact>>>,
    #[serde(default)]
    git_commit: Option<String>,
    #[serde(default)]
    left_out: Vec<RelPath>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::inventory::Inventory;
    use crate::core::testing::{feature_context, observed, unreadable};

    fn key() -> BaselineKey {
        BaselineKey {
            project_uuid: "550e8400-e29b-41d4-a716-446655440000".into(),
            node_id: "abcdef123456".into(),
            feature_slug: "001-x".into(),
            target_branch: "main".into(),
            mission_key: "software-dev".into(),
            manifest_version: "1".into(),
        }
    }

    fn captured() -> Baseline {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let observations =
            vec![observed("spec.md", "x"), unreadable("plan.md"), observed("a\\b", "y")];
        let dossier = Inventory::from_observations(feature_context(None, None), observations, now)
            .to_dossier(now);
        Baseline::capture(&MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now), &key(), now)
    }

    #[test]
    fn parse_reads_a_captured_baseline() {
        let baseline = captured();
        assert_eq!(baseline.artifacts.as_ref().unwrap().len(), 2, "present ones only");
        let json = serde_json::to_vec_pretty(&baseline).unwrap();
        assert_eq!(Baseline::parse(&json), Ok(baseline));
    }

    #[test]
    fn parse_errors_name_the_problem() {
        let valid = serde_json::to_value(captured()).unwrap();
        let error_after = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = valid.clone();
            change(&mut value);
            Baseline::parse(value.to_string().as_bytes()).unwrap_err().to_string()
        };
        for (message, expected) in [
            (error_after(&|v| v["baseline_key"]["node_id"] = "other".into()), "is not the hash of"),
            (
                error_after(&|v| v["baseline_key"]["node_id"] = serde_json::json!([])),
                "`node_id` is not a string",
            ),
            (
                error_after(&|v| v["parity_hash_sha256"] = "abc".into()),
                "64 lower-case hexadecimal digits",
            ),
            (
                error_after(&|v| v["artifacts"][0]["relative_path"] = "../x".into()),
                "`..` component",
            ),
            (
                error_after(&|v| v["artifacts"][1]["relative_path"] = "spec.md".into()),
                "duplicate path `spec.md`",
            ),
            (error_after(&|v| *v = serde_json::json!([])), "expected keys and values"),
            (
                error_after(&|v| v["artifacts"][0] = serde_json::json!(["k", "p"])),
                "expected keys and values",
            ),
            (Baseline::parse(b"").unwrap_err().to_string(), "EOF"),
            (Baseline::parse(b"\xff").unwrap_err().to_string(), "1:1"),
        ] {
            assert!(message.contains(expected), "{message}");
        }
    }
}
