//! The engine against scripted backends.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::config::Config;
use crate::engine::inbox::Command;
use crate::engine::view::{SyncKind, WatchState};
use crate::watch::fake::FakeControl;
use crate::watch::{Hint, HintKind};

struct Fixture {
    /// Removed at the end.
    dir: tempfile::TempDir,
    root: PathBuf,
    script: FakeControl,
    config: Config,
    running: Running,
}

impl Fixture {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(prepare: impl FnOnce(&std::path::Path)) -> Self {
        Self::start_by(FakeControl::default(), Config::default(), prepare)
    }

    fn start_by(
        script: FakeControl,
        config: Config,
        prepare: impl FnOnce(&std::path::Path),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("p");
        fs::create_dir_all(root.join("kitty-specs/001-x/tasks")).unwrap();
        fs::create_dir(root.join(".kittify")).unwrap();
        fs::write(root.join("kitty-specs/001-x/spec.md"), "one").unwrap();
        prepare(&root);
        let running = Self::run(&root, dir.path().join("state"), &script, &config);
        let fixture = Self { dir, root, script, config, running };
        fixture.wait(|world| world.projects.first().is_some_and(|project| project.ready));
        fixture
    }

    /// Stops, and starts again over the same state.
    fn restart(self) -> Self {
        let state = self.running.store.parent().unwrap().to_owned();
        let Self { dir, root, script, config, running } = self;
        running.inbox.command(Command::Stop).unwrap();
        running.thread.join().unwrap().unwrap();
        let running = Self::run(&root, state, &script, &config);
        Self { dir, root, script, config, running }
    }

    fn run(
        root: &std::path::Path,
        state: PathBuf,
        script: &FakeControl,
        config: &Config,
    ) -> Running {
        let mut plan = Plan::new(config.clone(), state);
        plan.roots = vec![root.to_owned()];
        let backends = script.clone();
        plan.watchers = std::sync::Arc::new(move |sink| Ok(backends.backend(sink)));
        start(plan).unwrap()
    }

    fn feature(&self) -> PathBuf {
        self.root.join("kitty-specs/001-x")
    }

    fn wait(&self, done: impl Fn(&World) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(&self.running.views.world()) {
            assert!(Instant::now() < deadline, "{:?}", self.running.views.world());
            std::thread::yield_now();
        }
    }

