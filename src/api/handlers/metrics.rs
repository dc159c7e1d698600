//! `GET /metrics`: counters and gauges in the Prometheus text format.
//!
//! Labels are names of projects, routes and event types: never names of files, or anything else
//! that a feature contains. All metrics: `docs/specification.md#metrics`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::state::{ApiState, MAX_SUBSCRIBERS};
use crate::core::event::EVENT_TYPES;
use crate::core::path::escape_unprintable;
use crate::engine::metrics::now;
use crate::engine::read_model::{ProjectView, WatchState};
use crate::engine::sinks::{SinkHealth, SinkReport};

/// Media type of the text format, with its version.
const PROMETHEUS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn get_metrics(State(api): State<Arc<ApiState>>) -> Response {
    let media_type = HeaderValue::from_static(PROMETHEUS_MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], render_metrics(&api)).into_response()
}

/// Metrics in the text format.
#[derive(Default)]
struct MetricsText(String);

#[derive(Clone, Copy)]
enum MetricType {
    Counter,
    Gauge,
}

impl MetricsText {
    fn write_family(&mut self, metric_type: MetricType, name: &str, help: &str) {
        let metric_type = match metric_type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {metric_type}");
    }

    fn write_sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape_label_value(value)))
            .collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn write_metric(&mut self, metric_type: MetricType, name: &str, help: &str, value: u64) {
        self.write_family(metric_type, name, help);
        self.write_sample(name, &[], value);
    }
}

/// Escapes the value of a label. Control characters, which the format allows, are escaped too:
/// people read metrics on terminals.
fn escape_label_value(value: &str) -> String {
    let line = |line: &str| escape_unprintable(line).replace('\\', "\\\\").replace('"', "\\\"");
    value.split('\n').map(line).collect::<Vec<_>>().join("\\n")
}

fn render_metrics(api: &ApiState) -> String {
    let mut text = MetricsText::default();
    write_engine_metrics(api, &mut text);
    write_project_metrics(api, &mut text);
    write_sink_metrics(api, &mut text);
    write_http_metrics(api, &mut text);
    write_process_metrics(api, &mut text);
    text.0
}

fn write_engine_metrics(api: &ApiState, text: &mut MetricsText) {
    use MetricType::{Counter, Gauge};
    let world = api.views.load();
    let counters = api.views.metrics();
    text.write_family(
        Counter,
        "dossierd_events_total",
        "Events committed since the daemon started, by type.",
    );
    for (event_type, count) in EVENT_TYPES.iter().zip(&counters.events) {
        text.write_sample("dossierd_events_total", &[("type", event_type)], now(count));
    }
    for (name, help, count) in [
        ("dossierd_commits_total", "Transactions committed.", &counters.commits),
        ("dossierd_commit_failures_total", "Transactions that failed.", &counters.commit_failures),
        (
            "dossierd_metadata_reads_total",
            "Times that the metadata of a project was read.",
            &counters.metadata_reads,
        ),
        ("dossierd_path_checks_total", "Paths checked for changes.", &counters.path_checks),
        ("dossierd_hashed_files_total", "Files hashed.", &counters.hashed_files),
        ("dossierd_hashed_bytes_total", "Bytes hashed.", &counters.hashed_bytes),
    ] {
        text.write_metric(Counter, name, help, now(count));
    }
    for (name, help, value) in [
        ("dossierd_seq", "Sequence number of the last event.", world.seq),
        (
            "dossierd_durable_seq",
            "Sequence number of the last event that survives a power failure.",
            world.durable_seq,
        ),
        (
            "dossierd_store_degraded",
            "1 while the store cannot be written, else 0.",
            u64::from(world.degraded.is_some()),
        ),
    ] {
        text.write_metric(Gauge, name, help, value);
    }
}

/// Value of a metric of a project.
type ProjectMetric = fn(&ProjectView) -> u64;

fn write_project_metrics(api: &ApiState, text: &mut MetricsText) {
    let world = api.views.load();
    let families: [(MetricType, &str, &str, ProjectMetric); 7] = [
        (
            MetricType::Counter,
            "dossierd_overflow_rescans_total",
            "Rescans after file events were lost.",
            |project| project.rescans,
        ),
        (
            MetricType::Counter,
            "dossierd_scrub_detected_changes_total",
            "Changed files that raised no event and were found by the scrub.",
            |project| project.scrub_detected,
        ),
        (MetricType::Gauge, "dossierd_features", "Features of the project.", |project| {
            project.features.len() as u64
        }),
        (
            MetricType::Gauge,
            "dossierd_artifacts",
            "Artifacts in the features of the project.",
            |project| project.features.iter().map(|feature| feature.entries.len() as u64).sum(),
        ),
        (
            MetricType::Gauge,
            "dossierd_watched_folders",
            "Directories that are watched.",
            |project| project.watched,
        ),
        (MetricType::Gauge, "dossierd_folders", "Directories to watch.", |project| project.total),
        (
            MetricType::Gauge,
            "dossierd_project_degraded",
            "1 while changes are not detected by events alone, else 0.",
            |project| u64::from(project.watch.state != WatchState::Live),
        ),
    ];
    for (metric_type, name, help, value) in families {
        text.write_family(metric_type, name, help);
        for project in &world.projects {
            let labels = [("project", &*project.name), ("root_id", &project.root_id)];
            text.write_sample(name, &labels, value(project));
        }
    }
}

