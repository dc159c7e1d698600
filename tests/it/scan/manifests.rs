//! Manifests: layers, steps, and errors with their location. With an invalid manifest the data are
//! still printed, and completeness is `unknown`.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::support::{FEATURE, Project, find_artifact, strings, write_file};

const FILE: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";
const MISSION: &str = ".kittify/overrides/missions/software-dev/mission.yaml";

/// Returns YAML whose aliases expand to more than fits into memory, followed by `last`.
fn bomb(last: &str) -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let below = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", [below.as_str(); 9].join(", ")).unwrap();
    }
    text + last
}

#[test]
fn invalid_manifest_is_reported_with_its_location_and_data_are_printed() {
    let spec =
        |rest: &str| format!("mission_type: software-dev\nrequired_always:\n  - {{{rest}}}\n");
    let deep = format!("mission_type: {}", "[".repeat(1 << 19));
    let table = [
        (
            spec("artifact_key: a, artifact_class: input, path_patern: x"),
            ":3:46: required_always[0]: unknown field `path_patern`, expected one of `artifact_key`, \
             `artifact_class`, `path_pattern`, `blocking`, `generated`; did you mean `path_pattern`?",
        ),
        (
            "mission_type: software-dev\nrequired_allways: []\n".into(),
            ":2:1: unknown field `required_allways`",
        ),
        (
            spec("artifact_key: a, artifact_class: inputs, path_pattern: x"),
            ":3:39: required_always[0].artifact_class: unknown class `inputs`",
        ),
        (
            spec("artifact_key: a, artifact_class: other, path_pattern: x"),
            ":3:39: required_always[0].artifact_class: unknown class `other`",
        ),
        (
            spec("artifact_key: a, artifact_class: input, path_pattern: ../../etc/passwd"),
            ":3:60: required_always[0].path_pattern: invalid pattern `../../etc/passwd`: the path has a `..`",
        ),
        (
            spec("artifact_key: a, artifact_class: input, path_pattern: a/../../b"),
            ":3:60: required_always[0].path_pattern: invalid pattern `a/../../b`",
        ),
        (
            spec("artifact_key: a, artifact_class: input, path_pattern: /etc/passwd"),
            ":3:60: required_always[0].path_pattern: invalid pattern `/etc/passwd`: the path is absolute",
        ),
        (
            spec("artifact_key: a, artifact_class: input, path_pattern: 'a[b'"),
            ":3:60: required_always[0].path_pattern: invalid pattern `a[b`",
        ),
        (
            spec("artifact_key: \"a\\e[31m\", artifact_class: input, path_pattern: x"),
            ":3:20: required_always[0].artifact_key: invalid artifact key `a\\u{1b}[31m`",
        ),
        (
            "mission_type: software-dev\noptional_always:\n  \
             - {artifact_key: a, artifact_class: input, path_pattern: x}\n  \
             - {artifact_key: a, artifact_class: input, path_pattern: y}\n"
                .into(),
            ":4:5: optional_always[1]: `a` has two patterns, `x` and `y`",
        ),
        (
            "mission_type: software-dev\nrequired_by_step:\n  plan:\n  tasks: []\n".into(),
            ":3:8: required_by_step.plan: invalid type: unit value, expected a list of artifacts",
        ),
        ("mission_type: software-dev\nrequired_always: [\n".into(), ":3:1: "),
        ("mission_type: software-dev\n\tx: y\n".into(), ":2:1: "),
        (String::new(), ":1:1: missing field `mission_type`"),
        ("nonsense".into(), ":1:1: "),
        (deep, ":1:143: brackets are nested too deeply"),
        (bomb("mission_type: *a39\n"), ":1:1: unknown field `a0`"),
        ("x".repeat((1 << 20) + 1), ": larger than 1048576 bytes"),
    ];
    for (text, expected) in table {
        let project = Project::complete().file(FILE, &text);
        let scan = project.run(&["scan", "--json"]);
        scan.assert_failure(78, &format!("error: {FILE}{expected}"));
        let snapshot = scan.json();
        assert_eq!(snapshot["completeness_status"], "unknown", "{expected}");
        assert_eq!(
            find_artifact(&snapshot, "spec.md")["artifact_key"],
            "input.spec.main",
            "the key is that of the embedded manifest"
        );
        assert_eq!(snapshot["total_artifacts"], 5);

        let check = project.run(&["check", "--json"]);
        assert_eq!(check.code, 78, "{expected}");
        let error = &check.json()["errors"][0];
        assert_eq!(error["file"], FILE);
        if expected.starts_with(": ") {
            assert_eq!((&error["line"], &error["column"]), (&Value::Null, &Value::Null));
        } else {
            let location = format!(":{}:{}: ", error["line"], error["column"]);
            assert!(expected.starts_with(&location), "{expected}: {error}");
        }
        let table = project.run(&["scan"]);
        let fallback = "the last valid or embedded one is used instead";
        assert!(table.stdout.contains(fallback), "{}", table.stdout);
        assert!(table.stdout.contains(&format!("({FILE}")), "{}", table.stdout);
        for arguments in [
            &["artifacts", FEATURE][..],
            &["show", FEATURE, "input.spec.main"],
            &["drift", FEATURE],
            &["baseline", "show", FEATURE],
        ] {
            let run = project.run(arguments);
            assert_eq!(run.code, 78, "{arguments:?}");
            assert!(!run.stdout.is_empty(), "{arguments:?}: the data are still printed");
        }
    }
}

