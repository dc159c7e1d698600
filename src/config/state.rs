//! How the configuration was read last, for all who show it.

use std::path::{Path, PathBuf};

use super::Config;
use crate::core::diagnostics::FileError;

/// The file, and what is wrong with it. While it is broken the configuration before it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigState {
    /// The file, whether or not it is there.
    pub path: PathBuf,
    /// What is wrong with it; empty where it is in use as it stands.
    pub errors: Vec<FileError>,
}

impl ConfigState {
    /// The file is in use as it stands.
    #[must_use]
    pub fn ok(path: &Path) -> Self {
        Self { path: path.to_owned(), errors: Vec::new() }
    }

    /// Reads the file anew: the configuration where it is sound, and the state in either case.
    #[must_use]
    pub fn load(path: &Path) -> (Option<Config>, Self) {
        match Config::load(path) {
            Ok(config) => (Some(config), Self::ok(path)),
            Err(error) => (None, Self { path: path.to_owned(), errors: vec![error] }),
        }
    }
}
