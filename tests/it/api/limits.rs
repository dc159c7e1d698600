//! Clients that send too much, read too slowly or belong to other users: other clients are served.
//! `cargo bench --bench clients` measures how much memory and time they cost.

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

/// More connections than the daemon accepts at the same time.
const MANY_CONNECTIONS: usize = 1_700;

/// Opens a connection and sends the beginning of a request.
fn send(daemon: &Daemon, head: &str) -> UnixStream {
    let mut stream = daemon.connect().unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[track_caller]
/// Checks that a new client gets a response.
fn assert_others_served(daemon: &Daemon) {
    let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
    assert_eq!(overview["feature_slug"], FEATURE);
}

/// Raises the soft limit of descriptors; returns true if it is high enough for these tests.
fn raise_descriptor_limit() -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > 4 * MANY_CONNECTIONS as u64)
}

#[test]
fn idle_connections_are_evicted_for_new_ones() {
    if !raise_descriptor_limit() {
        not_run("more idle connections than the daemon accepts (limit of descriptors)");
        return;
    }
    let project = Project::complete();
    let daemon = project.start_daemon();
    let idle: Vec<UnixStream> = (0..MANY_CONNECTIONS).map(|_| daemon.connect().unwrap()).collect();
    assert_others_served(&daemon);
    assert!(metric(&daemon, "dossierd_connections_evicted_total", &[]).unwrap() > 0);
    drop(idle);
    // Connections that are idle after a request are evicted too.
    let evicted = || metric(&daemon, "dossierd_connections_evicted_total", &[]).unwrap();
    let before = evicted();
    let keep_alive: Vec<UnixStream> = (0..MANY_CONNECTIONS)
        .map(|_| {
            let mut stream = send(&daemon, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut status_line = [0; 12];
            stream.read_exact(&mut status_line).unwrap();
            assert_eq!(&status_line, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_others_served(&daemon);
    assert!(evicted() >= before + 100, "{} were evicted", evicted() - before);
    drop(keep_alive);
    for _ in 0..10_000 {
        daemon.connect().unwrap();
    }
    assert_others_served(&daemon);
    daemon.stop();
}

#[test]
fn incomplete_request_head_or_body_times_out() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut slow: Vec<UnixStream> =
        (0..50).map(|_| send(&daemon, "GET /api/status HTTP/1.1\r\nHo")).collect();
    let target = format!("/api/dossier/baseline?feature={FEATURE}");
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{");
    let mut body = send(&daemon, &head);
    assert_others_served(&daemon);
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).map_err(|error| {
            assert_ne!(
                error.kind(),
                std::io::ErrorKind::WouldBlock,
                "the connection is still open"
            );
        });
    }
    let mut status_line = [0; 12];
    body.read_exact(&mut status_line).unwrap();
    assert_eq!(&status_line, b"HTTP/1.1 408");
    assert!(!project.baseline_file().exists());
    daemon.stop();
}

#[test]
fn oversized_request_head_is_rejected() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut stream = send(&daemon, "GET /api/status HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    let part = [b'x'; 4096];
    let sent = (0..1_000_000).take_while(|_| stream.write_all(&part).is_ok()).count();
    assert!(sent < 1_000, "{sent} parts were accepted");
    assert_others_served(&daemon);
    daemon.stop();
}

#[test]
fn unread_response_is_aborted_but_unread_stream_is_not() {
    let project = Project::complete().artifact("large.txt", vec![b'x'; 5_000_000]);
    let daemon = project.start_daemon();
    let get = |target: &str| send(&daemon, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let all = list["artifacts"].as_array().unwrap();
    let large = all.iter().find(|artifact| artifact["relative_path"] == "large.txt").unwrap();
    let key = large["artifact_key"].as_str().unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    let unread: Vec<UnixStream> = (0..10).map(|_| get(&target)).collect();
    let mut stream = daemon.open_stream("", &[]);
    // More events than fit into the buffers of the socket and the daemon.
    for number in 0..2_000 {
        project.write(&format!("kitty-specs/001-x/research/{number}.md"), "x");
    }
    assert_others_served(&daemon);
    wait_for("unread responses to be aborted", || {
        // The stream and this request.
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
fn unread_contents_stay_within_the_memory_budget() {
    let project = Project::complete().artifact("large.txt", vec![b'x'; 5_000_000]);
    let daemon = project.start_daemon();
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let all = list["artifacts"].as_array().unwrap();
    let large = all.iter().find(|artifact| artifact["relative_path"] == "large.txt").unwrap();
    let key = large["artifact_key"].as_str().unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    // More than twice the memory budget; only the status line of each response is read.
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut unread: Vec<UnixStream> = (0..70).map(|_| send(&daemon, &head)).collect();
    assert_others_served(&daemon);
    let rejected = unread.iter_mut().filter_map(|stream| {
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).unwrap();
        (&status_line == b"HTTP/1.1 503").then_some(())
    });
    assert!(rejected.count() > 0, "the budget limits unread responses");
    let peak = peak_kib(&daemon);
    assert!(peak < 300 << 10, "{peak} KiB");
    drop(unread);
    wait_for("a free budget", || (daemon.get(&target).status == 200).then_some(()));
    daemon.stop();
}

/// Returns the peak resident memory of the daemon, in KiB.
fn peak_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn unread_pages_and_snapshots_stay_within_the_memory_budget() {
    /// Together more than twice the memory budget.
    const UNREAD: usize = 200;
    let project = Project::complete();
    for number in 0..1_500 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    let before = peak_kib(&daemon);
    let export = format!("/api/dossier/snapshots/export?feature={FEATURE}");
    for target in ["/api/events?since=start", &*export] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n");
        assert!(daemon.get(target).body.len() > 400 << 10);
        let mut unread: Vec<UnixStream> = (0..UNREAD).map(|_| send(&daemon, &head)).collect();
        assert_others_served(&daemon);
        let rejected = unread.iter_mut().filter_map(|stream| {
            let mut status_line = [0; 12];
            stream.read_exact(&mut status_line).unwrap();
            (&status_line == b"HTTP/1.1 503").then_some(())
        });
        let rejected = rejected.count();
        let more = peak_kib(&daemon) - before;
        assert!(rejected > 0 && more < 64 << 10, "{target}: {rejected} rejected, {more} KiB more");
        drop(unread);
        wait_for("a free budget", || (daemon.get(target).status == 200).then_some(()));
    }
    daemon.stop();
}

/// Makes `count` files of a feature, accepts a baseline, and changes all of them, so that its snapshot and
/// the events of its drift are large.
fn start_drifted(project: &Project, count: usize) -> Daemon {
    let write = |number: usize, text: &str| {
        project.write(
            &format!("kitty-specs/{FEATURE}/research/{number}/long-name-of-a-note.md"),
            text,
        );
    };
    (0..count).for_each(|number| write(number, "one\n"));
    let daemon = project.start_daemon();
    let target = format!("/api/dossier/baseline?feature={FEATURE}");
    assert_eq!(daemon.request("POST", &target, "").status, 200);
    (0..count).for_each(|number| write(number, "two\n"));
    let overview = daemon.overview(FEATURE);
    assert_eq!(overview["drift"]["state"], "drifted", "{overview}");
    daemon
}

#[test]
fn unread_streams_stay_within_the_memory_budget() {
    const UNREAD: usize = 150;
    let project = Project::complete();
    let daemon = start_drifted(&project, 3_000);
    let snapshot = daemon.export(FEATURE);
    let before = peak_kib(&daemon);
    // Each has snapshots, and then events, of more than a megabyte to read.
    for cursor in ["other:5", "start"] {
        let head = format!("GET /api/events?since={cursor} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut unread: Vec<UnixStream> = (0..UNREAD).map(|_| send(&daemon, &head)).collect();
        for stream in &mut unread {
            let mut status_line = [0; 12];
            stream.read_exact(&mut status_line).unwrap();
            assert_eq!(&status_line, b"HTTP/1.1 200");
        }
        assert_others_served(&daemon);
        // A client that reads gets everything, in place of those that do not.
        let mut stream = daemon.open_stream("?since=other:5", &[]);
        assert_eq!(stream.next().event, "gap");
        assert_eq!(stream.next().data["artifact_summaries"], snapshot["artifact_summaries"]);
        let more = peak_kib(&daemon) - before;
        assert!(more < 64 << 10, "since={cursor}: {more} KiB more");
    }
    daemon.stop();
}

#[test]
fn pages_end_at_a_mebibyte_and_large_events_are_the_same_everywhere() {
    /// Size in bytes of an event that is sent in parts.
    const LARGE: usize = 64 << 10;
    let project = Project::complete();
    let daemon = start_drifted(&project, 3_000);
    for number in 0..20 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/other.md"), "x");
        daemon.overview(FEATURE);
    }
    let (mut since, mut all, mut sizes) = ("start".to_owned(), Vec::new(), Vec::new());
    loop {
        let response = daemon.get(&format!("/api/events?since={since}"));
        let page = response.json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            break;
        }
        sizes.push(response.body.len());
        all.extend(events.iter().cloned());
        page["next"].as_str().unwrap().clone_into(&mut since);
    }
    let largest = sizes.iter().max().unwrap();
    assert!(sizes.len() > 2 && *largest < (1 << 20) + 2 * LARGE, "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() > 2 << 20, "{sizes:?}");
    let seqs: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=all.len() as u64).collect::<Vec<_>>());
    assert!(all.iter().filter(|event| event.to_string().len() > LARGE).count() > 10);
    let mut stream = daemon.open_stream("?since=start", &[]);
    for event in &all {
        assert_eq!(stream.next().data, *event);
    }
    daemon.stop();
}

#[test]
fn stream_limit_leaves_slots_for_requests_and_frees_those_of_closed_clients() {
    /// The maximum number of streams.
    const STREAMS: usize = 1_280;
    if !raise_descriptor_limit() {
        not_run("the maximum number of streams (limit of descriptors)");
        return;
    }
    let project = Project::complete();
    let daemon = project.start_daemon();
    let wait_for_subscribers = |count: i64| {
        wait_for(&format!("{count} subscribers"), || {
            (metric(&daemon, "dossierd_subscribers", &[])? == count).then_some(())
        });
    };
    let head = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut streams: Vec<UnixStream> = (0..STREAMS).map(|_| send(&daemon, head)).collect();
    wait_for_subscribers(i64::try_from(STREAMS).unwrap());
    let rejected = daemon.try_get("/api/events", &["Accept: text/event-stream"]).unwrap();
    rejected.assert_problem(503, "unavailable");
    assert!(rejected.head.contains("retry-after: 1"), "{rejected:?}");
    assert_others_served(&daemon);
    // A stream begins where it is when its response does.
    for stream in &mut streams {
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).unwrap();
        assert_eq!(&status_line, b"HTTP/1.1 200");
    }
    // Every stream receives the event.
    project.write("kitty-specs/001-x/new.md", "new");
    for stream in &mut streams {
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        while !received.windows(9).any(|text| text == b"\"new.md\",") {
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "the stream ended");
            received.extend_from_slice(&part[..count]);
        }
    }
    streams.truncate(STREAMS / 2);
    wait_for_subscribers(i64::try_from(STREAMS / 2).unwrap());
    let mut stream = daemon.open_stream("?since=start", &[]);
    assert_eq!(stream.next().data["seq"], 1);
    drop((streams, stream));
    wait_for_subscribers(0);
    wait_for("all other connections to be closed", || {
        (metric(&daemon, "dossierd_connections", &[])? == 1).then_some(())
    });
    daemon.stop();
}

