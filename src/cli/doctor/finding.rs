//! What was found, and how bad it is.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FindingLevel {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could.
    Warning,
    /// Something does not work.
    Error,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: String,
    pub(super) level: FindingLevel,
    /// What was seen.
    pub(super) message: String,
    /// What to do about it.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn new(
        level: FindingLevel,
        check: &str,
        message: impl Into<String>,
        fix: &str,
    ) -> Self {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        Self { check: check.to_owned(), level, message: message.into(), fix }
    }

    pub(super) fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Ok, check, message, "")
    }

    pub(super) fn warning(check: &str, message: impl Into<String>, fix: &str) -> Self {
        Self::new(FindingLevel::Warning, check, message, fix)
    }

    pub(super) fn error(check: &str, message: impl Into<String>, fix: &str) -> Self {
        Self::new(FindingLevel::Error, check, message, fix)
    }
}

/// All of them, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.all.push(finding);
    }

    pub(super) fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(Finding::ok(check, message));
    }

    pub(super) fn warning(&mut self, check: &str, message: impl Into<String>, fix: &str) {
        self.add(Finding::warning(check, message, fix));
    }

    pub(super) fn error(&mut self, check: &str, message: impl Into<String>, fix: &str) {
        self.add(Finding::error(check, message, fix));
    }
}
