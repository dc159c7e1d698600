//! Snapshots: counts, completeness and the two hashes of a dossier
//! (`docs/specification.md#snapshots`). Storing and publishing them is done elsewhere.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::artifact::{ArtifactClass, ArtifactRef, ErrorReason, RequiredStatus};
use super::counts::Counts;
use super::digest::Digest;
use super::dossier::MissionDossier;
use super::feature_context::Completeness;
use super::path::{FeatureSlug, RelPath};
use super::time::Timestamp;

/// State of a dossier at one time. Its JSON is the same in all outputs. Two snapshots of the same
/// state differ only in `snapshot_id` and `computed_at`.
#[derive(Debug, Clone, Serialize)]
pub struct MissionDossierSnapshot {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// UUID of the snapshot.
    pub snapshot_id: Uuid,
    /// Numbers of listed, required and present artifacts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether all required artifacts are present.
    pub completeness_status: Completeness,
    /// [`parity_hash`] of the present artifacts.
    pub parity_hash_sha256: Digest,
    /// All artifacts, in byte order of key. In JSON this is two lists: `parity_hash_components`,
    /// the sorted hashes including repetitions, and `artifact_summaries`.
    #[serde(flatten, serialize_with = "serialize_lists")]
    pub artifact_summaries: Arc<[Arc<ArtifactRef>]>,
    /// Time of the computation.
    pub computed_at: Timestamp,
    /// [`tree_hash`] of the present artifacts.
    pub tree_hash_sha256: Digest,
}

impl MissionDossierSnapshot {
    /// Returns the `computed_at` of a snapshot from the last bytes of its JSON; `None` if they do
    /// not contain it. The lists before it may be large, so they are not read.
    #[must_use]
    pub fn parse_computed_at(json_end: &[u8]) -> Option<Timestamp> {
        let text = String::from_utf8_lossy(json_end);
        let (_, time) = text.rsplit_once(r#""computed_at":""#)?;
        Timestamp::parse(time.split('"').next()?)
    }

    /// Returns the snapshot of a dossier.
    #[must_use]
    pub fn compute(dossier: &MissionDossier, snapshot_id: Uuid, computed_at: Timestamp) -> Self {
        let artifacts = &dossier.artifacts;
        Self {
            feature_slug: dossier.context.feature_slug.clone(),
            snapshot_id,
            counts: Counts::of(artifacts.iter().map(Arc::as_ref)),
            completeness_status: dossier.completeness_status(),
            parity_hash_sha256: parity_hash(&sorted_hashes(artifacts)),
            artifact_summaries: Arc::clone(artifacts),
            computed_at,
            tree_hash_sha256: tree_hash(
                artifacts.iter().filter_map(|a| Some((&a.relative_path, a.hash()?))).collect(),
            ),
        }
    }
}

/// One element of the two lists of a snapshot's JSON.
#[derive(Serialize)]
#[serde(untagged)]
pub enum SnapshotElement<'a> {
    /// Of `parity_hash_components`.
    Hash(Digest),
    /// Of `artifact_summaries`.
    Artifact(ArtifactSummary<'a>),
}

impl MissionDossierSnapshot {
    /// Returns this snapshot without its artifacts, whose lists are empty in its JSON.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self { artifact_summaries: Arc::from([]), ..self.clone() }
    }

    /// Returns the elements of `parity_hash_components`.
    pub fn hash_elements(&self) -> impl ExactSizeIterator<Item = SnapshotElement<'_>> {
        sorted_hashes(&self.artifact_summaries).into_iter().map(SnapshotElement::Hash)
    }

    /// Returns the elements of `artifact_summaries`.
    pub fn artifact_elements(&self) -> impl ExactSizeIterator<Item = SnapshotElement<'_>> {
        self.artifact_summaries.iter().map(|artifact| SnapshotElement::Artifact(artifact.into()))
    }
}

/// Returns the hashes of the present artifacts, sorted, with repetitions.
fn sorted_hashes(artifacts: &[Arc<ArtifactRef>]) -> Vec<Digest> {
    let mut hashes: Vec<_> = artifacts.iter().filter_map(|artifact| artifact.hash()).collect();
    hashes.sort_unstable();
    hashes
}

