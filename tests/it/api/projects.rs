//! `/api/projects` and `/api/rescan`: adds, removes and rescans projects; requests about several.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::problems::assert_problem;
use crate::support::invariants::JournalReader;
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, find_artifact, sha256, write_file};

#[test]
fn added_project_is_watched_until_removed() {
    let project = Project::complete();
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.start_daemon();
    let root = second.to_str().unwrap();
    let body = json!({"path": root}).to_string();
    let added = daemon.request("POST", "/api/projects", &body);
    assert_eq!(added.status, 201, "{added:?}");
    assert_eq!((&added.json()["project"], &added.json()["root"]), (&json!("second"), &json!(root)));
    assert_eq!(daemon.request("POST", "/api/projects", &body).status, 200, "it is already watched");
    assert_eq!(daemon.overview("005-own")["project"], "second");
    daemon.stop();

    // The project is still watched after a restart; one that was added with `keep: false` is not.
    let third = project.root.parent().unwrap().join("third");
    write_file(&third.join("kitty-specs/006-third/spec.md"), b"third");
    let daemon = project.start_daemon();
    assert_eq!(daemon.overview("005-own")["project"], "second");
    let body = json!({"path": third.to_str().unwrap(), "keep": false}).to_string();
    assert_eq!(daemon.request("POST", "/api/projects", &body).status, 201);
    assert_eq!(daemon.overview("006-third")["project"], "third");
    daemon.stop();
    let daemon = project.start_daemon();
    daemon.get("/api/dossier/overview?feature=006-third").assert_problem(404, "not_found");

    let removed = daemon.request("DELETE", "/api/projects?project=second", "");
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(removed.json()["root"], root);
    daemon.get("/api/dossier/overview?feature=005-own&sync=true").assert_problem(404, "not_found");
    daemon.request("DELETE", "/api/projects?project=second", "").assert_problem(404, "not_found");
    daemon.stop();
}

#[test]
fn project_parameter_accepts_equivalent_spellings_of_the_root() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let root = project.root.to_str().unwrap();
    let link = project.home().join("link");
    std::os::unix::fs::symlink(&project.root, &link).unwrap();
    let link = link.to_str().unwrap();
    let root_id = daemon.status()["projects"][0]["root_id"].as_str().unwrap().to_owned();
    for spelling in [
        root,
        &format!("{root}/"),
        &format!("{root}//./"),
        &format!("{root}/kitty-specs/.."),
        link,
        &format!("{link}/"),
        "project",
        &root_id,
    ] {
        let query = format!("feature=001-x&project={spelling}");
        assert_eq!(
            daemon.get_json(&format!("/api/dossier/overview?{query}"))["feature_slug"],
            "001-x"
        );
        let page = daemon.get_json(&format!("/api/events?since=start&{query}"));
        assert!(!page["events"].as_array().unwrap().is_empty(), "{spelling}");
        project
            .run_client(&[
                "status",
                "001-x",
                "--project",
                if spelling.contains('/') { spelling } else { root },
            ])
            .assert_success();
    }
    for unknown in ["/nowhere/at/all", &format!("{root}/kitty-specs"), "./project", "other"] {
        let target = format!("/api/dossier/overview?feature=001-x&project={unknown}");
        daemon.get(&target).assert_problem(404, "not_found");
    }
    // Also while the root is unavailable.
    daemon.request("POST", "/api/projects", &json!({"path": root}).to_string());
    let moved = project.root.with_file_name("moved");
    std::fs::rename(&project.root, &moved).unwrap();
    let target = format!("/api/dossier/overview?feature=001-x&project={root}/");
    assert_eq!(daemon.get_json(&target)["feature_slug"], "001-x");
    std::fs::rename(&moved, &project.root).unwrap();
    daemon.stop();
}

