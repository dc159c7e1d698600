//! Problems with the files that configure a project, and the exit code for them.

use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::core::diagnostics::FileError;

/// Problems with manifests and other files that configure a project.
#[derive(Clone, Default)]
pub(crate) struct ProjectDiagnostics {
    /// Invalid files.
    pub(crate) errors: Vec<FileError>,
    /// Other problems, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl ProjectDiagnostics {
    /// Adds those of another project.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.errors.append(&mut other.errors);
        self.warnings.append(&mut other.warnings);
    }

    /// Prints them on standard error.
    pub(crate) fn print(&self) {
        for error in &self.errors {
            output::error(&error.to_string());
        }
        for warning in &self.warnings {
            output::warn(warning);
        }
    }

    /// Returns the exit code of a command that has printed its data.
    pub(crate) fn exit(&self) -> CommandExit {
        if self.errors.is_empty() { CommandExit::Success } else { CommandExit::InvalidFile }
    }
}