#[test]
fn request_before_first_index_waits_then_gets_503_with_retry_after() {
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
        let responses = [&*overview, "/api/events?since=start"].map(|target| {
            let daemon = &daemon;
            scope.spawn(move || daemon.get(target))
        });
        for response in responses {
            let response = response.join().unwrap();
            response.assert_problem(503, "unavailable");
            assert!(response.head.contains("retry-after: 1"), "{response:?}");
        }
        let waiting = scope.spawn(|| daemon.get(&overview));
        wait_for("a waiting request", || {
            (metric(&daemon, "dossierd_connections", &[])? > 1).then_some(())
        });
        fs::remove_file(&hang).unwrap();
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn requests_time_out_while_the_engine_hangs() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let daemon = project.start_daemon();
    fs::write(&hang, "").unwrap();
    let baseline = format!("/api/dossier/baseline?feature={FEATURE}");
    let drift = format!("/api/dossier/drift?feature={FEATURE}&sync=true");
    let requests = [
        ("GET", "/api/status?sync=true"),
        ("GET", &drift),
        ("GET", "/api/events?since=start&sync=true"),
        // The feature is unknown, but may have been created just before the request.
        ("GET", "/api/dossier/overview?feature=009-new&sync=true"),
        ("POST", "/api/rescan"),
        ("POST", "/api/rescan?sync=true"),
        ("POST", &baseline),
    ];
    let commands =
        [&["status"][..], &["drift", FEATURE], &["baseline", "accept", FEATURE], &["rescan"]];
    std::thread::scope(|scope| {
        let (daemon, project) = (&daemon, &project);
        let responses = requests.map(|(method, target)| {
            scope.spawn(move || (target, daemon.request(method, target, "")))
        });
        let commands = commands.map(|command| scope.spawn(move || project.run_client(command)));
        // Requests without `sync` are answered from the last known state.
        assert_others_served(daemon);
        for response in responses {
            let (target, response) = response.join().unwrap();
            let problem = response.assert_problem(503, "unavailable");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("the engine has not answered within"), "{target}: {detail}");
            assert!(problem["hint"].as_str().unwrap().contains("`dossierd doctor`"), "{problem}");
            assert!(response.head.contains("retry-after: 1"), "{response:?}");
        }
        for run in commands {
            let run = run.join().unwrap();
            run.assert_failure(1, "the engine has not answered within");
            assert!(run.stderr.contains("`dossierd doctor`"), "the fix: {run:?}");
            assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run:?}");
        }
    });
    assert!(!project.baseline_file().exists(), "nothing is accepted while the engine hangs");
    fs::remove_file(&hang).unwrap();
    project.write("kitty-specs/001-x/new.md", "new");
    let list = format!("/api/dossier/artifacts?feature={FEATURE}&sync=true");
    assert!(daemon.get(&list).body.contains("\"new.md\""), "the engine continues");
    daemon.stop();
}

