//! Numbers of listed, required and present artifacts, with the names of snapshots.

use serde::Serialize;

use super::artifact::{ArtifactRef, RequiredStatus};

/// Numbers of listed, required and present artifacts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All listed artifacts, including absent specs.
    pub total_artifacts: u64,
    /// Required artifacts.
    pub required_artifacts: u64,
    /// Required artifacts that are present.
    pub required_present: u64,
    /// Required artifacts that are not present.
    pub required_missing: u64,
    /// Optional artifacts.
    pub optional_artifacts: u64,
    /// Optional artifacts that are present.
    pub optional_present: u64,
}

impl Counts {
    /// Returns the counts of the listed artifacts.
    #[must_use]
    pub fn of<'a>(artifacts: impl IntoIterator<Item = &'a ArtifactRef>) -> Self {
        let mut counts = Self::default();
        for artifact in artifacts {
            counts.add(artifact);
        }
        counts
    }

    /// Adds an artifact.
    pub fn add(&mut self, artifact: &ArtifactRef) {
        let present = u64::from(artifact.is_present());
        self.total_artifacts += 1;
        match artifact.required_status {
            RequiredStatus::Required => {
                self.required_artifacts += 1;
                self.required_present += present;
                self.required_missing += 1 - present;
            }
            RequiredStatus::Optional => {
                self.optional_artifacts += 1;
                self.optional_present += present;
            }
        }
    }

    /// Removes an artifact that was added before.
    pub fn remove(&mut self, artifact: &ArtifactRef) {
        let mut one = Self::default();
        one.add(artifact);
        self.total_artifacts -= one.total_artifacts;
        self.required_artifacts -= one.required_artifacts;
        self.required_present -= one.required_present;
        self.required_missing -= one.required_missing;
        self.optional_artifacts -= one.optional_artifacts;
        self.optional_present -= one.optional_present;
    }
}