/// Returns the parity hash of sorted digests: the SHA-256 of their concatenated texts
/// (`docs/specification.md#parity-hash`). It does not depend on paths.
///
/// # Examples
/// ```
/// use dossierd::core::digest::Digest;
/// use dossierd::core::path::{PathError, RelPath};
/// use dossierd::core::snapshot::{parity_hash, tree_hash};
///
/// let (spec, plan) = (Digest::of(b"hello\n"), Digest::of(b"world\n"));
/// let mut sorted = [spec, plan];
/// sorted.sort_unstable();
/// let parity = "9e7cc9e1540e8b9cc91eb6a7da9ec924144b2eaaae26097c6427dcf547711add";
/// assert_eq!(parity_hash(&sorted).to_string(), parity);
///
/// // Renaming a file changes the tree hash only.
/// let old = (RelPath::new(*b"plan.md")?, RelPath::new(*b"spec.md")?);
/// let new = RelPath::new(*b"tasks/WP01.md")?;
/// let before = tree_hash(vec![(&old.0, plan), (&old.1, spec)]);
/// let after = tree_hash(vec![(&new, plan), (&old.1, spec)]);
/// assert_ne!(before, after);
/// # Ok::<(), PathError>(())
/// ```
#[must_use]
pub fn parity_hash(sorted: &[Digest]) -> Digest {
    let mut hasher = Sha256::new();
    for digest in sorted {
        hasher.update(digest.hex().as_str());
    }
    Digest::from_hasher(hasher)
}

/// Returns the tree hash of files and their hashes: the SHA-256 of `path NUL hash LF` for each
/// file, in byte order of path (`docs/specification.md#tree-hash`).
#[must_use]
pub fn tree_hash(mut present: Vec<(&RelPath, Digest)>) -> Digest {
    present.sort_unstable();
    let mut hasher = Sha256::new();
    for (path, digest) in present {
        hasher.update(path.as_bytes());
        hasher.update(b"\0");
        hasher.update(digest.hex().as_str());
        hasher.update(b"\n");
    }
    Digest::from_hasher(hasher)
}

/// An artifact in the JSON of a snapshot.
#[derive(Serialize)]
pub struct ArtifactSummary<'a> {
    artifact_key: &'a str,
    artifact_class: ArtifactClass,
    relative_path: &'a RelPath,
    content_hash_sha256: HashText,
    size_bytes: u64,
    wp_id: Option<&'a str>,
    step_id: Option<&'a str>,
    required_status: RequiredStatus,
    is_present: bool,
    error_reason: Option<ErrorReason>,
    error_detail: Option<&'a str>,
}

fn serialize_lists<S: Serializer>(
    artifacts: &[Arc<ArtifactRef>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Lists<'a> {
        parity_hash_components: Vec<Digest>,
        artifact_summaries: ArtifactSummaries<'a>,
    }
    Lists {
        parity_hash_components: sorted_hashes(artifacts),
        artifact_summaries: ArtifactSummaries(artifacts),
    }
    .serialize(serializer)
}

struct ArtifactSummaries<'a>(&'a [Arc<ArtifactRef>]);

impl Serialize for ArtifactSummaries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ArtifactSummary::from))
    }
}

impl<'a> From<&'a Arc<ArtifactRef>> for ArtifactSummary<'a> {
    fn from(artifact: &'a Arc<ArtifactRef>) -> Self {
        Self {
            artifact_key: &artifact.artifact_key,
            artifact_class: artifact.artifact_class,
            relative_path: &artifact.relative_path,
            content_hash_sha256: HashText(artifact.hash()),
            size_bytes: artifact.size_bytes,
            wp_id: artifact.wp_id.as_deref(),
            step_id: artifact.step_id.as_deref(),
            required_status: artifact.required_status,
            is_present: artifact.is_present(),
            error_reason: artifact.error_reason(),
            error_detail: artifact.error_detail(),
        }
    }
}

/// A digest that may be absent. Its JSON is the text of the digest, or `""`.
///
/// # Examples
/// ```
/// use dossierd::core::digest::Digest;
/// use dossierd::core::snapshot::HashText;
///
/// assert_eq!(serde_json::to_string(&HashText(None))?, r#""""#);
/// let present = HashText(Some(Digest::of(b"hello\n")));
/// let json = serde_json::to_string(&present)?;
/// assert!(json.starts_with(r#""5891b5b5"#));
/// assert_eq!(serde_json::from_str::<HashText>(&json)?, present);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashText(
    /// The digest; `None` if the artifact is not present.
    pub Option<Digest>,
);

