//! All findings of a check, those about features and those about the files of a project.

use crate::core::diagnostics::{FileError, SkippedDir};
use crate::wire::check::{CheckFinding, CheckRule, CheckedFeature};

/// All that a report is made of.
#[derive(Debug, Default)]
pub struct CheckSummary<'a> {
    /// The features that are listed.
    pub features: Vec<CheckedFeature<'a>>,
    /// What concerns no feature.
    pub general: Vec<CheckFinding>,
    /// True with `--strict`.
    pub strict: bool,
}

impl CheckSummary<'_> {
    /// Returns all findings: those that concern no feature first.
    pub fn findings(&self) -> impl Iterator<Item = &CheckFinding> {
        self.general.iter().chain(self.features.iter().flat_map(|one| &one.findings))
    }
}

/// Returns the finding of an invalid file; `prefix` leads to the root.
#[must_use]
pub fn file_finding(error: &FileError, prefix: &str, base: &str) -> CheckFinding {
    // Files outside the root are named with their whole path.
    let file = match error.file.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
        Some(relative) => relative.to_owned(),
        None if error.file.starts_with('/') => error.file.clone(),
        None => format!("{prefix}{}", error.file),
    };
    CheckFinding {
        line: error.line,
        column: error.column,
        ..CheckFinding::new(CheckRule::InvalidFile, file, error.message.clone())
    }
}

/// Returns the finding of a directory that is skipped; `prefix` leads to the root.
#[must_use]
pub fn skipped_finding(skipped: &SkippedDir, prefix: &str) -> CheckFinding {
    let message = format!("{} is skipped: {}", skipped.name, skipped.reason);
    CheckFinding::new(CheckRule::Skipped, format!("{prefix}{}", skipped.name), message)
}

/// Returns the finding of features that cannot be looked for in `dir`, a path from the top of the repository.
#[must_use]
pub fn discovery_finding(dir: String, reason: String) -> CheckFinding {
    CheckFinding::new(CheckRule::DiscoveryFailed, dir, reason)
}

/// Returns the finding of a project without features.
#[must_use]
pub fn empty_finding(root: String, project: &str) -> CheckFinding {
    CheckFinding::new(CheckRule::NoFeatures, root, format!("{project} has no features"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_finding_is_relative_to_the_base() {
        for (file, expected) in [
            (".kittify/config.yaml", "sub/.kittify/config.yaml"),
            ("/base/sub/x.yaml", "sub/x.yaml"),
            ("/home/x/config.yaml", "/home/x/config.yaml"),
        ] {
            let error = FileError {
                line: Some(3),
                column: Some(4),
                ..FileError::without_position(file, "bad")
            };
            let finding = file_finding(&error, "sub/", "/base");
            assert_eq!((finding.file.as_str(), finding.line), (expected, Some(3)));
        }
    }
}
