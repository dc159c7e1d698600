//! Clients that ask too much, too slowly or without end, and those of other users: nobody else
//! notices. How much memory and time that costs is measured by `cargo bench --bench clients`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::api_metrics::metric;
use super::support::daemon::{Daemon, wait};
use super::support::{FEATURE, Project, not_run};

/// More than the daemon has places.
const MANY: usize = 1_200;

fn say(daemon: &Daemon, head: &str) -> UnixStream {
    let mut stream = daemon.connect().unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[track_caller]
fn others_are_answered(daemon: &Daemon) {
    let overview = daemon.json(&format!("/api/dossier/overview?feature={FEATURE}"));
    assert_eq!(overview["feature_slug"], FEATURE);
}

/// Raises the limit of descriptors, as far as may be.
fn many_descriptors() -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > 4 * MANY as u64)
}

#[test]
fn silent_connections_make_room() {
    if !many_descriptors() {
        not_run("more silent connections than the daemon has places (descriptors are limited)");
        return;
    }
    let project = Project::complete();
    let daemon = project.daemon();
    let silent: Vec<UnixStream> = (0..MANY).map(|_| daemon.connect().unwrap()).collect();
    others_are_answered(&daemon);
    assert!(metric(&daemon, "dossierd_connections_evicted_total", &[]).unwrap() > 0);
    drop(silent);
    for _ in 0..10_000 {
        daemon.connect().unwrap();
    }
    others_are_answered(&daemon);
    daemon.stop();
}

#[test]
fn a_head_or_a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let project = Project::complete();
    let daemon = project.daemon();
    let mut slow: Vec<UnixStream> =
        (0..50).map(|_| say(&daemon, "GET /api/status HTTP/1.1\r\nHo")).collect();
    let target = format!("/api/dossier/baseline?feature={FEATURE}");
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{");
    let mut body = say(&daemon, &head);
    others_are_answered(&daemon);
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).map_err(|error| {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it is still held");
        });
    }
    let mut answer = [0; 12];
    body.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(!project.baseline_file().exists());
    daemon.stop();
}

#[test]
fn a_head_without_end_is_refused() {
    let project = Project::complete();
    let daemon = project.daemon();
    let mut stream = say(&daemon, "GET /api/status HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    let part = [b'x'; 4096];
    let sent = (0..1_000_000).take_while(|_| stream.write_all(&part).is_ok()).count();
    assert!(sent < 1_000, "{sent} parts were taken");
    others_are_answered(&daemon);
    daemon.stop();
}

#[test]
fn who_does_not_read_an_answer_is_given_up_and_who_does_not_read_a_stream_is_not() {
    let project = Project::complete().artifact("large.txt", vec![b'x'; 5_000_000]);
    let daemon = project.daemon();
    let get = |target: &str| say(&daemon, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let list = daemon.json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let all = list["artifacts"].as_array().unwrap();
    let large = all.iter().find(|artifact| artifact["relative_path"] == "large.txt").unwrap();
    let key = large["artifact_key"].as_str().unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    let unread: Vec<UnixStream> = (0..10).map(|_| get(&target)).collect();
    let mut stream = daemon.stream("", &[]);
    // More events than any buffer between here and there holds.
    for number in 0..2_000 {
        project.write(&format!("kitty-specs/001-x/research/{number}.md"), "x");
    }
    others_are_answered(&daemon);
    wait("the end of those who do not read", || {
        // The stream and the one who asks.
        (metric(&daemon, "dossierd_connections", &[])? <= 2).then_some(())
    });
    daemon.export(FEATURE);
    let mut added = 0;
    while added < 2_000 {
        added += usize::from(stream.next().data["payload"]["change"] == "added");
    }
    drop(unread);
    daemon.stop();
}

#[test]
fn another_user_is_refused() {
    let project = Project::complete();
    let daemon = project.daemon();
    let ask = || {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
            "curl",
            "-sS",
        ]);
        command.args(["--max-time", "20", "--unix-socket"]).arg(project.socket());
        command.arg("http://localhost/healthz").output()
    };
    let works =
        Command::new("setpriv").args(["--reuid", "65534", "--", "curl", "--version"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        not_run("that another user is refused (needs root, `setpriv` and `curl`)");
        return;
    }
    let refused = ask().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(
        metric(&daemon, "dossierd_connections_refused_total", &[]),
        Some(0),
        "by the folder"
    );
    // Also where someone opened the folder and the socket to all.
    let socket = project.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = ask().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(metric(&daemon, "dossierd_connections_refused_total", &[]), Some(1), "by its user");
    others_are_answered(&daemon);
    daemon.stop();
}
