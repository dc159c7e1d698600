//! What a second reading of the promises found: each of these was wrong once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::support::{FEATURE, Project, not_run, texts};

#[test]
fn step_files_of_others_are_read_only_as_far_as_they_are_asked_for() {
    const MISSION: &str = ".kittify/missions/software-dev";
    let manifest = "mission_type: software-dev\n";
    for (file, text) in [
        ("mission.yaml", "mission: software-dev\nstates: [{name: plan}]\nsteps: [x, y]\n"),
        ("mission.yaml", "workflow: none\nsteps: [{id: plan}]\n"),
        ("mission-runtime.yaml", "mission: software-dev\nsteps: [{id: plan}]\n"),
    ] {
        let project = Project::complete()
            .file(&format!("{MISSION}/expected-artifacts.yaml"), manifest)
            .file(&format!("{MISSION}/{file}"), text);
        project.run(&["check"]).ok();
    }
}

#[test]
fn a_folder_that_may_not_be_entered_lacks_nothing() {
    let project = Project::complete();
    fs::set_permissions(project.feature(), std::os::unix::fs::PermissionsExt::from_mode(0o0))
        .unwrap();
    let scan = project.run_as_nobody(&["scan", "--json"]);
    let check = project.run_as_nobody(&["check", "--json"]);
    fs::set_permissions(project.feature(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (Some(scan), Some(check)) = (scan, check) else {
        return not_run("a feature that may not be entered: there is no other user to be");
    };
    let snapshot = scan.json();
    assert_eq!(snapshot["completeness_status"], "unknown");
    assert_eq!(snapshot["required_missing"], 0, "{snapshot}");
    assert!(scan.stderr.contains("001-x: cannot be read: Permission denied"), "{}", scan.stderr);
    assert_eq!(check.code, 13);
    assert_eq!(check.json()["features"][0]["watch"], "unreadable");
}

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
        let entry = crate::support::entry(&snapshot, "tasks/WP07-x.md");
        assert_eq!(entry["wp_id"], id, "{front}");
    }
}

#[test]
fn an_entry_that_blocks_later_is_listed_from_the_first_list_that_names_it() {
    let manifest = "mission_type: software-dev\n\
        required_always:\n\
        \x20 - {artifact_key: g, artifact_class: output, path_pattern: g.md}\n\
        required_by_step:\n\
        \x20 plan:\n\
        \x20   - {artifact_key: g, artifact_class: output, path_pattern: g.md, blocking: true}\n";
    let path = ".kittify/missions/software-dev/expected-artifacts.yaml";
    for (step, status, missing) in [("specify", "optional", 0), ("plan", "required", 1)] {
        let project = Project::complete().file(path, manifest);
        let root = project.root.to_str().unwrap().to_owned();
        let project =
            project.config(&format!("projects: [{{path: {root}, step: {{001-x: {step}}}}}]\n"));
        let snapshot = project.snapshot();
        assert_eq!(crate::support::entry(&snapshot, "g.md")["required_status"], status);
        assert_eq!(snapshot["required_missing"], missing);
    }
}

#[test]
fn a_baseline_is_written_with_keys() {
    let project = Project::complete();
    project.run(&["baseline", "accept", FEATURE]).ok();
    let baseline = project.baseline();
    let fields = [
        "baseline_key",
        "baseline_key_hash",
        "parity_hash_sha256",
        "captured_at",
        "captured_by",
        "tree_hash_sha256",
        "artifacts",
    ];
    let list: Vec<&Value> = fields.iter().map(|field| &baseline[*field]).collect();
    fs::write(project.baseline_file(), serde_json::to_vec(&list).unwrap()).unwrap();
    let drift = project.run(&["drift", FEATURE, "--json"]).ok().json();
    assert_eq!(drift["state"], "baseline_corrupt");
    for list in ["missing_in_local", "missing_in_baseline", "changed", "churn"] {
        assert!(texts(&drift[list]).is_empty(), "{list}");
    }
}

#[test]
fn the_nearest_kittify_is_the_project_but_for_a_features_own() {
    let project = Project::complete()
        .file("sub/.kittify/config.yaml", "project: {}\n")
        .file("kitty-specs/001-x/.kittify/config.yaml", "project: {}\n");
    let slugs = |path: &Path| {
        let run = project.run(&["scan", "--json", path.to_str().unwrap()]);
        run.lines()
            .iter()
            .map(|line| line["feature_slug"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(slugs(&project.root.join("sub")), Vec::<String>::new());
    assert_eq!(slugs(&project.feature()), [FEATURE]);
    assert_eq!(slugs(&project.root), [FEATURE]);
}

#[test]
fn what_is_no_feature_is_not_taken_for_one() {
    let project = Project::complete().file("kitty-specs/bad name/spec.md", "x").file("src/x", "x");
    for path in [".", "./kitty-specs", "./src"] {
        project.run(&["artifacts", path]).fails(1, "is no feature of");
    }
    project.run(&["scan", "kitty-specs/bad name"]).fails(1, "kitty-specs/bad name is no feature: ");
    symlink("001-x", project.root.join("kitty-specs/link")).unwrap();
    let root = project.root.to_str().unwrap().to_owned();
    let project =
        project.config(&format!("projects: [{{path: {root}, features: [kitty-specs/link]}}]\n"));
    let skipped = project.run(&["check", "--json"]).json()["skipped"].clone();
    assert_eq!(skipped[0]["reason"], "symbolic link, not followed");
}

#[test]
fn a_broken_configuration_is_a_verdict_in_json_too() {
    let project = Project::complete().config("projets: []\n");
    let run = project.run(&["check", "--json"]);
    let report = run.json();
    assert_eq!((run.code, &report["exit_code"]), (78, &78.into()));
    assert_eq!(
        (&report["errors"][0]["line"], &report["errors"][0]["column"]),
        (&1.into(), &1.into())
    );
}
