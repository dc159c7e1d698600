//! Errors of the API: problem documents of RFC 9457, with our `code` and `hint`.

use serde::Serialize;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `about:blank`: the status says the type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The code in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// Stable name for programs.
    pub code: &'static str,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kinds of problem that a request can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A parameter that is missing or cannot be read.
    BadRequest,
    /// No such feature, artifact, project or path.
    NotFound,
    /// More than one candidate, or the state has moved on.
    Conflict,
    /// Not ready, or too much to do.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Code {
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad_request", "The request cannot be read"),
            Self::NotFound => (404, "not_found", "There is no such thing"),
            Self::Conflict => (409, "conflict", "The request does not fit the present state"),
            Self::Unavailable => (503, "unavailable", "Not now"),
            Self::Internal => (500, "internal", "The daemon failed"),
        }
    }
}

impl Problem {
    /// A problem of that kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, code, title) = code.parts();
        Self { kind: "about:blank", title, status, detail: detail.into(), code, hint: None }
    }

    /// With the mend.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_rfc_9457_and_ours() {
        let problem = Problem::new(Code::Conflict, "two features").hint("add project=");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"about:blank","title":"The request does not fit the present state","status":409,"detail":"two features","code":"conflict","hint":"add project="}"#
        );
    }
}
