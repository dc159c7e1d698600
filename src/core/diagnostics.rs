//! Problems found around features: unusable files and skipped directories. Where they are shown is
//! decided elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::yaml::ParseError;

/// An error in a file that configures dossierd or describes a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// Path of the file.
    pub file: String,
    /// Line, from 1; `None` if the error concerns the whole file.
    pub line: Option<usize>,
    /// Column, from 1; `None` if the error concerns the whole file.
    pub column: Option<usize>,
    /// The error, and the fix if one is known.
    pub message: String,
}

impl FileError {
    /// Returns the error of a parser in `file`.
    #[must_use]
    pub fn new(file: impl Into<String>, error: ParseError) -> Self {
        let ParseError { line, column, message } = error;
        Self { file: file.into(), line, column, message }
    }

    /// Returns an error that concerns the whole file.
    #[must_use]
    pub fn without_position(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(file, ParseError::without_position(message))
    }

    /// Returns the file, with line and column where they are known.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

impl std::error::Error for FileError {}

/// A directory that matches a pattern of features and is not one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDir {
    /// Path below the root of the project.
    pub name: String,
    /// Why it is not a feature.
    pub reason: String,
}
