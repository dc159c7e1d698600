//! Directories and files that only this user may change: the state directory, the one of the socket, and
//! what is in them.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// User id that the kernel shows for users that a user namespace does not know.
const OVERFLOW_UID: u32 = 65_534;

/// Maximum number of links on the way to a directory, as in the kernel.
const MAX_LINKS: usize = 40;

/// Why a directory is not private.
#[derive(Debug, thiserror::Error)]
pub enum PrivateDirError {
    /// A system call failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another user can change what is in it.
    #[error(
        "other users can change what is in {dir}: {path} {what}; {fix}",
        dir = .dir.display(), path = .path.display()
    )]
    Unsafe {
        /// The directory that must be private.
        dir: PathBuf,
        /// That directory, or one above it.
        path: PathBuf,
        /// What makes it unsafe.
        what: &'static str,
        /// What to do.
        fix: &'static str,
    },
}

/// Creates a directory with mode 0700, or checks that nobody else can change what is in the existing one, and
/// closes it to others.
///
/// # Errors
/// If it cannot be created, or if it or a directory above it belongs to somebody else or can be changed by
/// others.
pub fn ensure_private_dir(dir: &Path) -> Result<(), PrivateDirError> {
    let error = |action| {
        let path = dir.to_owned();
        move |source| PrivateDirError::Io { action, path, source }
    };
    let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(error("create the directory"))?;
    let metadata = dir.metadata().map_err(error("read the metadata of"))?;
    let refused = |what, fix| PrivateDirError::Unsafe {
        dir: dir.to_owned(),
        path: dir.to_owned(),
        what,
        fix,
    };
    if metadata.uid() != own_uid() {
        return Err(refused("belongs to another user", "choose another directory"));
    }
    if is_changed_by_others(&metadata) {
        let fix = "examine its files and run `chmod 700` on it";
        return Err(refused("can be written by them", fix));
    }
    if metadata.mode() & 0o077 != 0 {
        // Fails on a read-only file system, where its files are private all the same.
        let _ = std::fs::set_permissions(dir, Permissions::from_mode(0o700));
    }
    check_parents(dir)
}

/// Checks that nobody else can exchange `dir`, by way of a directory above it, or of a link that leads there.
/// The directory itself is not checked.
///
/// # Errors
/// If one of them belongs to somebody else, or can be changed by others.
pub fn check_parents(dir: &Path) -> Result<(), PrivateDirError> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PrivateDirError::Io { action, path, source }
    };
    let refused = |what, path: &Path| PrivateDirError::Unsafe {
        dir: dir.to_owned(),
        path: path.to_owned(),
        what,
        fix: "correct its owner or mode, or choose a directory elsewhere",
    };
    let absolute = std::path::absolute(dir).map_err(error("find", dir))?;
    let mut rest = reversed_components(&absolute);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = rest.pop() {
        // `..` is resolved as the kernel does it: from where the links before it lead.
        let next = match Path::new(&name).components().next() {
            Some(Component::RootDir) => PathBuf::from("/"),
            Some(Component::ParentDir) => at.parent().unwrap_or(&at).to_owned(),
            _ => at.join(&name),
        };
        let metadata = next.symlink_metadata().map_err(error("read the metadata of", &next))?;
        let is_dir_itself = rest.is_empty() && !metadata.is_symlink();
        if !is_dir_itself && !is_trusted(metadata.uid()) {
            return Err(refused("belongs to another user", &next));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(error("follow the links of", dir)(Errno::LOOP.into()));
            }
            let target = next.read_link().map_err(error("read the link", &next))?;
            rest.extend(reversed_components(&target));
            continue;
        }
        let is_sticky = metadata.mode() & 0o1000 != 0;
        if !is_dir_itself && is_changed_by_others(&metadata) && !is_sticky {
            return Err(refused("can be written by them", &next));
        }
        at = next;
    }
    Ok(())
}

fn reversed_components(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|component| component.as_os_str().to_owned()).collect()
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns true if a user can be trusted with a directory: this one, and root, which in a user namespace can
/// be a user without a number.
fn is_trusted(uid: u32) -> bool {
    uid == own_uid() || uid == 0 || uid == OVERFLOW_UID && is_in_user_namespace()
}

fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Returns true if others can create and rename files in a directory.
///
/// Two groups count as nobody else: root's, and one with the number of the user that is the group of this
/// process, as `useradd` makes it for each user. Whether it was given other members is not examined.
fn is_changed_by_others(dir: &Metadata) -> bool {
    let own_group = rustix::process::getegid().as_raw();
    let is_own_group = dir.gid() == own_group && own_group == own_uid();
    dir.mode() & 0o002 != 0 || dir.mode() & 0o020 != 0 && !is_own_group && dir.gid() != 0
}

