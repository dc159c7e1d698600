//! What was found, and how bad it is.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FindingLevel {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could.
    Warning,
    /// Something does not work.
    Error,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: String,
    pub(crate) level: FindingLevel,
    /// What was seen.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) fix: Option<String>,
}

impl Finding {
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

/// All of them, in the order in which they were found.
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
