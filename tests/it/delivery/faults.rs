//! Delivery with a full disk, from a new store, and through kills of the daemon at any write or
//! request.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};

use serde_json::Value;

use crate::delivery::support::{
    Behaviour, assert_in_order, change_features, journal, sink, start_receiver, wait_for_delivery,
};
use crate::support::kernel::{Mount, can_run, fill_disk, is_root, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

fn has_store_state(daemon: &Daemon, state: &str) -> bool {
    daemon.get_json("/api/status")["store"]["state"] == state
}

#[test]
fn full_disk_loses_no_event_for_the_receiver() {
    if !is_root("delivery with a full disk") {
        return;
    }
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    let mount =
        Mount::new(&["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"], &project.state_dir());
    for kill in [false, true] {
        let daemon = project.start_daemon();
        wait_for_delivery(&daemon, &receiver);
        receiver.set_behaviour(Behaviour::Respond(503, String::new()));
        change_features(&project, &format!("{kill}: receiver down"));
        wait_for("a failed request", || (sink(&daemon)["state"] == "retrying").then_some(()));
        let ballast = mount.0.join("ballast");
        fill_disk(&ballast);
        // The write-ahead log still has some allocated space.
        let mut attempt = 0;
        wait_for("a full disk", || {
            attempt += 1;
            change_features(&project, &format!("{kill} {attempt}"));
            daemon.status();
            has_store_state(&daemon, "degraded").then_some(())
        });
        // Committed events are delivered, whether or not the cursor can be stored.
        receiver.set_behaviour(Behaviour::Accept);
        wait_for("committed events to be delivered", || {
            let sink = sink(&daemon);
            let error = sink["last_error"].as_str().unwrap_or_default();
            (sink["lag"] == 0 || error.contains("full")).then_some(())
        });
        change_features(&project, &format!("{kill}: disk full"));
        assert_eq!(daemon.overview(FEATURE)["watch"], "live", "changes are still indexed");
        if kill {
            daemon.kill();
            fs::remove_file(&ballast).unwrap();
            let daemon = project.start_daemon();
            wait_for_delivery(&daemon, &receiver);
            daemon.stop();
        } else {
            fs::remove_file(&ballast).unwrap();
            wait_for("a writable store", || has_store_state(&daemon, "ok").then_some(()));
            wait_for_delivery(&daemon, &receiver);
            assert_eq!(sink(&daemon)["dropped_by_retention"], 0);
            daemon.stop();
        }
    }
    drop(project);
    drop(mount);
}

#[test]
fn new_store_is_delivered_from_its_first_event() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "  batch: 50\n");
    let write_files = |iteration: usize, step: usize| {
        for number in (iteration % step..400).step_by(step) {
            let path = format!("kitty-specs/{FEATURE}/research/{number}.md");
            project.write(&path, format!("{iteration} {number}\n"));
        }
    };
    write_files(0, 1);
    project.start_daemon().stop();
    let daemon = project.start_daemon();
    wait_for_delivery(&daemon, &receiver);
    let before = daemon.status()["instance"].clone();
    let path = project.state_dir().join("dossierd.sqlite3");
    let mut file = File::options().write(true).open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; length - 4096]).unwrap();
    drop(file);
    let mut iteration = 0;
    wait_for("a new store", || {
        iteration += 1;
        write_files(iteration, 7);
        (daemon.status()["instance"] != before).then_some(())
    });
    wait_for("all events to be delivered", || {
        let status = daemon.get_json("/api/status");
        let sink = &status["delivery"][0];
        let is_done = sink["cursor"] == status["seq"] && sink["state"] == "ok";
        (is_done && sink["dropped_by_retention"] == 0).then_some(())
    });
    let new: HashSet<String> = journal(&daemon).iter().map(ToString::to_string).collect();
    let deliveries = receiver.received();
    let of_new_store = deliveries.events.iter().filter(|event| new.contains(&event.to_string()));
    let of_new_store: Vec<Value> = of_new_store.cloned().collect();
    drop(deliveries);
    assert_in_order(&of_new_store);
    assert_eq!(of_new_store.len(), new.len(), "every event of the new store is delivered");
    daemon.stop();
}

#[test]
fn kill_at_any_write_or_request_loses_no_event() {
    let what = "kills at writes and requests";
    if !can_run(what, &["strace", "-f", "-qq", "-o", "/dev/null", "true"]) {
        return;
    }
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    project.start_daemon().stop();
    // `when` counts for each thread. The writer of the store makes the first two kinds of system
    // calls, delivery the others.
    for (calls, times) in [
        ("pwrite64", &[3, 14, 25, 36, 47][..]),
        ("fdatasync,fsync", &[2, 4, 6]),
        ("sendto,writev", &[1, 2, 5]),
        ("recvfrom", &[1, 2, 3, 8]),
    ] {
        for time in times {
            let inject = format!("inject={calls}:signal=KILL:when={time}");
            let trace = format!("trace={calls}");
            let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let mut daemon =
                project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
            // Every third time the receiver stores events without a response.
            receiver.set_behaviour(if time % 3 == 0 {
                Behaviour::CloseAfterAccept
            } else {
                Behaviour::Accept
            });
            let mut attempt = 0;
            while daemon.is_running() {
                attempt += 1;
                change_features(&project, &format!("{inject} {attempt}"));
                let before = receiver.received().requests;
                wait_for(&format!("{inject}: a request or the exit"), || {
                    let more = receiver.received().requests > before;
                    (more || !daemon.is_running()).then_some(())
                });
            }
        }
    }
    receiver.set_behaviour(Behaviour::Accept);
    let daemon = project.start_daemon();
    wait_for_delivery(&daemon, &receiver);
    assert!(receiver.received().duplicates > 0, "unacknowledged events are delivered again");
    daemon.stop();
}