#[test]
fn invalid_add_or_remove_request_reports_the_reason() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    let twin = project.root.parent().unwrap().join("twin/project");
    write_file(&twin.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.start_daemon_over(&[&twin]);
    let ambiguous = daemon.request("DELETE", "/api/projects?project=project", "");
    let ambiguous = ambiguous.assert_problem(409, "conflict");
    assert_eq!(ambiguous["hint_code"], "ambiguous_project");
    let mut roots = [project.root.to_str().unwrap(), twin.to_str().unwrap()];
    roots.sort_unstable();
    for (candidate, root) in ambiguous["candidates"].as_array().unwrap().iter().zip(roots) {
        assert_eq!(candidate["root"], root, "{ambiguous:#}");
        assert_eq!(candidate["project"], "project");
        assert_eq!(candidate["root_id"].as_str().unwrap().len(), 16);
        assert_eq!(candidate["feature_slug"], Value::Null);
    }
    daemon.request("DELETE", "/api/projects", "").assert_problem(400, "bad_request");
    let configured = format!("/api/projects?project={}", project.root.display());
    let rejected = daemon.request("DELETE", &configured, "").assert_problem(409, "conflict");
    assert!(rejected["detail"].as_str().unwrap().contains("configuration"), "{rejected:#}");
    assert_eq!(rejected["hint_code"], "configured_project");
    assert_eq!(rejected["candidates"][0]["root"], project.root.to_str().unwrap());
    for body in
        ["", "{}", "{\"path\": \"relative\"}", "{\"path\": \"/nowhere/at/all\"}", "{\"path\": 1}"]
    {
        daemon.request("POST", "/api/projects", body).assert_problem(400, "bad_request");
    }
    let hint = |problem: Value| problem["hint"].as_str().unwrap_or_default().to_owned();
    let relative = daemon.request("POST", "/api/projects", "{\"path\": \"relative\"}");
    assert_eq!(hint(relative.assert_problem(400, "bad_request")), "use its absolute path");
    let incomplete =
        daemon.request("DELETE", "/api/projects", "").assert_problem(400, "bad_request");
    assert!(hint(incomplete).contains("`project=`"), "the hint names the parameter");
    let incomplete = daemon.get("/api/dossier/overview").assert_problem(400, "bad_request");
    assert!(hint(incomplete).contains("`feature=`"), "the hint names the parameter");
    daemon.stop();
}

#[test]
fn rescan_covers_all_projects_one_project_or_one_feature() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (query, features) in [("", 1), ("?project=project", 1), ("?feature=001-x", 1)] {
        let started = daemon.request("POST", &format!("/api/rescan{query}"), "");
        assert_eq!(
            (started.status, &started.json()["features"]),
            (202, &json!(features)),
            "{started:?}"
        );
    }
    let finished = daemon.request("POST", "/api/rescan?feature=001-x&sync=true", "");
    assert_eq!(finished.status, 200, "{finished:?}");
    assert!(finished.json()["synced"].is_string());
    daemon.request("POST", "/api/rescan?feature=none", "").assert_problem(404, "not_found");
    daemon.request("POST", "/api/rescan?project=none", "").assert_problem(404, "not_found");
    daemon.stop();
}

/// Starts a daemon over a second project in addition to the first; returns its root.
fn start_with_second_project(project: &Project) -> (Daemon, std::path::PathBuf) {
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.start_daemon_over(&[&second]);
    (daemon, second)
}

#[test]
fn projects_with_equal_feature_slugs_are_kept_apart() {
    let project = Project::complete();
    let (daemon, second) = start_with_second_project(&project);
    let export =
        |query: &str| daemon.get_json(&format!("/api/dossier/snapshots/export?sync=true&{query}"));
    let hash =
        |snapshot: &Value, path: &str| find_artifact(snapshot, path)["content_hash_sha256"].clone();
    assert_eq!(hash(&export("feature=005-own"), "spec.md"), sha256(b"own"));
    let root = second.to_str().unwrap();
    for named in ["second", root] {
        let snapshot = export(&format!("feature={FEATURE}&project={named}"));
        assert_eq!(hash(&snapshot, "spec.md"), sha256(b"second"));
    }
    let ambiguous = daemon.get(&format!("/api/dossier/overview?feature={FEATURE}"));
    assert_problem(&ambiguous, 409);
    assert!(ambiguous.body.contains(root), "{ambiguous:?}");
    assert!(ambiguous.body.contains(project.root.to_str().unwrap()), "{ambiguous:?}");

    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"changed");
    let snapshot = export(&format!("feature={FEATURE}&project=second"));
    assert_eq!(hash(&snapshot, "spec.md"), sha256(b"changed"));
    let mut journal = JournalReader::default();
    let mut by_project = BTreeMap::<String, usize>::new();
    for event in journal.read_new(&daemon) {
        *by_project.entry(event["project"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(by_project.len(), 2, "both projects are in one journal: {by_project:?}");
    assert!(by_project.contains_key("second"));
    let status = daemon.status();
    assert_eq!(status["projects"].as_array().unwrap().len(), 2);
    daemon.stop();
}

#[test]
fn feature_of_several_projects_is_a_conflict_with_candidates() {
    let project = Project::complete();
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs/001-x/spec.md"), b"second");
    let mut command = project.daemon_command();
    command.arg(&second);
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    let overview = "/api/dossier/overview?feature=001-x";
    let conflict = daemon.get(overview).assert_problem(409, "conflict");
    assert_eq!(conflict["hint_code"], "ambiguous_project");
    let candidates = conflict["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2, "{conflict:#}");
    for candidate in candidates {
        assert_eq!(candidate["feature_slug"], "001-x");
        let root_id = candidate["root_id"].as_str().unwrap();
        let overview = daemon.get_json(&format!("{overview}&project={root_id}"));
        assert_eq!(overview["project"], candidate["project"]);
    }
    daemon.stop();
}
