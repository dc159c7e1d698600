//! Subscribers that come and go, and filters; the journal as pages and as a stream.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::invariants::JournalReader;
use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{FEATURE, Project, write_file};

const INDEXED: &str = "mission_dossier_artifact_indexed";
const COMPUTED: &str = "mission_dossier_snapshot_computed";

/// Ends the writer, also where the reader fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn one_that_is_killed_a_hundred_times_under_load_sees_each_event_once_and_in_order() {
    const KILLS: usize = 100;
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    journal.read_new(&daemon);
    let begun = journal.events.len();
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
                // As fast as it is seen: what is written without end never rests.
                if number.is_multiple_of(17) {
                    daemon.overview(FEATURE);
                }
            }
        });
        let _stop = Stop(&stop);
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
    while seen.len() < journal.events.len() - begun {
        seen.push(stream.next().data);
    }
    assert_eq!(seen, journal.events[begun..]);
    daemon.stop();
}

/// Two projects with a feature of one name, and another.
fn two(project: &Project) -> Daemon {
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let mut command = project.daemon_command();
    command.arg(&second);
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    daemon.status();
    daemon
}

/// Whether a filter passes an event.
type Passes<'a> = &'a dyn Fn(&Value) -> bool;

#[test]
fn filters_are_the_same_for_pages_and_streams() {
    let project = Project::complete();
    let daemon = two(&project);
    let second = project.root.parent().unwrap().join("second");
    let second = second.to_str().unwrap();
    let all = daemon.get_json("/api/events")["events"].as_array().unwrap().clone();
    let root_id = all.iter().find(|event| event["project"] == "second").unwrap()["root_id"].clone();
    let root_id = root_id.as_str().unwrap();
    let kinds = |event: &Value| event["event_type"] == INDEXED || event["event_type"] == COMPUTED;
    let passes: [(String, Passes<'_>); 8] = [
        ("type=snapshot_computed".to_owned(), &|e| e["event_type"] == COMPUTED),
        (format!("type={COMPUTED}"), &|e| e["event_type"] == COMPUTED),
        (format!("type={COMPUTED}&type={INDEXED}"), &kinds),
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
    // Pages of one, with what is passed over in between.
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

    // Whatever stands in the header beside it.
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
    // After a gap, the present state of what is wanted and of nothing else.
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
    // And then live.
    write_file(&std::path::Path::new(second).join("kitty-specs/005-own/new.md"), b"new");
    assert_eq!(stream.next().data["payload"]["relative_path"], "new.md");
    daemon.stop();
}

#[test]
fn a_gap_is_over_once_all_of_the_present_state_has_come_and_not_before() {
    let project = Project::complete();
    let daemon = two(&project);
    let mut stream = daemon.open_stream("?since=elsewhere:1", &[]);
    let messages: Vec<_> = (0..4).map(|_| stream.next()).collect();
    let events: Vec<&str> = messages.iter().map(|message| &*message.event).collect();
    assert_eq!(events, ["gap", "snapshot", "snapshot", "snapshot"]);
    // Who hears less keeps its old cursor, and so hears of the gap again.
    let ids: Vec<&str> = messages.iter().map(|message| &*message.id).collect();
    let status = daemon.status();
    let now = format!("{}:{}", status["instance"].as_str().unwrap(), status["seq"]);
    assert_eq!(ids, ["", "", "", &now]);
    let mut stream = daemon.open_stream("", &[&format!("Last-Event-ID: {now}")]);
    write_file(&project.feature_dir().join("new.md"), b"new");
    assert_eq!(stream.next().data["payload"]["relative_path"], "new.md");
    // Of nothing there is no state.
    let mut stream = daemon.open_stream("?since=elsewhere:1&feature=009-none", &[]);
    let gap = stream.next();
    assert_eq!((&*gap.event, gap.id.is_empty()), ("gap", false));
    daemon.stop();
}

#[test]
fn a_slow_one_is_told_that_retention_was_quicker() {
    const FILES: u64 = 3_000;
    let project = Project::complete().config("journal: {max_bytes: 20000}\n");
    let daemon = project.start_daemon();
    daemon.status();
    let mut slow = daemon.open_stream("?since=now", &[]);
    let begun = daemon.status()["seq"].as_u64().unwrap();
    for number in 0..FILES {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), number.to_string());
    }
    let export = wait_for("all are seen and most are dropped", || {
        let export = daemon.export(FEATURE);
        let oldest = daemon.get_json("/api/events?limit=1")["events"][0]["seq"].as_u64()?;
        (export["total_artifacts"].as_u64()? > FILES && oldest > begun + FILES - 100)
            .then_some(export)
    });
    let mut last = begun;
    let gap = loop {
        let message = slow.next();
        if message.event == "gap" {
            break message;
        }
        assert_eq!(message.data["seq"], last + 1, "a hole");
        last += 1;
    };
    assert!(gap.data["reason"].is_string());
    let snapshot = slow.next();
    assert_eq!((snapshot.event.as_str(), &snapshot.data), ("snapshot", &export));
    assert_eq!(gap.id, "", "it is over when the state has come");
    // And then live, without a hole.
    let seq: u64 = snapshot.id.rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(seq > last);
    write_file(&project.feature_dir().join("new.md"), b"new");
    let added = slow.next();
    assert_eq!(added.data["payload"]["relative_path"], "new.md");
    assert_eq!(added.data["seq"], seq + 1);
    daemon.stop();
}

#[test]
fn every_answer_that_waited_for_earlier_changes_says_how() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let how = |text: &str| ["cookie", "scan"].contains(&text);
    for target in ["/api/events?since=start", "/api/events?since=x:1"] {
        let page = daemon.get_json(&format!("{target}&sync=true"));
        assert!(how(page["synced"].as_str().unwrap_or_default()), "{target}: {page:#}");
        assert_eq!(daemon.get_json(target).get("synced"), None);
    }
    // What is the same as a file has no place for it, and a stream none.
    let said = |head: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix("synced: ").map(str::to_owned))
    };
    let export = format!("/api/dossier/snapshots/export?feature={FEATURE}");
    let whole = daemon.get(&format!("{export}&sync=true"));
    assert!(how(&said(&whole.head).unwrap_or_default()), "{}", whole.head);
    let plain = daemon.get(&export);
    assert_eq!((said(&plain.head), plain.body), (None, whole.body));
    daemon.stop();
}

/// Waits until a stream that has nothing else to say says that it lives.
#[track_caller]
fn lives(daemon: &Daemon, query: &str) {
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
fn a_stream_with_nothing_to_say_says_that_it_lives() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    daemon.status();
    lives(&daemon, "");
    daemon.stop();
}

#[test]
fn a_stream_that_wants_nothing_of_what_happens_says_that_it_lives() {
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
        let _stop = Stop(&stop);
        lives(&daemon, "?feature=002-y");
    });
    daemon.stop();
}
