//! `/api/events`: pages and streams of the journal, filters, gaps and keep-alives.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{FEATURE, Project, write_file};

const INDEXED: &str = "mission_dossier_artifact_indexed";
const COMPUTED: &str = "mission_dossier_snapshot_computed";

/// Sets a flag when dropped, so that a writer thread ends also if the reader panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn client_that_reconnects_under_load_receives_each_event_once_in_order() {
    const KILLS: usize = 100;
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    journal.read_new(&daemon);
    let start = journal.events.len();
    let mut last = daemon.get_json("/api/events?since=now")["next"].as_str().unwrap().to_owned();
    let mut seen: Vec<Value> = Vec::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let path = project.feature_dir().join(format!("notes/{}.md", number % 17));
                write_file(&path, number.to_string().as_bytes());
                // Waits for the daemon now and then: a file that is written continuously never
                // settles.
                if number.is_multiple_of(17) {
                    daemon.overview(FEATURE);
                }
            }
        });
        let _stop = StopOnDrop(&stop);
        for kill in 0..KILLS {
            let mut stream = daemon.open_stream("", &[&format!("Last-Event-ID: {last}")]);
            for _ in 0..=kill % 5 {
                let message = stream.next();
                assert_eq!(message.event, message.data["event_type"]);
                last = message.id;
                seen.push(message.data);
            }
        }
    });
    daemon.export(FEATURE);
    journal.read_new(&daemon);
    let mut stream = daemon.open_stream("", &[&format!("Last-Event-ID: {last}")]);
    while seen.len() < journal.events.len() - start {
        seen.push(stream.next().data);
    }
    assert_eq!(seen, journal.events[start..]);
    daemon.stop();
}

/// Starts a daemon over two projects that share a feature slug; the second has one more feature.
fn start_with_two_projects(project: &Project) -> Daemon {
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.start_daemon_over(&[&second]);
    daemon.status();
    daemon
}

/// Returns true if a filter selects an event.
type Passes<'a> = &'a dyn Fn(&Value) -> bool;

