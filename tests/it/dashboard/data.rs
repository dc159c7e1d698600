//! Data for the dashboard and other pages: rendered contents, the fields that spec-kitty's panel
//! reads, and the report.

use std::fs;

use serde_json::{Value, json};

use crate::support::{FEATURE, Project};

#[test]
fn contents_are_rendered_as_element_trees() {
    let project = Project::complete()
        .artifact(
            "spec.md",
            "# A <b>\n\n<script>alert(1)</script>\n\n[x](javascript:y) \u{202e}z\n",
        )
        .artifact("a.json", "{\"k\": 1}")
        .artifact("a.txt", "# text");
    let daemon = project.start_daemon();
    let detail = |key: &str| {
        daemon.get_json(&format!(
            "/api/dossier/artifacts/{key}?feature={FEATURE}&sync=true&render=true"
        ))
    };
    assert_eq!(
        detail("input.spec.main")["rendered"],
        json!([
            {"tag": "h3", "children": ["A <b>"]},
            {"tag": "pre", "children": ["<script>alert(1)</script>\n"]},
            {"tag": "p", "children": [
                {"tag": "span", "class": "link", "children": ["x"]}, " \\u{202e}z",
            ]},
        ])
    );
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let key = |path: &str| {
        let artifacts = list["artifacts"].as_array().unwrap();
        let found = artifacts.iter().find(|item| item["relative_path"] == path).unwrap();
        found["artifact_key"].as_str().unwrap().to_owned()
    };
    assert_eq!(detail(&key("a.json"))["rendered"][0]["children"][1]["class"], "key");
    assert_eq!(detail(&key("a.txt"))["rendered"], Value::Null);
    let plain =
        daemon.get_json(&format!("/api/dossier/artifacts/input.spec.main?feature={FEATURE}"));
    assert!(plain.get("rendered").is_none(), "only on request");
    daemon.stop();
}

/// The panel of spec-kitty uses these fields without checks, and calls `substring` on the hash, so
/// none may be absent or of another type.
#[test]
fn responses_have_the_fields_that_the_spec_kitty_panel_reads() {
    let project = Project::complete()
        .artifact("odd name & more.md", "x")
        .artifact("large.md", "x".repeat(5_242_880))
        .artifact("blob.bin", b"\xff\x00")
        .file("kitty-specs/002-empty/.keep", "");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let daemon = project.start_daemon();
    for feature in [FEATURE, "002-empty"] {
        let overview = daemon.get_json(&format!("/api/dossier/overview?feature={feature}"));
        for count in ["total", "required", "required_present"] {
            assert!(overview["artifact_counts"][count].is_u64(), "{overview:#}");
        }
        assert!(overview["missing_required_count"].is_u64());
        assert!(overview["completeness_status"].is_string());
        assert_eq!(overview["parity_hash_sha256"].as_str().map(str::len), Some(64));
        let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={feature}"));
        assert!(list["total_count"].is_u64() && list["filtered_count"].is_u64());
        for item in list["artifacts"].as_array().unwrap() {
            let hint = item["media_type_hint"].as_str().unwrap();
            assert!(["markdown", "json", "yaml", "text"].contains(&hint));
            assert!(item["size_bytes"].is_u64() && item["is_present"].is_boolean());
            // Every byte is percent-encoded, more than `encodeURIComponent` does.
            let key = item["artifact_key"].as_str().unwrap();
            let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let detail =
                daemon.get_json(&format!("/api/dossier/artifacts/{encoded}?feature={feature}"));
            assert_eq!(detail["artifact_key"], key);
            assert!(detail["content_truncated"].is_boolean());
            let notice = &detail["truncation_notice"];
            assert!(notice.is_string() || notice.is_null());
            assert!(
                detail["content_hash_sha256"].is_string() && detail["media_type_hint"].is_string()
            );
            if item["relative_path"] == "large.md" {
                assert_eq!(notice, "File >5MB, content not included");
                assert_eq!(detail["content_truncated"], true);
            }
        }
    }
    daemon.stop();
}

#[test]
fn report_is_one_complete_file_without_scripts_or_links() {
    let project = Project::complete()
        .artifact("spec.md", "# Sp\u{fc}c <script>alert(1)</script>\n")
        .artifact("<img src=x onerror=alert(1)>.md", "x\u{1b}[2J");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    project.write(&format!("kitty-specs/{FEATURE}/added.md"), "# Added </main><b>\n");
    let path = project.home().join("report.html");
    let report = |note: &str| {
        let run = project.run(&["report", FEATURE, "-o", path.to_str().unwrap()]).assert_success();
        assert!(run.stderr.contains(note), "{run:?}");
        fs::read_to_string(&path).unwrap()
    };
    let scanned = report("one-time scan");
    for expect in [
        "<title>001-x \u{2013} dossier</title>",
        "<span class=\"bad\">incomplete</span>",
        "<code>output.plan.main</code>, expected at plan.md",
        "<span class=\"bad\">removed</span>",
        "<span class=\"good\">added</span>",
        "<h3>Sp\u{fc}c &lt;script&gt;alert(1)&lt;/script&gt;</h3>",
        "<h3>Added &lt;/main&gt;&lt;b&gt;</h3>",
        "&lt;img src=x onerror=alert(1)&gt;.md",
        "default-src 'none'",
    ] {
        assert!(scanned.contains(expect), "`{expect}` is not in:\n{scanned}");
    }
    for forbidden in ["<script", "<img", "\u{1b}", " src=", "http://", "https://", "url("] {
        let rest = scanned.replace("&lt;img src=x", "");
        assert!(!rest.contains(forbidden), "`{forbidden}` is in:\n{scanned}");
    }
    let runtime = project.runtime_dir();
    let project = project.env("XDG_RUNTIME_DIR", runtime);
    let daemon = project.start_daemon();
    let run = project.run(&["report", FEATURE, "-o", "-"]).assert_success();
    let without_time = |html: &str| {
        let lines = html.lines().filter(|line| !line.contains("class=\"made\"")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        without_time(&run.stdout),
        without_time(&scanned),
        "the report of a daemon is the same"
    );
    daemon.stop();
    let run = project.run(&["report", FEATURE, "-o", "/nowhere/at/all.html"]);
    run.assert_failure(1, "cannot write /nowhere/at/all.html");
}
