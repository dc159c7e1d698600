//! Hashes a file between two calls of stat; the hash is used only if both returned the same
//! signature (`docs/specification.md#artifact-states`).

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::limits::ScanLimits;
use crate::core::artifact::{
    Absence, ArtifactState, CHANGED_WHILE_READ, ErrorReason, FileSignature, Observation,
};
use crate::core::churn::FileChurn;
use crate::core::content::{ContentHasher, ContentInfo, InvalidUtf8, StaticHash};
use crate::core::file_kind::FileKind;
use crate::core::path::RelPath;
use crate::core::progress::begin_long_step;

/// `error_detail` of an entry that is neither file nor directory nor link.
pub(super) const NOT_REGULAR: &str = "not a regular file";

/// Read attempts for one file, after which it is [`TransientFailure::Unstable`].
const MAX_ATTEMPTS: usize = 3;

/// Time that one read may take before its file system counts as hung.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Age below which a file may change again without a new timestamp, since the kernel's clock for
/// timestamps has a resolution of up to 10 ms.
const RACY_WINDOW_NS: i64 = 20_000_000;
/// The same where time stamps seem to be whole seconds, as those of ext4 with small inodes are, or
/// multiples of two, as those of FAT are.
const COARSE_RACY_WINDOW_NS: i64 = 2_000_000_000;

/// A file that can be read several times.
pub(super) trait ReadSource {
    /// Returns the current signature; `None` if the source is not a regular file.
    fn signature(&mut self) -> io::Result<Option<FileSignature>>;
    /// Reads bytes at `offset` into `buffer` and returns their number; 0 at the end.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// How to read a file.
#[derive(Clone, Copy)]
pub(super) struct ReadOptions<'a> {
    pub(super) kind: FileKind,
    pub(super) churn: Option<&'a FileChurn>,
    pub(super) static_part: StaticHash,
    pub(super) limits: &'a ScanLimits,
    /// Size up to which a file that changed while it was read is read again at once.
    pub(super) max_retried_bytes: u64,
}

/// The result of reading an entry.
pub(super) struct ReadResult {
    pub(super) size: u64,
    pub(super) state: ArtifactState,
    pub(super) wp_id: Option<Box<str>>,
    pub(super) signature: Option<FileSignature>,
    pub(super) racy: bool,
    /// Why another attempt may return a different result.
    pub(super) transient: Option<TransientFailure>,
}

/// A failure that may be over by the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransientFailure {
    /// The file changed while it was read.
    Unstable,
    /// The process was out of file descriptors or memory.
    OutOfResources,
}

impl TransientFailure {
    pub(super) fn from_io_error(error: &io::Error) -> Option<Self> {
        is_resource_exhausted(error).then_some(Self::OutOfResources)
    }
}

/// Returns true if a directory could not be opened because nothing is there, or something else than
/// a directory.
pub fn is_not_a_directory(error: &io::Error) -> bool {
    let errors = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}

/// Returns true if a directory is not where it was when its descriptor was opened first, so nothing
/// is known of what it contains.
#[must_use]
pub fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::STALE.raw_os_error())
}

/// Returns true if `error` is a shortage of file descriptors or memory, after which nothing is
/// known about the file.
#[must_use]
pub fn is_resource_exhausted(error: &io::Error) -> bool {
    let errors = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}

impl ReadResult {
    pub(super) fn absent(reason: ErrorReason, detail: impl Into<Box<str>>, size: u64) -> Self {
        let absence = Absence { reason, detail: Some(detail.into()) };
        Self {
            size,
            state: ArtifactState::Absent(absence),
            wp_id: None,
            signature: None,
            racy: false,
            transient: None,
        }
    }

    /// Converts this result to the observation of `path`.
    pub(super) fn into_observation(self, path: RelPath) -> Observation {
        Observation {
            path,
            size_bytes: self.size,
            state: self.state,
            wp_id: self.wp_id,
            signature: self.signature,
            racy: self.racy,
            is_linked: false,
        }
    }

    pub(super) fn unreadable(detail: impl Into<Box<str>>, size: u64) -> Self {
        Self::absent(ErrorReason::Unreadable, detail, size)
    }

    pub(super) fn from_io_error(error: &io::Error, size: u64) -> Self {
        Self {
            transient: TransientFailure::from_io_error(error),
            ..Self::unreadable(error.to_string(), size)
        }
    }
}