#[test]
fn filters_select_the_same_events_in_pages_and_streams() {
    let project = Project::complete();
    let daemon = start_with_two_projects(&project);
    let second = project.root.parent().unwrap().join("second");
    let second = second.to_str().unwrap();
    let all = daemon.get_json("/api/events")["events"].as_array().unwrap().clone();
    let root_id = all.iter().find(|event| event["project"] == "second").unwrap()["root_id"].clone();
    let root_id = root_id.as_str().unwrap();
    let indexed_or_computed =
        |event: &Value| event["event_type"] == INDEXED || event["event_type"] == COMPUTED;
    let passes: [(String, Passes<'_>); 8] = [
        ("type=snapshot_computed".to_owned(), &|e| e["event_type"] == COMPUTED),
        (format!("type={COMPUTED}"), &|e| e["event_type"] == COMPUTED),
        (format!("type={COMPUTED}&type={INDEXED}"), &indexed_or_computed),
        ("feature=005-own".to_owned(), &|e| e["feature_slug"] == "005-own"),
        ("project=second".to_owned(), &|e| e["project"] == "second"),
        (format!("project={root_id}&feature={FEATURE}"), &|e| {
            e["project"] == "second" && e["feature_slug"] == FEATURE
        }),
        (format!("project={second}&type={COMPUTED}"), &|e| {
            e["project"] == "second" && e["event_type"] == COMPUTED
        }),
        (String::new(), &|_| true),
    ];
    for (query, passes) in passes {
        let expect: Vec<Value> = all.iter().filter(|event| passes(event)).cloned().collect();
        assert!(!expect.is_empty(), "{query}");
        let page = daemon.get_json(&format!("/api/events?{query}"));
        assert_eq!(page["events"], json!(expect), "{query}");
        let mut stream = daemon.open_stream(&format!("?since=start&{query}"), &[]);
        for event in &expect {
            assert_eq!(stream.next().data, *event, "{query}");
        }
    }
    // Pages with a single event each, although other events are between them.
    let (mut since, mut paged) = ("start".to_owned(), Vec::new());
    loop {
        let page = daemon.get_json(&format!("/api/events?type={COMPUTED}&limit=1&since={since}"));
        let events = page["events"].as_array().unwrap().clone();
        if events.is_empty() {
            break;
        }
        paged.extend(events);
        since = page["next"].as_str().unwrap().to_owned();
    }
    let computed: Vec<&Value> = all.iter().filter(|e| e["event_type"] == COMPUTED).collect();
    assert_eq!(paged.iter().collect::<Vec<_>>(), computed);

    // Any `Accept` header that does not prefer an event stream gets a page.
    for accept in ["text/event-stream;q=0, */*", "application/json;q=0.9, text/html;q=0.8"] {
        let header = format!("Accept: {accept}");
        let page = daemon.try_get("/api/events?since=start", &[&header]).unwrap();
        assert_eq!(page.json()["events"].as_array().unwrap().len(), all.len(), "{accept}");
    }
    let mut stream = daemon.open_stream("?since=start", &["Accept: application/json;q=0, */*"]);
    assert_eq!(stream.next().data, all[0]);

    daemon.get("/api/events?type=sausage").assert_problem(400, "bad_request");
    daemon.get("/api/events?project=none").assert_problem(404, "not_found");
    daemon.get("/api/events?since=%ff").assert_problem(400, "bad_request");
    // After a gap, snapshots only of the selected features.
    let page = daemon.get_json("/api/events?since=elsewhere:1&project=second&feature=005-own");
    assert_eq!(page["gap"], true);
    let slugs: Vec<&Value> =
        page["snapshots"].as_array().unwrap().iter().map(|s| &s["feature_slug"]).collect();
    assert_eq!(slugs, ["005-own"]);
    let mut stream = daemon.open_stream("?since=elsewhere:1&project=second", &[]);
    assert_eq!(stream.next().event, "gap");
    let mut snapshots = [stream.next(), stream.next()].map(|message| {
        assert_eq!(message.event, "snapshot");
        message.data["feature_slug"].as_str().unwrap().to_owned()
    });
    snapshots.sort();
    assert_eq!(snapshots, [FEATURE, "005-own"]);
    // Live events follow.
    write_file(&std::path::Path::new(second).join("kitty-specs/005-own/new.md"), b"new");
    assert_eq!(stream.next().data["payload"]["relative_path"], "new.md");
    daemon.stop();
}

#[test]
fn gap_ends_only_after_all_current_snapshots_are_sent() {
    let project = Project::complete();
    let daemon = start_with_two_projects(&project);
    let mut stream = daemon.open_stream("?since=elsewhere:1", &[]);
    let messages: Vec<_> = (0..4).map(|_| stream.next()).collect();
    let events: Vec<&str> = messages.iter().map(|message| &*message.event).collect();
    assert_eq!(events, ["gap", "snapshot", "snapshot", "snapshot"]);
    // Only the last snapshot has an id: a client that disconnects earlier keeps its old cursor and
    // receives the gap again.
    let ids: Vec<&str> = messages.iter().map(|message| &*message.id).collect();
    let status = daemon.status();
    let now = format!("{}:{}", status["instance"].as_str().unwrap(), status["seq"]);
    assert_eq!(ids, ["", "", "", &now]);
    let mut stream = daemon.open_stream("", &[&format!("Last-Event-ID: {now}")]);
    write_file(&project.feature_dir().join("new.md"), b"new");
    assert_eq!(stream.next().data["payload"]["relative_path"], "new.md");
    // Without a matching feature there is no snapshot, so the gap itself has the id.
    let mut stream = daemon.open_stream("?since=elsewhere:1&feature=009-none", &[]);
    let gap = stream.next();
    assert_eq!((&*gap.event, gap.id.is_empty()), ("gap", false));
    daemon.stop();
}

#[test]
fn slow_client_receives_a_gap_when_retention_deletes_unread_events() {
    const FILES: u64 = 3_000;
    let project = Project::complete().config("journal: {max_bytes: 20000}\n");
    let daemon = project.start_daemon();
    daemon.status();
    let mut slow = daemon.open_stream("?since=now", &[]);
    let start = daemon.status()["seq"].as_u64().unwrap();
    let before = daemon.export(FEATURE)["total_artifacts"].as_u64().unwrap();
    for number in 0..FILES {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), number.to_string());
    }
    let indexed = wait_for("all files to be indexed and most events to be deleted", || {
        let indexed = daemon.export(FEATURE)["total_artifacts"].as_u64()?;
        let oldest = daemon.get_json("/api/events?limit=1")["events"][0]["seq"].as_u64()?;
        (indexed >= before + FILES && oldest > start + FILES - 100).then_some(indexed)
    });
    write_file(&project.feature_dir().join("new.md"), b"new");
    // The first gap may begin while files are still being indexed, and another one may follow.
    let (mut seq, mut listed, mut gaps) = (start, before, 0);
    loop {
        let message = slow.next();
        if message.event == "gap" {
            assert!(message.data["reason"].is_string());
            assert_eq!(message.id, "", "the gap ends after the snapshot");
            let snapshot = slow.next();
            assert_eq!(snapshot.event, "snapshot");
            seq = snapshot.id.rsplit_once(':').unwrap().1.parse().unwrap();
            listed = snapshot.data["total_artifacts"].as_u64().unwrap();
            gaps += 1;
            continue;
        }
        assert_eq!(message.data["seq"], seq + 1, "an event is missing");
        seq += 1;
        listed += u64::from(message.event == "mission_dossier_artifact_indexed");
        if message.data["payload"]["relative_path"] == "new.md" {
            break;
        }
    }
    assert!(gaps > 0);
    assert_eq!(listed, indexed + 1);
    daemon.stop();
}