/// Opens options that follow no link and do not wait for the other end of a FIFO.
#[must_use]
pub fn private_open_options() -> std::fs::OpenOptions {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = File::options();
    options.custom_flags(flags).mode(0o600);
    options
}

/// Returns an error unless an open file is a regular one of this user that others cannot write.
///
/// # Errors
/// With the reason.
pub fn check_private_file(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file; remove it"));
    }
    if metadata.uid() != own_uid() {
        return Err(io::Error::other("the file belongs to another user; remove it"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("other users can write the file; remove it"));
    }
    Ok(())
}

/// Reads a small file in a private directory.
///
/// # Errors
/// Those of the operating system; if it is not a regular file of this user, or larger than `max_bytes`.
pub fn read_private_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = private_open_options().read(true).open(path)?;
    check_private_file(&file)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("larger than {max_bytes} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn directory_is_created_or_closed_and_refused_if_others_can_write_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state/dossierd");
        ensure_private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        set_mode(&dir, 0o755);
        ensure_private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        set_mode(&dir, 0o777);
        let error = ensure_private_dir(&dir).unwrap_err().to_string();
        assert!(error.contains("can be written by them"), "{error}");
        assert_eq!(mode(&dir), 0o777, "a person examines it first");
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "tests report what was not run")]
    fn directories_above_are_checked_also_through_links() {
        let home = tempfile::tempdir().unwrap();
        let (above, link) = (home.path().join("above"), home.path().join("link"));
        let dir = above.join("state");
        ensure_private_dir(&dir).unwrap();
        symlink(&above, &link).unwrap();
        for (mode, is_safe) in [(0o755, true), (0o777, false), (0o1777, true)] {
            set_mode(&above, mode);
            assert_eq!(ensure_private_dir(&dir).is_ok(), is_safe, "{mode:o}");
            assert_eq!(ensure_private_dir(&link.join("state")).is_ok(), is_safe, "{mode:o}");
        }
        set_mode(&above, 0o755);
        if std::os::unix::fs::lchown(&link, Some(65_533), None).is_err() {
            eprintln!("NOT RUN: directories of other users (needs root)");
            return;
        }
        assert!(ensure_private_dir(&link.join("state")).is_err(), "its owner can change the link");
        ensure_private_dir(&dir).unwrap();
        std::os::unix::fs::chown(&above, Some(65_533), None).unwrap();
        let error = ensure_private_dir(&dir).unwrap_err().to_string();
        assert!(error.contains("belongs to another user"), "{error}");
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "tests report what was not run")]
    fn links_of_others_are_refused_wherever_they_are_on_the_way() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        ensure_private_dir(&at("real/state")).unwrap();
        // The directory itself, one above it, and one that another link leads through.
        symlink(at("real/state"), at("last")).unwrap();
        symlink("real", at("first")).unwrap();
        symlink("first/../first/state", at("through")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let paths = ["last", "first/state", "through"];
        for path in paths {
            ensure_private_dir(&at(path)).unwrap();
        }
        let error = check_parents(&at("loop")).unwrap_err().to_string();
        assert!(error.contains("cannot follow the links"), "{error}");
        if std::os::unix::fs::lchown(at("first"), Some(65_533), None).is_err() {
            eprintln!("NOT RUN: links of other users (needs root)");
            return;
        }
        std::os::unix::fs::lchown(at("last"), Some(65_533), None).unwrap();
        for path in paths {
            let error = ensure_private_dir(&at(path)).unwrap_err().to_string();
            assert!(error.contains("belongs to another user"), "{path}: {error}");
        }
        ensure_private_dir(&at("real/state")).unwrap();
    }

    #[test]
    fn only_small_regular_files_of_this_user_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "1234").unwrap();
        set_mode(&at("file"), 0o600);
        assert_eq!(read_private_file(&at("file"), 4).unwrap(), b"1234");
        assert!(read_private_file(&at("file"), 3).is_err());
        symlink(at("file"), at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        std::fs::create_dir(at("dir")).unwrap();
        for name in ["link", "fifo", "dir", "none", "/dev/zero"] {
            assert!(read_private_file(&at(name), 4).is_err(), "{name}");
        }
        set_mode(&at("file"), 0o666);
        assert!(read_private_file(&at("file"), 4).is_err(), "others can write it");
    }
}
