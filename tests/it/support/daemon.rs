//! The daemon as its clients have it: the real binary, its socket by hand-written HTTP, its journal
//! as a page and as a stream; and the law that holds whenever it has settled.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Project;

/// No condition that these tests wait for may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// An answer over the socket.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The problem document that it is.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        for field in ["type", "title", "detail"] {
            assert!(problem[field].is_string(), "`{field}` in {problem:#}");
        }
        problem
    }
}

/// Waits until `done` gives something, and fails at the deadline.
#[track_caller]
pub(crate) fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Project {
    /// Where the daemon of this project's home listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime().join("dossierd/dossierd.sock")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.home().join("run")
    }

    /// Where its daemon keeps its own files.
    pub(crate) fn state(&self) -> PathBuf {
        self.home().join(".local/state/dossierd")
    }

    /// The command that runs a daemon over the root.
    pub(crate) fn daemon_command(&self) -> Command {
        let mut command = self.command(&["run"]);
        self.for_daemon(&mut command);
        command.arg(&self.root);
        command
    }

    fn for_daemon(&self, command: &mut Command) {
        fs::create_dir_all(self.runtime()).unwrap();
        command.env("XDG_RUNTIME_DIR", self.runtime()).stdin(Stdio::null()).stdout(Stdio::null());
    }

    /// A daemon over the root that has indexed everything.
    #[track_caller]
    pub(crate) fn daemon(&self) -> Daemon {
        let daemon = self.spawn(self.daemon_command());
        daemon.ready();
        daemon
    }

    /// A daemon that may still be starting.
    pub(crate) fn spawn(&self, mut command: Command) -> Daemon {
        self.for_daemon(&mut command);
        let log = self.home().join("daemon.log");
        let to = fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stderr(to).spawn().unwrap();
        Daemon { child, socket: self.socket(), log }
    }
}

