//! Errors of the API: problem documents of RFC 9457 with a code, a hint and candidates.
//!
//! See `docs/specification.md#problems`. What to do about a problem is in [`crate::wire::hint`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::wire::hint::ProblemHint;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the problem has no meaning beyond that of its status.
    #[serde(rename = "type", skip_deserializing)]
    pub kind: ProblemType,
    /// Reason phrase of the status, as RFC 9457 wants it for `about:blank`.
    pub title: Cow<'static, str>,
    /// HTTP status.
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// Stable name for programs.
    pub code: Cow<'static, str>,
    /// What to do, in terms of API requests; empty in responses of other servers.
    #[serde(default)]
    pub hint: String,
    /// Stable name of the hint; empty where the hint is.
    #[serde(default)]
    pub hint_code: Cow<'static, str>,
    /// The projects or features to choose from. Every 409 has at least one; others have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// The only type of problem. `code` and `hint_code` distinguish problems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ProblemType {
    /// `about:blank`.
    #[default]
    #[serde(rename = "about:blank")]
    AboutBlank,
}

/// A project, or a feature of it, that a conflict is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Last component of the root.
    pub project: String,
    /// Canonical absolute root.
    pub root: String,
    /// Identity of the root on this machine.
    pub root_id: String,
    /// The feature; `None` if the conflict is about projects.
    pub feature_slug: Option<String>,
}

/// The kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemCode {
    /// A parameter or the body is missing or invalid.
    BadRequest,
    /// At the dashboard's listener: no valid session or token.
    Unauthorized,
    /// At the dashboard's listener: wrong host name, or a request of another page.
    Forbidden,
    /// No such feature, artifact, project, dead letter or path.
    NotFound,
    /// The path does not support the method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    Timeout,
    /// Ambiguous, or not possible in the current state.
    Conflict,
    /// The state is not the one that the request names.
    StateChanged,
    /// The feature cannot be evaluated now.
    NotEvaluated,
    /// The existing baseline cannot be parsed.
    BaselineCorrupt,
    /// The body is too large.
    TooLarge,
    /// A file or the store could not be written.
    WriteFailed,
    /// Not ready, overloaded, or stopping.
    Unavailable,
    /// A defect of the daemon.
    Internal,
}

impl ProblemCode {
    /// All codes.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::StateChanged,
        Self::NotEvaluated,
        Self::BaselineCorrupt,
        Self::TooLarge,
        Self::WriteFailed,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::StateChanged => "state_changed",
            Self::NotEvaluated => "not_evaluated",
            Self::BaselineCorrupt => "baseline_corrupt",
            Self::TooLarge => "too_large",
            Self::WriteFailed => "write_failed",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict | Self::StateChanged | Self::NotEvaluated | Self::BaselineCorrupt => 409,
            Self::TooLarge => 413,
            Self::WriteFailed | Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Returns the reason phrase of the status (RFC 9110, section 15).
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::Timeout => "Request Timeout",
            Self::Conflict | Self::StateChanged | Self::NotEvaluated | Self::BaselineCorrupt => {
                "Conflict"
            }
            Self::TooLarge => "Content Too Large",
            Self::WriteFailed | Self::Internal => "Internal Server Error",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

impl Problem {
    /// Creates a problem. There is none without a hint.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>, hint: impl Into<ProblemHint>) -> Self {
        let hint = hint.into();
        Self {
            kind: ProblemType::AboutBlank,
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().into(),
            hint: hint.text.into_owned(),
            hint_code: hint.code.as_str().into(),
            candidates: Vec::new(),
        }
    }

    /// Adds what to choose from.
    #[must_use]
    pub fn with_candidates(mut self, candidates: Vec<Candidate>) -> Self {
        self.candidates = candidates;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hint::HintCode;

    #[test]
    fn problem_has_the_members_of_rfc_9457_and_dossierds() {
        let problem =
            Problem::new(ProblemCode::Conflict, "two features", HintCode::AmbiguousProject);
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"two features","code":"conflict","hint":"add `project=` with one of these roots","hint_code":"ambiguous_project"}"#
        );
        let candidate = Candidate {
            project: "p".to_owned(),
            root: "/p".to_owned(),
            root_id: "0123".to_owned(),
            feature_slug: None,
        };
        let problem = problem.with_candidates(vec![candidate]);
        let value = serde_json::to_value(&problem).unwrap();
        let candidate = &value["candidates"][0];
        assert_eq!(
            *candidate,
            serde_json::json!({
                "project": "p", "root": "/p", "root_id": "0123", "feature_slug": null
            })
        );
        assert_eq!(serde_json::from_value::<Problem>(value).unwrap(), problem);
    }

    #[test]
    fn problem_of_an_older_daemon_can_be_read() {
        let text = r#"{"type":"about:blank","title":"t","status":404,"detail":"d","code":"c"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!((&*problem.hint, &*problem.hint_code), ("", ""));
        assert_eq!(problem.candidates, []);
    }
}
