//! `/api/dossier/artifacts` and `/api/dossier/drift`: lists, filters, details, contents,
//! tombstones.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::kernel::sh;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, sha256, write_file};

const LIST: &str = "/api/dossier/artifacts?sync=true&feature=001-x";

fn keys(list: &Value) -> Vec<&str> {
    let artifacts = list["artifacts"].as_array().unwrap();
    artifacts.iter().map(|artifact| artifact["artifact_key"].as_str().unwrap()).collect()
}

fn detail(daemon: &Daemon, key: &str) -> Value {
    daemon.get_json(&format!("/api/dossier/artifacts/{key}?feature={FEATURE}&sync=true"))
}

/// Returns a response as text, with a placeholder for each value that differs between runs.
fn redact(mut value: Value) -> String {
    for field in ["indexed_at", "captured_at", "last_scanned_at", "synced"] {
        if value.get(field).is_some_and(Value::is_string) {
            value[field] = json!(format!("[{field}]"));
        }
    }
    let redact_capture = |value: &mut Value| {
        if value["captured_at"].is_string() {
            value["captured_at"] = json!("[captured_at]");
        }
    };
    for field in ["baseline", "provenance"] {
        if let Some(value) = value.get_mut(field) {
            redact_capture(value);
        }
    }
    for artifact in value.get_mut("artifacts").and_then(Value::as_array_mut).into_iter().flatten() {
        redact_capture(&mut artifact["provenance"]);
    }
    serde_json::to_string_pretty(&value).unwrap()
}

/// Returns a list without the times at which the artifacts were indexed; a scan indexes them itself.
fn without_capture_times(mut list: Value) -> Value {
    for artifact in list["artifacts"].as_array_mut().unwrap() {
        let provenance = artifact["provenance"].as_object_mut().unwrap();
        assert!(provenance.remove("captured_at").unwrap().as_str().unwrap().ends_with('Z'));
    }
    list
}

#[test]
fn artifact_list_equals_scan_and_filters_select_matching_artifacts() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let list = daemon.get_json(LIST);
    insta::assert_snapshot!(redact(list.clone()));
    let scanned = project.run(&["artifacts", FEATURE, "--json"]).assert_success().json();
    let mut live = list.clone();
    live.as_object_mut().unwrap().remove("synced");
    assert_eq!(without_capture_times(live), without_capture_times(scanned));
    let mut sorted = keys(&list);
    sorted.sort_unstable();
    assert_eq!(keys(&list), sorted, "sorted by key");

    for (filter, passes) in [
        ("&class=input", (|a| a["artifact_class"] == "input") as fn(&Value) -> bool),
        ("&wp_id=WP01", |a| a["wp_id"] == "WP01"),
        ("&step_id=plan", |a| a["step_id"] == "plan"),
        ("&required_only=true", |a| a["required_status"] == "required"),
        ("&class=workflow&wp_id=WP01", |a| {
            a["artifact_class"] == "workflow" && a["wp_id"] == "WP01"
        }),
        ("&missing_only=true", |a| a["is_present"] == false),
        ("&class=&wp_id=&step_id=&required_only=false", |_| true),
        ("&wp_id=WP99", |_| false),
    ] {
        let filtered = daemon.get_json(&format!("{LIST}{filter}"));
        let all = list["artifacts"].as_array().unwrap();
        let expect: Vec<&Value> = all.iter().filter(|artifact| passes(artifact)).collect();
        assert_eq!(filtered["artifacts"], json!(expect), "{filter}");
        assert_eq!(filtered["filtered_count"], expect.len(), "{filter}");
        assert_eq!(filtered["total_count"], list["total_count"], "{filter}");
        let applied = filtered["filters_applied"].as_object().unwrap();
        let names: Vec<&String> = applied.keys().collect();
        assert_eq!(names, ["class", "required_only", "step_id", "wp_id"], "{filter}");
    }
    let rejected = daemon.get(&format!("{LIST}&class=sausage")).assert_problem(400, "bad_request");
    assert_eq!(
        rejected["hint"],
        "valid classes: input, workflow, output, evidence, policy, runtime, other"
    );
    daemon.get(&format!("{LIST}&required_only=perhaps")).assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn provenance_is_git_while_a_file_is_staged_unchanged() {
    let project = Project::complete().artifact("note.md", "new\n");
    let git = |arguments: &[&str]| {
        let user =
            ["-C", project.root.to_str().unwrap(), "-c", "user.name=t", "-c", "user.email=t@t"];
        sh(&[&["git"], &user[..], arguments].concat());
    };
    let kinds = |list: &Value| -> Vec<(String, Value)> {
        let artifacts = list["artifacts"].as_array().unwrap().iter();
        let kind = |artifact: &Value| {
            let path = artifact["relative_path"].as_str().unwrap().to_owned();
            (path, artifact["provenance"]["source_kind"].clone())
        };
        let mut kinds: Vec<_> = artifacts.map(kind).collect();
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        kinds
    };
    let expected = |spec: &str, note: &str| {
        [
            ("meta.json", "runtime"),
            ("note.md", note),
            ("plan.md", "git"),
            ("spec.md", spec),
            ("tasks.md", "git"),
            ("tasks/WP01.md", "git"),
        ]
        .map(|(path, kind)| (path.to_owned(), json!(kind)))
    };
    git(&["init", "-q"]);
    let daemon = project.start_daemon();
    let none = kinds(&daemon.get_json(LIST));
    assert!(none.iter().all(|(_, kind)| kind == "manual" || kind == "runtime"), "{none:?}");
    let paths = ["spec.md", "plan.md", "tasks.md", "tasks"];
    let paths = paths.map(|path| format!("kitty-specs/{FEATURE}/{path}"));
    // Files that are as new as the index are not trusted, neither by git nor here.
    wait_for("the files to be staged", || {
        git(&[&["add"], &paths.each_ref().map(String::as_str)[..]].concat());
        (kinds(&daemon.get_json(LIST)) == expected("git", "manual")).then_some(())
    });
    let scanned = project.run(&["artifacts", FEATURE, "--json"]).assert_success().json();
    assert_eq!(kinds(&scanned), expected("git", "manual"));
    assert_eq!(detail(&daemon, "input.spec.main")["provenance"]["source_kind"], "git");
    write_file(&project.feature_dir().join("spec.md"), b"# Spec\n");
    assert_eq!(kinds(&daemon.get_json(LIST)), expected("manual", "manual"));
    git(&["commit", "-q", "-m", "x"]);
    write_file(&project.root.join(".git/index"), b"DIRC");
    let list = kinds(&daemon.get_json(LIST));
    assert_eq!(list[0].1, "runtime");
    assert!(list[1..].iter().all(|(_, kind)| kind.is_null()), "not known: {list:?}");
    daemon.stop();
}

