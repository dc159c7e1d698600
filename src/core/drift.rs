//! Drift: the difference between the current and the accepted state, and its severity
//! (`docs/specification.md#drift`). When it is compared, and which event follows, is decided
//! elsewhere.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ArtifactKey, ArtifactRef, ArtifactState, RequiredStatus};
use super::baseline::{Baseline, BaselineArtifact, BaselineFile};
use super::churn::{ChurnRules, has_same_static_part};
use super::digest::Digest;
use super::identity::BaselineKey;
use super::path::RelPath;
use super::snapshot::MissionDossierSnapshot;

/// How a feature's state compares with its baseline (`docs/specification.md#drift-states`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// No baseline was accepted.
    NoBaseline,
    /// The baseline was accepted for another project, machine, branch, mission or manifest.
    KeyMismatch,
    /// The baseline file is not a valid baseline.
    BaselineCorrupt,
    /// The state equals the baseline.
    InParity,
    /// The state differs from the baseline.
    Drifted,
}

impl fmt::Display for DriftState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoBaseline => "no_baseline",
            Self::KeyMismatch => "key_mismatch",
            Self::BaselineCorrupt => "baseline_corrupt",
            Self::InParity => "in_parity",
            Self::Drifted => "drifted",
        })
    }
}

/// Severity of drift (`docs/specification.md#drift-severity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Only additions and churn.
    Info,
    /// Content changed, or an optional artifact is missing.
    Warning,
    /// An artifact that was required is missing.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// How one artifact differs from the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It is in the baseline and not present.
    MissingInLocal,
    /// It is present and not in the baseline.
    MissingInBaseline,
    /// It is in both, with different content.
    Changed,
    /// It is in a shared baseline whose feature does not exist.
    FeatureMissing,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MissingInLocal => "missing_in_local",
            Self::MissingInBaseline => "missing_in_baseline",
            Self::Changed => "changed",
            Self::FeatureMissing => "feature_missing",
        })
    }
}

/// One artifact that differs from the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Current key of the artifact; the key in the baseline if it is not present.
    pub artifact_key: ArtifactKey,
    /// Path below the feature directory.
    pub relative_path: RelPath,
    /// How it differs.
    pub kind: DifferenceKind,
    /// True if the difference is churn: the artifact is of class `runtime`, or only runtime fields
    /// of its front matter differ.
    pub churn: bool,
    /// Hash in the baseline; `None` if it is not in the baseline.
    pub baseline_hash: Option<Digest>,
    /// Current hash; `None` if it is not present.
    pub local_hash: Option<Digest>,
}

/// The result of comparing a feature with its baseline.
///
/// # Examples
/// ```
/// use dossierd::core::baseline::BaselineFile;
/// use dossierd::core::drift::{Drift, DriftState};
///
/// let drift = Drift::without_baseline(&BaselineFile::Absent);
/// assert_eq!(drift.state, Some(DriftState::NoBaseline));
/// assert_eq!(drift.severity, None);
/// assert_eq!(drift.detail, "no baseline was accepted");
///
/// let unknown = Drift::indeterminate("the directory cannot be read");
/// assert_eq!(unknown.state, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The state; `None` if the feature cannot be read completely, so that it cannot be compared.
    pub state: Option<DriftState>,
    /// Severity of drift; `info` for a key mismatch; otherwise `None`.
    pub severity: Option<Severity>,
    /// Artifacts that differ, in byte order of key.
    pub differences: Vec<Difference>,
    /// Names of the fields in which the baseline's key differs from the feature's.
    pub key_mismatch: Vec<&'static str>,
    /// Summary in one sentence.
    pub detail: String,
}

impl Drift {
    /// Compares the current state with the feature's baseline file.
    #[must_use]
    pub fn compare(file: &BaselineFile, key: &BaselineKey, now: &MissionDossierSnapshot) -> Self {
        Self::compare_with(file, key, now, &ChurnRules::default())
    }

