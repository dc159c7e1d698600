//! `/api/openapi.json`: the document is valid, and the responses of the daemon match it.

use std::fs;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, repository, write_file};

/// Returns the OpenAPI document.
pub(crate) fn document(daemon: &Daemon) -> Value {
    daemon.get_json("/api/openapi.json")
}

#[test]
fn document_is_valid_openapi_3_1() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    // The schema of the OpenAPI Initiative, as published for 3.1.
    let schema = fs::read(repository().join("tests/golden/openapi-3.1.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = document(&daemon);
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [] as [String; 0]);
    assert!(
        !validator.is_valid(&json!({"openapi": "3.1.0"})),
        "the schema rejects an incomplete document"
    );
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "the target of {reference} does not exist");
    }
    daemon.stop();
}

/// Returns all values of `$ref`.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name == "$ref" => vec![text.clone()],
                other => references(other),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Checks a response against the schema that the document specifies for it.
#[track_caller]
pub(crate) fn assert_documented(
    document: &Value,
    method: &str,
    address: &str,
    response: &Response,
) {
    let operation = &document["paths"][address][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {address} is not documented");
    let status = response.status;
    let documented = &operation["responses"][status.to_string()];
    let documented = match documented["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => documented,
    };
    assert!(
        documented.is_object(),
        "{method} {address}: status {status} is not documented: {response:?}"
    );
    let media_type = response.head.lines().find_map(|line| line.strip_prefix("content-type: "));
    let media_type = media_type.unwrap_or_else(|| panic!("no content type: {response:?}"));
    let media_type = media_type.split(';').next().unwrap();
    let schema = &documented["content"][media_type]["schema"];
    assert!(schema.is_object(), "{method} {address}: {media_type} is not documented");
    if !media_type.ends_with("json") {
        return;
    }
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let body = response.json();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [] as [String; 0], "{method} {address}: {body:#}");
}

#[test]
fn responses_match_their_documented_schemas() {
    let project = Project::complete().artifact("blob.bin", b"\xff");
    let daemon = project.start_daemon();
    let document = document(&daemon);
    let get = |address: &str, query: &str| {
        let target = address.replace("{artifact_key}", "input.spec.main");
        assert_documented(&document, "GET", address, &daemon.get(&format!("{target}{query}")));
    };
    let get_all = |state: &str| {
        eprintln!("state: {state}");
        let feature = format!("?feature={FEATURE}&sync=true");
        for address in ["/healthz", "/metrics", "/api/openapi.json", "/api/status"] {
            get(address, "");
        }
        for query in ["", "?since=x:1", "?since=now", "?type=nonsense", "?project=nonsense"] {
            get("/api/events", query);
        }
        for address in [
            "/api/dossier/overview",
            "/api/dossier/artifacts",
            "/api/dossier/artifacts/{artifact_key}",
            "/api/dossier/snapshots/export",
            "/api/dossier/drift",
            "/api/dossier/baseline",
        ] {
            get(address, &feature);
            // Known to one of them only; the others reject it.
            get(address, &format!("{feature}&render=true"));
            get(address, "?feature=999-none");
            get(address, "");
        }
    };
    let baseline = |method: &str, body: &str| {
        let address = "/api/dossier/baseline";
        let response = daemon.request(method, &format!("{address}?feature={FEATURE}"), body);
        assert_documented(&document, method, address, &response);
    };
    let request = |method: &str, address: &str, query: &str, body: &str| {
        assert_documented(
            &document,
            method,
            address,
            &daemon.request(method, &format!("{address}{query}"), body),
        );
    };
    for method in ["GET", "POST", "POST", "GET", "DELETE", "DELETE"] {
        request(method, "/api/dashboard", "", "");
    }
    let session = "/api/dashboard/sessions/{session_id}";
    assert_documented(
        &document,
        "DELETE",
        session,
        &daemon.request("DELETE", "/api/dashboard/sessions/none", ""),
    );
    let root = project.root.to_str().unwrap();
    for query in ["", "?sync=true", "?feature=001-x", "?project=none"] {
        request("POST", "/api/rescan", query, "");
    }
    for path in [root, "/nowhere/at/all", "relative"] {
        request("POST", "/api/projects", "", &json!({"path": path}).to_string());
    }
    for query in ["", "?project=none"] {
        request("DELETE", "/api/projects", query, "");
    }
    get_all("unchanged");
    baseline("POST", "{}");
    get_all("in parity");
    baseline("POST", "nonsense");
    baseline("POST", &format!("{{\"tree_hash_sha256\": \"{}\"}}", "0".repeat(64)));
    baseline("POST", &" ".repeat(70_000));
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    project.write("kitty-specs/001-x/new.md", "new");
    get_all("drifted");
    write_file(&project.baseline_file(), b"{");
    get_all("corrupt baseline");
    baseline("POST", "{}");
    baseline("DELETE", "");
    project.write(".kittify/overrides/missions/software-dev/expected-artifacts.yaml", ": [");
    get_all("invalid manifest");
    baseline("POST", "{}");
    daemon.stop();
}