#[test]
fn rescans_of_a_client_beyond_its_places_fail_at_once() {
    /// Rescans at a time, and of a client that wait for a turn.
    const PLACES: usize = 4 + 64;
    const BEYOND: usize = 30;
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let daemon = project.start_daemon();
    // Each rescan waits for the engine, so that none makes place.
    fs::write(&hang, "").unwrap();
    let request = "POST /api/rescan HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let rescans: Vec<UnixStream> = (0..PLACES + BEYOND).map(|_| send(&daemon, request)).collect();
    wait_for("responses to the rescans beyond", || {
        let labels = [("route", "/api/rescan"), ("code", "503")];
        let count = metric(&daemon, "dossierd_requests_total", &labels)?;
        (count == i64::try_from(BEYOND).unwrap()).then_some(())
    });
    assert_others_served(&daemon);
    fs::remove_file(&hang).unwrap();
    drop(rescans);
    assert_eq!(daemon.request("POST", "/api/rescan?sync=true", "").status, 200);
    daemon.stop();
}

#[test]
fn other_user_is_rejected() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let request_as_nobody = || {
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
        not_run("a request by another user (needs root, `setpriv` and `curl`)");
        return;
    }
    let rejected = request_as_nobody().unwrap();
    assert!(!rejected.status.success(), "{rejected:?}");
    assert_eq!(
        metric(&daemon, "dossierd_connections_refused_total", &[]),
        Some(0),
        "rejected by the permissions of the directory"
    );
    // If the permissions admit everyone, the daemon checks the peer credentials.
    let socket = project.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let rejected = request_as_nobody().unwrap();
    assert!(!rejected.status.success() && rejected.stdout.is_empty(), "{rejected:?}");
    assert_eq!(
        metric(&daemon, "dossierd_connections_refused_total", &[]),
        Some(1),
        "rejected by its user id"
    );
    // Another user cannot fill the disk with the log.
    for _ in 0..3 {
        assert!(!request_as_nobody().unwrap().status.success());
    }
    assert_eq!(metric(&daemon, "dossierd_connections_refused_total", &[]), Some(4));
    let lines = daemon.log().matches("refused a connection of another user").count();
    assert!((1..4).contains(&lines), "at most one a minute: {}", daemon.log());
    assert_others_served(&daemon);
    daemon.stop();
}

#[test]
fn client_in_another_pid_namespace_is_served() {
    let project = Project::complete();
    // As for a daemon in a container whose socket is used from outside.
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !can_run("a client of another PID namespace", &[&wrapper[..], &["true"]].concat()) {
        return;
    }
    let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    assert_others_served(&daemon);
    assert_eq!(metric(&daemon, "dossierd_connections_refused_total", &[]), Some(0));
}
