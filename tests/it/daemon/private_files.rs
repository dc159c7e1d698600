//! Owner and mode of the daemon's own files, and what becomes of those that somebody else has planted.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::kernel::wrap_command;
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, run};

fn create_state_dir(project: &Project, mode: u32) -> PathBuf {
    let dir = project.state_dir();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
    dir
}

/// Returns path and mode of a directory and everything in it.
fn modes(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut modes = vec![(dir.to_owned(), dir.symlink_metadata().unwrap().mode() & 0o7777)];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => modes.extend(self::modes(&path)),
            Ok(metadata) => modes.push((path, metadata.mode() & 0o7777)),
            // SQLite removes files at any time.
            Err(_) => {}
        }
    }
    modes
}

#[test]
fn fifo_among_the_files_of_the_state_directory_does_not_stop_the_daemon() {
    let project = Project::complete();
    let state = create_state_dir(&project, 0o700);
    for name in ["dashboard.json", "last-seq"] {
        assert!(Command::new("mkfifo").arg(state.join(name)).status().unwrap().success());
    }
    let daemon = project.start_daemon();
    assert_eq!(daemon.request("POST", "/api/dashboard", "").status, 200);
    assert_eq!(daemon.overview(FEATURE)["feature_slug"], FEATURE);
    daemon.stop();
}

#[test]
fn state_directory_that_others_can_write_is_refused() {
    let project = Project::complete();
    let state = create_state_dir(&project, 0o777);
    let started = run(project.daemon_command(), COMMAND_TIMEOUT);
    started.assert_failure(1, "can be written by them");
    assert!(started.stderr.contains("chmod 700"), "{started:?}");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "nothing was written");
    // One that others can only read is closed.
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    let daemon = project.start_daemon();
    assert_eq!(state.metadata().unwrap().mode() & 0o777, 0o700);
    daemon.stop();
    // Who can write a directory above it can exchange it.
    let above = state.parent().unwrap().parent().unwrap();
    fs::set_permissions(above, Permissions::from_mode(0o777)).unwrap();
    let started = run(project.daemon_command(), COMMAND_TIMEOUT);
    started.assert_failure(1, "can be written by them");
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "077", "0777"] {
        let project = Project::complete();
        fs::set_permissions(&project.root, Permissions::from_mode(0o775)).unwrap();
        fs::set_permissions(project.root.join(".kittify"), Permissions::from_mode(0o775)).unwrap();
        let shell = format!("umask {umask}; exec \"$@\"");
        let command = wrap_command(&["sh", "-c", &shell, "sh"], &project.daemon_command());
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        assert_eq!(daemon.request("POST", "/api/dashboard", "").status, 200);
        let dossiers = project.root.join(".kittify/dossiers");
        let snapshot = dossiers.join(FEATURE).join("snapshot-latest.json");
        wait_for("the snapshot file", || snapshot.exists().then_some(()));
        for dir in [project.state_dir(), project.runtime_dir().join("dossierd")] {
            for (path, mode) in modes(&dir) {
                let private = if path.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(mode, private, "umask {umask}: {} has {mode:o}", path.display());
            }
        }
        // The probe is removed as soon as it was created.
        let is_probe = |path: &Path| path.ends_with(".dossierd-probe");
        for (path, mode) in modes(&dossiers).into_iter().filter(|(path, _)| !is_probe(path)) {
            let as_above = if path.is_dir() { 0o775 } else { 0o664 };
            assert_eq!(mode, as_above, "umask {umask}: {} has {mode:o}", path.display());
        }
        daemon.stop();
    }
}
