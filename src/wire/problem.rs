//! Errors of the API: problem documents of RFC 9457, with our `code` and `with_hint`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the status says the type.
    #[serde(rename = "type", skip_deserializing)]
    pub kind: ProblemType,
    /// The code in words.
    pub title: Cow<'static, str>,
    /// HTTP status.
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// Stable name for programs.
    pub code: Cow<'static, str>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The only type: the status says which problem it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ProblemType {
    /// `about:blank`.
    #[default]
    #[serde(rename = "about:blank")]
    AboutBlank,
}

/// The kinds of problem that a request can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemCode {
    /// A parameter that is missing or cannot be read.
    BadRequest,
    /// At the dashboard's listener, without its token.
    Unauthorized,
    /// At the dashboard's listener, under another name or for another page.
    Forbidden,
    /// No such feature, artifact, project or path.
    NotFound,
    /// That request is not made to that address.
    MethodNotAllowed,
    /// The request did not come whole in time.
    Timeout,
    /// More than one candidate, or not as things stand.
    Conflict,
    /// The state is not the one that was looked at.
    StateChanged,
    /// The feature cannot be judged now.
    NotEvaluated,
    /// The baseline that is there cannot be understood.
    BaselineCorrupt,
    /// More than a request may be.
    TooLarge,
    /// A file could not be written.
    WriteFailed,
    /// Not ready, or too much to do.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl ProblemCode {
    /// All of them.
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

    /// Its status and its name.
    #[must_use]
    pub fn status_and_name(self) -> (u16, &'static str) {
        let (status, code, _) = self.status_name_and_title();
        (status, code)
    }

    fn status_name_and_title(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad_request", "The request cannot be read"),
            Self::Unauthorized => (401, "unauthorized", "Not without the token"),
            Self::Forbidden => (403, "forbidden", "Not from there"),
            Self::NotFound => (404, "not_found", "There is no such thing"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Not with that method"),
            Self::Timeout => (408, "timeout", "The request did not come whole in time"),
            Self::StateChanged => (409, "moved_on", "The state has moved on"),
            Self::NotEvaluated => (409, "not_judged", "The feature cannot be judged now"),
            Self::BaselineCorrupt => (409, "baseline_corrupt", "The baseline cannot be understood"),
            Self::TooLarge => (413, "too_large", "The request is too large"),
            Self::WriteFailed => (500, "not_written", "A file could not be written"),
            Self::Conflict => (409, "conflict", "The request does not fit the present state"),
            Self::Unavailable => (503, "unavailable", "Not now"),
            Self::Internal => (500, "internal", "The daemon failed"),
        }
    }
}

impl Problem {
    /// A problem of that kind.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (status, code, title) = code.status_name_and_title();
        let kind = ProblemType::AboutBlank;
        Self {
            kind,
            title: title.into(),
            status,
            detail: detail.into(),
            code: code.into(),
            hint: None,
        }
    }

    /// With the mend.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_rfc_9457_and_ours() {
        let problem = Problem::new(ProblemCode::Conflict, "two features").with_hint("add project=");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"about:blank","title":"The request does not fit the present state","status":409,"detail":"two features","code":"conflict","hint":"add project="}"#
        );
    }
}
