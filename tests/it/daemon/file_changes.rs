//! What the daemon sees: bursts, saves as editors do them, files that are still written, directories
//! that move, and every file that steers. Each is held against a fresh scan and the journal.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::invariants::{
    JournalReader, artifact_changes, assert_invariants, present_artifacts,
};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, sha256, write_file};

/// A new path counts after this long without an event (contract, section 5).
const APPEAR: Duration = Duration::from_millis(50);
/// One that vanished, after this long.
const VANISH: Duration = Duration::from_millis(100);

/// Holds that a snapshot has as present exactly the files of a directory.
#[track_caller]
fn oracle(export: &Value, folder: &Path) {
    let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
    let disk: BTreeMap<String, String> = crate::support::present_files(folder)
        .into_iter()
        .map(|(path, bytes)| (text(path), sha256(&bytes)))
        .collect();
    assert_eq!(present_artifacts(export), disk);
}

#[test]
fn files_made_at_once_in_new_folders_are_all_seen() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let folders = 500;
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let project = &project;
            scope.spawn(move || {
                for number in (thread..folders).step_by(threads) {
                    // Some are features of their own, some lie deep in one.
                    let folder = match number % 5 {
                        0 => project.root.join(format!("kitty-specs/1{number:03}-new/tasks")),
                        _ => project.feature_dir().join(format!("research/{number}/tasks")),
                    };
                    fs::create_dir_all(&folder).unwrap();
                    for file in 0..20 {
                        fs::write(folder.join(format!("{file}.md")), format!("{number} {file}"))
                            .unwrap();
                    }
                }
            });
        }
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    oracle(&daemon.export(FEATURE), &project.feature_dir());
    let changes = artifact_changes(&new);
    let added = changes.iter().filter(|(change, _)| change == "added").count();
    assert_eq!(added, folders * 20);
    // A writer that was kept waiting between making a file and writing to it is seen doing both.
    let first = |path: &str| {
        let of = |event: &&Value| event["payload"]["relative_path"] == path;
        let mut before = new.iter().filter(of).map(|event| &event["payload"]);
        let empty = before.any(|payload| payload["content_hash_sha256"] == sha256(b""));
        if empty { "empty" } else { "half" }
    };
    let mut twice = 0;
    for (change, path) in changes.iter().filter(|(change, path)| change != "added" && path != "-") {
        assert_eq!((change.as_str(), first(path)), ("modified", "empty"), "{path}");
        twice += 1;
    }
    assert!(twice < added / 100, "{twice} files were indexed half written");
    daemon.stop();
}

/// A save, as some program does it: the text to leave at a path, where that is not below the
/// feature the directory to work in; gives how long a file lay there that is not the one meant, or the
/// one meant was away.
type Save = fn(&Path, &Path, &str) -> Duration;

fn sed(path: &Path, _: &Path, text: &str) -> Duration {
    let begun = Instant::now();
    let script = format!("s/.*/{text}/");
    assert!(Command::new("sed").arg("-i").arg(script).arg(path).status().unwrap().success());
    begun.elapsed()
}

/// `:w` of vim with `backupcopy=no`.
fn vim(path: &Path, _: &Path, text: &str) -> Duration {
    let backup = path.with_extension("md~");
    let begun = Instant::now();
    fs::rename(path, &backup).unwrap();
    let mut file = File::create(path).unwrap();
    writeln!(file, "{text}").unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::remove_file(&backup).unwrap();
    begun.elapsed()
}

fn rename(path: &Path, _: &Path, text: &str) -> Duration {
    let new = path.with_extension("new");
    let begun = Instant::now();
    let mut file = File::create(&new).unwrap();
    writeln!(file, "{text}").unwrap();
    file.sync_all().unwrap();
    fs::rename(&new, path).unwrap();
    begun.elapsed()
}

fn mv(path: &Path, elsewhere: &Path, text: &str) -> Duration {
    let new = elsewhere.join(path.file_name().unwrap());
    fs::write(&new, format!("{text}\n")).unwrap();
    assert!(Command::new("mv").arg("-f").arg(&new).arg(path).status().unwrap().success());
    Duration::ZERO
}