    /// Compares like [`Drift::compare`]; `churn` is what is bookkeeping by the layout of the feature.
    #[must_use]
    pub fn compare_with(
        file: &BaselineFile,
        key: &BaselineKey,
        now: &MissionDossierSnapshot,
        churn: &ChurnRules,
    ) -> Self {
        let BaselineFile::Valid(baseline) = file else {
            return Self::without_baseline(file);
        };
        let key_mismatch = key.differing_fields(&baseline.baseline_key);
        if !key_mismatch.is_empty() {
            let detail = key.mismatch_text(&baseline.baseline_key);
            return Self {
                severity: Some(Severity::Info),
                key_mismatch,
                ..Self::with_state(DriftState::KeyMismatch, detail)
            };
        }
        match &baseline.artifacts {
            Some(artifacts) => Self::compare_artifacts(baseline, artifacts, now, churn),
            None => Self::compare_hashes(baseline, now, "the baseline has no list of artifacts"),
        }
    }

    /// Returns the result for a feature of which only the baseline is left.
    #[must_use]
    pub fn of_missing_feature(file: &BaselineFile) -> Self {
        let BaselineFile::Valid(baseline) = file else {
            return Self::without_baseline(file);
        };
        let artifacts = baseline.artifacts.iter().flatten();
        let mut differences: Vec<Difference> = artifacts
            .map(|one| Difference {
                kind: DifferenceKind::FeatureMissing,
                ..missing_difference(one)
            })
            .collect();
        differences.sort_unstable_by(|a, b| a.artifact_key.cmp(&b.artifact_key));
        Self {
            severity: Some(Severity::Error),
            differences,
            ..Self::with_state(
                DriftState::Drifted,
                "the feature is missing; its shared baseline is there",
            )
        }
    }

    /// Returns the result for a feature without a usable baseline.
    #[must_use]
    pub fn without_baseline(file: &BaselineFile) -> Self {
        match file {
            BaselineFile::Corrupt(error) => {
                let detail = format!("the baseline file cannot be used: {error}");
                Self::with_state(DriftState::BaselineCorrupt, detail)
            }
            BaselineFile::Absent | BaselineFile::Valid(_) => {
                Self::with_state(DriftState::NoBaseline, "no baseline was accepted")
            }
        }
    }

    /// Returns the result for a feature that cannot be compared, for the reason `detail`.
    #[must_use]
    pub fn indeterminate(detail: impl Into<String>) -> Self {
        Self { state: None, ..Self::with_state(DriftState::NoBaseline, detail) }
    }

    /// Returns true if the feature was compared and nothing differs but churn.
    #[must_use]
    pub fn has_only_churn(&self) -> bool {
        let compared = matches!(self.state, Some(DriftState::InParity | DriftState::Drifted));
        compared
            && self.severity.is_none_or(|severity| severity == Severity::Info)
            && self.differences.iter().all(|difference| difference.churn)
    }

    /// Returns the keys of the differences of one kind, sorted.
    #[must_use]
    pub fn keys(&self, kind: DifferenceKind) -> Vec<&str> {
        let of_kind = self.differences.iter().filter(|difference| difference.kind == kind);
        of_kind.map(|difference| difference.artifact_key.as_ref()).collect()
    }

    /// Returns the keys of what is in the baseline and not present, sorted.
    #[must_use]
    pub fn missing_keys(&self) -> Vec<&str> {
        let is_missing = |difference: &&Difference| {
            let kind = difference.kind;
            matches!(kind, DifferenceKind::MissingInLocal | DifferenceKind::FeatureMissing)
        };
        let missing = self.differences.iter().filter(is_missing);
        missing.map(|difference| difference.artifact_key.as_ref()).collect()
    }

    /// Returns the keys of the differences that are churn, sorted.
    #[must_use]
    pub fn churn_keys(&self) -> Vec<&str> {
        let churn = self.differences.iter().filter(|difference| difference.churn);
        churn.map(|difference| difference.artifact_key.as_ref()).collect()
    }

    fn with_state(state: DriftState, detail: impl Into<String>) -> Self {
        Self {
            state: Some(state),
            severity: None,
            differences: Vec::new(),
            key_mismatch: Vec::new(),
            detail: detail.into(),
        }
    }

    fn compare_hashes(baseline: &Baseline, now: &MissionDossierSnapshot, cause: &str) -> Self {
        let same_tree = baseline.tree_hash_sha256.is_none_or(|tree| tree == now.tree_hash_sha256);
        if baseline.parity_hash_sha256 == now.parity_hash_sha256 && same_tree {
            return Self::with_state(DriftState::InParity, "nothing differs from the baseline");
        }
        Self {
            severity: Some(Severity::Warning),
            ..Self::with_state(DriftState::Drifted, format!("the hash differs; {cause}"))
        }
    }

