//! Which project and features a path or slug on the command line selects.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{FEATURE, Project};

#[test]
fn path_selects_its_project_its_feature_or_a_single_feature() {
    let project =
        Project::complete().file("kitty-specs/002-y/spec.md", "x").file("src/main.rs", "x");
    let features = |arguments: &[&str]| -> String {
        let run = project.run(&[&["scan", "--json"], arguments].concat()).assert_success();
        let slugs: Vec<String> = run
            .lines()
            .iter()
            .map(|line| line["feature_slug"].as_str().unwrap().to_owned())
            .collect();
        slugs.join(" ")
    };
    for (path, slugs) in [
        (&[][..], "001-x 002-y"),
        (&["."], "001-x 002-y"),
        (&["src"], "001-x 002-y"),
        (&["src/main.rs"], "001-x 002-y"),
        (&["kitty-specs"], "001-x 002-y"),
        (&["kitty-specs/001-x"], "001-x"),
        (&["kitty-specs/001-x/tasks"], "001-x"),
        (&["kitty-specs/001-x/tasks/WP01.md"], "001-x"),
        (&["kitty-specs/../kitty-specs/002-y/"], "002-y"),
    ] {
        assert_eq!(features(path), slugs, "{path:?}");
    }
    let single = Project::empty().file("lone/spec.md", "x").file("lone/tasks/WP01.md", "y");
    let scan = single.run(&["scan", "lone", "--json", "--feature"]).assert_success().json();
    assert_eq!((&scan["feature_slug"], &scan["total_artifacts"]), (&"lone".into(), &4.into()));
    for command in ["scan", "check", "artifacts", "drift"] {
        let run = single.run(&[command, "./lone"]);
        run.assert_failure(2, "is in no project: no layout recognises it");
        assert!(run.stderr.contains("use `--feature` if it is a feature by itself"), "{run:?}");
    }
    single.run(&["artifacts", "./lone", "--feature"]).assert_success();
    fs::create_dir(single.root.join("no\nname")).unwrap();
    single.run(&["scan", "no\nname", "--feature"]).assert_failure(1, "is not a valid feature name");
}

#[test]
fn feature_of_the_current_directory_need_not_be_named() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    let within =
        |arguments: &[&str]| project.run(&[&["-C", "kitty-specs/001-x/tasks"], arguments].concat());
    for arguments in [
        &["artifacts"][..],
        &["artifacts", "--missing", "--json"],
        &["drift"],
        &["log"],
        &["baseline", "log"],
        &["report", "-o", "-"],
    ] {
        let named = [arguments, &[FEATURE]].concat();
        let (here, named) = (within(arguments).assert_success(), project.run(&named));
        assert_eq!(here.stdout.lines().next(), named.stdout.lines().next(), "{arguments:?}");
    }
    let elsewhere = project.run(&["drift"]);
    elsewhere.assert_failure(2, "no feature is named, and the current directory is in none");
    assert!(elsewhere.stderr.contains("FEATURE, such as 001-x, 002-y"), "{elsewhere:?}");
    // What is written is named.
    for arguments in
        [&["baseline", "accept"][..], &["baseline", "clear"], &["restore", "--deleted"]]
    {
        assert_eq!(within(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn feature_is_given_as_slug_or_path_within_the_project_option() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    let root = project.root.to_str().unwrap();
    let elsewhere = Project::complete();
    for arguments in [
        &["artifacts", FEATURE, "--project", root][..],
        &["artifacts", "--project", root, FEATURE],
        &["artifacts", &format!("{root}/kitty-specs/001-x"), "--project", root],
        &["artifacts", &format!("{root}/kitty-specs/001-x/spec.md")],
        &["drift", FEATURE, "--project", root],
        &["show", FEATURE, "input.spec.main", "--project", root],
        &["baseline", "show", FEATURE, "--project", root],
        &["baseline", "accept", FEATURE, "002-y", "--project", root],
    ] {
        elsewhere.run(arguments).assert_success();
    }
    assert!(project.baseline_file().exists() && !elsewhere.baseline_file().exists());
    let wrong = elsewhere.run(&["artifacts", "./kitty-specs/001-x", "--project", root]);
    wrong.assert_failure(1, "is not in the project");
    elsewhere.run(&["artifacts", "002-y"]).assert_failure(1, "there is no feature `002-y`");
    assert_eq!(project.run(&["drift", "002-y"]).code, 0);
    project
        .run(&["artifacts", "./kitty-specs"])
        .assert_failure(1, "./kitty-specs is not a feature of");
}

#[test]
fn nearest_kittify_directory_above_the_feature_is_the_project() {
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
    assert_eq!(slugs(&project.feature_dir()), [FEATURE]);
    assert_eq!(slugs(&project.root), [FEATURE]);
}

#[test]
fn path_that_is_not_a_feature_is_rejected() {
    let project = Project::complete().file("kitty-specs/.hidden/spec.md", "x").file("src/x", "x");
    for path in [".", "./kitty-specs", "./src"] {
        project.run(&["artifacts", path]).assert_failure(1, "is not a feature of");
    }
    project
        .run(&["scan", "kitty-specs/.hidden"])
        .assert_failure(1, "kitty-specs/.hidden is not a feature: ");
    symlink("001-x", project.root.join("kitty-specs/link")).unwrap();
    let root = project.root.to_str().unwrap().to_owned();
    let project =
        project.config(&format!("projects: [{{path: {root}, features: [kitty-specs/link]}}]\n"));
    let skipped = project.run(&["check", "--json"]).json()["skipped"].clone();
    assert_eq!(skipped[0]["reason"], "symbolic link, not followed");
}
