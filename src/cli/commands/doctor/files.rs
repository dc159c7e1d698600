//! Checks files and directories: the configuration, the store, the socket, the projects, and their
//! file systems.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::cli::commands::doctor::finding::Findings;
use crate::cli::commands::doctor::shell::shell_quote;
use crate::cli::render::labels::size_label;
use crate::config::{Config, ConfigState, HistoryConfig, UserDirs};
use crate::core::error::error_chain;
use crate::engine::offline_projects::{self, StoreSummary};
use crate::engine::settings::settings;
use crate::history::ContentReader;
use crate::project::{Machine, Project};
use crate::scan::remote_fs_name;

/// Maximum number of directories that are counted; counting stops there.
const MAX_COUNTED_DIRS: u64 = 1_000_000;

pub(crate) fn check_config(findings: &mut Findings, state: &ConfigState) {
    let check = "configuration";
    for error in &state.errors {
        findings.error(
            check,
            error.to_string(),
            "correct the file, then run `dossierd config check`",
        );
    }
    if state.errors.is_empty() {
        let result =
            if state.path.exists() { "is valid" } else { "does not exist; the defaults apply" };
        findings.ok(check, format!("{} {result}", state.path.display()));
    }
}

/// Checks that a directory is usable and no other user can access it.
pub(crate) fn check_private_dir(findings: &mut Findings, check: &str, path: &Path) {
    let shown = path.display();
    match find_access_problem(path) {
        Ok(None) => findings.ok(check, format!("{shown} is accessible only to you")),
        Ok(Some((problem, fix))) => findings.error(check, format!("{shown} {problem}"), &fix),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.ok(check, format!("{shown} does not exist yet"));
        }
        Err(error) => {
            findings.error(check, format!("{shown}: {error}"), "give yourself access to it");
        }
    }
}

/// Returns what is wrong with a private directory, and the fix.
fn find_access_problem(path: &Path) -> io::Result<Option<(&'static str, String)>> {
    let metadata = std::fs::metadata(path)?;
    let quoted = shell_quote(path);
    Ok(if !metadata.is_dir() {
        Some(("is not a directory", format!("move it away: `mv {quoted} {quoted}.old`")))
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some(("belongs to another user", format!("`sudo chown -R $(id -u) {quoted}`")))
    } else if metadata.mode() & 0o077 != 0 {
        Some(("is accessible to other users", format!("`chmod 700 {quoted}`")))
    } else if metadata.mode() & 0o700 != 0o700 || !is_writable(path) {
        Some(("is not writable", format!("`chmod 700 {quoted}`, unless its disk is read-only")))
    } else {
        None
    })
}

fn is_writable(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Checks the socket's file and directory. Whether a daemon responds there is checked elsewhere.
pub(crate) fn check_socket(findings: &mut Findings, dirs: &UserDirs, socket: &Path) {
    let check = "socket";
    if dirs.runtime_dir.is_none() {
        findings.warning(
            check,
            "XDG_RUNTIME_DIR is not set; the state directory is used instead, and the user service \
             listens at another socket",
            "log in with a session that sets it, or `export XDG_RUNTIME_DIR=/run/user/$(id -u)`",
        );
    }
    if let Some(dir) = socket.parent().filter(|dir| dir.exists()) {
        check_private_dir(findings, "socket folder", dir);
    }
    let shown = socket.display();
    match std::fs::symlink_metadata(socket) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            findings.error(
                check,
                format!("{shown} is not a socket"),
                &format!("`rm {}`", shell_quote(socket)),
            );
        }
        Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => {
            findings.error(
                check,
                format!("{shown} belongs to another user"),
                "use another socket: --socket",
            );
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            let fix = format!("`chmod 600 {}`", shell_quote(socket));
            findings.error(check, format!("{shown} is accessible to other users"), &fix);
        }
        Ok(_) => findings.ok(check, format!("{shown} is accessible only to you")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.ok(check, format!("{shown} does not exist; no daemon listens"));
        }
        Err(error) => {
            findings.error(check, format!("{shown}: {error}"), "give yourself access to it");
        }
    }
}

/// Checks the whole store; returns its summary if it is valid.
pub(crate) fn check_store(findings: &mut Findings, state: &Path) -> Option<StoreSummary> {
    let check = "store";
    match offline_projects::check(state) {
        Ok(None) => findings.ok(check, "does not exist yet"),
        Ok(Some(health)) => {
            let (events, size) = (health.events, size_label(health.bytes));
            findings.ok(check, format!("valid: {events} events in the journal, {size}"));
            return Some(health);
        }
        Err(error) => findings.error(
            check,
            error.to_string(),
            "restart the daemon: it quarantines a corrupt store and indexes all projects again",
        ),
    }
    None
}

