//! The socket's artifacts: list, filters, detail and content, tombstones; and drift in detail.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, sha256, write_file};

const LIST: &str = "/api/dossier/artifacts?sync=true&feature=001-x";

fn keys(list: &Value) -> Vec<&str> {
    let all = list["artifacts"].as_array().unwrap();
    all.iter().map(|artifact| artifact["artifact_key"].as_str().unwrap()).collect()
}

fn detail(daemon: &Daemon, key: &str) -> Value {
    daemon.get_json(&format!("/api/dossier/artifacts/{key}?feature={FEATURE}&sync=true"))
}

/// Without what differs from run to run.
fn redact(mut value: Value) -> String {
    for field in ["indexed_at", "captured_at", "last_scanned_at", "synced"] {
        if value.get(field).is_some_and(Value::is_string) {
            value[field] = json!(format!("[{field}]"));
        }
    }
    if value["baseline"]["captured_at"].is_string() {
        value["baseline"]["captured_at"] = json!("[captured_at]");
    }
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn the_list_is_that_of_one_scan_and_each_filter_passes_what_it_says() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let list = daemon.get_json(LIST);
    insta::assert_snapshot!(redact(list.clone()));
    let scanned = project.run(&["artifacts", FEATURE, "--json"]).assert_success().json();
    let mut live = list.clone();
    live.as_object_mut().unwrap().remove("synced");
    assert_eq!(live, scanned);
    let mut sorted = keys(&list);
    sorted.sort_unstable();
    assert_eq!(keys(&list), sorted, "by key");

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
        let said = filtered["filters_applied"].as_object().unwrap();
        let names: Vec<&String> = said.keys().collect();
        assert_eq!(names, ["class", "required_only", "step_id", "wp_id"], "{filter}");
    }
    let refused = daemon.get(&format!("{LIST}&class=sausage")).assert_problem(400, "bad_request");
    assert_eq!(
        refused["hint"],
        "the classes are input, workflow, output, evidence, policy, runtime, other"
    );
    daemon.get(&format!("{LIST}&required_only=perhaps")).assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn a_tombstone_is_listed_and_takes_the_place_of_an_absent_spec() {
    let project = Project::complete().artifact("notes.md", "note");
    let daemon = project.start_daemon();
    let before = daemon.get_json(LIST);
    let plan_key = detail_key(&before, "plan.md");
    let note_key = detail_key(&before, "notes.md");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    fs::remove_file(project.feature_dir().join("notes.md")).unwrap();
    let list = wait_for("two tombstones", || {
        let list = daemon.get_json(LIST);
        (list["tombstones"] == 2).then_some(list)
    });
    assert_eq!(keys(&list), keys(&before), "each once");
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
    assert_eq!(counted + 1, list["total_count"].as_u64().unwrap(), "counted without the note");
    write_file(&project.feature_dir().join("plan.md"), b"again");
    let list = daemon.get_json(LIST);
    assert_eq!(list["tombstones"], 1);
    assert_eq!(detail(&daemon, &plan_key)["content"], "again");
    daemon.stop();
}

fn detail_key(list: &Value, path: &str) -> String {
    let all = list["artifacts"].as_array().unwrap();
    let found = all.iter().find(|artifact| artifact["relative_path"] == path).unwrap();
    found["artifact_key"].as_str().unwrap().to_owned()
}

#[test]
fn every_listed_artifact_has_a_detail_and_its_content_by_the_rule() {
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
        let one = detail(&daemon, key);
        assert_eq!(one["artifact_key"], key);
        if one["is_present"] == true && one["content"].is_string() {
            let content = one["content"].as_str().unwrap();
            assert_eq!(one["content_hash_sha256"], sha256(content.as_bytes()), "{key}");
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
        let one = detail(&daemon, &detail_key(&list, path));
        assert_eq!(one["content"], content, "{path}");
        assert_eq!(one["content_truncated"], truncated, "{path}");
        assert_eq!(one["truncation_notice"], notice, "{path}");
    }
    let nearly = detail(&daemon, &detail_key(&list, "nearly.txt"));
    assert_eq!(nearly["content"].as_str().map(str::len), Some(5_242_879));
    let raw = daemon
        .get(&format!("/api/dossier/artifacts/{}?feature={FEATURE}", detail_key(&list, "text.md")));
    assert!(!raw.body.contains('\u{1b}'), "no control character leaves");
    insta::assert_snapshot!(redact(detail(&daemon, "input.spec.main")));
    insta::assert_snapshot!(redact(detail(&daemon, &detail_key(&list, "tasks/WP01.md"))));

    let encoded: String = "input.spec.main".bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(detail(&daemon, &encoded)["artifact_key"], "input.spec.main");
    let unknown = format!("/api/dossier/artifacts/input.spec.mian?feature={FEATURE}");
    let unknown = daemon.get(&unknown).assert_problem(404, "not_found");
    assert!(unknown["hint"].is_string());
    let near = format!("/api/dossier/artifacts/spec.main?feature={FEATURE}");
    let near = daemon.get(&near).assert_problem(404, "not_found");
    assert_eq!(near["hint"], "did you mean input.spec.main, output.plan.main?");
    let slashed = format!("/api/dossier/artifacts/..%2f..%2fsecret?feature={FEATURE}");
    daemon.get(&slashed).assert_problem(404, "not_found");
    daemon
        .get(&format!("/api/dossier/artifacts/%ff?feature={FEATURE}"))
        .assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let project = Project::complete().artifact("research/note.md", "mine");
    let outside = project.root.join("outside");
    write_file(&outside.join("note.md"), b"mine");
    let daemon = project.start_daemon();
    let key = detail_key(&daemon.get_json(LIST), "research/note.md");
    assert_eq!(detail(&daemon, &key)["content"], "mine");
    // The same bytes, but elsewhere: whether or not this was noticed, they are not given.
    fs::rename(project.feature_dir().join("research"), project.root.join("moved")).unwrap();
    symlink(&outside, project.feature_dir().join("research")).unwrap();
    let target = format!("/api/dossier/artifacts/{key}?feature={FEATURE}");
    let answer = daemon.get(&target);
    assert!(!answer.body.contains("mine"), "{answer:?}");
    daemon.stop();
}

#[test]
fn drift_in_detail_is_that_of_the_command() {
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
