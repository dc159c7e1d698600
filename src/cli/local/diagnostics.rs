//! What is wrong with the files of a project, and with which code that ends a command.

use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::core::diagnostics::FileError;

/// What was found wrong with the files that steer a project.
pub(crate) struct ProjectDiagnostics {
    pub(crate) errors: Vec<FileError>,
    pub(crate) warnings: Vec<String>,
}

impl ProjectDiagnostics {
    /// Says them on standard error.
    pub(crate) fn print(&self) {
        for error in &self.errors {
            output::error(&error.to_string());
        }
        for warning in &self.warnings {
            output::warn(warning);
        }
    }

    /// With which code they end a command that has printed its data.
    pub(crate) fn exit(&self) -> CommandExit {
        if self.errors.is_empty() { CommandExit::Success } else { CommandExit::InvalidFile }
    }
}
