//! Clients that ask too much, too slowly or without end, and those of other users: nobody else
//! notices. How much memory and time that costs is measured by `cargo bench --bench clients`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::api::metrics::metric;
use crate::support::kernel::{can_run, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run};

/// More than the daemon has places.
const MANY: usize = 1_700;

fn say(daemon: &Daemon, head: &str) -> UnixStream {
    let mut stream = daemon.connect().unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[track_caller]
fn others_are_answered(daemon: &Daemon) {
    let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
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
    let daemon = project.start_daemon();
    let silent: Vec<UnixStream> = (0..MANY).map(|_| daemon.connect().unwrap()).collect();
    others_are_answered(&daemon);
    assert!(metric(&daemon, "dossierd_connections_evicted_total", &[]).unwrap() > 0);
    drop(silent);
    // Those that have asked and are kept are no better.
    let evicted = || metric(&daemon, "dossierd_connections_evicted_total", &[]).unwrap();
    let before = evicted();
    let kept: Vec<UnixStream> = (0..MANY)
        .map(|_| {
            let mut stream = say(&daemon, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            stream
        })
        .collect();
    others_are_answered(&daemon);
    assert!(evicted() >= before + 100, "{} were ended for others", evicted() - before);
    drop(kept);
    for _ in 0..10_000 {
        daemon.connect().unwrap();
    }
    others_are_answered(&daemon);
    daemon.stop();
}

#[test]
fn a_head_or_a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let project = Project::complete();
    let daemon = project.start_daemon();
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
    let daemon = project.start_daemon();
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
    let daemon = project.start_daemon();
    let get = |target: &str| say(&daemon, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let all = list["artifacts"].as_array().unwrap();
    let large = all.iter().find(|artifact| artifact["relative_path"] == "large.txt").unwrap();
    let key = large["artifact_key"].as_str().unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    let unread: Vec<UnixStream> = (0..10).map(|_| get(&target)).collect();
    let mut stream = daemon.open_stream("", &[]);
    // More events than any buffer between here and there holds.
    for number in 0..2_000 {
        project.write(&format!("kitty-specs/001-x/research/{number}.md"), "x");
    }
    others_are_answered(&daemon);
    wait_for("the end of those who do not read", || {
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
fn answers_that_no_one_reads_take_no_more_than_their_room() {
    let project = Project::complete().artifact("large.txt", vec![b'x'; 5_000_000]);
    let daemon = project.start_daemon();
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let all = list["artifacts"].as_array().unwrap();
    let large = all.iter().find(|artifact| artifact["relative_path"] == "large.txt").unwrap();
    let key = large["artifact_key"].as_str().unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    // More than twice the room there is, of which nothing is read but how it begins.
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut unread: Vec<UnixStream> = (0..70).map(|_| say(&daemon, &head)).collect();
    others_are_answered(&daemon);
    let refused = unread.iter_mut().filter_map(|stream| {
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        (&begin == b"HTTP/1.1 503").then_some(())
    });
    assert!(refused.count() > 0, "there was room for all");
    let peak = peak_kib(&daemon);
    assert!(peak < 300 << 10, "{peak} KiB");
    drop(unread);
    wait_for("room", || (daemon.get(&target).status == 200).then_some(()));
    daemon.stop();
}

/// The most memory that it has had.
fn peak_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn pages_and_snapshots_that_no_one_reads_take_no_more_than_their_room() {
    /// Of each more than twice the room there is.
    const UNREAD: usize = 200;
    let project = Project::complete();
    for number in 0..1_500 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    let begun = peak_kib(&daemon);
    let export = format!("/api/dossier/snapshots/export?feature={FEATURE}");
    for target in ["/api/events?since=start", &*export] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n");
        assert!(daemon.get(target).body.len() > 400 << 10);
        let mut unread: Vec<UnixStream> = (0..UNREAD).map(|_| say(&daemon, &head)).collect();
        others_are_answered(&daemon);
        let refused = unread.iter_mut().filter_map(|stream| {
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            (&status == b"HTTP/1.1 503").then_some(())
        });
        let refused = refused.count();
        let more = peak_kib(&daemon) - begun;
        assert!(refused > 0 && more < 64 << 10, "{target}: {refused} refused, {more} KiB more");
        drop(unread);
        wait_for("room", || (daemon.get(target).status == 200).then_some(()));
    }
    daemon.stop();
}

#[test]
fn streams_leave_room_for_others_and_their_places_when_their_client_is_gone() {
    /// As many as there may be.
    const STREAMS: usize = 1_280;
    if !many_descriptors() {
        not_run("as many streams as there may be (descriptors are limited)");
        return;
    }
    let project = Project::complete();
    let daemon = project.start_daemon();
    let subscribers = |count: i64| {
        wait_for(&format!("{count} subscribers"), || {
            (metric(&daemon, "dossierd_subscribers", &[])? == count).then_some(())
        });
    };
    let head = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut streams: Vec<UnixStream> = (0..STREAMS).map(|_| say(&daemon, head)).collect();
    subscribers(i64::try_from(STREAMS).unwrap());
    let refused = daemon.try_get("/api/events", &["Accept: text/event-stream"]).unwrap();
    refused.assert_problem(503, "unavailable");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    others_are_answered(&daemon);
    // All of them hear of it.
    project.write("kitty-specs/001-x/new.md", "new");
    for stream in &mut streams {
        let (mut taken, mut part) = (Vec::new(), [0; 4096]);
        while !taken.windows(9).any(|text| text == b"\"new.md\",") {
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "it ended");
            taken.extend_from_slice(&part[..count]);
        }
    }
    streams.truncate(STREAMS / 2);
    subscribers(i64::try_from(STREAMS / 2).unwrap());
    let mut stream = daemon.open_stream("?since=start", &[]);
    assert_eq!(stream.next().data["seq"], 1);
    drop((streams, stream));
    subscribers(0);
    wait_for("no connection but the one that asks", || {
        (metric(&daemon, "dossierd_connections", &[])? == 1).then_some(())
    });
    daemon.stop();
}

#[test]
fn who_asks_before_the_first_index_stands_waits_and_is_told_to_ask_again() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    fs::write(&hang, "").unwrap();
    let project = project.hang_file(&hang);
    let daemon = project.spawn_daemon(project.daemon_command());
    wait_for("the socket", || daemon.connect().ok());
    let health = daemon.get("/healthz");
    assert_eq!((health.status, &health.json()["status"]), (503, &"starting".into()));
    let overview = format!("/api/dossier/overview?feature={FEATURE}");
    std::thread::scope(|scope| {
        let asked = [&*overview, "/api/events?since=start"].map(|target| {
            let daemon = &daemon;
            scope.spawn(move || daemon.get(target))
        });
        for answer in asked {
            let answer = answer.join().unwrap();
            answer.assert_problem(503, "unavailable");
            assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
        }
        let waiting = scope.spawn(|| daemon.get(&overview));
        wait_for("one who waits", || {
            (metric(&daemon, "dossierd_connections", &[])? > 1).then_some(())
        });
        fs::remove_file(&hang).unwrap();
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn an_engine_that_hangs_keeps_no_one_waiting_for_ever() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let daemon = project.start_daemon();
    fs::write(&hang, "").unwrap();
    let baseline = format!("/api/dossier/baseline?feature={FEATURE}");
    let drift = format!("/api/dossier/drift?feature={FEATURE}&sync=true");
    let asked = [
        ("GET", "/api/status?sync=true"),
        ("GET", &drift),
        ("GET", "/api/events?since=start&sync=true"),
        // What is not known may have been made just before.
        ("GET", "/api/dossier/overview?feature=009-new&sync=true"),
        ("POST", "/api/rescan"),
        ("POST", "/api/rescan?sync=true"),
        ("POST", &baseline),
    ];
    let commands =
        [&["status"][..], &["drift", FEATURE], &["baseline", "accept", FEATURE], &["rescan"]];
    std::thread::scope(|scope| {
        let (daemon, project) = (&daemon, &project);
        let asked = asked.map(|(method, target)| {
            scope.spawn(move || (target, daemon.request(method, target, "")))
        });
        let commands = commands.map(|command| scope.spawn(move || project.run_client(command)));
        // What was seen last is answered meanwhile.
        others_are_answered(daemon);
        for answer in asked {
            let (target, answer) = answer.join().unwrap();
            let problem = answer.assert_problem(503, "unavailable");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("the engine has not answered within"), "{target}: {detail}");
            assert!(problem["hint"].as_str().unwrap().contains("`dossierd doctor`"), "{problem}");
            assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
        }
        for run in commands {
            let run = run.join().unwrap();
            run.assert_failure(1, "the engine has not answered within");
            assert!(run.stderr.contains("`dossierd doctor`"), "the mend: {run:?}");
            assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run:?}");
        }
    });
    assert!(!project.baseline_file().exists(), "what was not seen is not accepted");
    fs::remove_file(&hang).unwrap();
    project.write("kitty-specs/001-x/new.md", "new");
    let list = format!("/api/dossier/artifacts?feature={FEATURE}&sync=true");
    assert!(daemon.get(&list).body.contains("\"new.md\""), "it goes on");
    daemon.stop();
}

#[test]
fn another_user_is_refused() {
    let project = Project::complete();
    let daemon = project.start_daemon();
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
    // Also where someone opened the directory and the socket to all.
    let socket = project.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = ask().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(metric(&daemon, "dossierd_connections_refused_total", &[]), Some(1), "by its user");
    others_are_answered(&daemon);
    daemon.stop();
}

#[test]
fn a_client_whose_process_has_no_number_here_is_answered() {
    let project = Project::complete();
    // As in a container whose socket is used from outside.
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !can_run("a client of another PID namespace", &[&wrapper[..], &["true"]].concat()) {
        return;
    }
    let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    others_are_answered(&daemon);
    assert_eq!(metric(&daemon, "dossierd_connections_refused_total", &[]), Some(0));
}
