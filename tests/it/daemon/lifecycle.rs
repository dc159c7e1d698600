//! The daemon's own life: one at a time, clean and unclean ends, the socket, restarts that open
//! nothing, the file it projects, several projects, and how clients come back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run, sha256, write_file};

/// A stop that has nothing left to do takes much less.
const STOP_MAX: Duration = Duration::from_secs(5);

#[test]
fn of_fifty_that_start_at_once_one_lives() {
    const STARTS: usize = 50;
    let project = Project::complete();
    let mut daemons: Vec<Daemon> =
        (0..STARTS).map(|_| project.spawn_daemon(project.daemon_command())).collect();
    wait_for("49 that give up", || {
        let living = daemons.iter_mut().filter_map(|daemon| daemon.is_running().then_some(()));
        (living.count() == 1).then_some(())
    });
    let place = daemons.iter_mut().position(Daemon::is_running).unwrap();
    let first = daemons.remove(place);
    for mut other in daemons {
        assert!(!other.wait_for_exit().success());
    }
    first.wait_until_ready();
    assert_invariants(&project, &first, &mut JournalReader::default());
    assert_eq!(first.status()["pid"], first.child_id());
    first.kill();
    assert!(project.socket().exists(), "a killed one leaves its socket");
    let next = project.start_daemon();
    assert_invariants(&project, &next, &mut JournalReader::default());
    next.stop();
    assert!(!project.socket().exists(), "a clean stop takes the socket away");
}

#[test]
fn its_heap_is_kept_small_unless_someone_says_otherwise() {
    let project = Project::complete();
    let settings = |said: &[(&str, &str)]| {
        let daemon = project.spawn_daemon({
            let mut command = project.daemon_command();
            command.envs(said.iter().copied());
            command
        });
        daemon.wait_until_ready();
        let environment = fs::read(format!("/proc/{}/environ", daemon.child_id())).unwrap();
        let name = fs::read_to_string(format!("/proc/{}/comm", daemon.child_id())).unwrap();
        assert_eq!(name, "dossierd\n");
        daemon.stop();
        let settings = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut settings: Vec<String> = settings
            .filter(|setting| setting.starts_with("MALLOC_"))
            .map(std::borrow::Cow::into_owned)
            .collect();
        settings.sort_unstable();
        settings
    };
    assert_eq!(settings(&[]), ["MALLOC_ARENA_MAX=2", "MALLOC_TRIM_THRESHOLD_=131072"]);
    let other = settings(&[("MALLOC_ARENA_MAX", "7")]);
    assert_eq!(other, ["MALLOC_ARENA_MAX=7", "MALLOC_TRIM_THRESHOLD_=131072"]);
}

#[test]
fn a_stop_is_quick_and_leaves_the_last_snapshot_behind() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    // A stream that never ends does not hold the stop up.
    let _stream = daemon.open_stream("", &[]);
    write_file(&project.feature_dir().join("spec.md"), b"# Spec, last words\n");
    let export = daemon.export(FEATURE);
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    let written = fs::read(snapshot_file(&project)).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), export);
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn the_socket_is_its_owners_alone() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&project.socket()), 0o600);
    assert_eq!(mode(project.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&project.state_dir()), 0o700);
    daemon.stop();
}

/// Puts something at the socket's place.
type Plant = fn(&Path);

