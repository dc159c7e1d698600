//! `dossierd artifacts` and `dossierd show`: filters and contents.

use std::fs;

use serde_json::Value;

use crate::support::{FEATURE, Project, bakery_dir};

#[test]
fn artifact_filters_select_matching_artifacts() {
    let project = Project::copy_of(&bakery_dir());
    let keys = |filters: &[&str]| -> Vec<String> {
        let arguments = [&["artifacts", "001-order-page", "--json"], filters].concat();
        let list = project.run(&arguments).assert_success().json();
        assert_eq!(list["total_count"], 14);
        let artifacts = list["artifacts"].as_array().unwrap();
        assert_eq!(list["filtered_count"], artifacts.len());
        artifacts.iter().map(|a| a["artifact_key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&[]).len(), 14);
    assert_eq!(keys(&["--wp", "WP02"]), ["output.tasks.per_wp.WP02-reservations"]);
    assert_eq!(keys(&["--class", "input"]), ["input.spec.main"]);
    assert_eq!(keys(&["--step", "plan", "--required"]), ["output.plan.main"]);
    assert_eq!(keys(&["--missing"]), Vec::<String>::new());
    assert_eq!(keys(&["--required"]).len(), 6);
    let missing = project
        .run(&["artifacts", "002-loyalty-card", "--missing", "--json"])
        .assert_success()
        .json();
    assert_eq!(missing["artifacts"][0]["artifact_key"], "output.plan.main");
    assert_eq!(missing["artifacts"][0]["error_reason"], "not_found");
}

#[test]
fn content_is_shown_only_below_the_size_limit() {
    let limit = 5_242_880;
    let project = Project::complete()
        .artifact("small.md", "x".repeat(limit - 1))
        .artifact("large.md", "x".repeat(limit))
        .artifact("bytes.bin", b"\xff\xfe");
    let show = |key: &str| project.run(&["show", FEATURE, key, "--json"]).assert_success().json();
    let small = show("other.small.md");
    assert_eq!(small["content"].as_str().map(str::len), Some(limit - 1));
    assert_eq!(small["content_truncated"], false);
    let large = show("other.large.md");
    assert_eq!((&large["content"], &large["content_truncated"]), (&Value::Null, &true.into()));
    assert_eq!(large["truncation_notice"], "File >5MB, content not included");
    let bytes = show("other.bytes.bin");
    assert_eq!(
        (&bytes["content"], &bytes["truncation_notice"]),
        (&Value::Null, &"not text".into())
    );
    let absent = Project::new().artifact("plan.md", "x");
    let absent =
        absent.run(&["show", FEATURE, "input.spec.main", "--json"]).assert_success().json();
    assert_eq!((&absent["is_present"], &absent["content"]), (&false.into(), &Value::Null));
}

#[test]
fn show_takes_a_key_or_a_path_and_prints_the_content_alone_if_asked() {
    let large = "x".repeat(3 << 20);
    let project = Project::complete()
        .artifact("notes/a b.md", "a\tb\u{1b}\r\n")
        .artifact("large.md", &large)
        .artifact("huge.md", "x".repeat(5_242_880))
        .artifact("bytes.bin", b"\xff\xfe");
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| project.start_daemon());
        let show =
            |arguments: &[&str]| project.run_client(&[&["show", FEATURE], arguments].concat());
        let by_key = show(&["input.spec.main"]).assert_success().stdout;
        assert!(
            by_key.contains("path          spec.md") && by_key.ends_with("# Spec\n"),
            "{by_key}"
        );
        assert_eq!(show(&["spec.md"]).assert_success().stdout, by_key);
        for arguments in [["notes/a b.md", "--raw"].as_slice(), &["notes/a b.md", "--at", "now"]] {
            assert_eq!(show(arguments).assert_success().stdout, "a\tb\u{1b}\r\n", "unchanged");
        }
        assert!(show(&["large.md", "--raw"]).assert_success().stdout == large);
        show(&["huge.md", "--raw"]).assert_failure(2, "of huge.md is not stored");
        show(&["bytes.bin", "--raw"])
            .assert_failure(1, "is not text, and is not printed; open the file");
        show(&["./spec.md"]).assert_failure(1, "has no artifact `./spec.md`");
        show(&["nope", "--raw"]).assert_failure(2, "there is no artifact `nope`");
        assert_eq!(show(&["spec.md", "--raw", "--at", "now"]).code, 2);
        let absent = project.feature_dir().join("plan.md");
        fs::remove_file(&absent).unwrap();
        let missing = show(&["plan.md"]).assert_success().stdout;
        assert!(missing.contains("key           output.plan.main"), "{missing}");
        fs::write(absent, "# Plan\n").unwrap();
        drop(daemon);
    }
}
