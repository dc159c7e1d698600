//! Baselines: the state that a person accepted, as it stands in `parity-baseline.json`.
//!
//! The seed's five fields, and dossierd's two: `tree_hash_sha256` and `artifacts`. Readers of the
//! seed's format pass over ours; a file without them is read too. Where the file lies, and how it
//! is written durably, is `project`'s business.

pub mod accept;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ArtifactRef, ArtifactState, RequiredStatus};
use super::digest::Digest;
use super::identity::{BaselineKey, RawBaselineKey};
use super::path::RelPath;
use super::snapshot::MissionDossierSnapshot;
use super::time::Timestamp;
use super::yaml::{MapOnly, ParseError, parse_json};

/// An accepted state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// What it is bound to.
    pub baseline_key: BaselineKey,
    /// The key's hash.
    pub baseline_key_hash: Digest,
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// When it was accepted, as its writer wrote it.
    pub captured_at: String,
    /// `node_id` at capture.
    pub captured_by: Option<String>,
    /// Tree hash of the accepted state; `None` in a file of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_hash_sha256: Option<Digest>,
    /// The present artifacts; `None` in a file of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Vec<BaselineArtifact>>,
}

/// One artifact of an accepted state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineArtifact {
    /// Its key then.
    pub artifact_key: Box<str>,
    /// Where it was.
    pub relative_path: RelPath,
    /// Hash of its bytes.
    pub content_hash_sha256: Digest,
    /// Hash without runtime front matter.
    pub static_hash_sha256: Option<Digest>,
    /// Its class then.
    pub artifact_class: ArtifactClass,
    /// Whether it was required.
    pub required_status: RequiredStatus,
}

/// What was found where a baseline belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineFile {
    /// Nothing.
    Absent,
    /// Something that is no baseline; it is left as it is.
    Corrupt(ParseError),
    /// A baseline.
    Valid(Box<Baseline>),
}

impl Baseline {
    /// The baseline of `snapshot`.
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
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ParseError`] when it does not parse, its key's hash is not its key's, or a path stands
    /// twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let MapOnly(written): MapOnly<RawBaseline> = parse_json(bytes)?;
        let actual = written.baseline_key.hash;
        if actual != written.baseline_key_hash {
            let message = format!(
                "`baseline_key_hash` is not the hash of its `baseline_key`, which is {actual}"
            );
            return Err(ParseError::without_position(message));
        }
        let artifacts: Option<Vec<BaselineArtifact>> = written
            .artifacts
            .map(|list| list.into_iter().map(|MapOnly(artifact)| artifact).collect());
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
            baseline_key: written.baseline_key.key,
            baseline_key_hash: written.baseline_key_hash,
            parity_hash_sha256: written.parity_hash_sha256,
            captured_at: written.captured_at,
            captured_by: written.captured_by,
            tree_hash_sha256: written.tree_hash_sha256,
            artifacts,
        })
    }
}

impl BaselineFile {
    /// Of who accepted which state and when, also where nobody did: by this an acceptance is told
    /// from the one before.
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
    fn what_is_written_is_read_back() {
        let baseline = captured();
        assert_eq!(baseline.artifacts.as_ref().unwrap().len(), 2, "present ones only");
        let json = serde_json::to_vec_pretty(&baseline).unwrap();
        assert_eq!(Baseline::parse(&json), Ok(baseline));
    }

    #[test]
    fn corrupt_ones_say_why() {
        let sound = serde_json::to_value(captured()).unwrap();
        let broken = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = sound.clone();
            change(&mut value);
            Baseline::parse(value.to_string().as_bytes()).unwrap_err().to_string()
        };
        for (message, expect) in [
            (broken(&|v| v["baseline_key"]["node_id"] = "other".into()), "is not the hash of"),
            (
                broken(&|v| v["baseline_key"]["node_id"] = serde_json::json!([])),
                "`node_id` is not a text",
            ),
            (
                broken(&|v| v["parity_hash_sha256"] = "abc".into()),
                "64 lower-case hexadecimal digits",
            ),
            (broken(&|v| v["artifacts"][0]["relative_path"] = "../x".into()), "`..` component"),
            (
                broken(&|v| v["artifacts"][1]["relative_path"] = "spec.md".into()),
                "duplicate path `spec.md`",
            ),
            (broken(&|v| *v = serde_json::json!([])), "expected keys and values"),
            (
                broken(&|v| v["artifacts"][0] = serde_json::json!(["k", "p"])),
                "expected keys and values",
            ),
            (Baseline::parse(b"").unwrap_err().to_string(), "EOF"),
            (Baseline::parse(b"\xff").unwrap_err().to_string(), "1:1"),
        ] {
            assert!(message.contains(expect), "{message}");
        }
    }
}
