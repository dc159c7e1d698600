//! Tests of the engine with a fake file watcher, whose events the test sends.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::startup::{EngineConfig, EngineHandle, start};
use crate::config::Config;
use crate::core::baseline::BaselineFile;
use crate::engine::command::{Command, NotSynced, ProjectSync};
use crate::engine::metrics::now;
use crate::engine::read_model::{EngineState, WatchState};
use crate::watch::fake::FakeControl;
use crate::watch::{Hint, HintKind};

struct Fixture {
    /// Contains the root and the state; removed at the end of the test.
    dir: tempfile::TempDir,
    root: PathBuf,
    control: FakeControl,
    config: Config,
    running: EngineHandle,
}

impl Fixture {
    fn start() -> Self {
        Self::start_after(|_| {})
    }

    fn start_after(prepare: impl FnOnce(&std::path::Path)) -> Self {
        Self::start_custom(FakeControl::default(), Config::default(), prepare)
    }

    fn start_custom(
        control: FakeControl,
        config: Config,
        prepare: impl FnOnce(&std::path::Path),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("p");
        fs::create_dir_all(root.join("kitty-specs/001-x/tasks")).unwrap();
        fs::create_dir(root.join(".kittify")).unwrap();
        fs::write(root.join("kitty-specs/001-x/spec.md"), "one").unwrap();
        prepare(&root);
        let running = Self::run(&root, dir.path().join("state"), &control, &config);
        let fixture = Self { dir, root, control, config, running };
        fixture.wait_until(|state| state.projects.first().is_some_and(|project| project.ready));
        fixture
    }

    /// Stops the engine and starts it with the same store.
    fn restart(self) -> Self {
        let state = self.running.store.parent().unwrap().to_owned();
        let Self { dir, root, control, config, running } = self;
        running.inbox.command(Command::Stop).unwrap();
        running.thread.join().unwrap().unwrap();
        let running = Self::run(&root, state, &control, &config);
        Self { dir, root, control, config, running }
    }

    fn run(
        root: &std::path::Path,
        state: PathBuf,
        control: &FakeControl,
        config: &Config,
    ) -> EngineHandle {
        let mut plan = EngineConfig::new(config.clone(), state);
        plan.extra_roots = vec![root.to_owned()];
        plan.shards = control.pool();
        start(plan).unwrap()
    }

    fn feature(&self) -> PathBuf {
        self.root.join("kitty-specs/001-x")
    }

    /// Waits until the published state meets a condition, for at most 20 s.
    fn wait_until(&self, is_met: impl Fn(&EngineState) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_met(&self.running.views.load()) {
            assert!(Instant::now() < deadline, "{:?}", self.running.views.load());
            std::thread::yield_now();
        }
    }

    /// Waits until exactly these files are present in the feature.
    fn wait_for_files(&self, paths: &[&str]) {
        self.wait_until(|state| {
            let feature = &state.projects[0].features[0];
            let present = feature.entries.iter().filter(|entry| entry.artifact.is_present());
            present.map(|entry| entry.artifact.relative_path.text()).eq(paths.iter().copied())
        });
    }

    fn stop(self) {
        self.running.inbox.command(Command::Stop).unwrap();
        self.running.thread.join().unwrap().unwrap();
    }
}

#[test]
fn overflow_replaces_the_watcher_and_rescans() {
    let fixture = Fixture::start();
    fixture.wait_for_files(&["spec.md"]);
    assert!(
        fixture.control.is_watching(&fixture.feature().join("tasks")),
        "an empty directory is watched, too"
    );
    fs::write(fixture.feature().join("without-hint.md"), "x").unwrap();
    fs::remove_file(fixture.feature().join("spec.md")).unwrap();
    fixture.control.send_hint(Hint::Overflow);
    fixture.wait_for_files(&["without-hint.md"]);
    assert_eq!(fixture.control.watcher_count(), 2);
    assert!(fixture.control.is_watching(&fixture.feature().join("tasks")));
    fixture.stop();
}