    fn compare_artifacts(
        baseline: &Baseline,
        artifacts: &[BaselineArtifact],
        now: &MissionDossierSnapshot,
        churn: &ChurnRules,
    ) -> Self {
        let mut local: HashMap<&RelPath, &ArtifactRef> = now
            .artifact_summaries
            .iter()
            .filter(|artifact| artifact.is_present())
            .filter(|artifact| baseline.left_out.binary_search(&artifact.relative_path).is_err())
            .map(|artifact| (&artifact.relative_path, artifact.as_ref()))
            .collect();
        let mut differences = Vec::new();
        let mut severity = Severity::Info;
        for accepted in artifacts {
            let difference = match local.remove(&accepted.relative_path) {
                None => missing_difference(accepted),
                Some(current) if current.hash() != Some(accepted.content_hash_sha256) => {
                    changed_difference(accepted, current, churn)
                }
                Some(_) => continue,
            };
            severity = severity.max(severity_of(&difference, accepted));
            differences.push(difference);
        }
        differences.extend(local.into_values().map(added_difference));
        differences.sort_unstable_by(|a, b| {
            (&a.artifact_key, &a.relative_path).cmp(&(&b.artifact_key, &b.relative_path))
        });
        if differences.is_empty() && !baseline.left_out.is_empty() {
            return Self::with_state(DriftState::InParity, "nothing differs from the baseline");
        }
        if differences.is_empty() {
            // A file that was edited by hand can contradict itself. Then the state has drifted.
            return Self::compare_hashes(
                baseline,
                now,
                "the artifacts in the baseline do not differ",
            );
        }
        let mut drift = Self {
            severity: Some(severity),
            differences,
            ..Self::with_state(DriftState::Drifted, String::new())
        };
        drift.detail = drift.summary();
        drift
    }

    fn summary(&self) -> String {
        let count = |kind| self.differences.iter().filter(|d| d.kind == kind).count();
        let counts: Vec<String> = [
            (count(DifferenceKind::MissingInLocal), "missing"),
            (count(DifferenceKind::Changed), "changed"),
            (count(DifferenceKind::MissingInBaseline), "added"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        let churn = self.differences.iter().filter(|d| d.churn).count();
        let churn = match churn {
            0 => String::new(),
            all if all == self.differences.len() => ", all of them runtime churn".to_owned(),
            some => format!(", {some} of them runtime churn"),
        };
        format!("{} since the baseline was accepted{churn}", counts.join(", "))
    }
}

fn severity_of(difference: &Difference, accepted: &BaselineArtifact) -> Severity {
    let is_missing = difference.kind == DifferenceKind::MissingInLocal;
    if is_missing && accepted.required_status == RequiredStatus::Required {
        Severity::Error
    } else if difference.churn {
        Severity::Info
    } else {
        Severity::Warning
    }
}

fn missing_difference(accepted: &BaselineArtifact) -> Difference {
    Difference {
        artifact_key: accepted.artifact_key.clone(),
        relative_path: accepted.relative_path.clone(),
        kind: DifferenceKind::MissingInLocal,
        churn: accepted.artifact_class == ArtifactClass::Runtime,
        baseline_hash: Some(accepted.content_hash_sha256),
        local_hash: None,
    }
}

fn added_difference(current: &ArtifactRef) -> Difference {
    Difference {
        artifact_key: current.artifact_key.clone(),
        relative_path: current.relative_path.clone(),
        kind: DifferenceKind::MissingInBaseline,
        churn: current.artifact_class == ArtifactClass::Runtime,
        baseline_hash: None,
        local_hash: current.hash(),
    }
}

fn changed_difference(
    accepted: &BaselineArtifact,
    current: &ArtifactRef,
    churn: &ChurnRules,
) -> Difference {
    let current_static = match &current.state {
        ArtifactState::Present { static_hash, .. } => static_hash.as_deref(),
        ArtifactState::Absent(_) => None,
    };
    let accepted_static = accepted.static_hash_sha256.as_ref();
    let path = &current.relative_path;
    let same_static = has_same_static_part(path, current_static, accepted_static, churn);
    Difference {
        kind: DifferenceKind::Changed,
        churn: same_static || current.artifact_class == ArtifactClass::Runtime,
        baseline_hash: Some(accepted.content_hash_sha256),
        ..added_difference(current)
    }
}

#[cfg(test)]
mod tests;
