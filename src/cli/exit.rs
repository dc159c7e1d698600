//! Exit codes of all commands, see `docs/specification.md#exit-codes`.

use std::process::ExitCode;

use serde::{Serialize, Serializer};

/// Result of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CommandExit {
    /// The command succeeded.
    #[default]
    Success,
    /// The command failed.
    Failed,
    /// `diff`: the states differ.
    Different,
    /// The arguments are wrong: a path is in no project.
    Usage,
    /// The command needs a daemon, and none responds.
    NoDaemon,
    /// `check`: a feature is incomplete.
    Incomplete,
    /// `check`: a feature has drifted.
    Drifted,
    /// `check`: a feature is incomplete, and one has drifted.
    IncompleteAndDrifted,
    /// `check`: something could not be read.
    Indeterminate,
    /// A manifest or the configuration is invalid.
    InvalidFile,
}

impl CommandExit {
    /// Returns the exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed | Self::Different => 1,
            Self::Usage => 2,
            Self::NoDaemon => 3,
            Self::Incomplete => 10,
            Self::Drifted => 11,
            Self::IncompleteAndDrifted => 12,
            Self::Indeterminate => 13,
            Self::InvalidFile => 78,
        }
    }
}

impl Serialize for CommandExit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit.code())
    }
}
