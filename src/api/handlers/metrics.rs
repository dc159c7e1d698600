//! `GET /metrics`: the daemon in numbers, in Prometheus' text format.
//!
//! Labels are names of ours, of projects, and of addresses: never of a file, and nothing of what a
//! feature holds.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::state::{ApiState, MAX_SUBSCRIBERS};
use crate::core::event::EVENT_TYPES;
use crate::core::path::escape_unprintable;
use crate::engine::counters::now;
use crate::engine::outbox::{SinkHealth, SinkReport};
use crate::engine::view::{ProjectView, WatchState};

/// The format's version is part of its media type.
const PROMETHEUS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn get_metrics(State(api): State<Arc<ApiState>>) -> Response {
    let kind = HeaderValue::from_static(PROMETHEUS_MEDIA_TYPE);
    ([(header::CONTENT_TYPE, kind)], render_metrics(&api)).into_response()
}

/// Metrics as they are written.
#[derive(Default)]
struct MetricsText(String);

#[derive(Clone, Copy)]
enum MetricType {
    Counter,
    Gauge,
}

impl MetricsText {
    fn write_family(&mut self, kind: MetricType, name: &str, help: &str) {
        let kind = match kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
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

    fn write_metric(&mut self, kind: MetricType, name: &str, help: &str, value: u64) {
        self.write_family(kind, name, help);
        self.write_sample(name, &[], value);
    }
}

/// A label's value, as the format wants it. What no terminal may receive is written out: the format
/// would take it, but people look at numbers on terminals too.
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
    let world = api.views.world();
    let counters = api.views.counters();
    text.write_family(Counter, "dossierd_events_total", "Events committed in this life, by type.");
    for (kind, count) in EVENT_TYPES.iter().zip(&counters.events) {
        text.write_sample("dossierd_events_total", &[("type", kind)], now(count));
    }
    for (name, help, count) in [
        ("dossierd_commits_total", "Transactions committed.", &counters.commits),
        ("dossierd_commit_failures_total", "Transactions that failed.", &counters.commit_failures),
        ("dossierd_looks_total", "Paths looked at.", &counters.looks),
        ("dossierd_hashed_files_total", "Files read and hashed.", &counters.hashed_files),
        ("dossierd_hashed_bytes_total", "Bytes of files hashed.", &counters.hashed_bytes),
    ] {
        text.write_metric(Counter, name, help, now(count));
    }
    for (name, help, value) in [
        ("dossierd_seq", "Number of the last event.", world.seq),
        (
            "dossierd_durable_seq",
            "Number of the last event that a power cut cannot take back.",
            world.durable_seq,
        ),
        (
            "dossierd_store_degraded",
            "1 while the store cannot be written.",
            u64::from(world.degraded.is_some()),
        ),
    ] {
        text.write_metric(Gauge, name, help, value);
    }
}

/// What is said of a project.
type ProjectMetric = fn(&ProjectView) -> u64;

fn write_project_metrics(api: &ApiState, text: &mut MetricsText) {
    let world = api.views.world();
    let families: [(MetricType, &str, &str, ProjectMetric); 7] = [
        (
            MetricType::Counter,
            "dossierd_resyncs_total",
            "Times that events were lost and everything was compared with the disk.",
            |project| project.resyncs,
        ),
        (
            MetricType::Counter,
            "dossierd_caught_total",
            "Changes that only reading everything again found.",
            |project| project.caught,
        ),
        (MetricType::Gauge, "dossierd_features", "Features of a project.", |project| {
            project.features.len() as u64
        }),
        (
            MetricType::Gauge,
            "dossierd_artifacts",
            "Files in the features of a project.",
            |project| project.features.iter().map(|feature| feature.entries.len() as u64).sum(),
        ),
        (MetricType::Gauge, "dossierd_watched_folders", "Folders under watch.", |project| {
            project.watched
        }),
        (MetricType::Gauge, "dossierd_folders", "Folders there are to watch.", |project| {
            project.total
        }),
        (
            MetricType::Gauge,
            "dossierd_project_degraded",
            "1 while it is not watched live.",
            |project| u64::from(project.watch.0 != WatchState::Live),
        ),
    ];
    for (kind, name, help, value) in families {
        text.write_family(kind, name, help);
        for project in &world.projects {
            let labels = [("project", &*project.name), ("root_id", &project.root_id)];
            text.write_sample(name, &labels, value(project));
        }
    }
}

