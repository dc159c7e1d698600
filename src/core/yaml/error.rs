//! Errors of the YAML and JSON parsers: position, message without Rust terms, and suggestion.

use std::fmt;

use serde::Serialize;

use crate::core::suggest::nearest;

/// An error in a text, and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParseError {
    /// Line, from 1; `None` if the error concerns the whole text.
    pub line: Option<usize>,
    /// Column, from 1; `None` if the error concerns the whole text.
    pub column: Option<usize>,
    /// The error, and the fix if one is known.
    pub message: String,
}

impl ParseError {
    /// Returns an error that concerns the whole text.
    #[must_use]
    pub fn without_position(message: impl Into<String>) -> Self {
        Self { line: None, column: None, message: message.into() }
    }

    /// Returns an error at a byte offset of the text.
    pub(super) fn at_offset(bytes: &[u8], offset: usize, message: impl Into<String>) -> Self {
        let before = &bytes[..offset];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self {
            line: Some(before.iter().filter(|byte| **byte == b'\n').count() + 1),
            column: Some(offset - line_start + 1),
            message: message.into(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "{line}:{column}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Returns an error of the parser, with its position removed from the message and a suggestion
/// added.
pub(super) fn parse_error_from_yaml(error: &serde_yaml::Error) -> ParseError {
    let mut message = error.to_string();
    let location = error.location();
    if let Some(location) = &location {
        let position = format!(" at line {} column {}", location.line(), location.column());
        message = message.replacen(&position, "", 1);
    }
    message = without_rust_terms(message);
    if let Some(known) = suggest_known_name(&message) {
        message = format!("{message}; did you mean `{known}`?");
    }
    ParseError {
        line: location.as_ref().map(serde_yaml::Location::line),
        column: location.as_ref().map(serde_yaml::Location::column),
        message,
    }
}

/// Returns the message of serde with the names of Rust types replaced.
pub(super) fn without_rust_terms(mut message: String) -> String {
    for number in ["u64", "usize"] {
        message = message.replace(&format!("expected {number}"), "expected a whole number");
    }
    message = message.replace("expected field identifier", "expected a key");
    if let Some((before, after)) = message.split_once("expected struct ") {
        let rest = after.trim_start_matches(|c: char| c.is_alphanumeric());
        message = format!("{before}expected keys and values{rest}");
    }
    message
}

/// Returns the known name nearest to the unknown one in serde's "unknown field `x`, expected one of
/// `a`, `b`".
fn suggest_known_name(message: &str) -> Option<&str> {
    let (_, names) = message.split_once("unknown ")?;
    let mut quoted = names.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted)
}
