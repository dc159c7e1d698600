//! Changes of files, directories, metadata and features: bursts, saves by editors, files that are
//! still being written, moves, replacements. After each change the invariants are checked.

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

/// Debounce time of a new path, see `docs/specification.md#settling`.
const APPEAR_DELAY: Duration = Duration::from_millis(50);
/// Time after which a path that no longer exists is a deletion.
const DELETION_DELAY: Duration = Duration::from_millis(100);

/// Checks that the present artifacts of a snapshot are exactly the files of a directory.
#[track_caller]
fn assert_matches_disk(export: &Value, dir: &Path) {
    let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
    let disk: BTreeMap<String, String> = crate::support::present_files(dir)
        .into_iter()
        .map(|(path, bytes)| (text(path), sha256(&bytes)))
        .collect();
    assert_eq!(present_artifacts(export), disk);
}

#[test]
fn files_created_in_new_directories_are_all_indexed() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let dirs = 500;
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let project = &project;
            scope.spawn(move || {
                for number in (thread..dirs).step_by(threads) {
                    // Some are new features, others are deep inside an existing one.
                    let dir = match number % 5 {
                        0 => project.root.join(format!("kitty-specs/1{number:03}-new/tasks")),
                        _ => project.feature_dir().join(format!("research/{number}/tasks")),
                    };
                    fs::create_dir_all(&dir).unwrap();
                    for file in 0..20 {
                        fs::write(dir.join(format!("{file}.md")), format!("{number} {file}"))
                            .unwrap();
                    }
                }
            });
        }
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_matches_disk(&daemon.export(FEATURE), &project.feature_dir());
    let changes = artifact_changes(&new);
    let added = changes.iter().filter(|(change, _)| change == "added").count();
    assert_eq!(added, dirs * 20);
    // A writer that is delayed between creating a file and writing to it causes two events.
    let first_content = |path: &str| {
        let of = |event: &&Value| event["payload"]["relative_path"] == path;
        let mut before = new.iter().filter(of).map(|event| &event["payload"]);
        let empty = before.any(|payload| payload["content_hash_sha256"] == sha256(b""));
        if empty { "empty" } else { "partial" }
    };
    let mut indexed_twice = 0;
    for (change, path) in changes.iter().filter(|(change, path)| change != "added" && path != "-") {
        assert_eq!((change.as_str(), first_content(path)), ("modified", "empty"), "{path}");
        indexed_twice += 1;
    }
    assert!(indexed_twice < added / 100, "{indexed_twice} files were indexed while empty");
    daemon.stop();
}

/// Saves a text to a path as some program does, with a directory outside the feature for temporary
/// files. Returns how long a temporary file existed in the feature, or the saved file did not.
type Save = fn(&Path, &Path, &str) -> Duration;

fn sed(path: &Path, _: &Path, text: &str) -> Duration {
    let start = Instant::now();
    let script = format!("s/.*/{text}/");
    assert!(Command::new("sed").arg("-i").arg(script).arg(path).status().unwrap().success());
    start.elapsed()
}

/// Saves as `:w` of vim does with `backupcopy=no`.
fn vim(path: &Path, _: &Path, text: &str) -> Duration {
    let backup = path.with_extension("md~");
    let start = Instant::now();
    fs::rename(path, &backup).unwrap();
    let mut file = File::create(path).unwrap();
    writeln!(file, "{text}").unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::remove_file(&backup).unwrap();
    start.elapsed()
}

fn rename(path: &Path, _: &Path, text: &str) -> Duration {
    let new = path.with_extension("new");
    let start = Instant::now();
    let mut file = File::create(&new).unwrap();
    writeln!(file, "{text}").unwrap();
    file.sync_all().unwrap();
    fs::rename(&new, path).unwrap();
    start.elapsed()
}

fn mv(path: &Path, elsewhere: &Path, text: &str) -> Duration {
    let new = elsewhere.join(path.file_name().unwrap());
    fs::write(&new, format!("{text}\n")).unwrap();
    assert!(Command::new("mv").arg("-f").arg(&new).arg(path).status().unwrap().success());
    Duration::ZERO
}