#[test]
fn synced_response_reports_how_it_was_synchronised() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let is_method = |text: &str| ["cookie", "scan"].contains(&text);
    for target in ["/api/events?since=start", "/api/events?since=x:1"] {
        let page = daemon.get_json(&format!("{target}&sync=true"));
        assert!(is_method(page["synced"].as_str().unwrap_or_default()), "{target}: {page:#}");
        assert_eq!(daemon.get_json(target).get("synced"), None);
    }
    // A snapshot has no field for it, because it equals a file; the response has a header instead.
    let header = |head: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix("synced: ").map(str::to_owned))
    };
    let export = format!("/api/dossier/snapshots/export?feature={FEATURE}");
    let synced = daemon.get(&format!("{export}&sync=true"));
    assert!(is_method(&header(&synced.head).unwrap_or_default()), "{}", synced.head);
    let plain = daemon.get(&export);
    assert_eq!((header(&plain.head), plain.body), (None, synced.body));
    daemon.stop();
}

/// Waits for a keep-alive comment, and checks that the stream sent no event before it.
#[track_caller]
fn wait_for_keep_alive(daemon: &Daemon, query: &str) {
    let mut stream = daemon.connect().unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    write!(stream, "GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let comment = b": keep-alive\n\n";
    while !text.windows(comment.len()).any(|part| part == comment) {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "the stream ended: {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..count]);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.to_ascii_lowercase().contains("content-type: text/event-stream\r\n"), "{text}");
    assert!(!text.contains("data:"), "{text}");
}

#[test]
fn idle_stream_sends_keep_alive_comments() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    daemon.status();
    wait_for_keep_alive(&daemon, "");
    daemon.stop();
}

#[test]
fn stream_whose_filter_matches_no_event_sends_keep_alive_comments() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "y\n");
    let daemon = project.start_daemon();
    daemon.status();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                write_file(&project.feature_dir().join("spec.md"), number.to_string().as_bytes());
                daemon.overview(FEATURE);
            }
        });
        let _stop = StopOnDrop(&stop);
        wait_for_keep_alive(&daemon, "?feature=002-y");
    });
    daemon.stop();
}

#[test]
fn unknown_cursor_is_answered_with_a_gap() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let status = daemon.status();
    let (instance, seq) = (status["instance"].as_str().unwrap(), status["seq"].as_u64().unwrap());
    let export = daemon.export(FEATURE);
    let ahead = format!("{instance}:{}", seq + 1);
    for cursor in ["00000000-0000-4000-8000-000000000000:1", &ahead] {
        let page = daemon.get_json(&format!("/api/events?since={cursor}"));
        assert_eq!(page["gap"], true, "{page:#}");
        assert_eq!(page["events"], serde_json::json!([]));
        assert_eq!(page["next"], format!("{instance}:{seq}"));
        assert_eq!(page["snapshots"], serde_json::json!([export]));

        let mut stream = daemon.open_stream(&format!("?since={cursor}"), &[]);
        let gap = stream.next();
        assert_eq!(gap.event, "gap");
        assert!(gap.data["reason"].is_string());
        let snapshot = stream.next();
        assert_eq!((snapshot.event.as_str(), &snapshot.data), ("snapshot", &export));
        assert_eq!(snapshot.id, format!("{instance}:{seq}"));
    }
    let end = daemon.get_json("/api/events?since=now");
    assert_eq!((&end["gap"], &end["events"]), (&false.into(), &serde_json::json!([])));
    daemon.stop();
}

#[test]
fn resumed_stream_continues_at_the_last_event_id() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    daemon.status();
    let mut live = daemon.open_stream("", &[]);
    let mut all = daemon.open_stream("?since=start", &[]);
    write_file(&project.feature_dir().join("new.md"), b"new");
    let added = live.next();
    assert_eq!(added.event, "mission_dossier_artifact_indexed");
    assert_eq!(added.data["payload"]["relative_path"], "new.md");
    assert_eq!(added.id.rsplit_once(':').unwrap().1, added.data["seq"].to_string());
    let computed = live.next();
    assert_eq!(computed.event, "mission_dossier_snapshot_computed");

    // A stream from the start returns all of the journal, then live events.
    let mut received = Vec::new();
    while received.last() != Some(&computed) {
        received.push(all.next());
    }
    let page = daemon.get_json("/api/events");
    let paged: Vec<Value> = page["events"].as_array().unwrap().clone();
    assert_eq!(received.iter().map(|message| message.data.clone()).collect::<Vec<_>>(), paged);
    drop((live, all));

    // A client that reconnects after a restart receives each event once.
    write_file(&project.feature_dir().join("spec.md"), b"one");
    daemon.export(FEATURE);
    daemon.kill();
    write_file(&project.feature_dir().join("plan.md"), b"two");
    let daemon = project.start_daemon();
    let id = format!("Last-Event-ID: {}", added.id);
    let mut resumed = daemon.open_stream("?since=now", &[&id]);
    assert_eq!(resumed.next(), computed);
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let from = usize::try_from(computed.data["seq"].as_u64().unwrap()).unwrap();
    for event in &journal.events[from..] {
        assert_eq!(resumed.next().data, *event);
    }
    let filtered = daemon.get_json(&format!(
        "/api/events?type=mission_dossier_snapshot_computed&feature={FEATURE}&limit=1"
    ));
    let events = filtered["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event_type"], "mission_dossier_snapshot_computed");
    daemon.stop();
}
