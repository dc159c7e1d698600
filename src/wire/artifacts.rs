//! Models of `GET /api/dossier/artifacts[/{artifact_key}]`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::artifact::{ArtifactClass, ArtifactRef, ErrorReason, RequiredStatus};
use crate::core::ignore::IgnoredBy;
use crate::core::path::RelPath;
use crate::core::provenance::{Provenance, ProvenanceRules};
use crate::core::snapshot::HashText;
use crate::core::time::Timestamp;

/// Size in bytes from which a file is listed without its content.
pub const MAX_CONTENT_BYTES: u64 = 5_242_880;

/// Filters of a list request. An artifact must match all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ArtifactFilters {
    /// Only artifacts of this class.
    pub class: Option<ArtifactClass>,
    /// Only artifacts of this work package.
    pub wp_id: Option<String>,
    /// Only artifacts of this step.
    pub step_id: Option<String>,
    /// Only required artifacts.
    pub required_only: bool,
}

impl ArtifactFilters {
    /// Returns true if `artifact` matches all filters.
    #[must_use]
    pub fn matches(&self, artifact: &ArtifactRef) -> bool {
        let matches = |filter: &Option<String>, value: Option<&str>| {
            filter.as_deref().is_none_or(|filter| value == Some(filter))
        };
        self.class.is_none_or(|class| artifact.artifact_class == class)
            && matches(&self.wp_id, artifact.wp_id.as_deref())
            && matches(&self.step_id, artifact.step_id.as_deref())
            && (!self.required_only || artifact.required_status == RequiredStatus::Required)
    }
}

/// The artifacts of a feature: `docs/specification.md#artifact-list`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArtifactList<'a> {
    /// Number of entries before the filters, tombstones included.
    pub total_count: usize,
    /// Number of entries after the filters.
    pub filtered_count: usize,
    /// The entries that match the filters, sorted by key.
    pub artifacts: Vec<ArtifactItem<'a>>,
    /// The filters of the request.
    pub filters_applied: ArtifactFilters,
    /// Number of tombstones among all entries.
    pub tombstones: usize,
}

impl<'a> ArtifactList<'a> {
    /// Returns the list of the `artifacts` that match `filters`. The caller sets `tombstones`.
    #[must_use]
    pub fn new(
        artifacts: &'a [Arc<ArtifactRef>],
        rules: ProvenanceRules<'a>,
        filters: ArtifactFilters,
    ) -> Self {
        let items: Vec<ArtifactItem<'_>> = artifacts
            .iter()
            .map(Arc::as_ref)
            .filter(|a| filters.matches(a))
            .map(|artifact| ArtifactItem::new(artifact, rules))
            .collect();
        Self {
            total_count: artifacts.len(),
            filtered_count: items.len(),
            artifacts: items,
            filters_applied: filters,
            tombstones: 0,
        }
    }

    /// Removes the artifacts that are present.
    pub fn retain_missing(&mut self) {
        self.artifacts.retain(|artifact| !artifact.is_present);
        self.filtered_count = self.artifacts.len();
    }
}

/// Files of a feature that are not artifacts: what `artifacts --ignored --json` prints.
#[derive(Debug, Serialize)]
pub struct IgnoredList<'a> {
    /// The files, by path.
    pub ignored: Vec<IgnoredEntry<'a>>,
}

/// A file that is not an artifact.
#[derive(Debug, Serialize)]
pub struct IgnoredEntry<'a> {
    /// Path below the feature directory.
    pub relative_path: &'a RelPath,
    /// Pattern that matches it, or a directory above it.
    pub pattern: &'a str,
    /// Where the pattern is from.
    pub ignored_by: IgnoredBy,
}

/// An entry of the list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArtifactItem<'a> {
    /// Key of the artifact, unique within the feature.
    pub artifact_key: Cow<'a, str>,
    /// Class of the artifact.
    pub artifact_class: ArtifactClass,
    /// Path below the feature directory.
    pub relative_path: Cow<'a, RelPath>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Work package that the artifact belongs to.
    pub wp_id: Option<Cow<'a, str>>,
    /// Step that the artifact belongs to.
    pub step_id: Option<Cow<'a, str>>,
    /// True if the file exists and could be read.
    pub is_present: bool,
    /// Why the artifact is not present.
    pub error_reason: Option<ErrorReason>,
    /// Whether the mission requires the artifact.
    pub required_status: RequiredStatus,
    /// Kind of content by the extension; see [`media_type_hint`].
    pub media_type_hint: Cow<'a, str>,
    /// Why the artifact is not present, as text.
    pub error_detail: Option<Cow<'a, str>>,
    /// Origin of the file, if it is present and its origin known; absent in responses of older versions.
    #[serde(default)]
    pub provenance: Option<Provenance<'a>>,
}