#[test]
fn new_dir_is_watched_and_listed_with_its_subdirs() {
    let fixture = Fixture::start();
    let dir = fixture.feature().join("contracts");
    fs::create_dir_all(dir.join("deep")).unwrap();
    fs::write(dir.join("deep/api.yaml"), "x").unwrap();
    fixture.control.send_hint(Hint::At(dir.clone(), HintKind::DirCreated));
    fixture.wait_for_files(&["contracts/deep/api.yaml", "spec.md"]);
    assert!(fixture.control.is_watching(&dir.join("deep")));
    fs::rename(&dir, fixture.root.join("elsewhere")).unwrap();
    fixture.control.send_hint(Hint::At(dir, HintKind::Removed));
    fixture.wait_for_files(&["spec.md"]);
    fixture.stop();
}

#[test]
fn dir_missing_at_a_moved_to_hint_loses_its_files() {
    let dir = |root: &std::path::Path| root.join("kitty-specs/001-x/tasks");
    let fixture = Fixture::start_after(|root| fs::write(dir(root).join("WP01.md"), "x").unwrap());
    fixture.wait_for_files(&["spec.md", "tasks/WP01.md"]);
    // Wait until no verification is pending, so that only the hint causes a check.
    fixture
        .wait_until(|state| state.projects[0].features[0].entries.iter().all(|entry| !entry.racy));
    let dir = dir(&fixture.root);
    fs::remove_dir_all(&dir).unwrap();
    fixture.control.send_hint(Hint::At(dir, HintKind::MovedTo));
    fixture.wait_for_files(&["spec.md"]);
    fixture.stop();
}

#[test]
fn sync_whose_cookie_times_out_does_not_shorten_the_deletion_grace() {
    let mut config = Config::default();
    config.settle.vanish_ms = Some(60_000);
    let fixture = Fixture::start_custom(FakeControl::default(), config, |_| {});
    fixture.wait_for_files(&["spec.md"]);
    let spec = fixture.feature().join("spec.md");
    fs::remove_file(&spec).unwrap();
    fixture.control.send_hint(Hint::At(spec, HintKind::Removed));
    // No hint is sent for this file.
    fs::write(fixture.feature().join("without-hint.md"), "x").unwrap();
    let (reply, answer) = tokio::sync::oneshot::channel();
    fixture.running.inbox.command(Command::Sync { feature: None, reply }).unwrap();
    let answer: Vec<_> = answer.blocking_recv().unwrap().into_values().collect();
    assert_eq!(answer, [ProjectSync::None(NotSynced::TimedOut)]);
    fixture.wait_for_files(&["spec.md", "without-hint.md"]);
    fixture.stop();
}

#[test]
fn restart_without_changes_is_ready_without_a_hint() {
    let fixture = Fixture::start();
    fixture.wait_for_files(&["spec.md"]);
    // The evaluation is committed, too.
    fixture.wait_until(|state| state.seq >= 2);
    let fixture = fixture.restart();
    fixture.wait_until(|state| state.projects.first().is_some_and(|project| project.ready));
    fixture.wait_for_files(&["spec.md"]);
    fixture.stop();
}

#[test]
fn projects_at_rest_execute_nothing_while_the_engine_works() {
    let fixture = Fixture::start();
    let effects_of_20_iterations = || {
        let before = fixture.running.calls.count_effects();
        for _ in 0..20 {
            let (reply, replied) = oneshot::channel();
            fixture.running.inbox.command(Command::Ping { reply }).unwrap();
            replied.blocking_recv().unwrap();
        }
        fixture.running.calls.count_effects() - before
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while effects_of_20_iterations() > 0 {
        assert!(Instant::now() < deadline, "effects are executed in each iteration");
    }
    fixture.stop();
}

#[test]
fn wrong_hint_causes_a_check_and_no_event() {
    let fixture = Fixture::start();
    fixture.wait_for_files(&["spec.md"]);
    let seq = fixture.running.views.load().seq;
    let spec = fixture.feature().join("spec.md");
    for kind in [HintKind::Modified, HintKind::CloseWrite, HintKind::MovedTo, HintKind::Removed] {
        fixture.control.send_hint(Hint::At(spec.clone(), kind));
        fixture.control.send_hint(Hint::At(fixture.feature().join("never-there.md"), kind));
    }
    fs::write(fixture.feature().join("mark.md"), "x").unwrap();
    fixture.control.send_hint(Hint::At(fixture.feature().join("mark.md"), HintKind::CloseWrite));
    fixture.wait_for_files(&["mark.md", "spec.md"]);
    fixture.wait_until(|state| state.seq == seq + 2);
    fixture.stop();
}

#[test]
fn many_overflows_cause_few_rescans_and_the_last_file_is_found() {
    let fixture = Fixture::start();
    fixture.wait_for_files(&["spec.md"]);
    for _ in 0..1_000 {
        fixture.control.send_hint(Hint::Overflow);
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1) {
            std::thread::yield_now();
        }
    }
    fs::write(fixture.feature().join("last.md"), "x").unwrap();
    fixture.control.send_hint(Hint::Overflow);
    fixture.wait_for_files(&["last.md", "spec.md"]);
    fixture.wait_until(|state| state.projects[0].watch.state != WatchState::Rescanning);
    let (watchers, rescans) =
        (fixture.control.watcher_count(), fixture.running.views.load().projects[0].rescans);
    assert!((2..20).contains(&watchers), "{watchers} watchers");
    assert_eq!(rescans, watchers as u64 - 1);
    fixture.stop();
}