#[test]
fn saves_are_changes_of_the_file_and_of_nothing_else() {
    const SAVES: usize = 200;
    let kinds: [(&str, Save); 4] = [("sed", sed), ("vim", vim), ("rename", rename), ("mv", mv)];
    let project = Project::complete();
    let elsewhere = project.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let paced = [("paced", Duration::from_millis(20)), ("at-once", Duration::ZERO)];
    let files: Vec<(String, Save, Duration)> = paced
        .iter()
        .flat_map(|(pace, pause)| {
            kinds.iter().map(move |(kind, save)| (format!("{kind}-{pace}.md"), *save, *pause))
        })
        .collect();
    for (name, ..) in &files {
        write_file(&project.feature_dir().join(name), b"first\n");
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let slowest: BTreeMap<String, Duration> = std::thread::scope(|scope| {
        let (project, elsewhere) = (&project, &elsewhere);
        let saving = files.iter().map(|(name, save, pause)| {
            let path = project.feature_dir().join(name);
            let run = move || {
                let mut slowest = Duration::ZERO;
                for number in 0..SAVES {
                    slowest = slowest.max(save(&path, elsewhere, &format!("text {number}")));
                    // The pace of the one who saves, not a condition.
                    std::thread::sleep(*pause);
                }
                (name.clone(), slowest)
            };
            scope.spawn(run)
        });
        let saving: Vec<_> = saving.collect();
        saving.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    let export = daemon.export(FEATURE);
    let present = present_artifacts(&export);
    let last = sha256(format!("text {}\n", SAVES - 1).as_bytes());
    for (name, ..) in &files {
        assert_eq!(present[name], last, "{name}");
    }
    let took = |path: &str| {
        let file = path.replace(".md~", ".md").replace(".new", ".md");
        match slowest.get(&file) {
            Some(slowest) => *slowest,
            // `sed` names its own files.
            None => slowest
                .iter()
                .filter(|(name, _)| name.starts_with("sed"))
                .map(|(_, it)| *it)
                .max()
                .unwrap(),
        }
    };
    let mut modified = BTreeMap::<String, usize>::new();
    for (change, path) in artifact_changes(&new) {
        let known = files.iter().any(|(name, ..)| *name == path);
        match change.as_str() {
            "modified" if known => *modified.entry(path).or_default() += 1,
            // A disk that keeps a save waiting makes a change of what should be none.
            "deleted_after_scan" | "added" | "restored" if known => {
                assert!(took(&path) >= VANISH / 2, "{change} {path}, saved in {:?}", took(&path));
            }
            // The kernel tells of the name later than it was made.
            _ => assert!(took(&path) >= APPEAR / 2, "{change} {path}, saved in {:?}", took(&path)),
        }
    }
    for (name, ..) in &files {
        let seen = modified.get(name).copied().unwrap_or_default();
        // Now and then the look for one save meets the next, whose file is still empty.
        assert!((1..=SAVES + SAVES / 10).contains(&seen), "{name}: {seen} changes");
    }
    daemon.stop();
}

#[test]
fn a_file_that_is_written_in_pieces_is_shown_only_as_it_was() {
    let project = Project::complete().artifact("known.bin", "");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let content: Vec<u8> =
        (0..10_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for name in ["known.bin", "new.bin"] {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(project.feature_dir().join(name))
            .unwrap();
        for piece in content.chunks(100_000) {
            file.write_all(piece).unwrap();
            // The pace of the one who writes.
            std::thread::sleep(Duration::from_millis(8));
        }
        drop(file);
        let new = assert_invariants(&project, &daemon, &mut journal);
        let mut last = String::new();
        for event in &new {
            let payload = &event["payload"];
            if event["event_type"] != "mission_dossier_artifact_indexed" {
                continue;
            }
            assert_eq!(payload["relative_path"], name, "{event:#}");
            let size = usize::try_from(payload["size_bytes"].as_u64().unwrap()).unwrap();
            last = payload["content_hash_sha256"].as_str().unwrap().to_owned();
            assert_eq!(last, sha256(&content[..size]), "{size} bytes");
        }
        assert_eq!(last, sha256(&content));
        let events = artifact_changes(&new).len();
        assert!((1..=10).contains(&events), "{name}: {events} events of one file being written");
    }
    daemon.stop();
}

/// Writes other bytes of the same number, and puts the time of modification back.
fn rewrite_in_secret(path: &Path, text: &str) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), text.len() as u64);
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    drop(file);
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), before.modified().unwrap());
}

