//! The document that describes the API: it is sound, and what it says is what the daemon does.

use std::fs;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, repository, write_file};

pub(crate) fn document(daemon: &Daemon) -> Value {
    daemon.get_json("/api/openapi.json")
}

#[test]
fn it_is_a_document_of_openapi_3_1() {
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
    assert!(!validator.is_valid(&json!({"openapi": "3.1.0"})), "it refuses what is none");
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    daemon.stop();
}

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

/// Holds an answer to what the document says of that request.
#[track_caller]
pub(crate) fn hold(document: &Value, method: &str, address: &str, answer: &Response) {
    let operation = &document["paths"][address][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {address} is not described");
    let said = &operation["responses"][answer.status.to_string()];
    let said = match said["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => said,
    };
    assert!(said.is_object(), "{method} {address}: {} is not described: {answer:?}", answer.status);
    let kind = answer.head.lines().find_map(|line| line.strip_prefix("content-type: "));
    let kind = kind.unwrap_or_else(|| panic!("no type: {answer:?}")).split(';').next().unwrap();
    let schema = &said["content"][kind]["schema"];
    assert!(schema.is_object(), "{method} {address}: {kind} is not described");
    if !kind.ends_with("json") {
        return;
    }
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let body = answer.json();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [] as [String; 0], "{method} {address}: {body:#}");
}

#[test]
fn every_answer_is_as_it_says() {
    let project = Project::complete().artifact("blob.bin", b"\xff");
    let daemon = project.start_daemon();
    let document = document(&daemon);
    let get = |address: &str, query: &str| {
        let target = address.replace("{artifact_key}", "input.spec.main");
        hold(&document, "GET", address, &daemon.get(&format!("{target}{query}")));
    };
    let all = |state: &str| {
        eprintln!("held: {state}");
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
            get(address, &format!("{feature}&render=true"));
            get(address, "?feature=999-none");
            get(address, "");
        }
    };
    let baseline = |method: &str, body: &str| {
        let address = "/api/dossier/baseline";
        let answer = daemon.request(method, &format!("{address}?feature={FEATURE}"), body);
        hold(&document, method, address, &answer);
    };
    let ask = |method: &str, address: &str, query: &str, body: &str| {
        hold(
            &document,
            method,
            address,
            &daemon.request(method, &format!("{address}{query}"), body),
        );
    };
    for method in ["POST", "POST", "DELETE", "DELETE"] {
        ask(method, "/api/dashboard", "", "");
    }
    let root = project.root.to_str().unwrap();
    for query in ["", "?sync=true", "?feature=001-x", "?project=none"] {
        ask("POST", "/api/rescan", query, "");
    }
    for path in [root, "/nowhere/at/all", "relative"] {
        ask("POST", "/api/projects", "", &json!({"path": path}).to_string());
    }
    for query in ["", "?project=none"] {
        ask("DELETE", "/api/projects", query, "");
    }
    all("as it is");
    baseline("POST", "{}");
    all("in parity");
    baseline("POST", "nonsense");
    baseline("POST", &format!("{{\"tree_hash_sha256\": \"{}\"}}", "0".repeat(64)));
    baseline("POST", &" ".repeat(70_000));
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    project.write("kitty-specs/001-x/new.md", "new");
    all("drifted");
    write_file(&project.baseline_file(), b"{");
    all("with a corrupt baseline");
    baseline("POST", "{}");
    baseline("DELETE", "");
    project.write(".kittify/overrides/missions/software-dev/expected-artifacts.yaml", ": [");
    all("with a broken manifest");
    baseline("POST", "{}");
    daemon.stop();
}

#[test]
fn methods_are_those_that_it_says() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let document = document(&daemon);
    for (address, operations) in document["paths"].as_object().unwrap() {
        let target = address.replace("{artifact_key}", "none");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let described = operations.get(method.to_lowercase()).is_some();
            if method == "GET" && described && address == "/api/events" {
                continue;
            }
            let answer = daemon.request(method, &target, "");
            if described {
                assert_ne!(answer.status, 405, "{method} {address}");
            } else {
                answer.assert_problem(405, "method_not_allowed");
                assert!(answer.head.contains("allow: "), "{answer:?}");
            }
        }
    }
    daemon.request("POST", "/api/nothing", "").assert_problem(404, "not_found");
    daemon.stop();
}