#[test]
fn atomic_saves_are_reported_as_modifications_only() {
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
        let threads = files.iter().map(|(name, save, pause)| {
            let path = project.feature_dir().join(name);
            let run = move || {
                let mut slowest = Duration::ZERO;
                for number in 0..SAVES {
                    slowest = slowest.max(save(&path, elsewhere, &format!("text {number}")));
                    // The interval between two saves; nothing is waited for.
                    std::thread::sleep(*pause);
                }
                (name.clone(), slowest)
            };
            scope.spawn(run)
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    let export = daemon.export(FEATURE);
    let present = present_artifacts(&export);
    let last = sha256(format!("text {}\n", SAVES - 1).as_bytes());
    for (name, ..) in &files {
        assert_eq!(present[name], last, "{name}");
    }
    let duration = |path: &str| {
        let file = path.replace(".md~", ".md").replace(".new", ".md");
        match slowest.get(&file) {
            Some(slowest) => *slowest,
            // A temporary file of `sed`, which chooses its name.
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
        let is_saved = files.iter().any(|(name, ..)| *name == path);
        match change.as_str() {
            "modified" if is_saved => *modified.entry(path).or_default() += 1,
            // A slow disk can make a save take longer than the debounce time.
            "deleted_after_scan" | "added" | "restored" if is_saved => {
                assert!(
                    duration(&path) >= DELETION_DELAY / 2,
                    "{change} {path}, saved in {:?}",
                    duration(&path)
                );
            }
            // A temporary name, reported because its save took longer than the debounce time.
            _ => assert!(
                duration(&path) >= APPEAR_DELAY / 2,
                "{change} {path}, saved in {:?}",
                duration(&path)
            ),
        }
    }
    for (name, ..) in &files {
        let seen = modified.get(name).copied().unwrap_or_default();
        // Occasionally the check after one save meets the still empty file of the next.
        assert!((1..=SAVES + SAVES / 10).contains(&seen), "{name}: {seen} changes");
    }
    daemon.stop();
}

#[test]
fn file_written_in_chunks_is_indexed_only_in_consistent_states() {
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
        for chunk in content.chunks(100_000) {
            file.write_all(chunk).unwrap();
            // The interval between two writes; nothing is waited for.
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

/// Writes different bytes of the same length, and restores the modification time.
fn rewrite_keeping_size_and_mtime(path: &Path, text: &str) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), text.len() as u64);
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    drop(file);
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), before.modified().unwrap());
}

/// Changes the disk.
type Change = fn(&Project);
/// Checks the artifact changes that follow.
type Expect = fn(&[(String, String)]);

/// Changes of files and directories, in order, and the artifact changes that they must cause.
const FILE_CHANGES: [(&str, Change, Expect); 9] = [
    (
        "different bytes, same size and modification time",
        |project| {
            rewrite_keeping_size_and_mtime(&project.feature_dir().join("plan.md"), "# Nalp\n");
        },
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
        "a directory is moved in",
        |project| {
            for name in ["a.md", "deep/b.md", "deep/er/c.md"] {
                project.write(&format!("outside/{name}"), name);
            }
            fs::rename(project.root.join("outside"), project.feature_dir().join("in")).unwrap();
        },
        |changes| {
            assert_eq!(
                paths_with(changes, "added"),
                ["in/a.md", "in/deep/b.md", "in/deep/er/c.md"]
            );
        },
    ),
    (
        "a file is created in the directory that was moved in",
        |project| write_file(&project.feature_dir().join("in/deep/er/d.md"), b"d"),
        |changes| assert_eq!(paths_with(changes, "added"), ["in/deep/er/d.md"]),
    ),
    (
        "a directory is moved within the feature",
        |project| {
            fs::rename(project.feature_dir().join("in"), project.feature_dir().join("within"))
                .unwrap();
        },
        |changes| {
            assert_eq!(paths_with(changes, "added").len(), 4);
            assert_eq!(paths_with(changes, "deleted_after_scan").len(), 4);
        },
    ),
    (
        "the old name is created again, and files under both names",
        |project| {
            write_file(&project.feature_dir().join("in/deep/new.md"), b"new");
            write_file(&project.feature_dir().join("within/deep/new.md"), b"new");
        },
        |changes| {
            assert_eq!(paths_with(changes, "added"), ["in/deep/new.md", "within/deep/new.md"]);
        },
    ),
    (
        "a file changes in the directory that was moved within the feature",
        |project| write_file(&project.feature_dir().join("within/deep/er/d.md"), b"changed"),
        |changes| assert_eq!(paths_with(changes, "modified"), ["within/deep/er/d.md"]),
    ),
    (
        "a directory is moved out, and a file in it changes",
        |project| {
            fs::rename(project.feature_dir().join("within"), project.root.join("out")).unwrap();
            project.write("out/a.md", "outside the feature");
        },
        |changes| assert_eq!(paths_with(changes, "deleted_after_scan").len(), 5),
    ),
    (
        "a file is replaced by a directory, and a directory by a file",
        |project| {
            fs::remove_dir_all(project.feature_dir().join("in")).unwrap();
            write_file(&project.feature_dir().join("in"), b"a file");
            fs::remove_file(project.feature_dir().join("tasks.md")).unwrap();
            write_file(&project.feature_dir().join("tasks.md/x.md"), b"x");
        },
        |changes| {
            assert_eq!(paths_with(changes, "added"), ["in", "tasks.md/x.md"]);
            assert_eq!(paths_with(changes, "deleted_after_scan"), ["in/deep/new.md", "tasks.md"]);
        },
    ),
];