impl Serialize for HashText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(digest) => digest.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = Digest::parse(&text);
        if digest.is_none() && !text.is_empty() {
            return Err(de::Error::custom(format!("invalid hash `{text}`")));
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::artifact::Observation;
    use crate::core::inventory::Inventory;
    use crate::core::testing::{feature_context, observed};

    fn snapshot(observations: Vec<Observation>) -> MissionDossierSnapshot {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let dossier = Inventory::from_observations(feature_context(None, None), observations, now)
            .to_dossier(now);
        MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now)
    }

    #[test]
    fn hashes_match_golden_values() {
        let golden =
            snapshot(vec![observed("tasks/WP01.md", "world\n"), observed("spec.md", "hello\n")]);
        assert_eq!(
            golden.tree_hash_sha256.to_string(),
            "ecb3063b560efb156d9747efa60bb639a6ef9f50bd95ce9e236477e27731d290"
        );
        assert_eq!(
            golden.parity_hash_sha256.to_string(),
            "9e7cc9e1540e8b9cc91eb6a7da9ec924144b2eaaae26097c6427dcf547711add"
        );
    }

    #[test]
    fn parse_computed_at_reads_the_end_of_a_snapshot() {
        let snapshot = snapshot(vec![observed("a.md", "x")]);
        let json = serde_json::to_vec(&snapshot).unwrap();
        let parse = MissionDossierSnapshot::parse_computed_at;
        assert_eq!(parse(&json[json.len() - 150..]), Some(snapshot.computed_at));
        assert_eq!(parse(&json[..100]), None);
        assert_eq!(parse(br#""computed_at":"now""#), None);
    }

    #[test]
    fn rename_changes_only_the_tree_hash() {
        let before = snapshot(vec![observed("a.md", "x"), observed("b.md", "y")]);
        let after = snapshot(vec![observed("c.md", "x"), observed("b.md", "y")]);
        assert_ne!(before.tree_hash_sha256, after.tree_hash_sha256);
        assert_eq!(before.parity_hash_sha256, after.parity_hash_sha256);
    }

    #[test]
    fn equal_contents_are_two_hash_components() {
        let twice = snapshot(vec![observed("a.md", "x"), observed("b.md", "x")]);
        let json = serde_json::to_value(&twice).unwrap();
        let components = json["parity_hash_components"].as_array().unwrap();
        assert_eq!((components.len(), &components[0]), (2, &components[1]));
        assert_ne!(
            twice.parity_hash_sha256,
            snapshot(vec![observed("a.md", "x")]).parity_hash_sha256
        );
    }

    #[test]
    fn json_has_the_specified_fields() {
        let value = serde_json::to_value(snapshot(vec![observed("spec.md", "x")])).unwrap();
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec![
            "artifact_summaries",
            "completeness_status",
            "computed_at",
            "feature_slug",
            "optional_artifacts",
            "optional_present",
            "parity_hash_components",
            "parity_hash_sha256",
            "required_artifacts",
            "required_missing",
            "required_present",
            "snapshot_id",
            "total_artifacts",
            "tree_hash_sha256",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    proptest! {
        #[test]
        fn snapshot_does_not_depend_on_the_order_of_files(
            files in proptest::collection::btree_map("[a-c]{1,2}(/[a-c.]{1,2})?", "[xy]{0,2}", 1..20),
            seed in any::<u64>(),
        ) {
            let files: Vec<Observation> = files
                .iter()
                .filter(|(path, _)| RelPath::new(path.as_bytes()).is_ok())
                .map(|(path, content)| observed(path, content))
                .collect();
            let mut shuffled = files.clone();
            shuffled.sort_by_key(|o| Digest::of(&[o.path.as_bytes(), &seed.to_le_bytes()].concat()));
            let json = |files| serde_json::to_string(&snapshot(files)).unwrap();
            prop_assert_eq!(json(files), json(shuffled));
        }
    }
}