#[test]
fn tombstone_is_listed_in_place_of_the_missing_artifact() {
    let project = Project::complete().artifact("notes.md", "note");
    let daemon = project.start_daemon();
    let before = daemon.get_json(LIST);
    let plan_key = key_at(&before, "plan.md");
    let note_key = key_at(&before, "notes.md");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    fs::remove_file(project.feature_dir().join("notes.md")).unwrap();
    let list = wait_for("two tombstones", || {
        let list = daemon.get_json(LIST);
        (list["tombstones"] == 2).then_some(list)
    });
    assert_eq!(keys(&list), keys(&before), "each artifact is listed once");
    assert_eq!(list["total_count"], before["total_count"]);
    for (key, path) in [(&plan_key, "plan.md"), (&note_key, "notes.md")] {
        let detail = detail(&daemon, key);
        assert_eq!(detail["error_reason"], "deleted_after_scan");
        assert_eq!(detail["relative_path"], path);
        assert_eq!(detail["content"], Value::Null);
        assert_eq!(detail["content_hash_sha256"], "");
    }
    let overview = daemon.overview(FEATURE);
    let counted = overview["artifact_counts"]["total"].as_u64().unwrap();
    assert_eq!(
        counted + 1,
        list["total_count"].as_u64().unwrap(),
        "the overview does not count the tombstone of `notes.md`"
    );
    write_file(&project.feature_dir().join("plan.md"), b"again");
    let list = daemon.get_json(LIST);
    assert_eq!(list["tombstones"], 1);
    assert_eq!(detail(&daemon, &plan_key)["content"], "again");
    daemon.stop();
}

fn key_at(list: &Value, path: &str) -> String {
    let artifacts = list["artifacts"].as_array().unwrap();
    let found = artifacts.iter().find(|artifact| artifact["relative_path"] == path).unwrap();
    found["artifact_key"].as_str().unwrap().to_owned()
}