#[test]
fn invalid_mission_file_is_reported_with_its_location() {
    let runtime = MISSION.replace("mission.yaml", "mission-runtime.yaml");
    for (file, text, expected) in [
        (MISSION, "states: [{nam: plan}]\n".to_owned(), ":1:10: states[0]: missing field `name`"),
        (MISSION, "states: plan\n".to_owned(), ":1:9: states: invalid type: string"),
        (
            &runtime,
            "steps:\n  - {id: [x]}\n".to_owned(),
            ":2:10: steps[0].id: invalid type: sequence",
        ),
        (MISSION, "- a\n".to_owned(), ":1:1: invalid type: sequence"),
    ] {
        let project =
            Project::complete().file(FILE, "mission_type: software-dev\n").file(file, &text);
        let scan = project.run(&["scan", "--json"]);
        scan.assert_failure(78, &format!("error: {file}{expected}"));
        assert_eq!(scan.json()["completeness_status"], "unknown", "{expected}");
    }
}

#[test]
fn unused_manifest_is_checked() {
    let file = ".kittify/missions/own/expected-artifacts.yaml";
    let project = Project::complete().file(file, "mission_type: own\nrequired: []\n");
    let check = project.run(&["check"]);
    check.assert_failure(78, &format!("error: {file}:2:1: unknown field `required`"));
    assert!(check.stdout.contains("001-x: complete"), "{}", check.stdout);
}

#[test]
fn yaml_bomb_is_rejected_quickly_in_every_file() {
    // file, last line that uses the bomb in that file, exit code of `scan`
    for (file, last, code) in [
        (FILE, "mission_type: *a39\n", 78),
        (MISSION, "states: [{name: plan, more: *a39}]\n", 0),
        (MISSION, "states: *a39\n", 78),
        (".kittify/config.yaml", "vcs: *a39\n", 0),
        (".kittify/config.yaml", "project: *a39\n", 78),
        ("kitty-specs/001-x/tasks/WP02.md", "work_package_id: *a39\n", 0),
    ] {
        let text = match file {
            "kitty-specs/001-x/tasks/WP02.md" => format!("---\n{}---\nbody\n", bomb(last)),
            _ => bomb(last),
        };
        let mut project = Project::complete().file(file, text);
        if file == MISSION {
            project = project.file(FILE, "mission_type: software-dev\n");
        }
        let scan = project.run(&["scan", "--json"]);
        assert_eq!(scan.code, code, "{file}: {last}: {scan:?}");
        assert_eq!(scan.lines().len(), 1, "the data are still printed");
    }
    let config = Project::complete().config(&bomb("projects: *a39\n"));
    config.run(&["scan"]).assert_failure(78, "config.yaml:1:1: unknown field `a0`");
}

