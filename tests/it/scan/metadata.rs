//! Metadata of features: `meta.json`, the state of a run, front matter of work packages.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{FEATURE, Project};

#[test]
fn what_keeps_a_feature_from_being_judged_is_said_whatever_the_output_is() {
    for (path, text, said) in [
        ("kitty-specs/001-x/meta.json", "{", "meta.json:1:1: EOF"),
        (".kittify/runtime/feature-runs.json", "[", ".kittify/runtime/feature-runs.json:1:1: "),
        (
            ".kittify/runtime/feature-runs.json",
            r#"{"001-x": {"run_id": "r", "run_dir": "/etc"}}"#,
            "/etc/state.json is outside of the project",
        ),
    ] {
        let project = Project::complete().file(path, text);
        for arguments in [
            &["scan", "--json"][..],
            &["artifacts", FEATURE],
            &["drift", FEATURE, "--json"],
            &["baseline", "show", FEATURE],
        ] {
            let run = project.run(arguments);
            assert!(run.stderr.contains(said), "{arguments:?}: `{said}` is not in {}", run.stderr);
        }
    }
    let deep = Project::complete()
        .config("limits: {depth: 1}\n")
        .file("kitty-specs/001-x/a/b/c.md", "deep");
    let run = deep.run(&["scan", "--json"]);
    assert!(run.stderr.contains("is beyond a budget: deeper than 1 folders"), "{}", run.stderr);
}

#[test]
fn a_step_that_may_be_there_and_cannot_be_read_is_not_seen() {
    let project = Project::complete().file(".kittify/runtime/feature-runs.json", "[");
    assert_eq!(project.run(&["check"]).code, 13);
    let outside = r#"{"001-x": {"run_id": "r", "run_dir": "/etc"}}"#;
    let project = Project::complete().file(".kittify/runtime/feature-runs.json", outside);
    assert_eq!(project.run(&["check"]).code, 0, "it is ignored, and shown");
}

#[test]
fn a_run_may_be_named_by_a_way_around() {
    let project = Project::complete()
        .file(".kittify/runtime/runs/1/state.json", r#"{"issued_step_id": "plan"}"#);
    let link = project.home().join("link");
    symlink(&project.root, &link).unwrap();
    for run_dir in [
        link.join(".kittify/runtime/runs/1").to_str().unwrap(),
        ".kittify/runtime/../runtime/runs/1",
    ] {
        let runs = serde_json::json!({"001-x": {"run_id": "r", "run_dir": run_dir}});
        project.write(".kittify/runtime/feature-runs.json", runs.to_string());
        let overview = project.run(&["check", "--json"]).json()["features"][0].clone();
        assert_eq!((&overview["step"], &overview["step_error"]), (&"plan".into(), &Value::Null));
    }
}

#[test]
fn work_packages_are_what_yaml_says() {
    let project = Project::complete();
    for (front, id) in [
        ("work_package_id: null", "WP07"),
        ("work_package_id: true", "WP07"),
        ("work_package_id:WP05", "WP07"),
        ("work_package_id: WP05", "WP05"),
        ("work_package_id: 'WP06' # six", "WP06"),
    ] {
        project.write("kitty-specs/001-x/tasks/WP07-x.md", format!("---\n{front}\n---\nbody\n"));
        let snapshot = project.snapshot();
        let entry = crate::support::find_artifact(&snapshot, "tasks/WP07-x.md");
        assert_eq!(entry["wp_id"], id, "{front}");
    }
}
