//! Stat, hash, stat: the bytes count only if nothing moved while they were read.

use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::limits::Limits;
use crate::core::artifact::{ErrorReason, Fault, Signature, State};
use crate::core::content::{Absorber, Facts, InvalidUtf8, Kind, StaticPart};

/// `error_detail` of a file that changed with every try.
const RESTLESS: &str = "changed while being read";

/// Reads of one file before it is called restless.
const TRIES: usize = 3;

/// A file younger than this when it is read may change once more within the same clock tick.
const RACY_NS: i64 = 20_000_000;

/// Something that can be read from its start, again and again.
pub(super) trait Source {
    /// Its signature now; `None` where it is no regular file.
    fn signature(&mut self) -> io::Result<Option<Signature>>;
    /// Bytes at `offset`; 0 at the end.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// How a file is to be read.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) kind: Kind,
    pub(super) static_part: StaticPart,
    pub(super) limits: &'a Limits,
}

/// What came of reading a file.
pub(super) struct Reading {
    pub(super) size: u64,
    pub(super) state: State,
    pub(super) wp_id: Option<Box<str>>,
    pub(super) signature: Option<Signature>,
    pub(super) racy: bool,
    /// Why another try may come to something else.
    pub(super) passing: Option<Passing>,
}

/// Why something that could not be read may be readable in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// It changed while it was read.
    Restless,
    /// The process had no descriptor or memory left.
    Starved,
}

impl Passing {
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        is_starved(error).then_some(Self::Starved)
    }
}

/// Whether the system lacked something that it may have in a moment, so that nothing is known.
#[must_use]
pub fn is_starved(error: &io::Error) -> bool {
    let errors = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}

impl Reading {
    pub(super) fn fault(reason: ErrorReason, detail: impl Into<Box<str>>, size: u64) -> Self {
        let fault = Fault { reason, detail: Some(detail.into()) };
        Self {
            size,
            state: State::Absent(fault),
            wp_id: None,
            signature: None,
            racy: false,
            passing: None,
        }
    }

    pub(super) fn unreadable(detail: impl Into<Box<str>>, size: u64) -> Self {
        Self::fault(ErrorReason::Unreadable, detail, size)
    }

    pub(super) fn refused(error: &io::Error, size: u64) -> Self {
        Self { passing: Passing::of(error), ..Self::unreadable(error.to_string(), size) }
    }
}

/// Reads `source` until its signature is the same before and after.
pub(super) fn read(source: &mut impl Source, how: How<'_>, buffer: &mut [u8]) -> Reading {
    let mut size = 0;
    for _ in 0..TRIES {
        match read_once(source, how, buffer, &mut size) {
            Ok(Some(reading)) => return reading,
            Ok(None) => {}
            Err(error) => return Reading::refused(&error, size),
        }
    }
    Reading { passing: Some(Passing::Restless), ..Reading::unreadable(RESTLESS, size) }
}

/// One try; `None` when the file changed under it.
fn read_once(
    source: &mut impl Source,
    how: How<'_>,
    buffer: &mut [u8],
    size: &mut u64,
) -> io::Result<Option<Reading>> {
    let Some(before) = source.signature()? else {
        return Ok(Some(Reading::unreadable("not a regular file", 0)));
    };
    *size = before.size;
    if before.size > how.limits.file_bytes {
        let detail = format!("larger than {} bytes", how.limits.file_bytes);
        return Ok(Some(Reading::unreadable(detail, before.size)));
    }
    let facts = absorb(source, how, before.size, buffer)?;
    if source.signature()? != Some(before) {
        return Ok(None);
    }
    Ok(facts.map(|facts| match facts {
        Ok(facts) => Reading {
            size: before.size,
            state: State::Present {
                hash: facts.hash,
                static_hash: facts.static_hash.map(Box::new),
            },
            wp_id: facts.wp_id,
            signature: Some(before),
            racy: is_racy(&before),
            passing: None,
        },
        Err(invalid) => {
            let fault =
                Reading::fault(ErrorReason::InvalidFormat, invalid.to_string(), before.size);
            Reading { signature: Some(before), racy: is_racy(&before), ..fault }
        }
    }))
}