impl<'a> ArtifactItem<'a> {
    fn new(artifact: &'a ArtifactRef, rules: ProvenanceRules<'a>) -> Self {
        Self {
            artifact_key: Cow::Borrowed(&artifact.artifact_key),
            artifact_class: artifact.artifact_class,
            relative_path: Cow::Borrowed(&artifact.relative_path),
            size_bytes: artifact.size_bytes,
            wp_id: artifact.wp_id.as_deref().map(Cow::Borrowed),
            step_id: artifact.step_id.as_deref().map(Cow::Borrowed),
            is_present: artifact.is_present(),
            error_reason: artifact.error_reason(),
            required_status: artifact.required_status,
            media_type_hint: media_type_hint(&artifact.relative_path).into(),
            error_detail: artifact.error_detail().map(Cow::Borrowed),
            provenance: rules.provenance(artifact),
        }
    }
}

/// One artifact with its content: `docs/specification.md#artifact-detail`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArtifactDetail<'a> {
    /// Key of the artifact, unique within the feature.
    pub artifact_key: Cow<'a, str>,
    /// Class of the artifact.
    pub artifact_class: ArtifactClass,
    /// Path below the feature directory.
    pub relative_path: Cow<'a, RelPath>,
    /// SHA-256 of the bytes; empty if they were not read.
    pub content_hash_sha256: HashText,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Work package that the artifact belongs to.
    pub wp_id: Option<Cow<'a, str>>,
    /// Step that the artifact belongs to.
    pub step_id: Option<Cow<'a, str>>,
    /// Whether the mission requires the artifact.
    pub required_status: RequiredStatus,
    /// True if the file exists and could be read.
    pub is_present: bool,
    /// Why the artifact is not present.
    pub error_reason: Option<ErrorReason>,
    /// The content, if it is UTF-8 text below [`MAX_CONTENT_BYTES`].
    pub content: Option<Cow<'a, str>>,
    /// True if the content was left out because of its size.
    pub content_truncated: bool,
    /// Why there is no content.
    pub truncation_notice: Option<Cow<'a, str>>,
    /// Kind of content by the extension; see [`media_type_hint`].
    pub media_type_hint: Cow<'a, str>,
    /// Time at which these bytes were first hashed.
    pub indexed_at: Timestamp,
    /// Why the artifact is not present, as text.
    pub error_detail: Option<Cow<'a, str>>,
    /// Origin of the file, if it is present and its origin known; absent in responses of older versions.
    #[serde(default)]
    pub provenance: Option<Provenance<'a>>,
}

impl<'a> ArtifactDetail<'a> {
    /// Returns the detail of `artifact`, whose bytes are `content`; `None` if they were not read.
    #[must_use]
    pub fn new(
        artifact: &'a ArtifactRef,
        rules: ProvenanceRules<'a>,
        content: Option<&'a [u8]>,
    ) -> Self {
        let too_large = artifact.is_present() && artifact.size_bytes >= MAX_CONTENT_BYTES;
        let text = content.filter(|_| !too_large).map(std::str::from_utf8);
        let notice = match text {
            _ if too_large => Some("File >5MB, content not included"),
            Some(Err(_)) => Some("not text"),
            None if artifact.error_reason() == Some(ErrorReason::InvalidFormat) => Some("not text"),
            None if artifact.error_reason() == Some(ErrorReason::Unreadable) => {
                Some("cannot be read")
            }
            _ => None,
        };
        Self {
            artifact_key: Cow::Borrowed(&artifact.artifact_key),
            artifact_class: artifact.artifact_class,
            relative_path: Cow::Borrowed(&artifact.relative_path),
            content_hash_sha256: HashText(artifact.hash()),
            size_bytes: artifact.size_bytes,
            wp_id: artifact.wp_id.as_deref().map(Cow::Borrowed),
            step_id: artifact.step_id.as_deref().map(Cow::Borrowed),
            required_status: artifact.required_status,
            is_present: artifact.is_present(),
            error_reason: artifact.error_reason(),
            content: text.and_then(Result::ok).map(Cow::Borrowed),
            content_truncated: too_large,
            truncation_notice: notice.map(Cow::Borrowed),
            media_type_hint: media_type_hint(&artifact.relative_path).into(),
            indexed_at: artifact.indexed_at,
            error_detail: artifact.error_detail().map(Cow::Borrowed),
            provenance: rules.provenance(artifact),
        }
    }
}