/// What is said of a sink.
type SinkMetric = fn(&SinkReport) -> u64;

fn write_sink_metrics(api: &ApiState, text: &mut MetricsText) {
    let sinks = api.views.board().sinks();
    if sinks.is_empty() {
        return;
    }
    let families: [(MetricType, &str, &str, SinkMetric); 6] = [
        (MetricType::Counter, "dossierd_delivered_total", "Events delivered.", |sink| {
            sink.delivered
        }),
        (
            MetricType::Counter,
            "dossierd_delivery_failures_total",
            "Requests to a receiver that failed.",
            |sink| sink.failures,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_cursor",
            "Event up to which all are delivered, set aside or dropped.",
            |sink| sink.cursor,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_set_aside",
            "Events that a receiver refused for good.",
            |sink| sink.dead_letters,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_dropped",
            "Events that retention dropped before they were delivered.",
            |sink| sink.dropped,
        ),
        (
            MetricType::Gauge,
            "dossierd_delivery_retrying",
            "1 while something was not taken and is tried again.",
            |sink| u64::from(sink.health == SinkHealth::Retrying),
        ),
    ];
    for (kind, name, help, value) in families {
        text.write_family(kind, name, help);
        for sink in &sinks {
            text.write_sample(name, &[("sink", sink.sink)], value(sink));
        }
    }
}

fn write_http_metrics(api: &ApiState, text: &mut MetricsText) {
    use MetricType::{Counter, Gauge};
    let traffic = &api.http_metrics;
    for (kind, name, help, count) in [
        (Counter, "dossierd_connections_total", "Connections accepted.", &traffic.connections),
        (
            Counter,
            "dossierd_connections_refused_total",
            "Connections of other users.",
            &traffic.refused,
        ),
        (
            Counter,
            "dossierd_connections_evicted_total",
            "Silent connections ended to make room.",
            &traffic.evicted,
        ),
        (Gauge, "dossierd_connections", "Connections that are open.", &traffic.open),
    ] {
        text.write_metric(kind, name, help, now(count));
    }
    let free = api.subscriber_permits.available_permits();
    let subscribers = MAX_SUBSCRIBERS.saturating_sub(free) as u64;
    text.write_metric(
        Gauge,
        "dossierd_subscribers",
        "Streams of events that are open.",
        subscribers,
    );
    text.write_family(
        Counter,
        "dossierd_requests_total",
        "Requests, by address, method and status.",
    );
    for ((method, route, code), count) in traffic.request_counts() {
        let code = code.to_string();
        let labels = [("route", route), ("method", method), ("code", &*code)];
        text.write_sample("dossierd_requests_total", &labels, count);
    }
}

fn write_process_metrics(api: &ApiState, text: &mut MetricsText) {
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.write_family(MetricType::Gauge, "dossierd_build_info", "1, of this version.");
    text.write_sample("dossierd_build_info", &[version], 1);
    let started = u64::try_from(api.started_at.wall.as_millis() / 1_000).unwrap_or_default();
    let help = "When the daemon started, in seconds since 1970.";
    text.write_metric(MetricType::Gauge, "process_start_time_seconds", help, started);
    if let Some(bytes) = resident_bytes() {
        let help = "Memory of the daemon that is resident.";
        text.write_metric(MetricType::Gauge, "process_resident_memory_bytes", help, bytes);
    }
}

/// Resident memory, where the system says it (proc(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_project_is_called_breaks_no_line_and_reaches_no_terminal() {
        let mut text = MetricsText::default();
        text.write_sample("n", &[("project", "a\"b\\c\nd\u{1b}[31m")], 1);
        assert_eq!(text.0, "n{project=\"a\\\"b\\\\c\\nd\\\\u{1b}[31m\"} 1\n");
    }
}
