//! Delivery while the disk is full, over a store that was lost, and when the daemon is killed at any
//! write or request.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};

use serde_json::Value;

use crate::delivery::support::{Mood, change, delivered, in_order, journal, receiver, sink};
use crate::support::kernel::{Mount, can_run, is_root, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

fn store_is(daemon: &Daemon, state: &str) -> bool {
    daemon.get_json("/api/status")["store"]["state"] == state
}

#[test]
fn a_full_disk_takes_nothing_from_the_receiver() {
    if !is_root("delivery with a full disk") {
        return;
    }
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &project.state_dir());
    for kill in [false, true] {
        let daemon = project.start_daemon();
        delivered(&daemon, &receiver);
        receiver.turn(Mood::Answer(503, String::new()));
        change(&project, &format!("{kill} for a receiver that is down"));
        wait_for("it tries", || (sink(&daemon)["state"] == "retrying").then_some(()));
        let ballast = mount.0.join("ballast");
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        // The log has some room of its own.
        let mut round = 0;
        wait_for("a full disk", || {
            round += 1;
            change(&project, &format!("{kill} {round}"));
            daemon.status();
            store_is(&daemon, "degraded").then_some(())
        });
        // What was committed before goes out, whether or not there is room to note it.
        receiver.turn(Mood::Good);
        wait_for("delivery of what is committed", || {
            let sink = sink(&daemon);
            let why = sink["last_error"].as_str().unwrap_or_default();
            (sink["lag"] == 0 || why.contains("full")).then_some(())
        });
        change(&project, &format!("{kill} while it is full"));
        assert_eq!(daemon.overview(FEATURE)["watch"], "live", "whoever works goes on");
        if kill {
            daemon.kill();
            fs::remove_file(&ballast).unwrap();
            let daemon = project.start_daemon();
            delivered(&daemon, &receiver);
            daemon.stop();
        } else {
            fs::remove_file(&ballast).unwrap();
            wait_for("a store that is well", || store_is(&daemon, "ok").then_some(()));
            delivered(&daemon, &receiver);
            assert_eq!(sink(&daemon)["dropped_by_retention"], 0);
            daemon.stop();
        }
    }
    drop(project);
    drop(mount);
}

#[test]
fn a_store_that_is_new_is_delivered_from_its_begin() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "  batch: 50\n");
    let files = |round: usize, step: usize| {
        for number in (round % step..400).step_by(step) {
            let path = format!("kitty-specs/{FEATURE}/research/{number}.md");
            project.write(&path, format!("{round} {number}\n"));
        }
    };
    files(0, 1);
    project.start_daemon().stop();
    let daemon = project.start_daemon();
    delivered(&daemon, &receiver);
    let before = daemon.status()["instance"].clone();
    let path = project.state_dir().join("dossierd.sqlite3");
    let mut file = File::options().write(true).open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; length - 4096]).unwrap();
    drop(file);
    let mut round = 0;
    wait_for("a new store", || {
        round += 1;
        files(round, 7);
        (daemon.status()["instance"] != before).then_some(())
    });
    wait_for("delivery of everything", || {
        let status = daemon.get_json("/api/status");
        let sink = &status["delivery"][0];
        let all = sink["cursor"] == status["seq"] && sink["state"] == "ok";
        (all && sink["dropped_by_retention"] == 0).then_some(())
    });
    let new: HashSet<String> = journal(&daemon).iter().map(ToString::to_string).collect();
    let kept = receiver.kept();
    let came = kept.events.iter().filter(|event| new.contains(&event.to_string()));
    let came: Vec<Value> = came.cloned().collect();
    drop(kept);
    in_order(&came);
    assert_eq!(came.len(), new.len(), "each of the new store's");
    daemon.stop();
}

#[test]
fn killed_at_any_write_or_request_it_loses_nothing() {
    let what = "kills at writes and requests";
    if !can_run(what, &["strace", "-f", "-qq", "-o", "/dev/null", "true"]) {
        return;
    }
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    project.start_daemon().stop();
    // Counted for each thread: of these the store's writer does the first two, delivery the others.
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
            // Every third time the receiver keeps what it does not acknowledge.
            receiver.turn(if time % 3 == 0 { Mood::Break } else { Mood::Good });
            let mut round = 0;
            while daemon.is_running() {
                round += 1;
                change(&project, &format!("{inject} {round}"));
                let before = receiver.kept().requests;
                wait_for(&format!("{inject}: a request, or the end"), || {
                    let more = receiver.kept().requests > before;
                    (more || !daemon.is_running()).then_some(())
                });
            }
        }
    }
    receiver.turn(Mood::Good);
    let daemon = project.start_daemon();
    delivered(&daemon, &receiver);
    assert!(receiver.kept().again > 0, "what was not noted came again");
    daemon.stop();
}
