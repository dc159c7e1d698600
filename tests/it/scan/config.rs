//! `config.yaml`: the effect of each key, and errors with their location and fix.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{FEATURE, Project, find_artifact, write_file};

#[test]
fn invalid_configuration_exits_with_78_and_names_the_location() {
    for (text, expected) in [
        (
            "projets: []\n",
            ":1:1: unknown field `projets`, expected one of `projects`, `ignore_defaults`, `limits`, `settle`, `http`, `journal`, `history`, `log`, `scrub`, `webhook`; did you mean `projects`?",
        ),
        (
            "projects:\n  - path: ROOT\n    featurs: [x]\n",
            ":3:5: projects[0]: unknown field `featurs`",
        ),
        ("projects:\n  - {features: [x]}\n", ":2:5: projects[0]: missing field `path`"),
        ("projects:\n  - {path: here}\n", ":2:12: projects[0].path: `here` is not absolute"),
        ("projects:\n  - {path: ROOT, features: [../x]}\n", ".features[0]: invalid pattern `../x`"),
        ("projects:\n  - {path: ROOT, ignore: [/x]}\n", ".ignore[0]: invalid pattern `/x`"),
        ("projects:\n  - {path: ROOT, ignore: ['a[']}\n", ".ignore[0]: invalid pattern `a[`"),
        ("projects:\n  - {path: ROOT, mission: a/b}\n", ".mission: invalid mission type `a/b`"),
        ("projects:\n  - {path: ROOT, step: [plan]}\n", ".step: invalid type: sequence"),
        ("limits: {depth: -1}\n", ":1:17: limits.depth: invalid type: integer `-1`"),
        ("limits: {deep: 1}\n", ":1:10: limits: unknown field `deep`"),
        ("projects: [\n", ":2:1: "),
        ("projects:\n\t- x\n", ":2:1: "),
        ("projects: []\nprojects: []\n", ":2:1: duplicate key `projects`"),
        ("a: \"\\x1b[31m\"\n\x1b: x", "config.yaml:"),
    ] {
        let project = Project::complete().config(text);
        for arguments in [
            &["scan"][..],
            &["check", "--json"],
            &["artifacts", FEATURE],
            &["baseline", "accept", FEATURE],
        ] {
            let run = project.run(arguments);
            run.assert_failure(78, "error: ");
            let stderr = project.redact_paths(&run.stderr);
            assert!(stderr.contains("HOME/.config/dossierd/config.yaml:"), "{stderr}");
            assert!(stderr.contains(expected), "`{expected}` is not in {stderr}");
            assert!(!stderr.contains('\x1b'), "{stderr:?}");
        }
        assert!(!project.baseline_file().exists());
    }
}

#[test]
fn unreadable_configuration_is_an_error_and_a_missing_one_is_not() {
    let project = Project::complete();
    project.run(&["check"]).assert_success();
    fs::create_dir_all(project.config_file()).unwrap();
    project.run(&["check"]).assert_failure(78, "config.yaml: not a regular file");

    let project = Project::complete().config(&"#".repeat((1 << 20) + 1));
    project.run(&["check"]).assert_failure(78, "config.yaml: larger than 1048576 bytes");

    let project = Project::complete().config("projects: []\n");
    fs::set_permissions(project.config_file(), Permissions::from_mode(0o0)).unwrap();
    if let Some(check) = project.run_as_nobody(&["check"]) {
        check.assert_failure(78, "config.yaml: Permission denied");
    }
}

#[test]
fn xdg_config_home_selects_the_configuration() {
    let project = Project::complete();
    let elsewhere = project.home().join("elsewhere");
    write_file(&elsewhere.join("dossierd/config.yaml"), b"nonsense: 1\n");
    project.run(&["check"]).assert_success();
    let project = project.env("XDG_CONFIG_HOME", &elsewhere);
    project
        .run(&["check"])
        .assert_failure(78, "elsewhere/dossierd/config.yaml:1:1: unknown field `nonsense`");
}

#[test]
fn configured_step_applies_unless_the_runtime_has_issued_one() {
    let project =
        Project::complete().config("projects:\n  - {path: ROOT, step: {001-x: specify}}\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let feature = || project.run(&["check", "--json"]).json()["features"][0].clone();
    let shown = feature();
    assert_eq!((&shown["step"], &shown["step_source"]), (&json!("specify"), &json!("config")));
    assert_eq!(shown["completeness_status"], "complete");
    let runs =
        json!({FEATURE: {"run_id": "r", "run_dir": ".kittify/runtime/r", "mission_key": "m"}});
    project.write(".kittify/runtime/feature-runs.json", runs.to_string());
    project.write(".kittify/runtime/r/state.json", "{\"issued_step_id\": \"plan\"}");
    let shown = feature();
    assert_eq!((&shown["step"], &shown["step_source"]), (&json!("plan"), &json!("runtime")));
    assert_eq!(shown["completeness_status"], "incomplete");
}

#[test]
fn ignored_paths_are_not_artifacts() {
    let project = Project::complete()
        .artifact("notes/a.tmp", "x")
        .artifact("build/deep/b.md", "x")
        .artifact("build.md", "x")
        .config("projects:\n  - {path: ROOT, ignore: ['**/*.tmp', build, plan.md]}\n");
    let snapshot = project.snapshot();
    let paths: Vec<&str> = snapshot["artifact_summaries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|artifact| artifact["is_present"] == true)
        .map(|artifact| artifact["relative_path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["spec.md", "build.md", "tasks.md", "tasks/WP01.md", "meta.json"].map(String::from)
    );
    assert_eq!(find_artifact(&snapshot, "plan.md")["error_reason"], "not_found");
}

#[test]
fn feature_patterns_select_the_feature_directories() {
    let project = Project::new()
        .file("teams/a/specs/001-one/spec.md", "1")
        .file("teams/b/specs/002-two/spec.md", "2")
        .file("teams/b/specs/001-one/spec.md", "3")
        .file("kitty-specs/003-three/spec.md", "4")
        .file("more/004-four/deep/spec.md", "5")
        .config("projects:\n  - {path: ROOT, features: ['teams/*/specs/*', 'more/00[0-9]-*'], mission: research}\n");
    let scan = project.run(&["scan", "--json"]).assert_success();
    let slugs: Vec<String> =
        scan.lines().iter().map(|line| line["feature_slug"].as_str().unwrap().to_owned()).collect();
    assert_eq!(slugs, ["001-one", "002-two", "004-four"]);
    let expected = "teams/b/specs/001-one is skipped: duplicate feature name, already used by `teams/a/specs/001-one`";
    assert!(scan.stderr.contains(expected), "{}", scan.stderr);
    let check = project.run(&["check", "--json"]).json();
    assert_eq!(
        check["features"][0]["mission"], "research",
        "the default for features without a mission in meta.json"
    );
    let inside = project.run(&["scan", "more/004-four/deep", "--json"]).assert_success();
    assert_eq!(inside.json()["feature_slug"], "004-four");
}

#[test]
fn check_json_reports_invalid_configuration() {
    let project = Project::complete().config("projets: []\n");
    let run = project.run(&["check", "--json"]);
    let report = run.json();
    assert_eq!((run.code, &report["exit_code"]), (78, &78.into()));
    assert_eq!(
        (&report["errors"][0]["line"], &report["errors"][0]["column"]),
        (&1.into(), &1.into())
    );
}