#[test]
fn unknown_step_is_a_warning_and_all_steps_apply() {
    let manifest = "mission_type: software-dev\nrequired_by_step:\n  pland:\n    \
                    - {artifact_key: a, artifact_class: output, path_pattern: a.md, blocking: true}\n";
    let project = Project::complete().file(FILE, manifest);
    let check = project.run(&["check"]);
    let warning =
        format!("warning: {FILE}: step `pland` of `required_by_step` is in no mission file");
    check.assert_failure(10, &warning);
    let json = project.run(&["check", "--json"]).json();
    assert_eq!(strings(&json["warnings"]), [warning.strip_prefix("warning: ").unwrap()]);

    // A current step that the mission does not have.
    let project =
        Project::complete().config("projects:\n  - {path: ROOT, step: {001-x: nonsens}}\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let check = project.run(&["check"]);
    assert_eq!(check.code, 10);
    let warning = "the mission has no step `nonsens`; the specs of all steps apply";
    assert!(check.stdout.contains(warning), "{}", check.stdout);
    let feature = &project.run(&["check", "--json"]).json()["features"][0];
    assert_eq!((&feature["step"], &feature["step_source"]), (&json!("nonsens"), &json!("config")));
    assert_eq!(feature["step_error"], warning);
}

#[test]
fn first_layer_with_a_manifest_is_used_without_merging() {
    let project = Project::complete();
    let manifest = |version: &str, more: &str| {
        format!("mission_type: software-dev\nmanifest_version: '{version}'\n{more}")
    };
    let version_and_code = || -> (String, i32) {
        let check = project.run(&["check", "--json"]);
        let version = check.json()["features"][0]["manifest_version"].as_str().unwrap().to_owned();
        (version, check.code)
    };
    let user =
        project.home().join(".config/dossierd/missions/software-dev/expected-artifacts.yaml");
    assert_eq!(version_and_code(), ("1".into(), 0), "embedded");
    write_file(&user, manifest("user", "").as_bytes());
    assert_eq!(version_and_code(), ("user".into(), 0));
    project
        .write(".kittify/missions/software-dev/expected-artifacts.yaml", manifest("project", ""));
    assert_eq!(version_and_code(), ("project".into(), 0));
    project.write(MISSION, "states: [{name: only}]\n");
    assert_eq!(
        version_and_code(),
        ("project".into(), 0),
        "a directory without a manifest is not a layer"
    );
    let required = "required_always:\n  - {artifact_key: a, artifact_class: output, path_pattern: a.md, blocking: true}\n";
    project.write(FILE, manifest("override", required));
    assert_eq!(version_and_code(), ("override".into(), 10), "lower layers are not merged");
    project.write(FILE, "broken");
    assert_eq!(
        version_and_code(),
        ("1".into(), 78),
        "the embedded manifest is used, not the next layer"
    );
}

#[test]
fn required_artifacts_depend_on_the_step() {
    let project = Project::complete();
    fs::remove_file(project.feature_dir().join("tasks/WP01.md")).unwrap();
    project.write(
        ".kittify/runtime/feature-runs.json",
        json!({FEATURE: {"run_id": "run-1", "run_dir": ".kittify/runtime/runs/1", "mission_key": "software-dev"}})
            .to_string(),
    );
    let state_at = |step: &str| -> (String, Value) {
        project.write(
            ".kittify/runtime/runs/1/state.json",
            json!({"issued_step_id": step}).to_string(),
        );
        let check = project.run(&["check", "--json"]).json();
        let feature = &check["features"][0];
        assert_eq!((&feature["step"], &feature["step_source"]), (&json!(step), &json!("runtime")));
        assert_eq!(feature["mission_run_id"], "run-1");
        let status = feature["completeness_status"].as_str().unwrap().to_owned();
        (status, feature["artifact_counts"].clone())
    };
    for (step, status) in [
        ("discovery", "complete"),
        ("tasks_outline", "complete"),
        ("tasks_packages", "incomplete"),
        ("implement", "incomplete"),
        ("done", "incomplete"),
    ] {
        assert_eq!(state_at(step).0, status, "{step}");
    }
    // A present artifact counts as required at any step, a missing one only from its step on.
    assert_eq!(state_at("discovery").1["required"], 3);
    assert_eq!(state_at("done").1["required"], 4);
}

#[test]
fn unknown_fields_of_mission_files_are_ignored() {
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
        project.run(&["check"]).assert_success();
    }
}

#[test]
fn required_status_is_the_same_for_present_and_absent_files_at_every_step() {
    let manifest = "mission_type: software-dev\n\
        required_always:\n\
        \x20 - {artifact_key: g, artifact_class: output, path_pattern: g.md}\n\
        \x20 - {artifact_key: h, artifact_class: output, path_pattern: h.md}\n\
        required_by_step:\n\
        \x20 plan:\n\
        \x20   - {artifact_key: g, artifact_class: output, path_pattern: g.md, blocking: true}\n";
    let path = ".kittify/missions/software-dev/expected-artifacts.yaml";
    for step in ["specify", "plan"] {
        let project = Project::complete().file(path, manifest);
        let root = project.root.to_str().unwrap().to_owned();
        let project =
            project.config(&format!("projects: [{{path: {root}, step: {{001-x: {step}}}}}]\n"));
        for is_present in [false, true] {
            if is_present {
                project.write("kitty-specs/001-x/g.md", "g");
                project.write("kitty-specs/001-x/h.md", "h");
            }
            let snapshot = project.snapshot();
            let status = |path| find_artifact(&snapshot, path)["required_status"].clone();
            assert_eq!((status("g.md"), status("h.md")), ("required".into(), "optional".into()));
            let completeness = if is_present { "complete" } else { "incomplete" };
            assert_eq!(snapshot["completeness_status"], completeness, "at {step}");
            assert_eq!(snapshot["required_missing"], u8::from(!is_present), "at {step}");
        }
    }
}
