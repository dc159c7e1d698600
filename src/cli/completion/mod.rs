//! Completions of the shells that know features, artifacts and projects.
//!
//! `scripts` adds to what `clap_complete` generates a function that runs the hidden command `complete-word` with what is
//! typed. `command_line` finds which argument that is and `candidates` what it may be, from the daemon or from disk.
//! Everything else is completed by the generated script, also if this fails.
//!
//! `clap_complete` can complete at run time as well. That is not used: it is unstable, its script for bash splits and
//! expands the names that it gets, so that a file could be named to break it, and script and program must be of the same
//! version.

mod bash_words;
mod candidates;
mod command_line;
mod scripts;

pub(super) use bash_words::BashLine;
pub(super) use candidates::{CompletionCandidate, find_candidates};
pub(super) use command_line::TypedArguments;
pub(super) use scripts::script;
