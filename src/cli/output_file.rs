//! Writes the files that `-o` names.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Who may read a new file, apart from the umask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputAccess {
    /// Only this user: it has contents of the project.
    Private,
    /// All: another user may have to upload it.
    Shared,
}

impl OutputAccess {
    fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Shared => 0o666,
        }
    }
}

/// Writes a file without following a symbolic link, which another user may have placed in a shared
/// directory to have another file overwritten. Links in `/dev`, such as `/dev/stdout`, are followed.
pub(super) fn write_output_file(
    output: &Path,
    bytes: &[u8],
    access: OutputAccess,
) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(access.mode());
    if !output.starts_with("/dev") {
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    }
    let context = || format!("cannot write {}", output.display());
    let mut file = match options.open(output) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            bail!(
                "cannot write {}: it is a symbolic link; name its target instead",
                output.display()
            )
        }
        result => result.with_context(context)?,
    };
    file.write_all(bytes).with_context(context)
}
