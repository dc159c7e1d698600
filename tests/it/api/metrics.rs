//! `GET /metrics`, read by an independent parser.

use openmetrics_parser::prometheus::parse_prometheus;

use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, write_file};

/// Returns the value of the first sample of a metric that has all these labels.
pub(crate) fn metric(daemon: &Daemon, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
    let response = daemon.get("/metrics");
    assert_eq!(response.status, 200);
    let head = &response.head;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let parsed = parse_prometheus(&response.body).unwrap_or_else(|error| panic!("{error:?}"));
    let family = parsed.families.get(name)?;
    family.iter_samples().find_map(|sample| {
        let set = sample.get_labelset().unwrap();
        let has = |(label, value): &(&str, &str)| set.get_label_value(label) == Some(value);
        labels.iter().all(has).then(|| match &sample.value {
            openmetrics_parser::PrometheusValue::Counter(counter) => {
                counter.value.as_i64().unwrap()
            }
            openmetrics_parser::PrometheusValue::Gauge(value) => value.as_i64().unwrap(),
            other => panic!("{name}: {other:?}"),
        })
    })
}

#[test]
fn metrics_match_the_status_and_count_changes() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let value = |name: &str, labels: &[(&str, &str)]| {
        metric(&daemon, name, labels).unwrap_or_else(|| panic!("no {name} {labels:?}"))
    };
    let indexed = [("type", "mission_dossier_artifact_indexed")];
    let status = daemon.status();
    let root_id = status["projects"][0]["root_id"].as_str().unwrap();
    let in_project = [("project", "project"), ("root_id", root_id)];
    assert_eq!(value("dossierd_features", &in_project), 1);
    assert_eq!(value("dossierd_artifacts", &in_project), 5);
    assert_eq!(value("dossierd_events_total", &indexed), 5);
    assert_eq!(value("dossierd_seq", &[]), status["seq"].as_i64().unwrap());
    assert!(value("dossierd_hashed_files_total", &[]) >= 5);
    assert!(value("dossierd_hashed_bytes_total", &[]) >= 100);
    assert!(value("dossierd_watched_folders", &in_project) >= 2);
    assert!(value("process_resident_memory_bytes", &[]) >= 1_000_000);
    assert!(value("process_start_time_seconds", &[]) >= 1_700_000_000);
    assert_eq!(value("dossierd_store_degraded", &[]), 0);
    assert_eq!(value("dossierd_subscribers", &[]), 0);

    project.write("kitty-specs/001-x/more.md", "more");
    daemon.export(FEATURE);
    assert_eq!(value("dossierd_events_total", &indexed), 6);
    assert_eq!(value("dossierd_artifacts", &in_project), 6);
    let stream = daemon.open_stream("", &[]);
    assert_eq!(value("dossierd_subscribers", &[]), 1);
    drop(stream);
    daemon.get("/api/dossier/artifacts/nothing?feature=001-x").assert_problem(404, "not_found");
    daemon.get("/secret/names.md").assert_problem(404, "not_found");
    let requests = |route: &str, code: &str| {
        value("dossierd_requests_total", &[("route", route), ("code", code), ("method", "GET")])
    };
    assert_eq!(requests("/api/dossier/artifacts/{artifact_key}", "404"), 1);
    assert_eq!(requests("other", "404"), 1);
    assert_eq!(requests("/api/status", "200"), 1);
    let body = daemon.get("/metrics").body;
    assert!(!body.contains("more.md") && !body.contains("secret") && !body.contains(FEATURE));
    daemon.stop();
}

#[test]
fn project_name_with_special_characters_is_escaped() {
    let project = Project::complete();
    let odd = project.root.parent().unwrap().join("o\"d\\d\n}");
    write_file(&odd.join("kitty-specs/002-y/spec.md"), b"x");
    let daemon = project.start_daemon_over(&[&odd]);
    let status = daemon.status();
    let projects = status["projects"].as_array().unwrap();
    let odd = projects.iter().find(|project| project["project"] != "project").unwrap();
    let root_id = odd["root_id"].as_str().unwrap();
    let artifacts = metric(&daemon, "dossierd_artifacts", &[("root_id", root_id)]);
    assert_eq!(artifacts, Some(1));
    daemon.stop();
}
