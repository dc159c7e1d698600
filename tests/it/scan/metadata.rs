//! Metadata of features: `meta.json`, the state of a run, front matter of work packages.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{FEATURE, Project, find_artifact};

#[test]
fn reason_that_prevents_evaluation_is_on_stderr_of_every_command() {
    for (path, text, reason) in [
        ("kitty-specs/001-x/meta.json", "{", "meta.json:1:1: EOF"),
        (".kittify/runtime/feature-runs.json", "[", ".kittify/runtime/feature-runs.json:1:1: "),
        (
            ".kittify/runtime/feature-runs.json",
            r#"{"001-x": {"run_id": "r", "run_dir": "/etc"}}"#,
            "/etc/state.json is outside the project",
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
            assert!(
                run.stderr.contains(reason),
                "{arguments:?}: `{reason}` is not in {}",
                run.stderr
            );
        }
    }
    let deep = Project::complete()
        .config("limits: {depth: 1}\n")
        .file("kitty-specs/001-x/a/b/c.md", "deep");
    let run = deep.run(&["scan", "--json"]);
    assert!(run.stderr.contains("exceeds a limit: deeper than 1 folders"), "{}", run.stderr);
}

#[test]
fn unreadable_step_exits_with_13() {
    let project = Project::complete().file(".kittify/runtime/feature-runs.json", "[");
    assert_eq!(project.run(&["check"]).code, 13);
    let outside = r#"{"001-x": {"run_id": "r", "run_dir": "/etc"}}"#;
    let project = Project::complete().file(".kittify/runtime/feature-runs.json", outside);
    assert_eq!(
        project.run(&["check"]).code,
        0,
        "a run outside the project is ignored with a warning"
    );
}

#[test]
fn run_directory_may_contain_links_and_parent_components() {
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
fn work_package_id_is_parsed_as_yaml() {
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
        let artifact = find_artifact(&snapshot, "tasks/WP07-x.md");
        assert_eq!(artifact["wp_id"], id, "{front}");
    }
}
