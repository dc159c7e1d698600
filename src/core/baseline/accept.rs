//! Whether a feature's state may become its baseline (`docs/specification.md#accepting`). Writing
//! the file is the task of `project`.

use crate::core::baseline::Baseline;
use crate::core::digest::Digest;
use crate::core::drift::DriftState;
use crate::core::feature::Feature;
use crate::core::feature_context::UnknownReason;
use crate::core::time::Timestamp;

/// What to do if the existing baseline is corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruptBaseline {
    /// Keep it; nothing is accepted.
    Refuse,
    /// Replace it, as the user requested.
    Replace,
}

/// Why a state cannot be accepted. The API and the command line add the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The manifest of the feature is invalid.
    #[error("cannot accept the state: the manifest is invalid")]
    InvalidManifest,
    /// The feature cannot be read completely; the text is the reason.
    #[error("cannot accept the state: {0}")]
    NotFullyReadable(String),
    /// The feature's directory was deleted.
    #[error("cannot accept the state: the feature's directory does not exist")]
    FeatureDeleted,
    /// The existing baseline is corrupt; the text is the reason.
    #[error("{0}")]
    CorruptBaseline(String),
    /// The state is not the one that was reviewed.
    #[error("cannot accept the state: its tree hash is {actual}, not {expected}")]
    StateChanged {
        /// Tree hash of the reviewed state.
        expected: Digest,
        /// Tree hash of the current state.
        actual: Digest,
    },
}

/// Returns the baseline of the current state of `feature`, accepted at `at`. `expected` is the tree
/// hash of the state that was reviewed; without one the current state is accepted whatever it is.
///
/// # Errors
/// [`AcceptError`] if the state is unknown, is not the expected one, or must not replace the
/// existing baseline.
pub fn accept_state(
    feature: &Feature,
    expected: Option<Digest>,
    on_corrupt: OnCorruptBaseline,
    at: Timestamp,
) -> Result<Baseline, AcceptError> {
    match &feature.dossier.context.unknown_reason {
        None => {}
        Some(UnknownReason::InvalidManifest(_)) => return Err(AcceptError::InvalidManifest),
        Some(UnknownReason::UnreadableMeta) => {
            return Err(AcceptError::NotFullyReadable(
                feature.metadata.meta_error.clone().unwrap_or_default(),
            ));
        }
        Some(UnknownReason::Deleted) => return Err(AcceptError::FeatureDeleted),
        Some(UnknownReason::UnreadableDir(dir)) => {
            return Err(AcceptError::NotFullyReadable(format!("`{}` cannot be read", dir.text())));
        }
        Some(
            UnknownReason::LimitExceeded(reason)
            | UnknownReason::Unreadable(reason)
            | UnknownReason::Unavailable(reason)
            | UnknownReason::Unresponsive(reason),
        ) => {
            return Err(AcceptError::NotFullyReadable(reason.clone()));
        }
    }
    if on_corrupt == OnCorruptBaseline::Refuse
        && feature.drift.state == Some(DriftState::BaselineCorrupt)
    {
        return Err(AcceptError::CorruptBaseline(feature.drift.detail.clone()));
    }
    let actual = feature.snapshot.tree_hash_sha256;
    match expected {
        Some(expected) if expected != actual => Err(AcceptError::StateChanged { expected, actual }),
        _ => Ok(Baseline::capture(&feature.snapshot, &feature.metadata.baseline_key, at)),
    }
}
