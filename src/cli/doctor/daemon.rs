//! The daemon, as it answers.

use std::path::PathBuf;

use super::finding::Findings;
use crate::cli::args::SocketArgs;
use crate::cli::link::{Link, is_absence};
use crate::client::Target;
use crate::wire::status::{ConfigHealth, ProjectWatch, Status, StoreState};

/// What it said.
pub(super) struct Asked {
    pub(super) pid: u32,
    pub(super) roots: Vec<PathBuf>,
    /// Folders that it watches, or should.
    pub(super) folders: u64,
}

/// Asks; a socket of systemd's starts it.
pub(super) fn ask(found: &mut Findings, socket: &SocketArgs) -> Option<Asked> {
    let check = "daemon";
    let mut link = match Link::open(socket) {
        Ok(link) => link,
        Err(error) if is_absence(&error) => {
            let mend = "`dossierd service install`, or `dossierd run`";
            found.warning(check, "none runs: nothing is watched", mend);
            return None;
        }
        Err(error) => {
            found.error(check, format!("{error:#}"), "`dossierd service status` tells more");
            return None;
        }
    };
    let status: Status<'_> = match link.read(&Target::new("/api/status")) {
        Ok(status) => status,
        Err(error) => {
            let mend = "end it with `dossierd stop` or by its number, and start it again";
            found.error(check, format!("{error:#}"), mend);
            return None;
        }
    };
    judge(found, &status);
    Some(Asked {
        pid: status.pid,
        roots: status.projects.iter().map(|project| PathBuf::from(&*project.root)).collect(),
        folders: status.projects.iter().map(|project| project.watch.total).sum(),
    })
}

fn judge(found: &mut Findings, status: &Status<'_>) {
    let check = "daemon";
    let own = env!("CARGO_PKG_VERSION");
    let message = format!("process {} of version {}", status.pid, status.version);
    let replaced = std::fs::read_link(format!("/proc/{}/exe", status.pid))
        .is_ok_and(|program| program.to_string_lossy().ends_with(" (deleted)"));
    let mend = "`dossierd service install`, or stop it and start it again";
    if status.version != own {
        found.warning(check, format!("{message}, this command is {own}"), mend);
    } else if replaced {
        found.warning(check, format!("{message}; its program was replaced since"), mend);
    } else {
        found.ok(check, message);
    }
    if status.store.state == StoreState::Degraded {
        let why = status.store.detail.as_deref().unwrap_or("the store cannot be written");
        let mend = "make room on its disk, or mount it writable; it heals by itself";
        found.error("store", format!("what is shown is not durable: {why}"), mend);
    }
    if let Some(config) = &status.config
        && config.state == ConfigHealth::Broken
    {
        let mend = "mend the file: it is read again at once";
        found.error("configuration", "the daemon goes on with the one before it", mend);
    }
    for project in &status.projects {
        let detail = project.watch.detail.as_deref().unwrap_or("no reason is known");
        let message = format!("{}: {detail}", project.root);
        match project.watch.state {
            ProjectWatch::Live | ProjectWatch::Rescanning | ProjectWatch::Unwatched => {}
            ProjectWatch::Polling | ProjectWatch::Degraded => {
                found.warning("watching", message, "what inotify and file system say above");
            }
            ProjectWatch::Unreadable | ProjectWatch::RootUnavailable => {
                found.error("watching", message, "bring it back, or `dossierd project remove` it");
            }
        }
    }
}
