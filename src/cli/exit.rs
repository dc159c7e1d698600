//! Exit codes (contract, section 8).

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done,
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
    Unseen,
    /// A manifest or a configuration is broken.
    BrokenFile,
}

impl Exit {
    /// The number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NoDaemon => 3,
            Self::Incomplete => 10,
            Self::Drifted => 11,
            Self::IncompleteAndDrifted => 12,
            Self::Unseen => 13,
            Self::BrokenFile => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