#[test]
fn history_responses_match_their_documented_schemas() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let document = document(&daemon);
    let request = |method: &str, address: &str, query: &str, body: &str| {
        let response = daemon.request(method, &format!("{address}{query}"), body);
        assert_documented(&document, method, address, &response);
    };
    let feature = format!("?feature={FEATURE}&sync=true");
    let get_all = || {
        request("GET", "/api/history", "", "");
        for (name, parameters) in [
            ("versions", ""),
            ("versions", "&limit=0"),
            ("versions", "&artifact_key=none"),
            ("content", ""),
            ("content", "&artifact_key=input.spec.main&at=now"),
            ("content", &format!("&hash={}", "0".repeat(64))),
            ("diff", ""),
            ("diff", "&from=now&to=now&stat=true"),
            ("diff", "&from=yesterday"),
        ] {
            let address = format!("/api/dossier/{name}");
            request("GET", &address, &format!("{feature}{parameters}"), "");
            request("GET", &address, "?feature=999-none", "");
        }
    };
    get_all();
    daemon.request("POST", &format!("/api/dossier/baseline?feature={FEATURE}"), "");
    project.write("kitty-specs/001-x/plan.md", "# Another\n");
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    get_all();
    for body in [
        "",
        "nonsense",
        "{\"items\": [{\"artifact_key\": \"input.spec.main\", \"from\": \"baseline\"}], \"dry_run\": true}",
        "{\"items\": [{\"artifact_key\": \"none\"}]}",
        &format!("{{\"deleted\": true, \"tree_hash_sha256\": \"{}\"}}", "0".repeat(64)),
        "{\"deleted\": true}",
    ] {
        request("POST", "/api/dossier/restore", &format!("?feature={FEATURE}"), body);
    }
    for query in [format!("?feature={FEATURE}"), "?feature=none".to_owned(), String::new()] {
        request("POST", "/api/history/purge", &query, "");
    }
    daemon.stop();
}

#[test]
fn only_documented_methods_are_allowed() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let document = document(&daemon);
    for (address, operations) in document["paths"].as_object().unwrap() {
        let target = address.replace("{artifact_key}", "none").replace("{session_id}", "none");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let is_documented = operations.get(method.to_lowercase()).is_some();
            if method == "GET" && is_documented && address == "/api/events" {
                continue;
            }
            let response = daemon.request(method, &target, "");
            if is_documented {
                assert_ne!(response.status, 405, "{method} {address}");
            } else {
                response.assert_problem(405, "method_not_allowed");
                assert!(response.head.contains("allow: "), "{response:?}");
            }
        }
    }
    daemon.request("POST", "/api/nothing", "").assert_problem(404, "not_found");
    daemon.stop();
}

#[test]
fn unknown_query_parameter_is_rejected_with_the_nearest_known_one() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (method, target, hint) in [
        ("GET", "/api/dossier/overview?featrue=001-x", "did you mean `feature`?"),
        ("GET", "/api/dossier/artifacts?feature=001-x&missing=1", "did you mean `missing_only`?"),
        ("GET", "/api/events?types=artifact_indexed", "did you mean `type`?"),
        ("GET", "/api/status?verbose", "this request accepts: sync"),
        ("POST", "/api/delivery/retry?sync=true", "this request accepts no parameters"),
        ("POST", "/api/dashboard?sync=true", "this request accepts no parameters"),
    ] {
        let problem = daemon.request(method, target, "").assert_problem(400, "bad_request");
        assert_eq!(problem["hint_code"], "unknown_parameter", "{target}");
        assert_eq!(problem["hint"], hint, "{target}");
    }
    // Scrapers and health checks may append parameters of their own.
    for target in ["/healthz?x=1", "/metrics?x=1"] {
        assert_eq!(daemon.get(target).status, 200, "{target}");
    }
    daemon.stop();
}
