//! Configured paths that lead through symbolic links to roots.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::support::invariants::JournalReader;
use crate::support::kernel::{Mount, is_root};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{Project, copy_dir};

/// Returns the roots that are watched and their states, without that which the daemon was started with.
fn roots(daemon: &Daemon, without: &Path) -> Vec<(String, String)> {
    let status = daemon.get_json("/api/status");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let projects = status["projects"].as_array().unwrap().iter();
    let roots = projects.map(|one| (text(&one["root"]), text(&one["watch"]["state"])));
    roots.filter(|(root, _)| Path::new(root) != without).collect()
}

#[test]
fn root_to_which_a_configured_path_leads_may_appear_and_change() {
    // The link is the last component, or above it.
    for below in ["", "app"] {
        let project = Project::complete();
        let home = project.home().canonicalize().unwrap();
        let release = |version: &str| home.join("releases").join(version).join(below);
        for version in ["v1", "v2"] {
            fs::create_dir_all(release(version).parent().unwrap()).unwrap();
            copy_dir(&project.root, &release(version));
        }
        let link = home.join("current");
        let path = link.join(below);
        let path = path.to_str().unwrap().trim_end_matches('/').to_owned();
        let project = project.config(&format!("projects: [{{path: {path}}}]\n"));
        let daemon = project.start_daemon();
        let shown = || roots(&daemon, &project.root);
        let expect = |root: &Path, state: &str| {
            let expected =
                vec![(root.to_str().unwrap().trim_end_matches('/').into(), state.into())];
            wait_for(&format!("{expected:?}"), || (shown() == expected).then_some(()));
        };
        expect(Path::new(&path), "root_unavailable");

        symlink("releases/v1", &link).unwrap();
        expect(&release("v1"), "live");
        // It may be live before it is indexed.
        daemon.get_json("/api/status?sync=true");
        // Nothing was announced of the path itself.
        let events = JournalReader::default().read_new(&daemon);
        let of_roots: BTreeSet<&str> =
            events.iter().filter_map(|event| event["root_id"].as_str()).collect();
        assert_eq!(of_roots.len(), 2, "that with which it was started, and the first release");

        symlink("releases/v2", home.join("next")).unwrap();
        fs::rename(home.join("next"), &link).unwrap();
        expect(&release("v2"), "live");
        // A release that is removed is unavailable until it or another one is there.
        fs::remove_file(&link).unwrap();
        fs::rename(home.join("releases/v2"), home.join("releases/v3")).unwrap();
        expect(&release("v2"), "root_unavailable");
        symlink("releases/v3", &link).unwrap();
        expect(&release("v3"), "live");
        daemon.stop();
    }
}

#[test]
fn root_on_a_file_system_that_is_mounted_later_is_watched_when_it_is() {
    if !is_root("a mount") {
        return;
    }
    let project = Project::complete();
    let home = project.home().canonicalize().unwrap();
    let (disk, mount_point) = (home.join("disk"), home.join("mnt"));
    fs::create_dir_all(&mount_point).unwrap();
    copy_dir(&project.root, &disk.join("app"));
    let link = home.join("current");
    symlink("mnt/app", &link).unwrap();
    let project = project.config(&format!("projects: [{{path: {}}}]\n", link.display()));
    let daemon = project.start_daemon();
    let states = || roots(&daemon, &project.root);
    wait_for("a root that is not there", || {
        (states().first()?.1 == "root_unavailable").then_some(())
    });
    let mount = Mount::new(&["--bind", disk.to_str().unwrap()], &mount_point);
    let expected = vec![(mount_point.join("app").to_str().unwrap().to_owned(), "live".to_owned())];
    wait_for("the root on the mount", || (states() == expected).then_some(()));
    daemon.stop();
    mount.unmount();
}
