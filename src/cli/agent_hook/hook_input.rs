//! The input of a hook. Fields that are not needed are ignored, so that newer clients can add some.

use std::path::PathBuf;

use serde::Deserialize;

/// What the agent passes on standard input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HookInput {
    /// Identity of the session.
    pub(crate) session_id: String,
    /// Directory in which the agent works now.
    pub(crate) cwd: Option<PathBuf>,
    /// What happened.
    #[serde(rename = "hook_event_name")]
    pub(crate) event: HookEvent,
    /// True if the agent continues because a hook refused to let it stop.
    #[serde(default)]
    pub(crate) stop_hook_active: bool,
    /// What the agent may do; it writes nothing in `plan`.
    #[serde(default)]
    permission_mode: Option<String>,
}

/// The events that have an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum HookEvent {
    /// A session begins or continues.
    SessionStart,
    /// A tool has succeeded.
    PostToolUse,
    /// The agent is about to stop.
    Stop,
    /// Any other event.
    #[serde(other)]
    Other,
}

impl HookInput {
    /// Parses the input; returns `None` for anything that is not an input of a hook.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns true if the agent could do something about a refusal to stop.
    pub(crate) fn can_be_refused(&self) -> bool {
        !self.stop_hook_active && self.permission_mode.as_deref() != Some("plan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_parsed_whatever_else_it_has() {
        let parse = |text: &str| HookInput::parse(text.as_bytes());
        let stop = parse(
            r#"{"session_id": "s", "cwd": "/p", "hook_event_name": "Stop", "stop_hook_active": true, "new": [1],
                "last_assistant_message": "\"stop_hook_active\": false"}"#,
        );
        let stop = stop.unwrap();
        assert_eq!((stop.event, stop.stop_hook_active), (HookEvent::Stop, true));
        let other = parse(r#"{"session_id": "s", "hook_event_name": "Notification"}"#).unwrap();
        assert_eq!((other.event, other.cwd), (HookEvent::Other, None));
        for text in ["", "[]", "{}", "{\"session_id\": 1}", "\u{0}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn agent_that_continues_already_or_only_plans_is_not_refused() {
        for (fields, expected) in [
            ("", true),
            (r#","permission_mode":"default""#, true),
            (r#","stop_hook_active":false"#, true),
            (r#","stop_hook_active":true"#, false),
            (r#","permission_mode":"plan""#, false),
        ] {
            let text = format!(r#"{{"session_id":"s","hook_event_name":"Stop"{fields}}}"#);
            let input = HookInput::parse(text.as_bytes()).unwrap();
            assert_eq!(input.can_be_refused(), expected, "{text}");
        }
    }
}