/// Feeds `size` bytes to an [`Absorber`]; `None` when there are fewer. More than those show in the
/// signature.
fn absorb(
    source: &mut impl Source,
    how: How<'_>,
    size: u64,
    buffer: &mut [u8],
) -> io::Result<Option<Result<Facts, InvalidUtf8>>> {
    let mut absorber = Absorber::new(how.kind, how.static_part);
    let mut offset = 0;
    while offset < size {
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = source.read_at(&mut buffer[..left], offset)?;
        if count == 0 {
            return Ok(None);
        }
        if let Err(invalid) = absorber.update(&buffer[..count]) {
            return Ok(Some(Err(invalid)));
        }
        offset += count as u64;
    }
    Ok(Some(absorber.finish()))
}

/// The signature in what the system says of a file.
pub(super) fn signature_of(stat: &Stat) -> Signature {
    let nanos = |seconds: i64, nanos: u64| {
        seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(nanos)
    };
    Signature {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
        changed_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

fn is_racy(signature: &Signature) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let newest = signature.modified_ns.max(signature.changed_ns);
    i64::try_from(now.as_nanos()).is_ok_and(|now| now.saturating_sub(newest) < RACY_NS)
}

impl Source for OwnedFd {
    fn signature(&mut self) -> io::Result<Option<Signature>> {
        let stat = fstat(&*self)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(regular.then(|| signature_of(&stat)))
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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

    /// A file whose content changes after each of the given numbers of reads.
    struct Script {
        contents: Vec<&'static [u8]>,
        now: usize,
        reads: usize,
        change_after: Vec<usize>,
    }

    impl Source for Script {
        fn signature(&mut self) -> io::Result<Option<Signature>> {
            Ok(Some(Signature {
                size: self.contents[self.now].len() as u64,
                modified_ns: i64::try_from(self.now).unwrap(),
                changed_ns: 0,
                inode: 1,
                device: 1,
            }))
        }

        fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let content = self.contents[self.now];
            let rest = &content[usize::try_from(offset).unwrap().min(content.len())..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.reads += 1;
            if self.change_after.contains(&self.reads) {
                self.now += 1;
            }
            Ok(count)
        }
    }

    fn how(limits: &Limits) -> How<'_> {
        How { kind: Kind::Bytes, static_part: StaticPart::Skip, limits }
    }

    fn read_script(contents: &[&'static [u8]], change_after: &[usize]) -> Reading {
        let mut script = Script {
            contents: contents.to_vec(),
            now: 0,
            reads: 0,
            change_after: change_after.to_vec(),
        };
        read(&mut script, how(&Limits::default()), &mut [0; 4])
    }

    #[test]
    fn a_change_while_reading_is_read_again() {
        let reading = read_script(&[b"old content", b"new content!"], &[2]);
        let State::Present { hash, .. } = reading.state else { panic!("present") };
        assert_eq!(hash, Digest::of(b"new content!"));
        assert_eq!(reading.size, 12);
    }

    #[test]
    fn a_shrinking_file_is_read_again() {
        let reading = read_script(&[b"long content", b"x"], &[1]);
        let State::Present { hash, .. } = reading.state else { panic!("present") };
        assert_eq!(hash, Digest::of(b"x"));
    }

    #[test]
    fn a_restless_file_is_given_up() {
        let contents: [&[u8]; 6] = [b"1111", b"2222", b"3333", b"4444", b"5555", b"6666"];
        let reading = read_script(&contents, &[1, 2, 3, 4, 5]);
        let State::Absent(fault) = reading.state else { panic!("absent") };
        assert_eq!(fault.reason, ErrorReason::Unreadable);
        assert_eq!(fault.detail.as_deref(), Some("changed while being read"));
    }

    #[test]
    fn beyond_the_budget_nothing_is_read() {
        let mut script =
            Script { contents: vec![b"12345"], now: 0, reads: 0, change_after: vec![] };
        let limits = Limits { file_bytes: 4, ..Limits::default() };
        let reading = read(&mut script, how(&limits), &mut [0; 4]);
        let State::Absent(fault) = reading.state else { panic!("absent") };
        assert_eq!(fault.detail.as_deref(), Some("larger than 4 bytes"));
        assert_eq!((script.reads, reading.size), (0, 5));
    }
}
