//! What is found wrong around features: files that cannot be used, directories that are no features.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::yaml::ParseError;

/// What is wrong with a file that steers dossierd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column, from 1.
    pub column: Option<usize>,
    /// What is wrong there.
    pub message: String,
}

impl FileError {
    /// `error` in `file`.
    #[must_use]
    pub fn new(file: impl Into<String>, error: ParseError) -> Self {
        let ParseError { line, column, message } = error;
        Self { file: file.into(), line, column, message }
    }

    /// `file` as a whole cannot be used.
    #[must_use]
    pub fn without_position(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(file, ParseError::without_position(message))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for FileError {}

/// A directory that is no feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDir {
    /// Its path below the root.
    pub name: String,
    /// Why it is none.
    pub reason: String,
}