#[test]
fn file_system_without_events_is_polled_until_the_probe_event_arrives() {
    let fixture = Fixture::start_after(|root| {
        fs::create_dir_all(root.join(".kittify/dossiers")).unwrap();
    });
    fixture.wait_for_files(&["spec.md"]);
    fixture.wait_until(|state| state.projects[0].watch.state == WatchState::Polling);
    let reason = fixture.running.views.load().projects[0].watch.detail.clone();
    assert_eq!(reason.as_deref(), Some("the file system delivers no events"));
    fs::write(fixture.feature().join("new.md"), "x").unwrap();
    fs::remove_file(fixture.feature().join("spec.md")).unwrap();
    fixture.wait_for_files(&["new.md"]);
    // After an event of the probe file, events are trusted again.
    let probe = fixture.root.join(".kittify/dossiers/.dossierd-probe");
    assert!(!probe.exists(), "the probe file is removed");
    fixture.control.send_hint(Hint::At(probe, HintKind::Modified));
    fixture.wait_until(|state| state.projects[0].watch.state == WatchState::Live);
    fixture.stop();
}

#[test]
fn refused_dirs_are_polled_until_they_can_be_watched() {
    let control = FakeControl::default();
    control.set_limit(Some(3));
    let fixture = Fixture::start_custom(control, Config::default(), |_| {});
    fixture.wait_until(|state| state.projects[0].watch.state == WatchState::Degraded);
    let state = fixture.running.views.load();
    assert!(state.projects[0].watched < state.projects[0].total);
    fs::write(fixture.feature().join("tasks/WP01.md"), "x").unwrap();
    fixture.wait_for_files(&["spec.md", "tasks/WP01.md"]);
    fixture.control.set_limit(None);
    fixture.wait_until(|state| state.projects[0].watch.state == WatchState::Live);
    fixture.stop();
}

#[test]
fn watcher_that_times_out_is_replaced_and_the_project_rescanned() {
    let fixture = Fixture::start();
    let dir = fixture.feature().join("contracts");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("api.yaml"), "x").unwrap();
    // No hint is sent for this file.
    fs::write(fixture.feature().join("without-hint.md"), "x").unwrap();
    fixture.control.stop_responding();
    fixture.control.send_hint(Hint::At(dir.clone(), HintKind::DirCreated));
    fixture.wait_for_files(&["contracts/api.yaml", "spec.md", "without-hint.md"]);
    assert_eq!(fixture.control.watcher_count(), 2);
    assert!(fixture.control.is_watching(&dir));
    fixture.wait_until(|state| state.projects[0].rescans == 1);
    fixture.stop();
}

#[test]
fn watcher_is_dropped_while_a_large_tree_is_removed() {
    const DIRS: usize = 2_400;
    let many = |root: &std::path::Path| root.join("kitty-specs/001-x/many");
    let fixture = Fixture::start_after(|root| {
        for number in 0..DIRS {
            fs::create_dir_all(many(root).join(number.to_string())).unwrap();
        }
    });
    let many = many(&fixture.root);
    fs::remove_dir_all(&many).unwrap();
    // One hint for each directory, as inotify sends them; the watcher is dropped on the way.
    for number in 0..DIRS {
        fixture.control.send_hint(Hint::At(many.join(number.to_string()), HintKind::Removed));
    }
    fixture.wait_until(|state| {
        let is_replaced = fixture.control.watcher_count() == 2;
        state.projects[0].rescans == 1 && state.projects[0].watched < 100 && is_replaced
    });
    fs::write(fixture.feature().join("late.md"), "x").unwrap();
    fixture.control.send_hint(Hint::At(fixture.feature().join("late.md"), HintKind::CloseWrite));
    fixture.wait_for_files(&["late.md", "spec.md"]);
    fixture.stop();
}