#[test]
fn what_is_planted_at_the_sockets_place_is_refused_and_left() {
    let remove = "remove it, or choose another socket with --socket";
    let plant: [(&str, &str, Plant); 4] = [
        ("a symbolic link", remove, |path| symlink("/tmp/elsewhere.sock", path).unwrap()),
        ("not a socket", remove, |path| fs::write(path, "mine").unwrap()),
        ("not a socket", remove, |path| fs::create_dir(path).unwrap()),
        ("can be entered by other users", "or `chmod 700` this one if only you use it", |path| {
            let folder = path.parent().unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }),
    ];
    for (said, mend, plant) in plant {
        let project = Project::complete();
        let socket = project.socket();
        let folder = socket.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        plant(&socket);
        let before = fs::symlink_metadata(&socket).map(|found| found.file_type()).ok();
        let mut daemon = project.spawn_daemon(project.daemon_command());
        assert!(!daemon.wait_for_exit().success());
        assert!(daemon.log().contains(said), "{said}: {}", daemon.log());
        assert!(daemon.log().contains(mend), "{mend}: {}", daemon.log());
        let after = fs::symlink_metadata(&socket).map(|found| found.file_type()).ok();
        assert_eq!(before, after, "{said}");
    }
    // A socket that someone serves is left to them.
    let project = Project::complete();
    let socket = project.socket();
    write_file(&socket, b"");
    fs::remove_file(&socket).unwrap();
    let folder = socket.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    let served = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut daemon = project.spawn_daemon(project.daemon_command());
    assert!(!daemon.wait_for_exit().success());
    let log = daemon.log();
    assert!(log.contains("already answers") && log.contains("--socket"), "the mend: {log}");
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    drop(served);
    // One that nobody serves is not.
    project.start_daemon().stop();
}

/// `openat` of files of the feature while a daemon starts and becomes ready under `strace`; `None`
/// where there is none.
fn opened_at_start(project: &Project) -> Option<Vec<String>> {
    let trace = project.home().join("trace");
    let mut works = Command::new("strace");
    works.args(["-f", "-o"]).arg(&trace).arg("true").stderr(Stdio::null());
    if !works.status().is_ok_and(|status| status.success()) {
        not_run("which files a restart opens (no working `strace`)");
        return None;
    }
    let daemon_command = project.daemon_command();
    let command = project.command(&[]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", "trace=openat,openat2,open", "-o"]).arg(&trace);
    traced.arg(daemon_command.get_program()).args(daemon_command.get_args());
    traced.current_dir(&project.root).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut daemon = project.spawn_daemon(traced);
    daemon.wait_until_ready();
    daemon.status();
    // The signal is for the daemon, not for the one who traces it.
    let id = daemon.status()["pid"].as_i64().unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    daemon.wait_for_exit();
    let text = fs::read_to_string(&trace).unwrap();
    Some(text.lines().filter(|line| line.contains("artifact-")).map(str::to_owned).collect())
}

#[test]
fn a_restart_opens_no_unchanged_artifact() {
    const FILES: usize = 300;
    let project = Project::complete();
    for number in 0..FILES {
        let path =
            project.feature_dir().join(format!("research/{}/artifact-{number}.md", number % 7));
        write_file(&path, format!("{number}\n").as_bytes());
    }
    let Some(first) = opened_at_start(&project) else {
        return;
    };
    assert!(first.len() >= FILES, "a first start reads all: {}", first.len());
    let again = opened_at_start(&project).unwrap();
    assert_eq!(again, [] as [String; 0]);
    write_file(&project.feature_dir().join("research/3/artifact-3.md"), b"changed\n");
    let changed = opened_at_start(&project).unwrap();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|line| line.contains("artifact-3.md")), "{changed:#?}");
}

fn snapshot_file(project: &Project) -> std::path::PathBuf {
    project.root.join(format!(".kittify/dossiers/{FEATURE}/snapshot-latest.json"))
}