type Act = fn(&Project);
type Expect = fn(&[(String, String)]);

/// What is done to files, and the changes that must come of it.
const FILE_CHANGES: [(&str, Act, Expect); 9] = [
    (
        "other bytes, same size, same time",
        |project| rewrite_in_secret(&project.feature_dir().join("plan.md"), "# Nalp\n"),
        |changes| assert_eq!(changes, [("modified".into(), "plan.md".into())]),
    ),
    (
        "a touch",
        |project| {
            let file =
                File::options().write(true).open(project.feature_dir().join("spec.md")).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        },
        |changes| assert_eq!(changes, []),
    ),
    (
        "a folder moved in",
        |project| {
            for name in ["a.md", "deep/b.md", "deep/er/c.md"] {
                project.write(&format!("outside/{name}"), name);
            }
            fs::rename(project.root.join("outside"), project.feature_dir().join("in")).unwrap();
        },
        |changes| {
            assert_eq!(places(changes, "added"), ["in/a.md", "in/deep/b.md", "in/deep/er/c.md"]);
        },
    ),
    (
        "a file in the folder that was moved in",
        |project| write_file(&project.feature_dir().join("in/deep/er/d.md"), b"d"),
        |changes| assert_eq!(places(changes, "added"), ["in/deep/er/d.md"]),
    ),
    (
        "a folder moved within",
        |project| {
            fs::rename(project.feature_dir().join("in"), project.feature_dir().join("within"))
                .unwrap();
        },
        |changes| {
            assert_eq!(places(changes, "added").len(), 4);
            assert_eq!(places(changes, "deleted_after_scan").len(), 4);
        },
    ),
    (
        "the old name made again, and files under both names",
        |project| {
            write_file(&project.feature_dir().join("in/deep/new.md"), b"new");
            write_file(&project.feature_dir().join("within/deep/new.md"), b"new");
        },
        |changes| assert_eq!(places(changes, "added"), ["in/deep/new.md", "within/deep/new.md"]),
    ),
    (
        "a file in the folder that was moved within",
        |project| write_file(&project.feature_dir().join("within/deep/er/d.md"), b"changed"),
        |changes| assert_eq!(places(changes, "modified"), ["within/deep/er/d.md"]),
    ),
    (
        "a folder moved out, and written to there",
        |project| {
            fs::rename(project.feature_dir().join("within"), project.root.join("out")).unwrap();
            project.write("out/a.md", "not ours any more");
        },
        |changes| assert_eq!(places(changes, "deleted_after_scan").len(), 5),
    ),
    (
        "a folder where a file was, and a file where a folder was",
        |project| {
            fs::remove_dir_all(project.feature_dir().join("in")).unwrap();
            write_file(&project.feature_dir().join("in"), b"a file");
            fs::remove_file(project.feature_dir().join("tasks.md")).unwrap();
            write_file(&project.feature_dir().join("tasks.md/x.md"), b"x");
        },
        |changes| {
            assert_eq!(places(changes, "added"), ["in", "tasks.md/x.md"]);
            assert_eq!(places(changes, "deleted_after_scan"), ["in/deep/new.md", "tasks.md"]);
        },
    ),
];

fn places<'c>(changes: &'c [(String, String)], what: &str) -> Vec<&'c str> {
    let mut places: Vec<&str> = changes
        .iter()
        .filter(|(change, _)| change == what)
        .map(|(_, path)| path.as_str())
        .collect();
    places.sort_unstable();
    places
}

/// Lets `act` happen while a daemon runs, or between two.
fn act(project: &Project, daemon: Daemon, down: bool, act: Act) -> Daemon {
    if down {
        daemon.stop();
        act(project);
        return project.start_daemon();
    }
    act(project);
    daemon
}

#[test]
fn files_and_folders_change_live_and_while_down() {
    for down in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in FILE_CHANGES {
            eprintln!("{name}, down: {down}");
            daemon = act(&project, daemon, down, change);
            let new = assert_invariants(&project, &daemon, &mut journal);
            expect(&artifact_changes(&new));
        }
        daemon.stop();
    }
}

const MANIFEST: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";
const RUNS: &str = ".kittify/runtime/feature-runs.json";

