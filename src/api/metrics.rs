//! `GET /metrics`: the daemon in numbers, in Prometheus' text format.
//!
//! Labels are names of ours, of projects, and of addresses: never of a file, and nothing of what a
//! feature holds.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::events::SUBSCRIBERS_MAX;
use crate::core::event::EVENT_TYPES;
use crate::core::path::printable;
use crate::engine::counters::now;
use crate::engine::outbox::{SinkHealth, SinkReport};
use crate::engine::view::{ProjectView, WatchState};

/// The format's version is part of its media type.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = HeaderValue::from_static(TYPE);
    ([(header::CONTENT_TYPE, kind)], text(&api)).into_response()
}

/// Metrics as they are written.
#[derive(Default)]
struct Text(String);

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Text {
    fn family(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, kind: Kind, name: &str, help: &str, value: u64) {
        self.family(kind, name, help);
        self.sample(name, &[], value);
    }
}

/// A label's value, as the format wants it. What no terminal may receive is written out: the format
/// would take it, but people look at numbers on terminals too.
fn escape(value: &str) -> String {
    let line = |line: &str| printable(line).replace('\\', "\\\\").replace('"', "\\\"");
    value.split('\n').map(line).collect::<Vec<_>>().join("\\n")
}

fn text(api: &Api) -> String {
    let mut text = Text::default();
    of_engine(api, &mut text);
    of_projects(api, &mut text);
    of_sinks(api, &mut text);
    of_socket(api, &mut text);
    of_process(api, &mut text);
    text.0
}

fn of_engine(api: &Api, text: &mut Text) {
    use Kind::{Counter, Gauge};
    let world = api.views.world();
    let counters = api.views.counters();
    text.family(Counter, "dossierd_events_total", "Events committed in this life, by type.");
    for (kind, count) in EVENT_TYPES.iter().zip(&counters.events) {
        text.sample("dossierd_events_total", &[("type", kind)], now(count));
    }
    for (name, help, count) in [
        ("dossierd_commits_total", "Transactions committed.", &counters.commits),
        ("dossierd_commit_failures_total", "Transactions that failed.", &counters.commit_failures),
        ("dossierd_looks_total", "Paths looked at.", &counters.looks),
        ("dossierd_hashed_files_total", "Files read and hashed.", &counters.hashed_files),
        ("dossierd_hashed_bytes_total", "Bytes of files hashed.", &counters.hashed_bytes),
    ] {
        text.one(Counter, name, help, now(count));
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
        text.one(Gauge, name, help, value);
    }
}

/// What is said of a project.
type Value = fn(&ProjectView) -> u64;

fn of_projects(api: &Api, text: &mut Text) {
    let world = api.views.world();
    let families: [(Kind, &str, &str, Value); 7] = [
        (
            Kind::Counter,
            "dossierd_resyncs_total",
            "Times that events were lost and everything was compared with the disk.",
            |project| project.resyncs,
        ),
        (
            Kind::Counter,
            "dossierd_caught_total",
            "Changes that only reading everything again found.",
            |project| project.caught,
        ),
        (Kind::Gauge, "dossierd_features", "Features of a project.", |project| {
            project.features.len() as u64
        }),
        (Kind::Gauge, "dossierd_artifacts", "Files in the features of a project.", |project| {
            project.features.iter().map(|feature| feature.entries.len() as u64).sum()
        }),
        (Kind::Gauge, "dossierd_watched_folders", "Folders under watch.", |project| {
            project.watched
        }),
        (Kind::Gauge, "dossierd_folders", "Folders there are to watch.", |project| project.total),
        (Kind::Gauge, "dossierd_project_degraded", "1 while it is not watched live.", |project| {
            u64::from(project.watch.0 != WatchState::Live)
        }),
    ];
    for (kind, name, help, value) in families {
        text.family(kind, name, help);
        for project in &world.projects {
            let labels = [("project", &*project.name), ("root_id", &project.root_id)];
            text.sample(name, &labels, value(project));
        }
    }
}

/// What is said of a sink.
type Count = fn(&SinkReport) -> u64;

fn of_sinks(api: &Api, text: &mut Text) {
    let sinks = api.views.board().sinks();
    if sinks.is_empty() {
        return;
    }
    let families: [(Kind, &str, &str, Count); 6] = [
        (Kind::Counter, "dossierd_delivered_total", "Events delivered.", |sink| sink.delivered),
        (
            Kind::Counter,
            "dossierd_delivery_failures_total",
            "Requests to a receiver that failed.",
            |sink| sink.failures,
        ),
        (
            Kind::Gauge,
            "dossierd_delivery_cursor",
            "Event up to which all are delivered, set aside or dropped.",
            |sink| sink.cursor,
        ),
        (
            Kind::Gauge,
            "dossierd_delivery_set_aside",
            "Events that a receiver refused for good.",
            |sink| sink.set_aside,
        ),
        (
            Kind::Gauge,
            "dossierd_delivery_dropped",
            "Events that retention dropped before they were delivered.",
            |sink| sink.dropped,
        ),
        (
            Kind::Gauge,
            "dossierd_delivery_retrying",
            "1 while something was not taken and is tried again.",
            |sink| u64::from(sink.health == SinkHealth::Retrying),
        ),
    ];
    for (kind, name, help, value) in families {
        text.family(kind, name, help);
        for sink in &sinks {
            text.sample(name, &[("sink", sink.sink)], value(sink));
        }
    }
}

fn of_socket(api: &Api, text: &mut Text) {
    use Kind::{Counter, Gauge};
    let traffic = &api.traffic;
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
        text.one(kind, name, help, now(count));
    }
    let free = api.subscribers.available_permits();
    let subscribers = SUBSCRIBERS_MAX.saturating_sub(free) as u64;
    text.one(Gauge, "dossierd_subscribers", "Streams of events that are open.", subscribers);
    text.family(Counter, "dossierd_requests_total", "Requests, by address, method and status.");
    for ((method, route, code), count) in traffic.requests() {
        let code = code.to_string();
        let labels = [("route", route), ("method", method), ("code", &*code)];
        text.sample("dossierd_requests_total", &labels, count);
    }
}

fn of_process(api: &Api, text: &mut Text) {
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.family(Kind::Gauge, "dossierd_build_info", "1, of this version.");
    text.sample("dossierd_build_info", &[version], 1);
    let started = u64::try_from(api.started.0.as_millis() / 1_000).unwrap_or_default();
    let help = "When the daemon started, in seconds since 1970.";
    text.one(Kind::Gauge, "process_start_time_seconds", help, started);
    if let Some(bytes) = resident() {
        let help = "Memory of the daemon that is resident.";
        text.one(Kind::Gauge, "process_resident_memory_bytes", help, bytes);
    }
}

/// Resident memory, where the system says it (proc(5)).
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_project_is_called_breaks_no_line_and_reaches_no_terminal() {
        let mut text = Text::default();
        text.sample("n", &[("project", "a\"b\\c\nd\u{1b}[31m")], 1);
        assert_eq!(text.0, "n{project=\"a\\\"b\\\\c\\nd\\\\u{1b}[31m\"} 1\n");
    }
}