/// Returns the paths with a kind of change, sorted.
fn paths_with<'c>(changes: &'c [(String, String)], kind: &str) -> Vec<&'c str> {
    let mut paths: Vec<&str> = changes
        .iter()
        .filter(|(change, _)| change == kind)
        .map(|(_, path)| path.as_str())
        .collect();
    paths.sort_unstable();
    paths
}

/// Makes a change while the daemon runs, or between two runs.
fn apply(project: &Project, daemon: Daemon, stopped: bool, change: Change) -> Daemon {
    if stopped {
        daemon.stop();
        change(project);
        return project.start_daemon();
    }
    change(project);
    daemon
}

#[test]
fn file_and_directory_changes_are_detected_while_running_and_stopped() {
    for stopped in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in FILE_CHANGES {
            eprintln!("{name}, stopped: {stopped}");
            daemon = apply(&project, daemon, stopped, change);
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

/// A change of metadata, and a check of the overview after it.
type MetadataChange = (&'static str, Change, fn(&Value));

#[track_caller]
fn assert_drift(overview: &Value, state: &str) {
    assert_eq!(overview["drift"]["state"], state, "{overview:#}");
}

/// Changes of metadata, in order.
const METADATA_CHANGES: [MetadataChange; 29] = [
    (
        "a manifest is created",
        |project| project.write(MANIFEST, manifest("7", "own.md")),
        |overview| {
            assert_eq!(overview["manifest_version"], "7");
            assert_eq!(overview["missing_required_count"], 1);
        },
    ),
    (
        "the manifest is edited",
        |project| project.write(MANIFEST, manifest("8", "spec.md")),
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "the manifest becomes invalid",
        |project| project.write(MANIFEST, "mission_type: ["),
        |overview| assert_eq!(overview["completeness_status"], "unknown"),
    ),
    (
        "the directory of the manifest is removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/overrides")).unwrap(),
        |overview| {
            assert_eq!(overview["completeness_status"], "complete");
            assert_ne!(overview["manifest_version"], "7");
        },
    ),
    (
        "the directory is created again with another manifest",
        |project| project.write(MANIFEST, manifest("9", "other.md")),
        |overview| assert_eq!(overview["manifest_version"], "9"),
    ),
    (
        "that manifest is edited",
        |project| project.write(MANIFEST, manifest("10", "other.md")),
        |overview| assert_eq!(overview["manifest_version"], "10"),
    ),
    (
        "a manifest is created in a lower layer",
        |project| {
            project.write(
                ".kittify/missions/software-dev/expected-artifacts.yaml",
                manifest("11", "low.md"),
            );
        },
        |overview| assert_eq!(overview["manifest_version"], "10"),
    ),
    (
        "the manifest of the higher layer is removed",
        |project| fs::remove_file(project.root.join(MANIFEST)).unwrap(),
        |overview| assert_eq!(overview["manifest_version"], "11"),
    ),
    (
        "the manifest of the lower layer is removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/missions")).unwrap(),
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "a manifest of the user is created",
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
        "the manifest of the user is edited",
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
        "the manifest of the user is removed",
        |project| {
            fs::remove_dir_all(project.home().join(".config/dossierd/missions")).unwrap();
        },
        |overview| assert_eq!(overview["completeness_status"], "complete"),
    ),
    (
        "a run starts",
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
        "the step of the run changes",
        |project| {
            project.write(".kittify/runtime/runs/r/state.json", "{\"issued_step_id\": \"plan\"}");
        },
        |overview| assert_eq!(overview["step"], "plan"),
    ),
    (
        "the step changes by a rename",
        |project| {
            project.write(".kittify/runtime/runs/r/new", "{\"issued_step_id\": \"specify\"}");
            let run = project.root.join(".kittify/runtime/runs/r");
            fs::rename(run.join("new"), run.join("state.json")).unwrap();
        },
        |overview| assert_eq!(overview["step"], "specify"),
    ),
    (
        "a run in another directory of the project",
        |project| {
            let run = json!({"run_id": "s", "run_dir": "build/runs/s", "mission_key": "m"});
            project.write("build/runs/s/state.json", "{\"issued_step_id\": \"plan\"}");
            project.write(RUNS, json!({FEATURE: run}).to_string());
        },
        |overview| assert_eq!(overview["step"], "plan"),
    ),
    (
        "the step of that run changes",
        |project| project.write("build/runs/s/state.json", "{\"issued_step_id\": \"implement\"}"),
        |overview| assert_eq!(overview["step"], "implement"),
    ),
    (
        "the state of the runtime is removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/runtime")).unwrap(),
        |overview| assert_eq!(overview["step_source"], "none"),
    ),
    (
        "a git repository is created",
        |project| {
            // Without a branch in `meta.json`, the branch of git is used.
            project.write(&format!("kitty-specs/{FEATURE}/meta.json"), "{}");
            project.write(".git/HEAD", "ref: refs/heads/main\n");
        },
        |overview| assert_drift(overview, "no_baseline"),
    ),
    (
        "a baseline is accepted",
        |project| {
            project.run(&["baseline", "accept", FEATURE]).assert_success();
            assert_eq!(project.baseline()["baseline_key"]["target_branch"], "main");
        },
        |overview| assert_drift(overview, "in_parity"),
    ),
    (
        "another branch is checked out",
        |project| {
            project.write(".git/HEAD.lock", "ref: refs/heads/other\n");
            let git = project.root.join(".git");
            fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
        },
        |overview| assert_drift(overview, "key_mismatch"),
    ),
    (
        "the first branch is checked out again",
        |project| {
            project.write(".git/HEAD.lock", "ref: refs/heads/main\n");
            let git = project.root.join(".git");
            fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
        },
        |overview| assert_drift(overview, "in_parity"),
    ),
    (
        "the identity of the project changes",
        |project| project.write(".kittify/config.yaml", "project: {node_id: other}\n"),
        |overview| assert_drift(overview, "key_mismatch"),
    ),
    (
        "the identity is restored",
        |project| {
            project.write(
                ".kittify/config.yaml",
                "project: {uuid: 11111111-2222-4333-8444-555555555555, node_id: abcdef123456}\n",
            );
        },
        |overview| assert_drift(overview, "in_parity"),
    ),
    (
        "the baseline is edited",
        |project| {
            let text = fs::read_to_string(project.baseline_file()).unwrap();
            let spec = sha256(b"# Spec\n");
            let text = text.replace(&spec, &sha256(b"something else"));
            write_file(&project.baseline_file(), text.as_bytes());
        },
        |overview| {
            assert_drift(overview, "drifted");
            assert_eq!(overview["drift"]["changed"].as_array().unwrap().len(), 1);
        },
    ),
    (
        "the baseline becomes invalid",
        |project| write_file(&project.baseline_file(), b"{"),
        |overview| assert_drift(overview, "baseline_corrupt"),
    ),
    (
        "the directory of the baseline is removed",
        |project| fs::remove_dir_all(project.root.join(".kittify/dossiers")).unwrap(),
        |overview| assert_drift(overview, "no_baseline"),
    ),
    (
        "a baseline is accepted again",
        |project| {
            project.run(&["baseline", "accept", FEATURE]).assert_success();
        },
        |overview| assert_drift(overview, "in_parity"),
    ),
    (
        "the mission changes",
        |project| {
            project
                .write(&format!("kitty-specs/{FEATURE}/meta.json"), "{\"mission\": \"research\"}");
        },
        |overview| {
            assert_eq!(overview["mission"], "research");
            assert_drift(overview, "key_mismatch");
        },
    ),
];

