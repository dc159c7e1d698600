//! `dossierd agent-hook`: answers a hook of a coding agent with what the agent should know about the project.
//!
//! The format is that of Claude Code (<https://code.claude.com/docs/en/hooks>): one JSON object on standard input, at most
//! one on standard output. This module decides and phrases; `commands::agent_hook` asks the daemon.

mod hook_input;
mod hook_text;
mod lost_artifacts;
mod session_memory;

pub(super) use hook_input::{HookEvent, HookInput};
pub(super) use hook_text::{additional_context, lost_text, refusal, session_text, unfinished_text};
pub(super) use lost_artifacts::LostArtifacts;
pub(super) use session_memory::{SessionMemory, SessionStore};
