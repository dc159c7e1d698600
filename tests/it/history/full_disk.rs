//! A full disk: events are not affected, versions are stored again when there is space.

use std::fs::{self, File};
use std::io::Write as _;

use super::{versions, wait_until_stored};
use crate::support::kernel::{Mount, is_root};
use crate::support::wait::wait_for;
use crate::support::{Project, sha256};

#[test]
fn versions_of_a_full_disk_are_listed_and_storing_goes_on() {
    if !is_root("versions on a full disk") {
        return;
    }
    let project = Project::complete();
    let mount =
        Mount::new(&["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"], &project.state_dir());
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let ballast = mount.0.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // What is written does not compress, so that free pages are used up soon.
    let text = |n: u64| -> String {
        (0..4_000_u64)
            .map(|k| sha256(&[n.to_le_bytes(), k.to_le_bytes()].concat()) + "\n")
            .collect()
    };
    let mut n = 0;
    wait_for("a failing history", || {
        n += 1;
        project.write("kitty-specs/001-x/spec.md", text(n));
        daemon.get_json("/api/status?sync=true");
        let status = daemon.get_json("/api/history");
        let is_degraded = daemon.get_json("/api/status")["store"]["state"] == "degraded";
        (is_degraded || !status["error"].is_null()).then_some(())
    });
    fs::remove_file(&ballast).unwrap();
    project.write("kitty-specs/001-x/spec.md", "# After\n");
    wait_for("a store that can be written", || {
        (daemon.get_json("/api/status?sync=true")["store"]["state"] == "ok").then_some(())
    });
    wait_for("the history to go on", || {
        let is_last =
            |one: &(String, Option<String>)| one.0 == sha256(b"# After\n") && one.1.is_none();
        versions(&daemon, "spec.md").last().is_some_and(is_last).then_some(())
    });
    assert_eq!(wait_until_stored(&daemon)["error"], serde_json::Value::Null);
    daemon.stop();
}