/// Returns `markdown`, `json`, `yaml` or `text`, by the extension of `path`.
#[must_use]
pub fn media_type_hint(path: &RelPath) -> &'static str {
    match path.extension().as_deref() {
        Some("md" | "markdown") => "markdown",
        Some("json") => "json",
        Some("yaml" | "yml") => "yaml",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::LazyLock;

    use super::*;
    use crate::core::dossier::MissionDossier;
    use crate::core::inventory::Inventory;
    use crate::core::provenance::FileOrigins;
    use crate::core::testing::{feature_context, observed, unreadable};

    fn dossier() -> MissionDossier {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let files =
            vec![observed("spec.md", "hello"), observed("tasks/WP01.md", "x"), unreadable("a.bin")];
        Inventory::from_observations(feature_context(None, None), files, now).to_dossier(now)
    }

    /// No file is staged in git, or was restored.
    static ORIGINS: LazyLock<FileOrigins> = LazyLock::new(|| FileOrigins {
        staged: Some(HashSet::new()),
        restored: Some(HashMap::new()),
    });

    fn rules(dossier: &MissionDossier) -> ProvenanceRules<'_> {
        let mission = dossier.context.mission.as_deref();
        ProvenanceRules::new(mission, "abcdef123456", &ORIGINS)
    }

    #[test]
    fn list_counts_entries_before_and_after_its_filters() {
        let dossier = dossier();
        for (filters, filtered_count) in [
            (ArtifactFilters::default(), 3),
            (
                ArtifactFilters { class: Some(ArtifactClass::Input), ..ArtifactFilters::default() },
                1,
            ),
            (ArtifactFilters { wp_id: Some("WP01".into()), ..ArtifactFilters::default() }, 1),
            (ArtifactFilters { step_id: Some("plan".into()), ..ArtifactFilters::default() }, 0),
            (ArtifactFilters { required_only: true, ..ArtifactFilters::default() }, 0),
        ] {
            let list = ArtifactList::new(&dossier.artifacts, rules(&dossier), filters);
            assert_eq!((list.total_count, list.filtered_count), (3, filtered_count));
        }
        let filters = ArtifactFilters::default();
        let list = ArtifactList::new(&dossier.artifacts, rules(&dossier), filters);
        insta::assert_snapshot!(serde_json::to_string_pretty(&list).unwrap());
    }

    #[test]
    fn detail_has_content_only_of_small_text_files() {
        let dossier = dossier();
        let spec = dossier.find_artifact("input.spec.md").unwrap();
        let mut large = spec.clone();
        large.size_bytes = MAX_CONTENT_BYTES;
        let detail = |artifact, content| {
            let detail = ArtifactDetail::new(artifact, rules(&dossier), content);
            (
                detail.content.map(Cow::into_owned),
                detail.content_truncated,
                detail.truncation_notice.map(Cow::into_owned),
            )
        };
        assert_eq!(detail(spec, Some(b"hello")), (Some("hello".into()), false, None));
        assert_eq!(detail(spec, Some(b"\xff")), (None, false, Some("not text".into())));
        assert_eq!(
            detail(&large, None),
            (None, true, Some("File >5MB, content not included".into()))
        );
        let absent = dossier.artifacts.iter().find(|a| !a.is_present()).unwrap();
        assert_eq!(detail(absent, None), (None, false, Some("cannot be read".into())));
        insta::assert_snapshot!(
            serde_json::to_string_pretty(&ArtifactDetail::new(
                spec,
                rules(&dossier),
                Some(b"hello")
            ))
            .unwrap()
        );
    }
}