/// Reports whether versions of artifacts are stored.
pub(crate) fn check_history(findings: &mut Findings, config: &HistoryConfig, state: &Path) {
    let check = "history";
    if !config.is_enabled() {
        return findings.ok(check, "off: no versions of artifacts are stored");
    }
    match ContentReader::new(state).counts() {
        Ok(counts) => {
            let counts = counts.unwrap_or_default();
            let (versions, size) = (counts.versions, size_label(counts.used_bytes));
            let on = format!("on: {versions} versions of artifacts are stored, {size}");
            findings.ok(check, on);
        }
        Err(error) => findings.warning(
            check,
            error_chain(&error),
            "restart the daemon: it moves a corrupt file aside and begins another one",
        ),
    }
}

/// Returns the number of directories to watch in a project.
pub(crate) fn count_dirs_to_watch(root: &Path, config: &Config, dirs: &UserDirs) -> u64 {
    let (settings, missions) = (settings(config, root), dirs.missions_dir());
    let open = Project::open(root, settings, &Machine::current(), Some(&missions));
    let features = open.ok().and_then(|project| {
        let features = project.discover().ok()?.features;
        Some(features.iter().map(|feature| project.feature_path(feature)).collect())
    });
    count_dirs(features.unwrap_or_default())
}

/// Returns the number of directories in these trees, including their roots.
fn count_dirs(mut pending: Vec<PathBuf>) -> u64 {
    let mut counted = 0;
    while let Some(dir) = pending.pop() {
        counted += 1;
        if counted == MAX_COUNTED_DIRS {
            break;
        }
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        pending.extend(dirs.map(|entry| entry.path()));
    }
    counted
}

pub(crate) fn check_project(findings: &mut Findings, root: &Path) {
    let (check, shown) = ("project", root.display());
    if let Err(error) = std::fs::read_dir(root) {
        let fix = "restore the directory, or remove the project with `dossierd project remove`";
        findings.error(check, format!("cannot read {shown}: {error}"), fix);
        return;
    }
    let dossiers = root.join(".kittify/dossiers");
    let nearest = dossiers.ancestors().find(|dir| dir.exists()).unwrap_or(root);
    if is_writable(nearest) {
        findings.ok(check, format!("{shown} is readable; snapshots and baselines are writable"));
    } else {
        findings.warning(
            check,
            format!(
                "{} is not writable; snapshots and baselines cannot be stored",
                nearest.display()
            ),
            &format!("`chmod u+w {}`, unless its disk is read-only", shell_quote(nearest)),
        );
    }
}

/// What a file system is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystemUse {
    Store,
    Watched,
}

/// Checks that the file system of `path` or its nearest existing ancestor suits its use.
pub(crate) fn check_file_system(
    findings: &mut Findings,
    check: &str,
    path: &Path,
    usage: FileSystemUse,
) {
    let existing = path.ancestors().find(|dir| dir.exists()).unwrap_or(path);
    if let Ok(remote) = remote_fs_name(existing) {
        report_file_system(findings, check, path, remote, usage);
    }
}

fn report_file_system(
    findings: &mut Findings,
    check: &str,
    path: &Path,
    remote: Option<&str>,
    usage: FileSystemUse,
) {
    let shown = path.display();
    match (remote, usage) {
        (None, _) => findings.ok(check, format!("{shown} is on a local disk")),
        (Some(name), FileSystemUse::Store) => findings.error(
            check,
            format!("{shown} is on {name}, where locks and shared memory are unreliable"),
            "set XDG_STATE_HOME to a directory on a local disk",
        ),
        (Some(name), FileSystemUse::Watched) => findings.warning(
            check,
            format!(
                "{shown} is on {name}: changes made on other machines raise no event and are detected \
                 late"
            ),
            "move the project to a local disk, or shorten the `scrub` interval",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::doctor::finding::FindingLevel;

    #[test]
    fn report_file_system_rejects_remote_ones_by_their_use() {
        for (name, usage, expected) in [
            (None, FileSystemUse::Store, (FindingLevel::Ok, "/p is on a local disk")),
            (None, FileSystemUse::Watched, (FindingLevel::Ok, "/p is on a local disk")),
            (
                Some("NFS"),
                FileSystemUse::Store,
                (FindingLevel::Error, "/p is on NFS, where locks and shared memory are unreliable"),
            ),
            (
                Some("FUSE"),
                FileSystemUse::Watched,
                (
                    FindingLevel::Warning,
                    "/p is on FUSE: changes made on other machines raise no event and are detected late",
                ),
            ),
        ] {
            let mut findings = Findings::default();
            report_file_system(&mut findings, "file system", Path::new("/p"), name, usage);
            assert_eq!((findings.all[0].level, findings.all[0].message.as_str()), expected);
            assert_eq!(findings.all[0].fix.is_none(), name.is_none());
        }
    }
}
