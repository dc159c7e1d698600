//! Problem documents: the responses to requests that fail.

use crate::support::Project;
use crate::support::http::Response;

/// Checks that a response is a complete problem document.
#[track_caller]
pub(crate) fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.head.contains("content-type: application/problem+json"), "{response:?}");
    let problem = response.json();
    assert_eq!(problem["status"], status);
    for field in ["type", "title", "detail", "code"] {
        assert!(problem[field].is_string(), "`{field}` in {problem:#}");
    }
}

#[test]
fn failed_request_gets_a_problem_document() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let invalid = daemon.request("DELETE", "/api/dashboard/sessions/%ff", "");
    assert_problem(&invalid, 400);
    for (target, status) in [
        ("/api/dossier/overview?feature=999-none", 404),
        ("/api/dossier/snapshots/export?feature=999-none&sync=true", 404),
        ("/api/dossier/overview", 400),
        ("/api/nothing", 404),
        ("/api/events?since=nonsense", 400),
        ("/api/events?limit=0", 400),
        ("/api/events?limit=1001", 400),
    ] {
        assert_problem(&daemon.get(target), status);
    }
    assert_eq!(daemon.get("/healthz").body.trim(), "{\"status\":\"ok\"}");
    daemon.stop();
}

#[test]
fn request_of_a_web_page_is_refused_at_the_socket() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for header in ["Origin: http://localhost", "origin: null", "Referer: http://a.example/x"] {
        for target in ["/healthz", "/api/status", "/api/nothing"] {
            let refused = daemon.try_get(target, &[header]).unwrap();
            let problem = refused.assert_problem(403, "forbidden");
            assert_eq!(problem["hint_code"], "wrong_origin");
        }
    }
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.stop();
}

#[test]
fn requests_that_select_no_version_are_refused_with_what_to_name() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (method, target, body, hint) in [
        ("GET", "/api/dossier/content?feature=001-x", "", "by `hash`"),
        ("GET", "/api/dossier/content?feature=001-x&at=now", "", "by `hash`"),
        ("POST", "/api/dossier/restore?feature=001-x", "{\"items\": []}", "in `items`"),
    ] {
        let problem = daemon.request(method, target, body).assert_problem(400, "bad_request");
        let found = problem["hint"].as_str().unwrap();
        assert!(found.contains(hint), "{target}: {found}");
        assert!(!problem["detail"].as_str().unwrap().contains("``"), "{problem}");
    }
    daemon.stop();
}