    fn wait_for(&self, paths: &[&str]) {
        self.wait(|world| {
            let feature = &world.projects[0].features[0];
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
fn a_lost_event_makes_a_new_watcher_and_everything_is_compared() {
    let fixture = Fixture::start();
    fixture.wait_for(&["spec.md"]);
    assert!(fixture.script.is_watching(&fixture.feature().join("tasks")), "also empty folders");
    fs::write(fixture.feature().join("unseen.md"), "x").unwrap();
    fs::remove_file(fixture.feature().join("spec.md")).unwrap();
    fixture.script.send_hint(Hint::Overflow);
    fixture.wait_for(&["unseen.md"]);
    assert_eq!(fixture.script.backend_count(), 2);
    assert!(fixture.script.is_watching(&fixture.feature().join("tasks")));
    fixture.stop();
}

#[test]
fn a_folder_that_comes_is_watched_before_it_is_listed() {
    let fixture = Fixture::start();
    let folder = fixture.feature().join("contracts");
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("deep/api.yaml"), "x").unwrap();
    fixture.script.send_hint(Hint::At(folder.clone(), HintKind::DirCreated));
    fixture.wait_for(&["contracts/deep/api.yaml", "spec.md"]);
    assert!(fixture.script.is_watching(&folder.join("deep")));
    fs::rename(&folder, fixture.root.join("elsewhere")).unwrap();
    fixture.script.send_hint(Hint::At(folder, HintKind::Removed));
    fixture.wait_for(&["spec.md"]);
    fixture.stop();
}

#[test]
fn a_folder_that_went_and_came_and_went_again_before_it_was_told_takes_its_files_along() {
    let folder = |root: &std::path::Path| root.join("kitty-specs/001-x/tasks");
    let fixture = Fixture::start_with(|root| fs::write(folder(root).join("WP01.md"), "x").unwrap());
    fixture.wait_for(&["spec.md", "tasks/WP01.md"]);
    // No file is looked at once more by itself: only the hint tells.
    fixture.wait(|world| world.projects[0].features[0].entries.iter().all(|entry| !entry.racy));
    let folder = folder(&fixture.root);
    fs::remove_dir_all(&folder).unwrap();
    fixture.script.send_hint(Hint::At(folder, HintKind::MovedTo));
    fixture.wait_for(&["spec.md"]);
    fixture.stop();
}

#[test]
fn a_client_that_waits_in_vain_for_its_cookie_shortens_no_settling() {
    let mut config = Config::default();
    config.settle.vanish_ms = Some(60_000);
    let fixture = Fixture::start_by(FakeControl::default(), config, |_| {});
    fixture.wait_for(&["spec.md"]);
    let spec = fixture.feature().join("spec.md");
    fs::remove_file(&spec).unwrap();
    fixture.script.send_hint(Hint::At(spec, HintKind::Removed));
    // Nobody tells of this one.
    fs::write(fixture.feature().join("unseen.md"), "x").unwrap();
    let (reply, answer) = tokio::sync::oneshot::channel();
    fixture.running.inbox.command(Command::Sync { feature: None, reply }).unwrap();
    assert_eq!(answer.blocking_recv(), Ok(SyncKind::Scan));
    fixture.wait_for(&["spec.md", "unseen.md"]);
    fixture.stop();
}

#[test]
fn a_restart_over_what_is_unchanged_is_ready_without_a_hint() {
    let fixture = Fixture::start();
    fixture.wait_for(&["spec.md"]);
    // The verdict on it is announced, too.
    fixture.wait(|world| world.seq >= 2);
    let fixture = fixture.restart();
    fixture.wait(|world| world.projects.first().is_some_and(|project| project.ready));
    fixture.wait_for(&["spec.md"]);
    fixture.stop();
}

#[test]
fn a_wrong_hint_leads_to_a_look_and_nothing_else() {
    let fixture = Fixture::start();
    fixture.wait_for(&["spec.md"]);
    let seq = fixture.running.views.world().seq;
    let spec = fixture.feature().join("spec.md");
    for what in [HintKind::Modified, HintKind::CloseWrite, HintKind::MovedTo, HintKind::Removed] {
        fixture.script.send_hint(Hint::At(spec.clone(), what));
        fixture.script.send_hint(Hint::At(fixture.feature().join("never-there.md"), what));
    }
    fs::write(fixture.feature().join("mark.md"), "x").unwrap();
    fixture.script.send_hint(Hint::At(fixture.feature().join("mark.md"), HintKind::CloseWrite));
    fixture.wait_for(&["mark.md", "spec.md"]);
    fixture.wait(|world| world.seq == seq + 2);
    fixture.stop();
}

#[test]
fn a_storm_of_lost_events_costs_few_looks_and_the_last_file_is_seen() {
    let fixture = Fixture::start();
    fixture.wait_for(&["spec.md"]);
    for _ in 0..1_000 {
        fixture.script.send_hint(Hint::Overflow);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1) {
            std::thread::yield_now();
        }
    }
    fs::write(fixture.feature().join("last.md"), "x").unwrap();
    fixture.script.send_hint(Hint::Overflow);
    fixture.wait_for(&["last.md", "spec.md"]);
    fixture.wait(|world| world.projects[0].watch.0 != WatchState::Rescanning);
    let (made, resyncs) =
        (fixture.script.backend_count(), fixture.running.views.world().projects[0].resyncs);
    assert!((2..20).contains(&made), "{made} watchers");
    assert_eq!(resyncs, made as u64 - 1);
    fixture.stop();
}

#[test]
fn a_file_system_without_events_is_polled_and_says_so() {
    let fixture = Fixture::start_with(|root| {
        fs::create_dir_all(root.join(".kittify/dossiers")).unwrap();
    });
    fixture.wait_for(&["spec.md"]);
    fixture.wait(|world| world.projects[0].watch.0 == WatchState::Polling);
    let why = fixture.running.views.world().projects[0].watch.1.clone();
    assert_eq!(why.as_deref(), Some("the file system raises no events"));
    fs::write(fixture.feature().join("new.md"), "x").unwrap();
    fs::remove_file(fixture.feature().join("spec.md")).unwrap();
    fixture.wait_for(&["new.md"]);
    // An event after all: it is trusted again.
    let probe = fixture.root.join(".kittify/dossiers/.dossierd-probe");
    assert!(!probe.exists(), "it leaves nothing behind");
    fixture.script.send_hint(Hint::At(probe, HintKind::Modified));
    fixture.wait(|world| world.projects[0].watch.0 == WatchState::Live);
    fixture.stop();
}

#[test]
fn folders_that_are_refused_are_polled_until_they_are_not() {
    let script = FakeControl::default();
    script.set_limit(Some(3));
    let fixture = Fixture::start_by(script, Config::default(), |_| {});
    fixture.wait(|world| world.projects[0].watch.0 == WatchState::Degraded);
    let world = fixture.running.views.world();
    assert!(world.projects[0].watched < world.projects[0].total);
    fs::write(fixture.feature().join("tasks/WP01.md"), "x").unwrap();
    fixture.wait_for(&["spec.md", "tasks/WP01.md"]);
    fixture.script.set_limit(None);
    fixture.wait(|world| world.projects[0].watch.0 == WatchState::Live);
    fixture.stop();
}

#[test]
fn a_watcher_that_does_not_answer_is_let_go_of_and_everything_is_compared() {
    let fixture = Fixture::start();
    let folder = fixture.feature().join("contracts");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("api.yaml"), "x").unwrap();
    // Nothing is heard of this one.
    fs::write(fixture.feature().join("unseen.md"), "x").unwrap();
    fixture.script.stop_responding();
    fixture.script.send_hint(Hint::At(folder.clone(), HintKind::DirCreated));
    fixture.wait_for(&["contracts/api.yaml", "spec.md", "unseen.md"]);
    assert_eq!(fixture.script.backend_count(), 2);
    assert!(fixture.script.is_watching(&folder));
    fixture.wait(|world| world.projects[0].resyncs == 1);
    fixture.stop();
}

#[test]
fn while_a_tree_of_very_many_folders_goes_no_watcher_is_asked() {
    const FOLDERS: usize = 2_400;
    let many = |root: &std::path::Path| root.join("kitty-specs/001-x/many");
    let fixture = Fixture::start_with(|root| {
        for number in 0..FOLDERS {
            fs::create_dir_all(many(root).join(number.to_string())).unwrap();
        }
    });
    let many = many(&fixture.root);
    fs::remove_dir_all(&many).unwrap();
    // One by one, as the kernel tells it; the watcher is given up on the way.
    for number in 0..FOLDERS {
        fixture.script.send_hint(Hint::At(many.join(number.to_string()), HintKind::Removed));
    }
    fixture.wait(|world| world.projects[0].resyncs == 1 && world.projects[0].watched < 100);
    assert_eq!(fixture.script.backend_count(), 2);
    fs::write(fixture.feature().join("late.md"), "x").unwrap();
    fixture.script.send_hint(Hint::At(fixture.feature().join("late.md"), HintKind::CloseWrite));
    fixture.wait_for(&["late.md", "spec.md"]);
    fixture.stop();
}