/// Reads `source` until its signature is the same before and after, at most [`MAX_ATTEMPTS`] times, and once if it is
/// larger than may be read again.
pub(super) fn read_stable(
    source: &mut impl ReadSource,
    options: ReadOptions<'_>,
    buffer: &mut [u8],
) -> ReadResult {
    let mut size = 0;
    for _ in 0..MAX_ATTEMPTS {
        match read_once(source, options, buffer, &mut size) {
            Ok(Some(result)) => return result,
            Ok(None) if size > options.max_retried_bytes => break,
            Ok(None) => {}
            Err(error) => return ReadResult::from_io_error(&error, size),
        }
    }
    ReadResult {
        transient: Some(TransientFailure::Unstable),
        ..ReadResult::unreadable(CHANGED_WHILE_READ, size)
    }
}

/// Reads `source` once; returns `None` if it changed meanwhile. Sets `size` to the size before the
/// read.
fn read_once(
    source: &mut impl ReadSource,
    options: ReadOptions<'_>,
    buffer: &mut [u8],
    size: &mut u64,
) -> io::Result<Option<ReadResult>> {
    let Some(before) = source.signature()? else {
        return Ok(Some(ReadResult::unreadable(NOT_REGULAR, 0)));
    };
    *size = before.size;
    if before.size > options.limits.max_file_bytes {
        let detail = format!("larger than {} bytes", options.limits.max_file_bytes);
        return Ok(Some(ReadResult::unreadable(detail, before.size)));
    }
    let content = hash_content(source, options, before.size, buffer)?;
    if source.signature()? != Some(before) {
        return Ok(None);
    }
    Ok(content.map(|content| match content {
        Ok(info) => ReadResult {
            size: before.size,
            state: ArtifactState::Present {
                hash: info.hash,
                static_hash: info.static_hash.map(Box::new),
            },
            wp_id: info.wp_id,
            signature: Some(before),
            racy: is_racy(&before),
            transient: None,
        },
        Err(invalid) => {
            let absent =
                ReadResult::absent(ErrorReason::InvalidFormat, invalid.to_string(), before.size);
            ReadResult { signature: Some(before), racy: is_racy(&before), ..absent }
        }
    }))
}

/// Feeds `size` bytes to a [`ContentHasher`]; returns `None` if the source has fewer. If it has
/// more, its signature has changed.
fn hash_content(
    source: &mut impl ReadSource,
    options: ReadOptions<'_>,
    size: u64,
    buffer: &mut [u8],
) -> io::Result<Option<Result<ContentInfo, InvalidUtf8>>> {
    let mut hasher = ContentHasher::new(options.kind, options.static_part, options.churn.cloned());
    let mut offset = 0;
    while offset < size {
        let chunk = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = source.read_at(&mut buffer[..chunk], offset)?;
        if count == 0 {
            return Ok(None);
        }
        if let Err(invalid) = hasher.update(&buffer[..count]) {
            return Ok(Some(Err(invalid)));
        }
        offset += count as u64;
    }
    Ok(Some(hasher.finish()))
}

/// Converts the result of stat to a signature.
pub(super) fn signature_of(stat: &Stat) -> FileSignature {
    let nanos = |seconds: i64, nanos: u64| {
        seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(nanos)
    };
    FileSignature {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
        changed_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

fn is_racy(signature: &FileSignature) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).is_ok_and(|now| is_racy_at(signature, now))
}

/// Returns true if a file that was read at `now_ns` may be changed afterwards without new time
/// stamps.
fn is_racy_at(signature: &FileSignature, now_ns: i64) -> bool {
    let FileSignature { modified_ns, changed_ns, .. } = *signature;
    let is_coarse = [modified_ns, changed_ns].iter().all(|time| time % 1_000_000_000 == 0);
    let window = if is_coarse { COARSE_RACY_WINDOW_NS } else { RACY_WINDOW_NS };
    now_ns.saturating_sub(modified_ns.max(changed_ns)) < window
}

