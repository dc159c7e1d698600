//! Texts of failures for agents: the cause, and the tool or argument that helps, where people read a command.

use crate::client::ClientError;
use crate::core::error::without_error_numbers;
use crate::wire::hint::HintCode;

/// What an agent does about problems whose hint is a command for people.
const AGENT_HINTS: [(HintCode, &str); 11] = [
    (HintCode::FeatureRequired, "name a `feature`; `status` lists them"),
    (HintCode::ProjectRequired, "name a `project`; `status` lists them"),
    (HintCode::NoSuchFeature, "`status` lists the features"),
    (HintCode::NoSuchProject, "`status` lists the projects"),
    (HintCode::NoSuchArtifact, "`artifacts` lists keys and paths"),
    (HintCode::AmbiguousProject, "name one of them in `project`"),
    (
        HintCode::StateChanged,
        "call `feature`, and `diff` to see what changed, before you ask again",
    ),
    (HintCode::CorruptBaseline, "ask a person to repair or to clear the baseline"),
    (HintCode::InvalidManifest, "`status` has the errors; correct the manifest first"),
    (HintCode::FeatureNotReadable, "`feature` has the cause in `unknown_reason`"),
    (HintCode::UnusableRoot, "pass a directory that exists and may be read"),
];

/// Returns the text of a failure, with what the agent can do.
pub(super) fn failure_text(error: &anyhow::Error) -> String {
    let problem = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ClientError::Problem(problem)) => Some(problem),
        _ => None,
    });
    let hint = problem.and_then(|problem| {
        let known = AGENT_HINTS.into_iter().find(|(code, _)| code.as_str() == problem.hint_code);
        known.map(|(_, hint)| format!("{}; {hint}", problem.detail))
    });
    let text = hint.unwrap_or_else(|| format!("{error:#}"));
    without_error_numbers(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(detail: &str, hint: HintCode) -> anyhow::Error {
        let problem = json!({
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": detail, "code": "no_such_feature",
            "hint": "GET /api/status lists the features", "hint_code": hint.as_str(),
        });
        ClientError::Problem(Box::new(serde_json::from_value(problem).unwrap())).into()
    }

    #[test]
    fn failures_name_the_tool_that_helps_and_no_command() {
        for (error, expected) in [
            (
                problem("there is no feature `x`", HintCode::NoSuchFeature),
                "there is no feature `x`; `status` lists the features",
            ),
            (
                problem("no event is a dead letter", HintCode::NoSuchDeadLetter).context("failed"),
                "failed: no event is a dead letter",
            ),
            (
                anyhow::anyhow!("cannot watch /x: No such file or directory (os error 2)"),
                "cannot watch /x: No such file or directory",
            ),
        ] {
            let text = failure_text(&error);
            assert!(text.starts_with(expected), "{text}");
        }
        for (code, hint) in AGENT_HINTS {
            assert!(!hint.contains("dossierd"), "{code:?}: {hint}");
        }
    }
}