#[test]
fn new_attributes_of_a_directory_renew_no_watch() {
    let fixture = Fixture::start_after(|root| {
        for number in 0..20 {
            fs::create_dir(root.join(format!("kitty-specs/001-x/tasks/{number}"))).unwrap();
        }
    });
    fixture.wait_for_files(&["spec.md"]);
    let control = fixture.control.clone();
    let tasks = fixture.feature().join("tasks");
    for dir in [fixture.root.join("kitty-specs"), fixture.feature(), tasks.clone(), tasks.join("7")]
    {
        control.send_hint(Hint::At(dir, HintKind::Modified));
    }
    // It is due at the same time, and after the directories.
    let file = fixture.feature().join("z.md");
    fs::write(&file, "x").unwrap();
    control.send_hint(Hint::At(file, HintKind::CloseWrite));
    fixture.wait_for_files(&["spec.md", "z.md"]);
    fixture.stop();
    assert_eq!(control.renewals(), 0);
}

#[test]
fn metadata_is_read_again_only_for_files_that_it_depends_on() {
    for (name, kind, is_read) in [
        (".kittify/log", HintKind::Modified, false),
        (".kittify/log", HintKind::CloseWrite, false),
        (".kittify/runtime/session.log", HintKind::CloseWrite, false),
        (".kittify/missions/own/notes.md", HintKind::CloseWrite, false),
        (".kittify/dossiers/001-y", HintKind::DirCreated, false),
        (".dossierd/dossiers", HintKind::DirCreated, false),
        (".kittify/dossiers/removed", HintKind::Modified, false),
        (".kittify/missions/other", HintKind::DirCreated, true),
        (".kittify/config.yaml", HintKind::CloseWrite, true),
        (".kittify/missions/own/mission.yaml", HintKind::MovedTo, true),
    ] {
        let fixture = Fixture::start_after(create_metadata_dirs);
        fixture.wait_for_files(&["spec.md"]);
        let (views, control) = (Arc::clone(&fixture.running.views), fixture.control.clone());
        let before = now(&views.metrics().metadata_reads);
        let path = fixture.root.join(name);
        if kind == HintKind::DirCreated {
            fs::create_dir_all(&path).unwrap();
        }
        control.send_hint(Hint::At(path.clone(), kind));
        if kind == HintKind::DirCreated {
            fixture.wait_until(|_| control.is_watching(&path));
        }
        // Until nothing is due any more.
        fixture.stop();
        let reads = now(&views.metrics().metadata_reads) - before;
        assert_eq!(reads > 0, is_read, "{name} {kind:?}: {reads}");
    }
}

fn create_metadata_dirs(root: &std::path::Path) {
    for dir in ["runtime", "missions/own", "dossiers/001-x"] {
        fs::create_dir_all(root.join(".kittify").join(dir)).unwrap();
    }
    fs::create_dir(root.join(".dossierd")).unwrap();
}

#[test]
fn metadata_of_one_feature_is_read_alone() {
    let fixture = Fixture::start_after(create_metadata_dirs);
    fixture.wait_for_files(&["spec.md"]);
    let before = now(&fixture.running.views.metrics().metadata_reads);
    let baseline = fixture.root.join(".kittify/dossiers/001-x/parity-baseline.json");
    fs::write(&baseline, "{").unwrap();
    fixture.control.send_hint(Hint::At(baseline, HintKind::MovedTo));
    fixture.wait_until(|state| {
        let metadata = &state.projects[0].features[0].metadata;
        matches!(metadata.baseline, BaselineFile::Corrupt(_))
    });
    let meta = fixture.feature().join("meta.json");
    fs::write(&meta, r#"{"mission":"research"}"#).unwrap();
    fixture.control.send_hint(Hint::At(meta, HintKind::CloseWrite));
    fixture.wait_until(|state| {
        state.projects[0].features[0].context.mission_type.as_str() == "research"
    });
    let metrics = Arc::clone(&fixture.running.views);
    fixture.stop();
    assert_eq!(now(&metrics.metrics().metadata_reads), before);
}