#[test]
fn every_listed_artifact_has_details_and_only_text_below_the_limit_has_content() {
    let project = Project::complete()
        .artifact("text.md", "gr\u{fc}n \u{1b}[31m\n")
        .artifact("blob.bin", b"\xff\xfe")
        .artifact("broken.md", b"\xff")
        .artifact("full.txt", vec![b'x'; 5_242_880])
        .artifact("nearly.txt", vec![b'x'; 5_242_879]);
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    let outside = project.root.join("outside");
    fs::create_dir(&outside).unwrap();
    write_file(&outside.join("secret.md"), b"secret");
    symlink(outside.join("secret.md"), project.feature_dir().join("link.md")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        project.feature_dir().join("pipe.md"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let daemon = project.start_daemon();
    let list = daemon.get_json(LIST);
    for key in keys(&list) {
        let artifact = detail(&daemon, key);
        assert_eq!(artifact["artifact_key"], key);
        if artifact["is_present"] == true && artifact["content"].is_string() {
            let content = artifact["content"].as_str().unwrap();
            assert_eq!(artifact["content_hash_sha256"], sha256(content.as_bytes()), "{key}");
        }
    }
    for (path, content, truncated, notice) in [
        ("text.md", json!("gr\u{fc}n \u{1b}[31m\n"), false, Value::Null),
        ("blob.bin", Value::Null, false, json!("not text")),
        ("broken.md", Value::Null, false, json!("not text")),
        ("full.txt", Value::Null, true, json!("File >5MB, content not included")),
        ("link.md", Value::Null, false, json!("cannot be read")),
        ("pipe.md", Value::Null, false, json!("cannot be read")),
    ] {
        let artifact = detail(&daemon, &key_at(&list, path));
        assert_eq!(artifact["content"], content, "{path}");
        assert_eq!(artifact["content_truncated"], truncated, "{path}");
        assert_eq!(artifact["truncation_notice"], notice, "{path}");
    }
    let nearly = detail(&daemon, &key_at(&list, "nearly.txt"));
    assert_eq!(nearly["content"].as_str().map(str::len), Some(5_242_879));
    let raw = daemon
        .get(&format!("/api/dossier/artifacts/{}?feature={FEATURE}", key_at(&list, "text.md")));
    assert!(!raw.body.contains('\u{1b}'), "control characters are escaped");
    insta::assert_snapshot!(redact(detail(&daemon, "input.spec.main")));
    insta::assert_snapshot!(redact(detail(&daemon, &key_at(&list, "tasks/WP01.md"))));

    let encoded: String = "input.spec.main".bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(detail(&daemon, &encoded)["artifact_key"], "input.spec.main");
    let unknown = format!("/api/dossier/artifacts/input.spec.mian?feature={FEATURE}");
    let unknown = daemon.get(&unknown).assert_problem(404, "not_found");
    assert!(unknown["hint"].is_string());
    let similar = format!("/api/dossier/artifacts/spec.main?feature={FEATURE}");
    let similar = daemon.get(&similar).assert_problem(404, "not_found");
    assert_eq!(similar["hint"], "did you mean input.spec.main, output.plan.main?");
    let with_slash = format!("/api/dossier/artifacts/..%2f..%2fsecret?feature={FEATURE}");
    daemon.get(&with_slash).assert_problem(404, "not_found");
    daemon
        .get(&format!("/api/dossier/artifacts/%ff?feature={FEATURE}"))
        .assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn content_is_not_read_through_a_directory_replaced_by_a_link() {
    let project = Project::complete().artifact("research/note.md", "mine");
    let outside = project.root.join("outside");
    write_file(&outside.join("note.md"), b"mine");
    let daemon = project.start_daemon();
    let key = key_at(&daemon.get_json(LIST), "research/note.md");
    assert_eq!(detail(&daemon, &key)["content"], "mine");
    // A file with the same bytes outside the feature: it must not be read, whether or not the
    // daemon has noticed the change.
    fs::rename(project.feature_dir().join("research"), project.root.join("moved")).unwrap();
    symlink(&outside, project.feature_dir().join("research")).unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    let response = daemon.get(&target);
    assert!(!response.body.contains("mine"), "{response:?}");
    daemon.stop();
}

#[test]
fn drift_details_equal_output_of_the_drift_command() {
    let project = Project::complete();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    let target = format!("/api/dossier/drift?feature={FEATURE}&sync=true");
    assert_eq!(daemon.get_json(&target)["state"], "in_parity");
    project.write("kitty-specs/001-x/plan.md", "other\n");
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    project.write("kitty-specs/001-x/new.md", "new\n");
    let mut live = daemon.get_json(&target);
    insta::assert_snapshot!(redact(live.clone()));
    live.as_object_mut().unwrap().remove("synced");
    assert_eq!(live, project.run(&["drift", FEATURE, "--json"]).assert_success().json());
    daemon.stop();
}