fn manifest(version: &str, pattern: &str) -> String {
    format!(
        "mission_type: software-dev\nmanifest_version: \"{version}\"\nrequired_always:\n  \
         - {{artifact_key: input.own, artifact_class: input, path_pattern: {pattern}, blocking: true}}\n"
    )
}

/// A change of what steers, and what must hold of the overview afterwards.
type Steering = (&'static str, Act, fn(&Value));

#[track_caller]
fn drift_is(overview: &Value, state: &str) {
    assert_eq!(overview["drift"]["state"], state, "{overview:#}");
}

const STEERING: [Steering; 29] = [
    (
        "a manifest appears",
        |project| project.write(MANIFEST, manifest("7", "own.md")),
        |overview| {
            assert_eq!(overview["manifest_version"], "7");
            assert_eq!(overview["missing_required_count"], 1);
        },
    ),
    (
        "it is edited",
        |project| project.write(MANIFEST, manifest("8", "spec.md")),
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "it breaks",
        |project| project.write(MANIFEST, "mission_type: ["),
        |overview| assert_eq!(overview["completeness_status"], "unknown"),
    ),
    (
        "its folder is removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/overrides")).unwrap(),
        |overview| {
            assert_eq!(overview["completeness_status"], "complete");
            assert_ne!(overview["manifest_version"], "7");
        },
    ),
    (
        "its folder comes again, with another",
        |project| project.write(MANIFEST, manifest("9", "other.md")),
        |overview| assert_eq!(overview["manifest_version"], "9"),
    ),
    (
        "and that is edited",
        |project| project.write(MANIFEST, manifest("10", "other.md")),
        |overview| assert_eq!(overview["manifest_version"], "10"),
    ),
    (
        "a lower layer does not matter",
        |project| {
            project.write(
                ".kittify/missions/software-dev/expected-artifacts.yaml",
                manifest("11", "low.md"),
            );
        },
        |overview| assert_eq!(overview["manifest_version"], "10"),
    ),
    (
        "until it is the highest",
        |project| fs::remove_file(project.root.join(MANIFEST)).unwrap(),
        |overview| assert_eq!(overview["manifest_version"], "11"),
    ),
    (
        "and goes",
        |project| fs::remove_dir_all(project.root.join(".kittify/missions")).unwrap(),
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "the user's own layer appears",
        |project| {
            let missions = project.home().join(".config/dossierd/missions/software-dev");
            write_file(
                &missions.join("expected-artifacts.yaml"),
                manifest("12", "user.md").as_bytes(),
            );
        },
        |overview| assert_eq!(overview["manifest_version"], "12"),
    ),
    (
        "is edited",
        |project| {
            let missions = project.home().join(".config/dossierd/missions/software-dev");
            write_file(
                &missions.join("expected-artifacts.yaml"),
                manifest("13", "user.md").as_bytes(),
            );
        },
        |overview| assert_eq!(overview["manifest_version"], "13"),
    ),
    (
        "and goes",
        |project| {
            fs::remove_dir_all(project.home().join(".config/dossierd/missions")).unwrap();
        },
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "a run begins",
        |project| {
            let run =
                json!({"run_id": "r", "run_dir": ".kittify/runtime/runs/r", "mission_key": "m"});
            project
                .write(".kittify/runtime/runs/r/state.json", "{\"issued_step_id\": \"discovery\"}");
            project.write(RUNS, json!({FEATURE: run}).to_string());
        },
        |overview| {
            assert_eq!(overview["step"], "discovery");
            assert_eq!(overview["step_source"], "runtime");
        },
    ),
    (
        "its step changes",
        |project| {
            project.write(".kittify/runtime/runs/r/state.json", "{\"issued_step_id\": \"plan\"}");
        },
        |overview| assert_eq!(overview["step"], "plan"),
    ),
    (
        "by a rename over",
        |project| {
            project.write(".kittify/runtime/runs/r/new", "{\"issued_step_id\": \"specify\"}");
            let run = project.root.join(".kittify/runtime/runs/r");
            fs::rename(run.join("new"), run.join("state.json")).unwrap();
        },
        |overview| assert_eq!(overview["step"], "specify"),
    ),
    (
        "a run somewhere else in the project",
        |project| {
            let run = json!({"run_id": "s", "run_dir": "build/runs/s", "mission_key": "m"});
            project.write("build/runs/s/state.json", "{\"issued_step_id\": \"plan\"}");
            project.write(RUNS, json!({FEATURE: run}).to_string());
        },
        |overview| assert_eq!(overview["step"], "plan"),
    ),
    (
        "its step changes",
        |project| project.write("build/runs/s/state.json", "{\"issued_step_id\": \"implement\"}"),
        |overview| assert_eq!(overview["step"], "implement"),
    ),
    (
        "no run any more",
        |project| fs::remove_dir_all(project.root.join(".kittify/runtime")).unwrap(),
        |overview| assert_eq!(overview["step_source"], "none"),
    ),
    (
        "a git repository appears",
        |project| {
            // Without the branch in `meta.json`, that of git counts.
            project.write(&format!("kitty-specs/{FEATURE}/meta.json"), "{}");
            project.write(".git/HEAD", "ref: refs/heads/main\n");
        },
        |overview| drift_is(overview, "no_baseline"),
    ),
    (
        "a baseline is accepted",
        |project| {
            project.run(&["baseline", "accept", FEATURE]).assert_success();
            assert_eq!(project.baseline()["baseline_key"]["target_branch"], "main");
        },
        |overview| drift_is(overview, "in_parity"),
    ),
    (
        "the branch is switched",
        |project| {
            project.write(".git/HEAD.lock", "ref: refs/heads/other\n");
            let git = project.root.join(".git");
            fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
        },
        |overview| drift_is(overview, "key_mismatch"),
    ),
    (
        "and back",
        |project| {
            project.write(".git/HEAD.lock", "ref: refs/heads/main\n");
            let git = project.root.join(".git");
            fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
        },
        |overview| drift_is(overview, "in_parity"),
    ),
    (
        "the project gets another identity",
        |project| project.write(".kittify/config.yaml", "project: {node_id: other}\n"),
        |overview| drift_is(overview, "key_mismatch"),
    ),
    (
        "and its own again",
        |project| {
            project.write(
                ".kittify/config.yaml",
                "project: {uuid: 11111111-2222-4333-8444-555555555555, node_id: abcdef123456}\n",
            );
        },
        |overview| drift_is(overview, "in_parity"),
    ),
    (
        "the baseline is changed by hand",
        |project| {
            let text = fs::read_to_string(project.baseline_file()).unwrap();
            let spec = sha256(b"# Spec\n");
            let text = text.replace(&spec, &sha256(b"something else"));
            write_file(&project.baseline_file(), text.as_bytes());
        },
        |overview| {
            drift_is(overview, "drifted");
            assert_eq!(overview["drift"]["changed"].as_array().unwrap().len(), 1);
        },
    ),
    (
        "and broken",
        |project| write_file(&project.baseline_file(), b"{"),
        |overview| drift_is(overview, "baseline_corrupt"),
    ),
    (
        "and its folder removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/dossiers")).unwrap(),
        |overview| drift_is(overview, "no_baseline"),
    ),
    (
        "one is accepted again",
        |project| {
            project.run(&["baseline", "accept", FEATURE]).assert_success();
        },
        |overview| drift_is(overview, "in_parity"),
    ),
    (
        "another mission",
        |project| {
            project
                .write(&format!("kitty-specs/{FEATURE}/meta.json"), "{\"mission\": \"research\"}");
        },
        |overview| {
            assert_eq!(overview["mission"], "research");
            drift_is(overview, "key_mismatch");
        },
    ),
];

