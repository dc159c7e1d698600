//! The commands about one feature and about projects, through the daemon: the same as without it.

use std::fs;

use serde_json::Value;

use super::support::client::Following;
use super::support::daemon::wait;
use super::support::{FEATURE, Project, bakery, write};

#[test]
fn a_feature_is_shown_as_a_scan_shows_it() {
    let project = Project::copy_of(&bakery());
    let slug = "003-delivery-slots";
    let commands: &[&[&str]] = &[
        &["artifacts", slug],
        &["artifacts", slug, "--missing"],
        &["artifacts", slug, "--class", "workflow"],
        &["artifacts", slug, "--wp", "WP01", "--required", "--missing"],
        &["show", slug, "output.plan.main"],
        &["drift", slug],
        &["baseline", "show", slug],
    ];
    let alone: Vec<_> = commands.iter().map(|command| project.ask(command).ok()).collect();
    let daemon = project.daemon();
    for (command, alone) in commands.iter().zip(alone) {
        let run = project.ask(command).ok();
        assert_eq!(run.stdout, alone.stdout, "{command:?}");
        assert!(alone.stderr.contains("scanned once"), "{alone:?}");
    }
    for (command, target) in [
        (&["artifacts", slug, "--json"][..], "artifacts?"),
        (&["show", slug, "output.plan.main", "--json"], "artifacts/output.plan.main?"),
        (&["drift", slug, "--json"], "drift?"),
    ] {
        let run = project.ask(command).ok();
        assert_eq!(run.stderr, "", "{command:?}");
        let answer = daemon.json(&format!("/api/dossier/{target}feature={slug}&sync=true"));
        assert_eq!(run.json(), answer, "{command:?}");
    }
    project.ask(&["show", slug, "output.plan.man"]).fails(1, "output.plan.main");
    // What was deleted is listed for as long as the daemon knows of it.
    fs::remove_file(project.root.join(format!("kitty-specs/{slug}/plan.md"))).unwrap();
    wait("the tombstone", || {
        let run = project.ask(&["artifacts", slug, "--missing"]).ok();
        run.stdout.contains("deleted_after_scan").then_some(())
    });
}

#[test]
fn baselines_are_accepted_and_cleared() {
    let project = Project::complete();
    let daemon = project.daemon();
    let accepted = project.ask(&["baseline", "accept", FEATURE]).ok();
    let tree = super::support::hashes(&project.feature()).1;
    assert_eq!(accepted.stdout, format!("001-x: accepted 5 artifacts, tree {}\n", &tree[..12]));
    assert_eq!(accepted.stderr, "");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");

    write(&project.feature().join("spec.md"), b"# Moved on\n");
    let stale = project.ask(&["baseline", "accept", FEATURE, "--tree", &tree]);
    stale.fails(1, "moved on");
    let json = project.ask(&["baseline", "accept", "--all", "--json"]).ok().json();
    assert_eq!((&json["feature_slug"], &json["artifacts"]), (&FEATURE.into(), &5.into()));
    let cleared = project.ask(&["baseline", "clear", FEATURE]).ok();
    assert_eq!(cleared.stdout, "001-x: baseline cleared\n");
    let again = project.ask(&["baseline", "clear", FEATURE]).ok();
    assert_eq!(again.stdout, "001-x: there was no baseline\n");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "no_baseline");

    fs::write(project.baseline_file(), "{").unwrap();
    project.ask(&["baseline", "accept", "--all"]).fails(1, "001-x: ");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), b"{", "left as it is");
    project.ask(&["baseline", "accept", FEATURE]).ok();
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
}

#[test]
fn projects_come_and_go_while_it_runs() {
    let project = Project::complete();
    let other = Project::complete();
    let daemon = project.daemon();
    let root = other.root.to_str().unwrap();
    project.ask(&["project", "add", root]).ok();
    let roots = || -> Vec<String> {
        let list = project.ask(&["project", "list", "--json"]).ok().json();
        list.as_array().unwrap().iter().map(|one| one["root"].as_str().unwrap().into()).collect()
    };
    assert!(roots().contains(&root.to_owned()));
    project.ask(&["rescan"]).ok();
    let rescan = project.ask(&["rescan", FEATURE, "--project", root, "--json"]).ok().json();
    assert_eq!(rescan["features"], 1);
    daemon.stop();
    let daemon = project.daemon();
    assert!(roots().contains(&root.to_owned()), "kept");
    project.ask(&["project", "remove", root]).ok();
    assert!(!roots().contains(&root.to_owned()));
    project.ask(&["project", "remove", root]).fails(1, "is not watched");
    drop(daemon);
}

#[test]
fn watch_adds_the_project_for_the_daemons_life_and_again_for_the_next() {
    let project = Project::complete();
    let other = Project::complete();
    let daemon = other.daemon();
    let mut command = other.client(&["watch", "--json"]);
    command.current_dir(&project.root);
    let mut live = Following::start(command);
    let state = live.json();
    let root = project.root.to_str().unwrap();
    assert_eq!(state["projects"].as_array().unwrap().len(), 1);
    assert_eq!(state["projects"][0]["root"], root);
    live.says("is watched now, until the daemon ends");
    write(&project.feature().join("spec.md"), b"one\n");
    let mut paths = Vec::new();
    let mut until = |live: &mut Following, text: &[u8]| loop {
        let event: Value = live.json();
        let payload = &event["payload"];
        paths.push(payload["relative_path"].clone());
        if payload["content_hash_sha256"] == super::support::sha256(text) {
            break;
        }
    };
    until(&mut live, b"one\n");
    daemon.kill();
    live.says("the daemon is away");
    write(&project.feature().join("spec.md"), b"two\n");
    let daemon = other.daemon();
    live.says("the daemon is back");
    until(&mut live, b"two\n");
    live.interrupt();
    daemon.stop();
}
