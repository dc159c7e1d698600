//! Files and directories: the configuration, the store, the socket, the projects, and the file systems
//! that they are on.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::cli::commands::doctor::finding::Findings;
use crate::cli::commands::doctor::shell::shell_quote;
use crate::config::{Config, ConfigState, UserDirs};
use crate::engine::projects::{self, StoreSummary};
use crate::engine::survey::settings;
use crate::project::{Machine, Project};
use crate::scan::remote_fs_name;

/// Most directories that are counted.
const MAX_COUNTED_DIRS: u64 = 1_000_000;

pub(crate) fn check_config(found: &mut Findings, state: &ConfigState) {
    let check = "configuration";
    for error in &state.errors {
        found.error(check, error.to_string(), "mend the file; `dossierd config check` looks again");
    }
    if state.errors.is_empty() {
        let there = if state.path.exists() { "is sound" } else { "is not there: all is default" };
        found.ok(check, format!("{} {there}", state.path.display()));
    }
}

/// A directory that is ours alone.
pub(crate) fn check_private_dir(found: &mut Findings, check: &str, path: &Path) {
    let shown = path.display();
    match find_access_problem(path) {
        Ok(None) => found.ok(check, format!("{shown} is yours alone")),
        Ok(Some((what, mend))) => found.error(check, format!("{shown} {what}"), &mend),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            found.ok(check, format!("{shown} is not there yet"));
        }
        Err(error) => found.error(check, format!("{shown}: {error}"), "let yourself in"),
    }
}

fn find_access_problem(path: &Path) -> io::Result<Option<(&'static str, String)>> {
    let metadata = std::fs::metadata(path)?;
    let word = shell_quote(path);
    Ok(if !metadata.is_dir() {
        Some(("is no folder", format!("move it away: `mv {word} {word}.old`")))
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some(("is another user's", format!("`sudo chown -R $(id -u) {word}`")))
    } else if metadata.mode() & 0o077 != 0 {
        Some(("can be entered by other users", format!("`chmod 700 {word}`")))
    } else if metadata.mode() & 0o700 != 0o700 || !is_writable(path) {
        Some(("cannot be written", format!("`chmod 700 {word}`, if its disk is not read-only")))
    } else {
        None
    })
}

fn is_writable(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// What lies where the daemon listens. Who answers there is another question.
pub(crate) fn check_socket(found: &mut Findings, folders: &UserDirs, socket: &Path) {
    let check = "socket";
    if folders.runtime_dir.is_none() {
        found.warning(
            check,
            "XDG_RUNTIME_DIR is not set: a folder of the state folder stands in, and the user \
             service listens elsewhere",
            "log in by a session that sets it, or `export XDG_RUNTIME_DIR=/run/user/$(id -u)`",
        );
    }
    if let Some(folder) = socket.parent().filter(|folder| folder.exists()) {
        self::check_private_dir(found, "socket folder", folder);
    }
    let shown = socket.display();
    match std::fs::symlink_metadata(socket) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            found.error(
                check,
                format!("{shown} is no socket"),
                &format!("`rm {}`", shell_quote(socket)),
            );
        }
        Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => {
            found.error(check, format!("{shown} is another user's"), "choose another: --socket");
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            let mend = format!("`chmod 600 {}`", shell_quote(socket));
            found.error(check, format!("{shown} is open to other users"), &mend);
        }
        Ok(_) => found.ok(check, format!("{shown} is yours alone")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            found.ok(check, format!("{shown} is not there: no daemon listens"));
        }
        Err(error) => found.error(check, format!("{shown}: {error}"), "let yourself in"),
    }
}

/// The store's soundness; what it has, where it is sound.
pub(crate) fn check_store(found: &mut Findings, state: &Path) -> Option<StoreSummary> {
    let check = "store";
    match projects::check(state) {
        Ok(None) => found.ok(check, "there is none yet"),
        Ok(Some(health)) => {
            let (events, size) = (health.events, health.bytes.div_ceil(1 << 10));
            found.ok(check, format!("it is sound: {events} events in the journal, {size} KiB"));
            return Some(health);
        }
        Err(error) => found.error(
            check,
            error.to_string(),
            "a daemon that starts sets a corrupt one aside, and indexes everything anew",
        ),
    }
    None
}