#[test]
fn what_steers_changes_live_and_while_down() {
    for down in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in STEERING {
            eprintln!("{name}, down: {down}");
            daemon = act(&project, daemon, down, change);
            let overview = daemon.overview(FEATURE);
            expect(&overview);
            if overview["completeness_status"] == "unknown" {
                // The daemon goes on with the last good manifest, which a fresh scan does not know.
                journal.read_new(&daemon);
            } else {
                assert_invariants(&project, &daemon, &mut journal);
            }
            let announced = journal
                .events
                .iter()
                .rev()
                .find(|event| event["event_type"] == "mission_dossier_snapshot_computed");
            let announced = &announced.unwrap()["payload"];
            assert_eq!(announced["drift_state"], overview["drift"]["state"]);
            assert_eq!(announced["completeness_status"], overview["completeness_status"]);
        }
        let drifts: Vec<&Value> = journal
            .events
            .iter()
            .filter(|event| event["event_type"] == "mission_dossier_parity_drift_detected")
            .map(|event| &event["payload"])
            .collect();
        // Two mismatches of keys, one drift, another mission.
        assert_eq!(drifts.len(), 4, "{drifts:#?}");
        daemon.stop();
    }
}

/// What happens to whole features, and which are seen afterwards.
const FEATURE_CHANGES: [(&str, Act, &[&str]); 9] = [
    (
        "one appears",
        |project| project.write("kitty-specs/002-new/spec.md", "x"),
        &["001-x live", "002-new live"],
    ),
    (
        "one vanishes",
        |project| fs::remove_dir_all(project.root.join("kitty-specs/002-new")).unwrap(),
        &["001-x live", "002-new gone"],
    ),
    (
        "it returns",
        |project| project.write("kitty-specs/002-new/spec.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "and is seen",
        |project| project.write("kitty-specs/002-new/tasks/WP01.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "it is replaced at once",
        |project| {
            fs::remove_dir_all(project.root.join("kitty-specs/002-new")).unwrap();
            project.write("kitty-specs/002-new/plan.md", "z");
            project.write("kitty-specs/002-new/tasks/WP02.md", "z");
        },
        &["001-x live", "002-new live"],
    ),
    (
        "and is seen",
        |project| project.write("kitty-specs/002-new/tasks/WP03.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "two change places",
        |project| {
            let specs = project.root.join("kitty-specs");
            fs::rename(specs.join("002-new"), project.root.join("aside")).unwrap();
            fs::rename(specs.join("001-x"), specs.join("002-new")).unwrap();
            fs::rename(project.root.join("aside"), specs.join("001-x")).unwrap();
        },
        &["001-x live", "002-new live"],
    ),
    (
        "the folder of all is replaced",
        |project| {
            fs::rename(project.root.join("kitty-specs"), project.root.join("old")).unwrap();
            project.write("kitty-specs/001-x/spec.md", "new");
            project.write("kitty-specs/003-z/spec.md", "new");
        },
        &["001-x live", "002-new gone", "003-z live"],
    ),
    (
        "and all are seen",
        |project| {
            project.write("kitty-specs/001-x/plan.md", "new");
            project.write("kitty-specs/003-z/tasks/WP01.md", "new");
            project.write("kitty-specs/004-z/spec.md", "new");
        },
        &["001-x live", "002-new gone", "003-z live", "004-z live"],
    ),
];

#[test]
fn features_appear_and_vanish_live_and_while_down() {
    for down in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in FEATURE_CHANGES {
            eprintln!("{name}, down: {down}");
            daemon = act(&project, daemon, down, change);
            assert_invariants(&project, &daemon, &mut journal);
            let status = daemon.status();
            let seen: Vec<String> = status["projects"][0]["features"]
                .as_array()
                .unwrap()
                .iter()
                .map(|feature| {
                    let text = |name: &str| feature[name].as_str().unwrap();
                    format!("{} {}", text("feature_slug"), text("watch"))
                })
                .collect();
            assert_eq!(seen, expect);
        }
        daemon.stop();
    }
}

#[test]
fn a_feature_made_just_before_the_request_is_seen_by_it() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for number in 10..30 {
        let slug = format!("0{number}-new");
        project.write(&format!("kitty-specs/{slug}/spec.md"), "x");
        oracle(&daemon.export(&slug), &project.root.join("kitty-specs").join(&slug));
    }
    daemon.stop();
}

#[test]
fn a_touch_and_a_temporary_file_are_no_events() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    for _ in 0..100 {
        let file = project.feature_dir().join("4913");
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
        let spec =
            File::options().append(true).open(project.feature_dir().join("spec.md")).unwrap();
        spec.set_modified(std::time::SystemTime::now()).unwrap();
    }
    assert_eq!(assert_invariants(&project, &daemon, &mut journal), [] as [Value; 0]);
    wait_for("a settled feature", || (daemon.overview(FEATURE)["watch"] == "live").then_some(()));
    daemon.stop();
}
