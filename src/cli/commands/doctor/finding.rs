//! Findings of the checks and their levels.

use serde::Serialize;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FindingLevel {
    /// No problem.
    Ok,
    /// dossierd works, but not as well as it could.
    Warning,
    /// Something does not work.
    Error,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Name of what was checked.
    pub(crate) check: String,
    pub(crate) level: FindingLevel,
    /// The result, as a clause.
    pub(crate) message: String,
    /// What to do about a problem.
    pub(crate) fix: Option<String>,
}

impl Finding {
    /// Creates a finding; an empty `fix` is none.
    pub(crate) fn new(
        level: FindingLevel,
        check: &str,
        message: impl Into<String>,
        fix: &str,
    ) -> Self {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        Self { check: check.to_owned(), level, message: message.into(), fix }
    }

    pub(crate) fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Ok, check, message, "")
    }

    pub(crate) fn warning(check: &str, message: impl Into<String>, fix: &str) -> Self {
        Self::new(FindingLevel::Warning, check, message, fix)
    }

    pub(crate) fn error(check: &str, message: impl Into<String>, fix: &str) -> Self {
        Self::new(FindingLevel::Error, check, message, fix)
    }
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) all: Vec<Finding>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.all.push(finding);
    }

    pub(crate) fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(Finding::ok(check, message));
    }

    pub(crate) fn warning(&mut self, check: &str, message: impl Into<String>, fix: &str) {
        self.add(Finding::warning(check, message, fix));
    }

    pub(crate) fn error(&mut self, check: &str, message: impl Into<String>, fix: &str) {
        self.add(Finding::error(check, message, fix));
    }
}
