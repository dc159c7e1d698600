//! `dossierd check`: formats, files, and which features are checked.

use std::fs;

use serde_json::{Value, json};

use crate::support::{FEATURE, Project, bakery_dir, git};

fn slugs(report: &Value) -> Vec<String> {
    let features = report["features"].as_array().unwrap();
    features.iter().map(|one| one["feature_slug"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn annotations_name_file_and_reason() {
    let run = Project::copy_of(&bakery_dir()).run(&["check", "--format", "github"]);
    assert_eq!(run.code, 12);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn markdown_has_a_table_and_the_findings() {
    let run = Project::copy_of(&bakery_dir()).run(&["check", "--format", "markdown"]);
    assert_eq!(run.code, 12);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn junit_has_a_test_case_for_each_feature() {
    let run = Project::copy_of(&bakery_dir()).run(&["check", "--format", "junit"]);
    assert_eq!(run.code, 12);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn junit_has_a_failure_exactly_if_the_exit_code_is_not_0() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let close = |project: &Project, path: &str| {
        fs::set_permissions(project.root.join(path), fs::Permissions::from_mode(0o000)).unwrap();
    };
    let open = |project: &Project, path: &str| {
        fs::set_permissions(project.root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let accepted = || {
        let project = Project::complete();
        project.run(&["baseline", "accept", FEATURE]).assert_success();
        project
    };
    let meta = |text: &str| Project::complete().artifact("meta.json", text);
    // Case, project, and a directory that is closed meanwhile.
    let cases = [
        ("complete", Project::complete(), None),
        ("example", Project::copy_of(&bakery_dir()), None),
        ("empty", Project::new(), None),
        ("not text", Project::complete().artifact("notes.md", b"\xff\xfe"), None),
        ("required not text", Project::complete().artifact("spec.md", b"\xff\xfe"), None),
        ("no manifest", meta("{\"mission\": \"researches\"}"), None),
        ("broken metadata", meta("{"), None),
        ("added", accepted().artifact("notes.md", "x"), None),
        ("changed", accepted().artifact("notes.md", "x").artifact("spec.md", "y"), None),
        (
            "key mismatch",
            accepted().artifact(
                "meta.json",
                "{\"mission\": \"software-dev\", \"target_branch\": \"dev\"}",
            ),
            None,
        ),
        ("unreadable", Project::complete(), Some("kitty-specs/001-x/tasks")),
        ("unreadable features", Project::complete(), Some("kitty-specs")),
        ("skipped", Project::complete(), None),
    ];
    for (case, project, closed) in cases {
        if case == "skipped" {
            symlink("001-x", project.root.join("kitty-specs/002-link")).unwrap();
        }
        for strict in [false, true] {
            let arguments = ["check", "--format", "junit", "--strict"];
            let arguments = if strict { &arguments[..] } else { &arguments[..3] };
            let run = match closed {
                None => project.run(arguments),
                Some(path) => {
                    close(&project, path);
                    let run = project.run_as_nobody(arguments);
                    open(&project, path);
                    let Some(run) = run else { continue };
                    run
                }
            };
            let has_failed = run.stdout.contains("<failure");
            assert_eq!(has_failed, run.code != 0, "{case}, strict {strict}: {run:?}");
        }
    }
}

#[test]
fn sarif_has_rules_and_places_from_the_top_of_the_repository() {
    let project = Project::empty();
    crate::support::copy_dir(&bakery_dir(), &project.root.join("sub/bakery"));
    fs::write(project.root.join("sub/bakery/kitty-specs/001-order-page/meta.json"), "{\n x")
        .unwrap();
    git(&project.root, &["init", "-q"]);
    let run = project.run(&["check", "sub/bakery", "--format", "sarif"]);
    assert_eq!(run.code, 78);
    let sarif = run.json();
    assert_eq!(sarif["version"], "2.1.0");
    let driver = &sarif["runs"][0]["tool"]["driver"];
    assert_eq!(
        (&driver["name"], &driver["version"]),
        (&"dossierd".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(driver["rules"][index]["id"], result["ruleId"]);
        let location = &result["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("sub/bakery/"), "{uri}");
        assert!(location["region"]["startLine"].as_u64() > Some(0), "{result}");
    }
    let of_rule = |rule: &str| results.iter().find(|one| one["ruleId"] == rule).unwrap();
    let missing = of_rule("required-missing");
    assert_eq!(missing["level"], "error");
    let location = &missing["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(location["uri"], "sub/bakery/kitty-specs/002-loyalty-card/plan.md");
    let invalid = &of_rule("invalid-file")["locations"][0]["physicalLocation"];
    assert_eq!(
        invalid["artifactLocation"]["uri"],
        "sub/bakery/kitty-specs/001-order-page/meta.json"
    );
    assert_eq!(invalid["region"]["startLine"], 2);
}

#[test]
fn formats_are_written_to_their_files_at_once() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    let arguments = "check --format text --format json -o out.json --format junit -o out.xml --format sarif -o \
                     out.sarif --format markdown -o out.md";
    let run = project.run(&arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!((run.code, run.stderr.as_str()), (10, ""), "{run:?}");
    assert_eq!(run.stdout, project.run(&["check"]).stdout);
    let read = |name: &str| fs::read_to_string(project.root.join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("out.json")).unwrap();
    assert_eq!(
        (&report["exit_code"], slugs(&report)),
        (&10.into(), vec![FEATURE.into(), "002-y".into()])
    );
    let sarif: Value = serde_json::from_str(&read("out.sarif")).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 3);
    assert!(read("out.xml").contains("tests=\"2\" failures=\"1\""), "{}", read("out.xml"));
    assert!(read("out.md").contains("| `002-y` | incomplete |"), "{}", read("out.md"));
    // The text in a file has no colours.
    let run = project.run(&["check", "--color", "always", "-o", "out.txt"]);
    assert_eq!((run.code, run.stdout.as_str()), (10, ""));
    assert!(read("out.txt").starts_with("001-x: complete, no baseline"), "{}", read("out.txt"));
    project.run(&["check", "-o", "no/such/dir/x"]).assert_failure(1, "cannot write no/such/dir/x");
    project.run(&["check", "--format", "json", "--format", "text"]).assert_failure(2, "`json`");
}

#[test]
fn json_names_roots_and_layouts() {
    let project = Project::empty()
        .file("one/openspec/changes/add-x/proposal.md", "# X\n")
        .file("two/kitty-specs/001-x/spec.md", "# X\n");
    let report = project.run(&["check", "--json"]).json();
    let roots = report["roots"].as_array().unwrap();
    let root = |name: &str| json!(project.root.join(name).to_str().unwrap());
    assert_eq!(
        (&roots[0]["root"], &roots[0]["layouts"], &roots[0]["project"]),
        (&root("one"), &json!(["openspec"]), &json!("one"))
    );
    assert_eq!((&roots[1]["root"], &roots[1]["layouts"]), (&root("two"), &json!(["spec-kitty"])));
    assert_eq!(report["layouts"], json!(["openspec", "spec-kitty"]));
    assert_eq!(report["features"].as_array().unwrap().len(), 2);
}

#[test]
fn archived_features_are_listed_with_a_finding_or_on_request() {
    let project = Project::empty()
        .file("openspec/changes/add-x/proposal.md", "# X\n")
        .file("openspec/changes/archive/2026-01-02-old/proposal.md", "# Old\n");
    let listed = |arguments: &[&str]| -> Vec<String> {
        let text = project.run(arguments).stdout;
        let features =
            text.lines().filter(|line| !line.starts_with(' ') && !line.contains(" checked: "));
        features.map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&["check"]), ["add-x"]);
    assert_eq!(listed(&["check", "--archived"]), ["add-x", "archive/2026-01-02-old"]);
    assert!(project.run(&["check"]).stdout.contains("2 checked: "));
    assert_eq!(slugs(&project.run(&["check", "--json"]).json()).len(), 2, "programs get all");
    project.run(&["baseline", "accept", "archive/2026-01-02-old"]).assert_success();
    project.write("openspec/changes/archive/2026-01-02-old/proposal.md", "# Changed\n");
    assert_eq!(project.run(&["check"]).code, 11, "its drift counts");
    assert_eq!(listed(&["check"]), ["add-x", "archive/2026-01-02-old"]);
}

#[test]
fn only_features_with_changes_since_a_commit_are_checked() {
    let project = Project::complete()
        .file("kitty-specs/002-y/spec.md", "x")
        .file("kitty-specs/003-z/spec.md", "x")
        .file(".gitignore", "*.log\n");
    git(&project.root, &["init", "-q"]);
    git(&project.root, &["add", "-A"]);
    git(&project.root, &["commit", "-qm", "first"]);
    let listed = |revision: &str| {
        let run = project.run(&["check", "--json", "--changed-since", revision]);
        (run.code, slugs(&run.json()))
    };
    let of = |code: i32, slugs: &[&str]| -> (i32, Vec<String>) {
        (code, slugs.iter().map(ToString::to_string).collect())
    };
    assert_eq!(listed("HEAD"), of(0, &[]));
    // An untracked file is a change, unless git ignores it.
    project.write("kitty-specs/002-y/x.log", "x");
    assert_eq!(listed("HEAD"), of(0, &[]));
    project.write("kitty-specs/003-z/new.md", "x");
    assert_eq!(listed("HEAD"), of(10, &["003-z"]));
    git(&project.root, &["checkout", "-qb", "work"]);
    git(&project.root, &["add", "-A"]);
    git(&project.root, &["commit", "-qm", "second"]);
    // What the other branch has changed meanwhile does not count.
    git(&project.root, &["checkout", "-q", "main"]);
    project.write("kitty-specs/002-y/plan.md", "x");
    git(&project.root, &["add", "-A"]);
    git(&project.root, &["commit", "-qm", "other"]);
    git(&project.root, &["checkout", "-q", "work"]);
    assert_eq!(listed("main"), of(10, &["003-z"]));
    assert_eq!(listed("HEAD"), of(0, &[]));
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    assert_eq!(listed("HEAD"), of(10, &[FEATURE]));
    let text = project.run(&["check", "--changed-since", "HEAD"]).stdout;
    assert!(text.ends_with(", 2 unchanged and not checked\n"), "{text}");
    // A change of what decides about all features.
    project.write(".kittify/missions/x/expected-artifacts.yaml", "schema_version: 1\n");
    assert_eq!(listed("HEAD").1.len(), 3);
    let unknown = project.run(&["check", "--changed-since", "no-such-branch"]);
    unknown.assert_failure(2, "cannot find the changes since `no-such-branch`");
    let outside = Project::complete();
    outside.run(&["check", "--changed-since", "HEAD"]).assert_failure(2, "not a git repository");
}
