//! Errors of the store, and their classification: which the daemon survives, and which require that
//! the file is opened again.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::io::Errno;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file has a format that this version does not know. It was not changed.
    #[error(
        "{}: written by a newer dossierd (store format {found}, this version knows up to {known}); \
         install that version, or move the file away to start with an empty store",
        .path.display()
    )]
    Newer {
        /// Format of the file.
        found: u32,
        /// Newest format that this version knows.
        known: u32,
        /// The file.
        path: PathBuf,
    },
    /// The file is corrupt, or is not a store.
    #[error(
        "{}: not a valid store ({detail}); the daemon moves it aside when it starts, and begins another one",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        detail: String,
    },
    /// The file or its directory cannot be opened or created.
    #[error("{}: cannot open the store", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the system or of SQLite.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A write failed and changed nothing. It may succeed later, for instance after a full disk was
    /// cleaned up.
    #[error("{}: cannot {action}", .path.display())]
    Write {
        /// What was being written, as a verb and its object.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// The store was not used, because an earlier I/O error may have left a part of a write. Reopen
    /// it: the content that is read then is the committed one.
    #[error(
        "{}: state unknown after an earlier I/O error; the store must be reopened",
        .path.display()
    )]
    NeedsReopen {
        /// The file.
        path: PathBuf,
    },
    /// A read failed.
    #[error("{}: cannot {action}", .path.display())]
    Read {
        /// What was being read, as a verb and its object.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// The store was closed, because the daemon stops.
    #[error("{}: the store is closed", .path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Returns true if the daemon continues without durability and retries. After any other error it
    /// stops, because it has no state to continue from.
    pub fn is_survivable(&self) -> bool {
        match self {
            Self::Write { .. } | Self::NeedsReopen { .. } | Self::Read { .. } => true,
            Self::Newer { .. } | Self::Corrupt { .. } | Self::Open { .. } | Self::Closed { .. } => {
                false
            }
        }
    }

    /// Returns true if opening the store may succeed later without a change to the file: the disk is
    /// full, read-only or failing, or the process is out of file descriptors.
    pub fn is_transient(&self) -> bool {
        let Self::Open { source, .. } = self else {
            return false;
        };
        if let Some(error) = source.downcast_ref::<io::Error>() {
            use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            let transient = [Errno::IO, Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
            return matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
                || error.raw_os_error().is_some_and(|error| transient.contains(&error));
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

    /// Returns true if the disk failed, which may have left a part of a write.
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, Self::Write { source, .. } if StorageFault::classify(source) == StorageFault::DiskFailure)
    }

    /// Returns true if the daemon has closed the store, because it stops.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Returns true if the file is corrupt; a retry does not help.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn sql_open(path: &Path, source: rusqlite::Error) -> Self {
        Self::corrupt_or(path, source, |path, source| Self::Open { path, source: source.into() })
    }

    /// Returns [`StoreError::Corrupt`] if `source` means that, else what `other` returns.
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

/// What an error of SQLite means for the state of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StorageFault {
    /// The file is not what was written.
    CorruptFile,
    /// The disk failed, and may have left a part of a write.
    DiskFailure,
    /// Nothing was written, for instance because the disk is full or the file locked.
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

/// Returns a function that converts an error of a write.
pub(super) fn write_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| {
        StoreError::corrupt_or(path, error, |path, source| StoreError::Write {
            action,
            path,
            source,
        })
    }
}

/// Returns a function that converts an error of a read.
pub(super) fn read_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| {
        StoreError::corrupt_or(path, error, |path, source| StoreError::Read {
            action,
            path,
            source,
        })
    }
}