impl ReadSource for OwnedFd {
    fn signature(&mut self) -> io::Result<Option<FileSignature>> {
        let stat = fstat(&*self)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_regular.then(|| signature_of(&stat)))
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        begin_long_step(READ_LIMIT);
        loop {
            match rustix::io::pread(&*self, &mut *buffer, offset) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::digest::Digest;

    #[test]
    fn files_are_racy_as_long_as_their_time_stamps_may_not_change() {
        const SECOND: i64 = 1_000_000_000;
        for (modified_ns, changed_ns, now_ns, expected) in [
            (5 * SECOND + 1, 5 * SECOND + 1, 5 * SECOND + 20_000_000, true),
            (5 * SECOND + 1, 5 * SECOND + 1, 5 * SECOND + 20_000_001, false),
            (1, 5 * SECOND, 5 * SECOND + 20_000_000, false),
            (4 * SECOND, 5 * SECOND, 7 * SECOND - 1, true),
            (4 * SECOND, 5 * SECOND, 7 * SECOND, false),
            (9 * SECOND, 5 * SECOND, 7 * SECOND, true),
        ] {
            let signature = FileSignature { size: 0, modified_ns, changed_ns, inode: 0, device: 0 };
            assert_eq!(is_racy_at(&signature, now_ns), expected, "{signature:?} {now_ns}");
        }
    }

    /// A file whose content changes after the given numbers of reads.
    struct ChangingFile {
        contents: Vec<&'static [u8]>,
        version: usize,
        reads: usize,
        change_after: Vec<usize>,
    }

    impl ReadSource for ChangingFile {
        fn signature(&mut self) -> io::Result<Option<FileSignature>> {
            Ok(Some(FileSignature {
                size: self.contents[self.version].len() as u64,
                modified_ns: i64::try_from(self.version).unwrap(),
                changed_ns: 0,
                inode: 1,
                device: 1,
            }))
        }

        fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let content = self.contents[self.version];
            let rest = &content[usize::try_from(offset).unwrap().min(content.len())..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.reads += 1;
            if self.change_after.contains(&self.reads) {
                self.version += 1;
            }
            Ok(count)
        }
    }

    fn read_options(limits: &ScanLimits) -> ReadOptions<'_> {
        ReadOptions {
            kind: FileKind::Bytes,
            churn: None,
            static_part: StaticHash::Skip,
            limits,
            max_retried_bytes: 12,
        }
    }

    fn read_changing(contents: &[&'static [u8]], change_after: &[usize]) -> ReadResult {
        let mut file = ChangingFile {
            contents: contents.to_vec(),
            version: 0,
            reads: 0,
            change_after: change_after.to_vec(),
        };
        read_stable(&mut file, read_options(&ScanLimits::default()), &mut [0; 4])
    }

    #[test]
    fn file_changed_while_read_is_read_again() {
        let result = read_changing(&[b"old content", b"new content!"], &[2]);
        let ArtifactState::Present { hash, .. } = result.state else { panic!("present") };
        assert_eq!(hash, Digest::of(b"new content!"));
        assert_eq!(result.size, 12);
        // Reading a larger one again would not succeed either, while it is being written.
        let result = read_changing(&[b"larger content", b"new content!"], &[2]);
        assert!(matches!(result.state, ArtifactState::Absent(_)));
    }

    #[test]
    fn file_truncated_while_read_is_read_again() {
        let result = read_changing(&[b"long content", b"x"], &[1]);
        let ArtifactState::Present { hash, .. } = result.state else { panic!("present") };
        assert_eq!(hash, Digest::of(b"x"));
    }

    #[test]
    fn file_changed_on_each_attempt_is_unreadable() {
        let contents: [&[u8]; 6] = [b"1111", b"2222", b"3333", b"4444", b"5555", b"6666"];
        let result = read_changing(&contents, &[1, 2, 3, 4, 5]);
        let ArtifactState::Absent(absence) = result.state else { panic!("absent") };
        assert_eq!(absence.reason, ErrorReason::Unreadable);
        assert_eq!(absence.detail.as_deref(), Some("changed while being read"));
    }

    #[test]
    fn file_above_the_size_limit_is_not_read() {
        let mut file =
            ChangingFile { contents: vec![b"12345"], version: 0, reads: 0, change_after: vec![] };
        let limits = ScanLimits { max_file_bytes: 4, ..ScanLimits::default() };
        let result = read_stable(&mut file, read_options(&limits), &mut [0; 4]);
        let ArtifactState::Absent(absence) = result.state else { panic!("absent") };
        assert_eq!(absence.detail.as_deref(), Some("larger than 4 bytes"));
        assert_eq!((file.reads, result.size), (0, 5));
    }
}
