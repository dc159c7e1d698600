//! Adding and removing projects over the socket, and looking again.

use serde_json::{Value, json};

use crate::support::{Project, write_file};

#[test]
fn a_project_is_watched_from_when_it_is_added_until_it_is_removed() {
    let project = Project::complete();
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.start_daemon();
    let root = second.to_str().unwrap();
    let body = json!({"path": root}).to_string();
    let added = daemon.request("POST", "/api/projects", &body);
    assert_eq!(added.status, 201, "{added:?}");
    assert_eq!((&added.json()["project"], &added.json()["root"]), (&json!("second"), &json!(root)));
    assert_eq!(daemon.request("POST", "/api/projects", &body).status, 200, "it is watched already");
    assert_eq!(daemon.overview("005-own")["project"], "second");
    daemon.stop();

    // It is remembered; one that is not to be kept is not.
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
fn a_root_may_be_written_as_people_write_it() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let root = project.root.to_str().unwrap();
    let link = project.home().join("link");
    std::os::unix::fs::symlink(&project.root, &link).unwrap();
    let link = link.to_str().unwrap();
    let root_id = daemon.status()["projects"][0]["root_id"].as_str().unwrap().to_owned();
    for named in [
        root,
        &format!("{root}/"),
        &format!("{root}//./"),
        &format!("{root}/kitty-specs/.."),
        link,
        &format!("{link}/"),
        "project",
        &root_id,
    ] {
        let of = format!("feature=001-x&project={named}");
        assert_eq!(
            daemon.get_json(&format!("/api/dossier/overview?{of}"))["feature_slug"],
            "001-x"
        );
        let page = daemon.get_json(&format!("/api/events?since=start&{of}"));
        assert!(!page["events"].as_array().unwrap().is_empty(), "{named}");
        project
            .run_client(&[
                "status",
                "001-x",
                "--project",
                if named.contains('/') { named } else { root },
            ])
            .assert_success();
    }
    for named in ["/nowhere/at/all", &format!("{root}/kitty-specs"), "./project", "other"] {
        let target = format!("/api/dossier/overview?feature=001-x&project={named}");
        daemon.get(&target).assert_problem(404, "not_found");
    }
    // Also while it is away, and to be removed then.
    daemon.request("POST", "/api/projects", &json!({"path": root}).to_string());
    let moved = project.root.with_file_name("moved");
    std::fs::rename(&project.root, &moved).unwrap();
    let target = format!("/api/dossier/overview?feature=001-x&project={root}/");
    assert_eq!(daemon.get_json(&target)["feature_slug"], "001-x");
    std::fs::rename(&moved, &project.root).unwrap();
    daemon.stop();
}

#[test]
fn what_cannot_be_added_or_removed_says_why() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    let twin = project.root.parent().unwrap().join("twin/project");
    write_file(&twin.join("kitty-specs/005-own/spec.md"), b"own");
    let mut command = project.daemon_command();
    command.arg(&twin);
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    daemon.request("DELETE", "/api/projects?project=project", "").assert_problem(409, "conflict");
    daemon.request("DELETE", "/api/projects", "").assert_problem(400, "bad_request");
    let configured = format!("/api/projects?project={}", project.root.display());
    let refused = daemon.request("DELETE", &configured, "").assert_problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("configuration"), "{refused:#}");
    for body in
        ["", "{}", "{\"path\": \"relative\"}", "{\"path\": \"/nowhere/at/all\"}", "{\"path\": 1}"]
    {
        daemon.request("POST", "/api/projects", body).assert_problem(400, "bad_request");
    }
    let mend = |problem: Value| problem["hint"].as_str().unwrap_or_default().to_owned();
    let relative = daemon.request("POST", "/api/projects", "{\"path\": \"relative\"}");
    assert_eq!(mend(relative.assert_problem(400, "bad_request")), "give its absolute path");
    let unsaid = daemon.request("DELETE", "/api/projects", "").assert_problem(400, "bad_request");
    assert!(mend(unsaid).contains("`project=`"), "what to say");
    let unsaid = daemon.get("/api/dossier/overview").assert_problem(400, "bad_request");
    assert!(mend(unsaid).contains("`feature=`"), "what to say");
    daemon.stop();
}

#[test]
fn everything_a_project_or_a_feature_is_looked_at_again() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (query, features) in [("", 1), ("?project=project", 1), ("?feature=001-x", 1)] {
        let begun = daemon.request("POST", &format!("/api/rescan{query}"), "");
        assert_eq!((begun.status, &begun.json()["features"]), (202, &json!(features)), "{begun:?}");
    }
    let done = daemon.request("POST", "/api/rescan?feature=001-x&sync=true", "");
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.json()["synced"].is_string());
    daemon.request("POST", "/api/rescan?feature=none", "").assert_problem(404, "not_found");
    daemon.request("POST", "/api/rescan?project=none", "").assert_problem(404, "not_found");
    daemon.stop();
}
