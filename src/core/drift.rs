//! Drift: how the present state differs from the accepted one, and how bad that is.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ArtifactKey, ArtifactRef, ArtifactState, RequiredStatus};
use super::baseline::{Baseline, BaselineArtifact, BaselineFile};
use super::digest::Digest;
use super::identity::BaselineKey;
use super::path::RelPath;
use super::snapshot::MissionDossierSnapshot;

/// What a feature's state is in relation to its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// None was accepted.
    NoBaseline,
    /// One was, but for another project, machine, branch, mission or manifest.
    KeyMismatch,
    /// What stands there is no baseline.
    BaselineCorrupt,
    /// Nothing differs.
    InParity,
    /// Something does.
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

/// How bad drift is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Only added artifacts, or churn.
    Info,
    /// Content changed, or something optional is missing.
    Warning,
    /// Something that was required is missing.
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

/// In what way one artifact differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// In the baseline, not present now.
    MissingInLocal,
    /// Present now, not in the baseline.
    MissingInBaseline,
    /// In both, with other content.
    Changed,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MissingInLocal => "missing_in_local",
            Self::MissingInBaseline => "missing_in_baseline",
            Self::Changed => "changed",
        })
    }
}

/// One artifact that differs from the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its key: now if it is present, then if not.
    pub artifact_key: ArtifactKey,
    /// Where.
    pub relative_path: RelPath,
    /// In what way.
    pub kind: DifferenceKind,
    /// Whether only runtime bookkeeping differs.
    pub churn: bool,
    /// Hash in the baseline.
    pub baseline_hash: Option<Digest>,
    /// Hash now.
    pub local_hash: Option<Digest>,
}

/// The verdict on a feature and its baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// In what relation they are; `None` where the feature cannot be seen whole, and so not judged.
    pub state: Option<DriftState>,
    /// How bad, while drifted (and `info` on a key mismatch).
    pub severity: Option<Severity>,
    /// What differs, in byte order of key.
    pub differences: Vec<Difference>,
    /// Fields in which the baseline's key is not the feature's.
    pub key_mismatch: Vec<&'static str>,
    /// One sentence.
    pub detail: String,
}

impl Drift {
    /// Judges the present state against the file that was found.
    #[must_use]
    pub fn compare(file: &BaselineFile, key: &BaselineKey, now: &MissionDossierSnapshot) -> Self {
        let BaselineFile::Valid(baseline) = file else {
            return Self::without_baseline(file);
        };
        let key_mismatch = key.differing_fields(&baseline.baseline_key);
        if !key_mismatch.is_empty() {
            let fields = key_mismatch.join(", ");
            return Self {
                severity: Some(Severity::Info),
                key_mismatch,
                ..Self::with_state(
                    DriftState::KeyMismatch,
                    format!("the baseline was accepted for another {fields}"),
                )
            };
        }
        match &baseline.artifacts {
            Some(artifacts) => Self::compare_artifacts(baseline, artifacts, now),
            None => {
                Self::compare_hashes(baseline, now, "the baseline does not say which artifacts")
            }
        }
    }

    /// The verdict where there is no baseline that can be used.
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

    /// The verdict where the feature cannot be seen whole.
    #[must_use]
    pub fn indeterminate(why: impl Into<String>) -> Self {
        Self { state: None, ..Self::with_state(DriftState::NoBaseline, why) }
    }

    /// Keys of the differences of one kind, sorted.
    #[must_use]
    pub fn keys(&self, kind: DifferenceKind) -> Vec<&str> {
        let of_kind = self.differences.iter().filter(|difference| difference.kind == kind);
        of_kind.map(|difference| difference.artifact_key.as_ref()).collect()
    }

    /// Keys of the differences that are churn, sorted.
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

    fn compare_hashes(baseline: &Baseline, now: &MissionDossierSnapshot, why: &str) -> Self {
        let same_tree = baseline.tree_hash_sha256.is_none_or(|tree| tree == now.tree_hash_sha256);
        if baseline.parity_hash_sha256 == now.parity_hash_sha256 && same_tree {
            return Self::with_state(DriftState::InParity, "nothing differs from the baseline");
        }
        Self {
            severity: Some(Severity::Warning),
            ..Self::with_state(DriftState::Drifted, format!("the hash differs; {why}"))
        }
    }

    fn compare_artifacts(
        baseline: &Baseline,
        accepted: &[BaselineArtifact],
        now: &MissionDossierSnapshot,
    ) -> Self {
        let mut local: HashMap<&RelPath, &ArtifactRef> = now
            .artifact_summaries
            .iter()
            .filter(|artifact| artifact.is_present())
            .map(|artifact| (&artifact.relative_path, artifact.as_ref()))
            .collect();
        let mut differences = Vec::new();
        let mut severity = Severity::Info;
        for then in accepted {
            let difference = match local.remove(&then.relative_path) {
                None => missing_difference(then),
                Some(now) if now.hash() != Some(then.content_hash_sha256) => {
                    changed_difference(then, now)
                }
                Some(_) => continue,
            };
            severity = severity.max(severity_of(&difference, then));
            differences.push(difference);
        }
        differences.extend(local.into_values().map(added_difference));
        differences.sort_unstable_by(|a, b| {
            (&a.artifact_key, &a.relative_path).cmp(&(&b.artifact_key, &b.relative_path))
        });
        if differences.is_empty() {
            // A file changed by hand can contradict itself; it is never called clean.
            return Self::compare_hashes(
                baseline,
                now,
                "the artifacts that the baseline lists do not",
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
        let parts: Vec<String> = [
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
            all if all == self.differences.len() => ", all of it runtime churn".to_owned(),
            some => format!(", {some} of it runtime churn"),
        };
        format!("{} since the baseline was accepted{churn}", parts.join(", "))
    }
}

fn severity_of(difference: &Difference, then: &BaselineArtifact) -> Severity {
    let missing = difference.kind == DifferenceKind::MissingInLocal;
    if missing && then.required_status == RequiredStatus::Required {
        Severity::Error
    } else if difference.churn {
        Severity::Info
    } else {
        Severity::Warning
    }
}

fn missing_difference(then: &BaselineArtifact) -> Difference {
    Difference {
        artifact_key: then.artifact_key.clone(),
        relative_path: then.relative_path.clone(),
        kind: DifferenceKind::MissingInLocal,
        churn: then.artifact_class == ArtifactClass::Runtime,
        baseline_hash: Some(then.content_hash_sha256),
        local_hash: None,
    }
}

fn added_difference(now: &ArtifactRef) -> Difference {
    Difference {
        artifact_key: now.artifact_key.clone(),
        relative_path: now.relative_path.clone(),
        kind: DifferenceKind::MissingInBaseline,
        churn: now.artifact_class == ArtifactClass::Runtime,
        baseline_hash: None,
        local_hash: now.hash(),
    }
}

fn changed_difference(then: &BaselineArtifact, now: &ArtifactRef) -> Difference {
    let static_now = match &now.state {
        ArtifactState::Present { static_hash, .. } => static_hash.as_deref(),
        ArtifactState::Absent(_) => None,
    };
    let same_static = static_now.is_some() && static_now == then.static_hash_sha256.as_ref();
    Difference {
        kind: DifferenceKind::Changed,
        churn: same_static || now.artifact_class == ArtifactClass::Runtime,
        baseline_hash: Some(then.content_hash_sha256),
        ..added_difference(now)
    }
}

#[cfg(test)]
mod tests;
