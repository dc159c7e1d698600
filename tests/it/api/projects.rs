//! Adding and removing projects over the socket, and looking again.

use serde_json::{Value, json};

use crate::support::{Project, write};

#[test]
fn a_project_is_watched_from_when_it_is_added_until_it_is_removed() {
    let project = Project::complete();
    let second = project.root.parent().unwrap().join("second");
    write(&second.join("kitty-specs/005-own/spec.md"), b"own");
    let daemon = project.daemon();
    let root = second.to_str().unwrap();
    let body = json!({"path": root}).to_string();
    let added = daemon.ask("POST", "/api/projects", &body);
    assert_eq!(added.status, 201, "{added:?}");
    assert_eq!((&added.json()["project"], &added.json()["root"]), (&json!("second"), &json!(root)));
    assert_eq!(daemon.ask("POST", "/api/projects", &body).status, 200, "it is watched already");
    assert_eq!(daemon.overview("005-own")["project"], "second");
    daemon.stop();

    // It is remembered; one that is not to be kept is not.
    let third = project.root.parent().unwrap().join("third");
    write(&third.join("kitty-specs/006-third/spec.md"), b"third");
    let daemon = project.daemon();
    assert_eq!(daemon.overview("005-own")["project"], "second");
    let body = json!({"path": third.to_str().unwrap(), "keep": false}).to_string();
    assert_eq!(daemon.ask("POST", "/api/projects", &body).status, 201);
    assert_eq!(daemon.overview("006-third")["project"], "third");
    daemon.stop();
    let daemon = project.daemon();
    daemon.get("/api/dossier/overview?feature=006-third").problem(404, "not_found");

    let removed = daemon.ask("DELETE", "/api/projects?project=second", "");
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(removed.json()["root"], root);
    daemon.get("/api/dossier/overview?feature=005-own&sync=true").problem(404, "not_found");
    daemon.ask("DELETE", "/api/projects?project=second", "").problem(404, "not_found");
    daemon.stop();
}

#[test]
fn a_root_may_be_written_as_people_write_it() {
    let project = Project::complete();
    let daemon = project.daemon();
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
        assert_eq!(daemon.json(&format!("/api/dossier/overview?{of}"))["feature_slug"], "001-x");
        let page = daemon.json(&format!("/api/events?since=start&{of}"));
        assert!(!page["events"].as_array().unwrap().is_empty(), "{named}");
        project
            .ask(&["status", "001-x", "--project", if named.contains('/') { named } else { root }])
            .ok();
    }
    for named in ["/nowhere/at/all", &format!("{root}/kitty-specs"), "./project", "other"] {
        let target = format!("/api/dossier/overview?feature=001-x&project={named}");
        daemon.get(&target).problem(404, "not_found");
    }
    // Also while it is away, and to be removed then.
    daemon.ask("POST", "/api/projects", &json!({"path": root}).to_string());
    let moved = project.root.with_file_name("moved");
    std::fs::rename(&project.root, &moved).unwrap();
    let target = format!("/api/dossier/overview?feature=001-x&project={root}/");
    assert_eq!(daemon.json(&target)["feature_slug"], "001-x");
    std::fs::rename(&moved, &project.root).unwrap();
    daemon.stop();
}

#[test]
fn what_cannot_be_added_or_removed_says_why() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    let twin = project.root.parent().unwrap().join("twin/project");
    write(&twin.join("kitty-specs/005-own/spec.md"), b"own");
    let mut command = project.daemon_command();
    command.arg(&twin);
    let daemon = project.spawn(command);
    daemon.ready();
    daemon.ask("DELETE", "/api/projects?project=project", "").problem(409, "conflict");
    daemon.ask("DELETE", "/api/projects", "").problem(400, "bad_request");
    let configured = format!("/api/projects?project={}", project.root.display());
    let refused = daemon.ask("DELETE", &configured, "").problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("configuration"), "{refused:#}");
    for body in
        ["", "{}", "{\"path\": \"relative\"}", "{\"path\": \"/nowhere/at/all\"}", "{\"path\": 1}"]
    {
        daemon.ask("POST", "/api/projects", body).problem(400, "bad_request");
    }
    let mend = |problem: Value| problem["hint"].as_str().unwrap_or_default().to_owned();
    let relative = daemon.ask("POST", "/api/projects", "{\"path\": \"relative\"}");
    assert_eq!(mend(relative.problem(400, "bad_request")), "give its absolute path");
    let unsaid = daemon.ask("DELETE", "/api/projects", "").problem(400, "bad_request");
    assert!(mend(unsaid).contains("`project=`"), "what to say");
    let unsaid = daemon.get("/api/dossier/overview").problem(400, "bad_request");
    assert!(mend(unsaid).contains("`feature=`"), "what to say");
    daemon.stop();
}

#[test]
fn everything_a_project_or_a_feature_is_looked_at_again() {
    let project = Project::complete();
    let daemon = project.daemon();
    for (query, features) in [("", 1), ("?project=project", 1), ("?feature=001-x", 1)] {
        let begun = daemon.ask("POST", &format!("/api/rescan{query}"), "");
        assert_eq!((begun.status, &begun.json()["features"]), (202, &json!(features)), "{begun:?}");
    }
    let done = daemon.ask("POST", "/api/rescan?feature=001-x&sync=true", "");
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.json()["synced"].is_string());
    daemon.ask("POST", "/api/rescan?feature=none", "").problem(404, "not_found");
    daemon.ask("POST", "/api/rescan?project=none", "").problem(404, "not_found");
    daemon.stop();
}