#[test]
fn the_projected_file_is_the_export_and_written_once_a_second_at_most() {
    const BUSY: Duration = Duration::from_millis(2_500);
    let project = Project::complete();
    let daemon = project.start_daemon();
    let file = snapshot_file(&project);
    let read = || {
        let text = fs::read_to_string(&file).ok()?;
        // Always whole: it is renamed over.
        let snapshot: Value = serde_json::from_str(&text).unwrap();
        Some((snapshot, fs::metadata(&file).ok()?.modified().ok()?))
    };
    wait_for("the first file", read);
    let begun = Instant::now();
    let mut written = std::collections::BTreeSet::new();
    let mut number = 0;
    while begun.elapsed() < BUSY {
        number += 1;
        write_file(&project.feature_dir().join("spec.md"), format!("{number}").as_bytes());
        written.extend(read().map(|(_, at)| at));
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that was there before, and one at the end of each second.
    let most = begun.elapsed().as_secs() + 2;
    assert!((2..=most).contains(&(written.len() as u64)), "{} times", written.len());
    let export = daemon.export(FEATURE);
    wait_for("the file of the present state", || (read()?.0 == export).then_some(()));
    let (_, at) = read().unwrap();
    daemon.stop();
    project.start_daemon().stop();
    assert_eq!(read().unwrap().1, at, "not written again when it says the same");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let (middle, end) = (whole.len() / 2, whole.len() - 1);
    flipped[middle] ^= 1;
    let more = [&whole[..], b" "].concat();
    let half = &whole[..middle];
    for damaged in [None, Some(half), Some(&flipped), Some(&whole[..end]), Some(&more), Some(b"")] {
        match damaged {
            Some(damaged) => fs::write(&file, damaged).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let daemon = project.start_daemon();
        let text = || fs::read(&file).unwrap_or_default();
        let made =
            || Some(serde_json::from_slice::<Value>(&text()).ok()? == daemon.export(FEATURE));
        wait_for("the file made again", || (text().ends_with(b"}\n") && made()?).then_some(()));
        daemon.stop();
    }
}

#[test]
fn the_projected_file_follows_what_no_count_and_no_hash_tells_of() {
    const MANIFEST: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";
    let manifest = |key: &str| {
        format!(
            "mission_type: software-dev\nrequired_always:\n  - {{artifact_key: {key}, \
             artifact_class: input, path_pattern: spec.md, blocking: true}}\n"
        )
    };
    let project = Project::complete().file(MANIFEST, manifest("input.one"));
    let link = |name: &str| project.feature_dir().join(name);
    std::os::unix::fs::symlink("nowhere", link("l1.md")).unwrap();
    let daemon = project.start_daemon();
    let file = || {
        let text = fs::read(snapshot_file(&project)).ok()?;
        let mut snapshot: Value = serde_json::from_slice(&text).unwrap();
        snapshot["computed_at"] = Value::Null;
        Some(snapshot)
    };
    let export = |daemon: &Daemon, shown: &str| {
        let mut export = daemon.export(FEATURE);
        export["computed_at"] = Value::Null;
        assert!(export.to_string().contains(&format!("\"{shown}\"")), "{export:#}");
        export
    };
    let follows = |daemon: &Daemon, shown: &str| {
        let export = export(daemon, shown);
        wait_for(&format!("the file with {shown}"), || (file()? == export).then_some(()));
    };
    follows(&daemon, "l1.md");
    fs::rename(link("l1.md"), link("l2.md")).unwrap();
    follows(&daemon, "l2.md");
    project.write(MANIFEST, manifest("input.two"));
    follows(&daemon, "input.two");
    // An absent spec that is expected somewhere else.
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    follows(&daemon, "input.two");
    project.write(MANIFEST, manifest("input.two").replace("spec.md", "other.md"));
    follows(&daemon, "other.md");
    // And on a stop it is not waited for.
    fs::rename(link("l2.md"), link("l3.md")).unwrap();
    let last = export(&daemon, "l3.md");
    daemon.stop();
    assert_eq!(file(), Some(last));
}

/// A second project beside the first, in the same daemon.
fn with_second(project: &Project) -> (Daemon, std::path::PathBuf) {
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let mut command = project.daemon_command();
    command.arg(&second);
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    (daemon, second)
}

#[test]
fn several_projects_are_kept_apart() {
    let project = Project::complete();
    let (daemon, second) = with_second(&project);
    let of = |feature: &str| {
        daemon.get_json(&format!("/api/dossier/snapshots/export?sync=true&{feature}"))
    };
    let hash = |snapshot: &Value, path: &str| {
        crate::support::find_artifact(snapshot, path)["content_hash_sha256"].clone()
    };
    assert_eq!(hash(&of("feature=005-own"), "spec.md"), sha256(b"own"));
    let root = second.to_str().unwrap();
    for named in ["second", root] {
        let snapshot = of(&format!("feature={FEATURE}&project={named}"));
        assert_eq!(hash(&snapshot, "spec.md"), sha256(b"second"));
    }
    let ambiguous = daemon.get(&format!("/api/dossier/overview?feature={FEATURE}"));
    problem(&ambiguous, 409);
    assert!(ambiguous.body.contains(root), "{ambiguous:?}");
    assert!(ambiguous.body.contains(project.root.to_str().unwrap()), "{ambiguous:?}");

    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"changed");
    let snapshot = of(&format!("feature={FEATURE}&project=second"));
    assert_eq!(hash(&snapshot, "spec.md"), sha256(b"changed"));
    let mut journal = JournalReader::default();
    let mut by_root = BTreeMap::<String, usize>::new();
    for event in journal.read_new(&daemon) {
        *by_root.entry(event["project"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(by_root.len(), 2, "one journal for both: {by_root:?}");
    assert!(by_root.contains_key("second"));
    let status = daemon.status();
    assert_eq!(status["projects"].as_array().unwrap().len(), 2);
    daemon.stop();
}

#[track_caller]
fn problem(answer: &crate::support::http::Response, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    for field in ["type", "title", "detail", "code"] {
        assert!(problem[field].is_string(), "`{field}` in {problem:#}");
    }
}

#[test]
fn what_cannot_be_answered_is_a_problem_document() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (target, status) in [
        ("/api/dossier/overview?feature=999-none", 404),
        ("/api/dossier/snapshots/export?feature=999-none&sync=true", 404),
        ("/api/dossier/overview", 400),
        ("/api/nothing", 404),
        ("/api/events?since=nonsense", 400),
        ("/api/events?limit=0", 400),
        ("/api/events?limit=1001", 400),
    ] {
        problem(&daemon.get(target), status);
    }
    assert_eq!(daemon.get("/healthz").body.trim(), "{\"status\":\"ok\"}");
    daemon.stop();
}

#[test]
fn a_cursor_that_leads_nowhere_is_a_gap() {
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
fn a_stream_goes_on_where_it_was_left() {
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

    // From the start, all of the journal, and then on.
    let mut seen = Vec::new();
    while seen.last() != Some(&computed) {
        seen.push(all.next());
    }
    let page = daemon.get_json("/api/events");
    let paged: Vec<Value> = page["events"].as_array().unwrap().clone();
    assert_eq!(seen.iter().map(|message| message.data.clone()).collect::<Vec<_>>(), paged);
    drop((live, all));

    // Away for a while, over a restart, and back: nothing missing, nothing twice.
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

#[test]
fn a_project_without_features_is_ready() {
    let project = Project::new();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn a_snapshot_file_that_cannot_be_written_is_said_and_written_when_it_can_be() {
    let project = Project::complete();
    let folder = project.root.join(".kittify/dossiers").join(FEATURE);
    write_file(&folder, b"in the way\n");
    let daemon = project.start_daemon();
    let detail = || daemon.status()["projects"][0]["watch"]["detail"].as_str().map(str::to_owned);
    let said = wait_for("what is wrong", detail);
    assert!(said.starts_with("cannot write the snapshot file of 001-x: "), "{said}");
    assert_eq!(daemon.status()["projects"][0]["watch"]["state"], "live");
    fs::remove_file(&folder).unwrap();
    write_file(&project.feature_dir().join("new.md"), b"new\n");
    wait_for("that it is well again", || detail().is_none().then_some(()));
    let file = folder.join("snapshot-latest.json");
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written, daemon.export(FEATURE));
    daemon.stop();
}
