//! Whether the state of a feature may become its baseline. Writing it is `project`'s business.

use crate::core::baseline::Baseline;
use crate::core::digest::Digest;
use crate::core::drift::DriftState;
use crate::core::feature::Feature;
use crate::core::feature_context::UnknownReason;
use crate::core::time::Timestamp;

/// What to do with a baseline that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruptBaseline {
    /// It stays, and nothing is accepted.
    Refuse,
    /// It is replaced, because someone asked for that.
    Replace,
}

/// Why a state is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// What is expected of the feature cannot be read.
    #[error("not accepted while its manifest is broken")]
    InvalidManifest,
    /// The feature cannot be seen whole.
    #[error("not accepted: {0}")]
    NotFullyReadable(String),
    /// The feature is gone.
    #[error("not accepted: the feature is gone")]
    FeatureDeleted,
    /// What stands where its baseline belongs cannot be understood.
    #[error("{0}")]
    CorruptBaseline(String),
    /// It is not the state that was looked at.
    #[error("not accepted: the state has moved on, its tree hash is {now}, not {meant}")]
    StateChanged {
        /// The tree hash that was looked at.
        meant: Digest,
        /// The tree hash now.
        now: Digest,
    },
}

/// The baseline of `feature` as it is, if it may have one; `meant` is the tree hash that whoever
/// accepts looked at.
///
/// # Errors
/// [`AcceptError`] says why not.
pub fn accept_state(
    feature: &Feature,
    meant: Option<Digest>,
    corrupt: OnCorruptBaseline,
    at: Timestamp,
) -> Result<Baseline, AcceptError> {
    match &feature.dossier.context.unknown_reason {
        None => {}
        Some(UnknownReason::InvalidManifest) => return Err(AcceptError::InvalidManifest),
        Some(UnknownReason::UnreadableMeta) => {
            return Err(AcceptError::NotFullyReadable(
                feature.metadata.meta_error.clone().unwrap_or_default(),
            ));
        }
        Some(UnknownReason::Deleted) => return Err(AcceptError::FeatureDeleted),
        Some(UnknownReason::LimitExceeded(why) | UnknownReason::Unreadable(why)) => {
            return Err(AcceptError::NotFullyReadable(why.clone()));
        }
    }
    if corrupt == OnCorruptBaseline::Refuse
        && feature.drift.state == Some(DriftState::BaselineCorrupt)
    {
        return Err(AcceptError::CorruptBaseline(feature.drift.detail.clone()));
    }
    let now = feature.snapshot.tree_hash_sha256;
    match meant {
        Some(meant) if meant != now => Err(AcceptError::StateChanged { meant, now }),
        _ => Ok(Baseline::capture(&feature.snapshot, &feature.metadata.baseline_key, at)),
    }
}