/// Value of a metric of a sink.
type SinkMetric = fn(&SinkReport) -> u64;

fn write_sink_metrics(api: &ApiState, text: &mut MetricsText) {
    let sinks = api.views.sinks().list();
    if sinks.is_empty() {
        return;
    }
    let families: [(MetricType, &str, &str, SinkMetric); 7] = [
        (MetricType::Counter, "dossierd_delivered_total", "Events delivered.", |sink| {
            sink.delivered
        }),
        (
            MetricType::Counter,
            "dossierd_delivery_failures_total",
            "Requests to the receiver that failed.",
            |sink| sink.failures,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_cursor",
            "Sequence number up to which all events are delivered, dead-lettered or dropped.",
            |sink| sink.cursor,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_dead_letters",
            "Events that the receiver rejected permanently.",
            |sink| sink.dead_letters,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_dropped",
            "Events that retention deleted before they were delivered.",
            |sink| sink.dropped,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_retrying",
            "1 while a failed delivery is being retried, else 0.",
            |sink| u64::from(sink.health == SinkHealth::Retrying),
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_refused",
            "1 while delivery is paused because there is no receiver at the address, else 0.",
            |sink| u64::from(sink.health == SinkHealth::Refused),
        ),
    ];
    for (metric_type, name, help, value) in families {
        text.write_family(metric_type, name, help);
        for sink in &sinks {
            text.write_sample(name, &[("sink", sink.sink)], value(sink));
        }
    }
}

fn write_http_metrics(api: &ApiState, text: &mut MetricsText) {
    use MetricType::{Counter, Gauge};
    let http = &api.http_metrics;
    for (metric_type, name, help, count) in [
        (Counter, "dossierd_connections_total", "Connections accepted.", &http.connections),
        (
            Counter,
            "dossierd_connections_refused_total",
            "Connections of other users, which were closed.",
            &http.refused,
        ),
        (
            Counter,
            "dossierd_connections_evicted_total",
            "Idle connections closed to admit new ones.",
            &http.evicted,
        ),
        (Gauge, "dossierd_connections", "Open connections.", &http.open),
    ] {
        text.write_metric(metric_type, name, help, now(count));
    }
    let free = api.subscriber_permits.available_permits();
    let subscribers = MAX_SUBSCRIBERS.saturating_sub(free) as u64;
    text.write_metric(Gauge, "dossierd_subscribers", "Open event streams.", subscribers);
    text.write_family(Counter, "dossierd_requests_total", "Requests, by route, method and status.");
    for (request, count) in http.request_counts() {
        let code = request.status.to_string();
        let labels = [("route", request.route), ("method", request.method), ("code", &*code)];
        text.write_sample("dossierd_requests_total", &labels, count);
    }
}

fn write_process_metrics(api: &ApiState, text: &mut MetricsText) {
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.write_family(
        MetricType::Gauge,
        "dossierd_build_info",
        "Always 1; the version is a label.",
    );
    text.write_sample("dossierd_build_info", &[version], 1);
    let started = u64::try_from(api.started_at.wall.as_millis() / 1_000).unwrap_or_default();
    let help = "Start time of the daemon in seconds since the Unix epoch.";
    text.write_metric(MetricType::Gauge, "process_start_time_seconds", help, started);
    let usage = api.shards.usage();
    for (name, help, value) in [
        ("dossierd_inotify_instances", "inotify instances of the projects.", usage.instances),
        (
            "dossierd_inotify_instances_max",
            "Maximum number of inotify instances of the projects.",
            usage.max_instances,
        ),
        (
            "dossierd_inotify_instances_shared",
            "inotify instances that several projects share.",
            usage.shared_instances,
        ),
        ("dossierd_inotify_watches", "Directories watched with inotify.", usage.watches),
    ] {
        text.write_metric(MetricType::Gauge, name, help, value as u64);
    }
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory in bytes.";
        text.write_metric(MetricType::Gauge, "process_resident_memory_bytes", help, bytes);
    }
}

/// Returns the resident memory in bytes, from `/proc/self/statm` (see proc(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_value_with_line_breaks_and_control_characters_is_escaped() {
        let mut text = MetricsText::default();
        text.write_sample("n", &[("project", "a\"b\\c\nd\u{1b}[31m")], 1);
        assert_eq!(text.0, "n{project=\"a\\\"b\\\\c\\nd\\\\u{1b}[31m\"} 1\n");
    }
}
