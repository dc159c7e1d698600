//! Whether the state of a feature may become its baseline. Writing it is `project`'s business.

use super::baseline::Baseline;
use super::digest::Digest;
use super::dossier::Doubt;
use super::drift::DriftState;
use super::feature::Feature;
use super::time::Timestamp;

/// What to do with a baseline that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// It stays, and nothing is accepted.
    Keep,
    /// It is replaced, because someone asked for that.
    Replace,
}

/// Why a state is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What is expected of the feature cannot be read.
    #[error("not accepted while its manifest is broken")]
    ManifestBroken,
    /// The feature cannot be seen whole.
    #[error("not accepted: {0}")]
    Unseen(String),
    /// The feature is gone.
    #[error("not accepted: the feature is gone")]
    Gone,
    /// What stands where its baseline belongs cannot be understood.
    #[error("{0}")]
    Corrupt(String),
    /// It is not the state that was looked at.
    #[error("not accepted: the state has moved on, its tree hash is {now}, not {meant}")]
    MovedOn {
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
/// [`Refused`] says why not.
pub fn accept(
    feature: &Feature,
    meant: Option<Digest>,
    corrupt: Corrupt,
    at: Timestamp,
) -> Result<Baseline, Refused> {
    match &feature.dossier.terms.doubt {
        None => {}
        Some(Doubt::ManifestBroken) => return Err(Refused::ManifestBroken),
        Some(Doubt::MissionUnreadable) => {
            return Err(Refused::Unseen(feature.bearings.meta_error.clone().unwrap_or_default()));
        }
        Some(Doubt::Gone) => return Err(Refused::Gone),
        Some(Doubt::OverBudget(why) | Doubt::Unreadable(why)) => {
            return Err(Refused::Unseen(why.clone()));
        }
    }
    if corrupt == Corrupt::Keep && feature.drift.state == Some(DriftState::BaselineCorrupt) {
        return Err(Refused::Corrupt(feature.drift.detail.clone()));
    }
    let now = feature.snapshot.tree_hash_sha256;
    match meant {
        Some(meant) if meant != now => Err(Refused::MovedOn { meant, now }),
        _ => Ok(Baseline::capture(&feature.snapshot, &feature.bearings.key, at)),
    }
}
