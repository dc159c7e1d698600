//! What can go wrong with the store, and which of it the daemon survives.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::io::Errno;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is of a format that this version does not know. It was not touched.
    #[error(
        "{}: written by a newer dossierd (store format {found}, this one knows up to {known}); \
         install that version, or move the file away to begin anew",
        .path.display()
    )]
    Newer {
        /// The file's format.
        found: u32,
        /// The newest format known here.
        known: u32,
        /// The file.
        path: PathBuf,
    },
    /// The file is no store of ours, or no longer one.
    #[error(
        "{}: not a sound store ({detail}); move it away to begin anew, the events it holds are \
         then not replayed",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file or its directory could not be opened or made.
    #[error("{}: cannot open the store", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing of what was to be written is written. The same may work later: disks are emptied
    /// and remounted.
    #[error("{}: cannot {doing}", .path.display())]
    Write {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The disk failed before, and it is not known what is there. Open the store anew: what it then
    /// says is so.
    #[error("{}: the disk failed it; the store must be opened again", .path.display())]
    NeedsReopen {
        /// The file.
        path: PathBuf,
    },
    /// Something could not be read.
    #[error("{}: cannot {doing}", .path.display())]
    Read {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the daemon lives on with it, saying that it is not durable, and tries again. The
    /// others end it: what would follow is built on nothing.
    pub fn is_survivable(&self) -> bool {
        match self {
            Self::Write { .. } | Self::NeedsReopen { .. } | Self::Read { .. } => true,
            Self::Newer { .. } | Self::Corrupt { .. } | Self::Open { .. } => false,
        }
    }

    /// Whether the store may open later without anyone's doing to it: the disk is full, cannot be
    /// written now or fails, or the process has no descriptor left.
    pub fn is_transient(&self) -> bool {
        let Self::Open { source, .. } = self else {
            return false;
        };
        if let Some(error) = source.downcast_ref::<io::Error>() {
            use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            let passing = [Errno::IO, Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
            return matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
                || error.raw_os_error().is_some_and(|error| passing.contains(&error));
        }
        let codes = [
            ErrorCode::DiskFull,
            ErrorCode::ReadOnly,
            ErrorCode::SystemIoFailure,
            ErrorCode::CannotOpen,
        ];
        let error = source.downcast_ref::<rusqlite::Error>();
        error.and_then(rusqlite::Error::sqlite_error_code).is_some_and(|code| codes.contains(&code))
    }

    /// Whether the disk failed, and may have kept a part of what was written.
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, Self::Write { source, .. } if StorageFault::classify(source) == StorageFault::DiskFailure)
    }

    /// Whether the file is not what was written to it: no retry mends that.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn sql_open(path: &Path, source: rusqlite::Error) -> Self {
        Self::corrupt_or(path, source, |path, source| Self::Open { path, source: source.into() })
    }

    fn corrupt_or(
        path: &Path,
        source: rusqlite::Error,
        other: impl FnOnce(PathBuf, rusqlite::Error) -> Self,
    ) -> Self {
        let path = path.to_path_buf();
        match StorageFault::classify(&source) {
            StorageFault::CorruptFile => Self::Corrupt { path, detail: source.to_string() },
            StorageFault::DiskFailure | StorageFault::Other => other(path, source),
        }
    }
}

/// What an error says about the state of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StorageFault {
    /// What the file holds is not what was written.
    CorruptFile,
    /// The disk failed, and may have kept a part.
    DiskFailure,
    /// None: there was no room, no right, no lock.
    Other,
}

impl StorageFault {
    pub(super) fn classify(error: &rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType,
        };
        match error {
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => {
                Self::CorruptFile
            }
            error => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::CorruptFile,
                Some(ErrorCode::SystemIoFailure) => Self::DiskFailure,
                _ => Self::Other,
            },
        }
    }
}

/// An error of something that was to be written.
pub(super) fn write_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| {
        StoreError::corrupt_or(path, error, |path, source| StoreError::Write {
            doing,
            path,
            source,
        })
    }
}

/// An error of something that was to be read.
pub(super) fn read_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| {
        StoreError::corrupt_or(path, error, |path, source| StoreError::Read { doing, path, source })
    }
}