#[test]
fn metadata_changes_take_effect_while_running_and_stopped() {
    for stopped in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in METADATA_CHANGES {
            eprintln!("{name}, stopped: {stopped}");
            daemon = apply(&project, daemon, stopped, change);
            let overview = daemon.overview(FEATURE);
            expect(&overview);
            if overview["completeness_status"] == "unknown" {
                // The daemon still uses the last valid manifest, which a fresh scan does not know.
                journal.read_new(&daemon);
            } else {
                assert_invariants(&project, &daemon, &mut journal);
            }
            let last_snapshot = journal
                .events
                .iter()
                .rev()
                .find(|event| event["event_type"] == "mission_dossier_snapshot_computed");
            let last_snapshot = &last_snapshot.unwrap()["payload"];
            assert_eq!(last_snapshot["drift_state"], overview["drift"]["state"]);
            assert_eq!(last_snapshot["completeness_status"], overview["completeness_status"]);
        }
        let drifts: Vec<&Value> = journal
            .events
            .iter()
            .filter(|event| event["event_type"] == "mission_dossier_parity_drift_detected")
            .map(|event| &event["payload"])
            .collect();
        // Two key mismatches, one drift, another mission.
        assert_eq!(drifts.len(), 4, "{drifts:#?}");
        daemon.stop();
    }
}