impl Daemon {
    /// Waits until everything is indexed.
    #[track_caller]
    pub(crate) fn ready(&self) {
        wait(&format!("readiness; log:\n{}", self.log()), || {
            let answer = self.try_get("/healthz", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub(crate) fn try_get(&self, target: &str, headers: &[&str]) -> std::io::Result<Answer> {
        self.try_ask("GET", target, headers, b"")
    }

    fn try_ask(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = self.connect()?;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = if method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             {length}{headers}\r\n"
        )?;
        // An answer may come before all of the body is taken.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            read?;
        }
        let answer = String::from_utf8(answer).map_err(std::io::Error::other)?;
        let cut = || std::io::Error::other(format!("an answer cut short: {answer:?}"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
        Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        match self.try_get(target, &["Accept: application/json"]) {
            Ok(answer) => answer,
            Err(error) => panic!("{target}: {error}; log:\n{}", self.log()),
        }
    }

    /// Another request than `GET`.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        match self.try_ask(method, target, &[], body.as_bytes()) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {target}: {error}; log:\n{}", self.log()),
        }
    }

    /// A JSON answer that is 200.
    #[track_caller]
    pub(crate) fn json(&self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The snapshot of a feature, with every change made before.
    #[track_caller]
    pub(crate) fn export(&self, feature: &str) -> Value {
        self.json(&format!("/api/dossier/snapshots/export?feature={feature}&sync=true"))
    }

    #[track_caller]
    pub(crate) fn overview(&self, feature: &str) -> Value {
        self.json(&format!("/api/dossier/overview?feature={feature}&sync=true"))
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.json("/api/status?sync=true")
    }

    /// A stream of events.
    pub(crate) fn stream(&self, query: &str, headers: &[&str]) -> Stream {
        let mut stream = self.connect().unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
            .unwrap();
        let mut stream = Stream { reader: BufReader::new(stream), text: Vec::new() };
        let head = stream.line();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        while !stream.line().is_empty() {}
        stream
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait("the end of the daemon", || self.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops it cleanly.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.terminate();
        let status = self.ended();
        assert!(status.success(), "{status}; log:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4_000);
            eprintln!("the daemon's log ended with:\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

/// A stream of Server-Sent Events.
pub(crate) struct Stream {
    reader: BufReader<UnixStream>,
    /// What has come of messages, without the chunks' framing.
    text: Vec<u8>,
}

/// One message of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// Empty where it has none.
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Stream {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Message {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.text.drain(..end + 2).collect();
                let message = String::from_utf8(message).unwrap();
                let field = |name: &str| {
                    let mut lines = message.lines();
                    lines.find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let Some(data) = field("data: ") else {
                    continue;
                };
                let message = Message {
                    id: field("id: ").unwrap_or_default(),
                    event: field("event: ").unwrap(),
                    data: serde_json::from_str(&data).unwrap(),
                };
                if message.data.get("event_type").is_some() {
                    super::schema::assert_valid_event(&message.data);
                }
                return message;
            }
            let size = self.line();
            let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("{size:?}"));
            assert!(size > 0, "the stream ended");
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            self.text.extend_from_slice(&chunk[..size]);
        }
    }
}

/// What an event says of an artifact.
#[derive(Debug, Clone, PartialEq)]
enum Folded {
    Present(Vec<Value>),
    Missing(Value),
}

/// The journal as far as it was read, and what follows from it. Reading on holds that numbers
/// have no hole, that identities are unique, and that no event is without a change.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    cursor: Option<String>,
    pub(crate) events: Vec<Value>,
    ids: HashSet<String>,
    /// By root, feature and path.
    folded: BTreeMap<(String, String, String), Folded>,
    /// By root and feature: the last snapshot and drift.
    verdicts: BTreeMap<(String, String), (Value, Option<Value>)>,
}

impl Journal {
    /// Reads what has come; gives it.
    #[track_caller]
    pub(crate) fn read(&mut self, daemon: &Daemon) -> Vec<Value> {
        let mut new = Vec::new();
        loop {
            let since = self.cursor.as_deref().unwrap_or("start");
            let page = daemon.json(&format!("/api/events?since={since}"));
            assert_eq!(page["gap"], false, "{page:#}");
            self.cursor = Some(page["next"].as_str().unwrap().to_owned());
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return new;
            }
            for event in events {
                self.take(event);
                new.push(event.clone());
            }
        }
    }

    #[track_caller]
    fn take(&mut self, event: &Value) {
        super::schema::assert_valid_event(event);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(event["seq"], self.events.len() + 1, "a hole or a repeat before {event:#}");
        assert!(self.ids.insert(text(&event["event_id"])), "an id twice: {event:#}");
        let feature = (text(&event["root_id"]), text(&event["feature_slug"]));
        let payload = &event["payload"];
        let place = |path: &Value| (feature.0.clone(), feature.1.clone(), text(path));
        match event["event_type"].as_str().unwrap() {
            "mission_dossier_artifact_indexed" => {
                let said = [
                    "content_hash_sha256",
                    "artifact_key",
                    "artifact_class",
                    "wp_id",
                    "step_id",
                    "required_status",
                ];
                let said = said.iter().map(|name| payload[name].clone()).collect();
                let place = place(&payload["relative_path"]);
                let before = self.folded.insert(place, Folded::Present(said));
                assert_ne!(
                    before.as_ref(),
                    self.folded.get(&Self::place_of(event)),
                    "an event without a change: {event:#}"
                );
                let added = payload["change"] == "added";
                let fresh = match &before {
                    None => true,
                    Some(Folded::Missing(why)) => why == "deleted_after_scan",
                    Some(Folded::Present(_)) => false,
                };
                assert!(!added || fresh, "added, but was there: {event:#}, before: {before:?}");
            }
            "mission_dossier_artifact_missing" if !payload["relative_path"].is_null() => {
                let now = Folded::Missing(payload["reason_code"].clone());
                let before = self.folded.insert(place(&payload["relative_path"]), now.clone());
                assert_ne!(before, Some(now), "an event without a change: {event:#}");
                let gone = payload["reason_code"] == "deleted_after_scan";
                assert!(!gone || before.is_some(), "deleted what was never there: {event:#}");
            }
            "mission_dossier_snapshot_computed" => {
                let mut said = payload.clone();
                said.as_object_mut().unwrap().remove("snapshot_id");
                let known = self.verdicts.entry(feature).or_default();
                assert_ne!(known.0, said, "an event without a change: {event:#}");
                if !["drifted", "key_mismatch"].iter().any(|state| said["drift_state"] == *state) {
                    known.1 = None;
                }
                known.0 = said;
            }
            "mission_dossier_parity_drift_detected" => {
                let mut said = payload.clone();
                said.as_object_mut().unwrap().remove("local_parity_hash");
                let known = self.verdicts.entry(feature).or_default();
                assert_ne!(known.1.as_ref(), Some(&said), "an event without a change: {event:#}");
                known.1 = Some(said);
            }
            other => assert_eq!(other, "mission_dossier_artifact_missing"),
        }
        self.events.push(event.clone());
    }

    fn place_of(event: &Value) -> (String, String, String) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let payload = &event["payload"];
        (text(&event["root_id"]), text(&event["feature_slug"]), text(&payload["relative_path"]))
    }

    /// Path and hash of each present artifact, by the events.
    pub(crate) fn present(&self, root_id: &str, feature: &str) -> BTreeMap<String, String> {
        self.folded
            .iter()
            .filter(|((root, slug, _), _)| root == root_id && slug == feature)
            .filter_map(|((_, _, path), folded)| match folded {
                Folded::Present(said) => Some((path.clone(), said[0].as_str().unwrap().to_owned())),
                Folded::Missing(_) => None,
            })
            .collect()
    }
}

/// Path and hash of each present artifact of a snapshot.
pub(crate) fn present_of(snapshot: &Value) -> BTreeMap<String, String> {
    let all = snapshot["artifact_summaries"].as_array().unwrap();
    let present = all.iter().filter(|artifact| artifact["is_present"] == true);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    present
        .map(|artifact| (text(&artifact["relative_path"]), text(&artifact["content_hash_sha256"])))
        .collect()
}

/// A snapshot without what differs between two of one state.
pub(crate) fn state_of(mut snapshot: Value) -> Value {
    let fields = snapshot.as_object_mut().unwrap();
    fields.remove("snapshot_id").unwrap();
    fields.remove("computed_at").unwrap();
    snapshot
}

/// Holds that the daemon shows exactly what a scan sees, and that its journal says the same. Gives
/// the events that have come since `journal` was last read.
#[track_caller]
pub(crate) fn law(project: &Project, daemon: &Daemon, journal: &mut Journal) -> Vec<Value> {
    let status = daemon.status();
    let root = project.root.to_str().unwrap();
    let projects = status["projects"].as_array().unwrap();
    let shown = projects.iter().find(|shown| shown["root"] == root).unwrap();
    let features = shown["features"].as_array().unwrap();
    let scanned = project.snapshots();
    let live = features.iter().filter(|feature| feature["watch"] != "gone").count();
    assert_eq!(live, scanned.len(), "{status:#}");
    let exported: Vec<Value> = scanned
        .iter()
        .map(|snapshot| daemon.export(snapshot["feature_slug"].as_str().unwrap()))
        .collect();
    let new = journal.read(daemon);
    for (scan, export) in scanned.into_iter().zip(exported) {
        let slug = scan["feature_slug"].as_str().unwrap().to_owned();
        let present = present_of(&export);
        same(&state_of(export), &state_of(scan));
        let folded = journal.present(shown["root_id"].as_str().unwrap(), &slug);
        assert_eq!(folded, present, "the journal of `{slug}` says something else");
    }
    for gone in features.iter().filter(|feature| feature["watch"] == "gone") {
        let slug = gone["feature_slug"].as_str().unwrap();
        let left = journal.present(shown["root_id"].as_str().unwrap(), slug);
        assert_eq!(left, BTreeMap::new(), "the journal of `{slug}`, which is gone");
    }
    new
}

/// Holds that two snapshots are equal, and names the artifacts that are not.
#[track_caller]
pub(crate) fn same(live: &Value, scanned: &Value) {
    if live == scanned {
        return;
    }
    let list = |value: &Value| value["artifact_summaries"].as_array().unwrap().clone();
    let (left, right) = (list(live), list(scanned));
    let only_live: Vec<_> = left.iter().filter(|entry| !right.contains(entry)).collect();
    let only_scan: Vec<_> = right.iter().filter(|entry| !left.contains(entry)).collect();
    panic!(
        "live only: {only_live:#?}\nscanned only: {only_scan:#?}\nlive: {live}\nscan: {scanned}"
    );
}

/// The artifact events of `events` as `(change or reason, path)`.
pub(crate) fn changes(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let artifact = |event: &&Value| event["event_type"].as_str().unwrap().contains("_artifact_");
    events
        .iter()
        .filter(artifact)
        .map(|event| {
            let payload = &event["payload"];
            let what = payload.get("change").unwrap_or(&payload["reason_code"]);
            (text(what), text(&payload["relative_path"]))
        })
        .collect()
}
