//! Exit codes (contract, section 8).

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandExit {
    /// Done.
    Success,
    /// It failed.
    Failed,
    /// No daemon could be reached.
    NoDaemon,
    /// `check`: something required is missing.
    Incomplete,
    /// `check`: drift.
    Drifted,
    /// `check`: both.
    IncompleteAndDrifted,
    /// `check`: something could not be seen.
    Indeterminate,
    /// A manifest or a configuration is broken.
    InvalidFile,
}

impl CommandExit {
    /// The number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::NoDaemon => 3,
            Self::Incomplete => 10,
            Self::Drifted => 11,
            Self::IncompleteAndDrifted => 12,
            Self::Indeterminate => 13,
            Self::InvalidFile => 78,
        }
    }
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit.code())
    }
}
