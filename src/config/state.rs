//! The result of reading the configuration file: the configuration, and its errors for display.

use std::path::{Path, PathBuf};

use super::Config;
use crate::core::diagnostics::FileError;

/// The configuration file and its errors. While the file is invalid, the previous configuration
/// stays in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigState {
    /// Path of the file, whether or not it exists.
    pub path: PathBuf,
    /// Errors of the file; empty if its current content is in use.
    pub errors: Vec<FileError>,
}

impl ConfigState {
    /// Returns the state of a file without errors.
    #[must_use]
    pub fn ok(path: &Path) -> Self {
        Self { path: path.to_owned(), errors: Vec::new() }
    }
}

/// The result of one reading of the configuration file.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration; `None` if the file is invalid.
    pub config: Option<Config>,
    /// The file and its errors.
    pub state: ConfigState,
}

impl LoadedConfig {
    /// Reads the configuration file.
    #[must_use]
    pub fn from_file(path: &Path) -> Self {
        match Config::load(path) {
            Ok(config) => Self { config: Some(config), state: ConfigState::ok(path) },
            Err(error) => Self {
                config: None,
                state: ConfigState { path: path.to_owned(), errors: vec![error] },
            },
        }
    }
}
