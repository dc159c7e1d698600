//! A full disk: events are not affected, versions are stored again when there is space.

use std::fs;

use super::{versions, wait_until_stored};
use crate::support::kernel::{Mount, fill_disk, is_root};
use crate::support::wait::wait_for;
use crate::support::{Project, sha256};

#[test]
fn history_rests_while_the_store_of_events_cannot_be_written() {
    if !is_root("a full disk at the start") {
        return;
    }
    let project = Project::complete();
    let mount =
        Mount::new(&["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"], &project.state_dir());
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let ballast = mount.0.join("ballast");
    fill_disk(&ballast);
    let mut n = 0;
    wait_for("a store that cannot be written", || {
        n += 1;
        project.write("kitty-specs/001-x/spec.md", format!("{n}\n"));
        (daemon.get_json("/api/status")["store"]["state"] == "degraded").then_some(())
    });
    // The new configuration makes everything due.
    fs::create_dir_all(project.config_file().parent().unwrap()).unwrap();
    fs::write(project.config_file(), "history: {max_bytes: 100 MiB}\n").unwrap();
    wait_for("the configuration", || {
        (daemon.get_json("/api/history")["max_bytes"] == 100 << 20).then_some(())
    });
    let switches = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let is_history = |task: &std::path::PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "history")
        };
        let status = fs::read_to_string(tasks.find(is_history).unwrap().join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
    };
    let before = switches();
    // They take some hundred milliseconds together.
    for _ in 0..2_000 {
        daemon.get_json("/api/status");
    }
    let times = switches() - before;
    assert!(times < 50, "the thread woke {times} times");
    fs::remove_file(&ballast).unwrap();
    project.write("kitty-specs/001-x/spec.md", "# After\n");
    wait_for("a store that can be written", || {
        (daemon.get_json("/api/status?sync=true")["store"]["state"] == "ok").then_some(())
    });
    wait_until_stored(&daemon);
    daemon.stop();
}

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
    fill_disk(&ballast);
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
