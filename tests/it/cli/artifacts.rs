//! `dossierd artifacts` and `dossierd show`: filters and contents.

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