/// How many directories of a project are to be watched.
pub(crate) fn count_dirs_to_watch(root: &Path, config: &Config, folders: &UserDirs) -> u64 {
    let (said, missions) = (settings(config, root), folders.missions_dir());
    let open = Project::open(root, said, &Machine::current(), Some(&missions));
    let features = open.ok().and_then(|project| {
        let features = project.discover().ok()?.features;
        Some(features.iter().map(|feature| project.feature_path(feature)).collect())
    });
    count_dirs(features.unwrap_or_default())
}

fn count_dirs(mut waiting: Vec<PathBuf>) -> u64 {
    let mut counted = 0;
    while let Some(folder) = waiting.pop() {
        counted += 1;
        if counted == MAX_COUNTED_DIRS {
            break;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(folders.map(|entry| entry.path()));
    }
    counted
}

pub(crate) fn check_project(found: &mut Findings, root: &Path) {
    let (check, shown) = ("project", root.display());
    if let Err(error) = std::fs::read_dir(root) {
        let mend = "bring it back, or `dossierd project remove` it";
        found.error(check, format!("{shown} cannot be read: {error}"), mend);
        return;
    }
    let dossiers = root.join(".kittify/dossiers");
    let nearest = dossiers.ancestors().find(|folder| folder.exists()).unwrap_or(root);
    if is_writable(nearest) {
        found.ok(check, format!("{shown} can be read, and snapshots and baselines written"));
    } else {
        found.warning(
            check,
            format!("{} cannot be written: no snapshots or baselines", nearest.display()),
            &format!("`chmod u+w {}`, if its disk is not read-only", shell_quote(nearest)),
        );
    }
}

/// What a file system is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystemUse {
    Store,
    Watched,
}

/// Whether the file system suits its use.
pub(crate) fn check_file_system(
    found: &mut Findings,
    check: &str,
    path: &Path,
    used: FileSystemUse,
) {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    if let Ok(remote) = remote_fs_name(there) {
        report_file_system(found, check, path, remote, used);
    }
}

fn report_file_system(
    found: &mut Findings,
    check: &str,
    path: &Path,
    foreign: Option<&str>,
    used: FileSystemUse,
) {
    let shown = path.display();
    match (foreign, used) {
        (None, _) => found.ok(check, format!("{shown} is on a disk of this machine")),
        (Some(name), FileSystemUse::Store) => found.error(
            check,
            format!("{shown} is on {name}, where locks and shared memory cannot be relied on"),
            "set XDG_STATE_HOME to a folder on a disk of this machine",
        ),
        (Some(name), FileSystemUse::Watched) => found.warning(
            check,
            format!(
                "{shown} is on {name}: changes made elsewhere give no event, and are found late"
            ),
            "keep the project on a disk of this machine, or have `scrub` read it more often",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::doctor::finding::FindingLevel;

    #[test]
    fn what_suits_a_store_is_not_what_can_be_watched() {
        for (name, used, expect) in [
            (None, FileSystemUse::Store, (FindingLevel::Ok, "/p is on a disk of this machine")),
            (None, FileSystemUse::Watched, (FindingLevel::Ok, "/p is on a disk of this machine")),
            (
                Some("NFS"),
                FileSystemUse::Store,
                (
                    FindingLevel::Error,
                    "/p is on NFS, where locks and shared memory cannot be relied on",
                ),
            ),
            (
                Some("FUSE"),
                FileSystemUse::Watched,
                (
                    FindingLevel::Warning,
                    "/p is on FUSE: changes made elsewhere give no event, and are found late",
                ),
            ),
        ] {
            let mut found = Findings::default();
            report_file_system(&mut found, "file system", Path::new("/p"), name, used);
            assert_eq!((found.all[0].level, found.all[0].message.as_str()), expect);
            assert_eq!(found.all[0].fix.is_none(), name.is_none());
        }
    }
}