/// Changes of whole features, in order, and slug and watch state of each feature after them.
const FEATURE_CHANGES: [(&str, Change, &[&str]); 9] = [
    (
        "a feature is created",
        |project| project.write("kitty-specs/002-new/spec.md", "x"),
        &["001-x live", "002-new live"],
    ),
    (
        "it is deleted",
        |project| fs::remove_dir_all(project.root.join("kitty-specs/002-new")).unwrap(),
        &["001-x live", "002-new gone"],
    ),
    (
        "it is created again",
        |project| project.write("kitty-specs/002-new/spec.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "a file is created in it",
        |project| project.write("kitty-specs/002-new/tasks/WP01.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "it is deleted and immediately created again",
        |project| {
            fs::remove_dir_all(project.root.join("kitty-specs/002-new")).unwrap();
            project.write("kitty-specs/002-new/plan.md", "z");
            project.write("kitty-specs/002-new/tasks/WP02.md", "z");
        },
        &["001-x live", "002-new live"],
    ),
    (
        "another file is created in it",
        |project| project.write("kitty-specs/002-new/tasks/WP03.md", "y"),
        &["001-x live", "002-new live"],
    ),
    (
        "two features are exchanged",
        |project| {
            let specs = project.root.join("kitty-specs");
            fs::rename(specs.join("002-new"), project.root.join("third")).unwrap();
            fs::rename(specs.join("001-x"), specs.join("002-new")).unwrap();
            fs::rename(project.root.join("third"), specs.join("001-x")).unwrap();
        },
        &["001-x live", "002-new live"],
    ),
    (
        "the directory of all features is replaced",
        |project| {
            fs::rename(project.root.join("kitty-specs"), project.root.join("old")).unwrap();
            project.write("kitty-specs/001-x/spec.md", "new");
            project.write("kitty-specs/003-z/spec.md", "new");
        },
        &["001-x live", "002-new gone", "003-z live"],
    ),
    (
        "files are created in all features",
        |project| {
            project.write("kitty-specs/001-x/plan.md", "new");
            project.write("kitty-specs/003-z/tasks/WP01.md", "new");
            project.write("kitty-specs/004-z/spec.md", "new");
        },
        &["001-x live", "002-new gone", "003-z live", "004-z live"],
    ),
];

#[test]
fn feature_creation_and_deletion_are_detected_while_running_and_stopped() {
    for stopped in [false, true] {
        let project = Project::complete();
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        for (name, change, expect) in FEATURE_CHANGES {
            eprintln!("{name}, stopped: {stopped}");
            daemon = apply(&project, daemon, stopped, change);
            assert_invariants(&project, &daemon, &mut journal);
            let status = daemon.status();
            let shown: Vec<String> = status["projects"][0]["features"]
                .as_array()
                .unwrap()
                .iter()
                .map(|feature| {
                    let text = |name: &str| feature[name].as_str().unwrap();
                    format!("{} {}", text("feature_slug"), text("watch"))
                })
                .collect();
            assert_eq!(shown, expect);
        }
        daemon.stop();
    }
}

#[test]
fn synced_request_includes_a_feature_created_just_before() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for number in 10..30 {
        let slug = format!("0{number}-new");
        project.write(&format!("kitty-specs/{slug}/spec.md"), "x");
        assert_matches_disk(&daemon.export(&slug), &project.root.join("kitty-specs").join(&slug));
    }
    daemon.stop();
}

#[test]
fn touch_and_temporary_file_cause_no_event() {
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
    wait_for("the feature to settle", || {
        (daemon.overview(FEATURE)["watch"] == "live").then_some(())
    });
    daemon.stop();
}
