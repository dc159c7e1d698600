//! The requests that are answered from one picture.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::handlers::delivery::sink_statuses;
use crate::api::request::query::Query;
use crate::api::request::resolve::current_state;
use crate::api::response::json::json_response;
use crate::api::response::render::{json_response_blocking, short_json_response};
use crate::api::state::ApiState;
use crate::core::path::escape_bytes;
use crate::engine::outbox::SinkReport;
use crate::engine::view::{ProjectView, WatchState, World};
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::problem::Problem;
use crate::wire::status::{
    ConfigHealth, ConfigStatus, Health, ProjectStatus, ProjectWatchState, Status, StoreState,
    StoreStatus, Synced, WatchStatus,
};

/// The status of so many features is short.
const MAX_SHORT_STATUS_FEATURES: usize = 100;

pub(crate) async fn get_health(State(api): State<Arc<ApiState>>) -> Response {
    let world = api.views.world();
    let features = world.projects.iter().flat_map(|project| &project.features);
    match compute_health(
        &api.initial_scan_done,
        &world.instance,
        features.map(|feature| feature.indexed),
    ) {
        Health::Ok => json_response(&Health::Ok),
        starting @ Health::Starting { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, json_response(&starting)).into_response()
        }
    }
}

/// Whether the first index of every feature stands. Once it stood it stands: a feature that is new
/// since then is its own matter.
fn compute_health(
    stood: &AtomicBool,
    instance: &str,
    indexed: impl Iterator<Item = bool>,
) -> Health {
    let (mut done, mut of) = (0, 0);
    for indexed in indexed {
        of += 1;
        done += u64::from(indexed);
    }
    if !instance.is_empty() && done == of {
        stood.store(true, Ordering::Relaxed);
    }
    if stood.load(Ordering::Relaxed) { Health::Ok } else { Health::Starting { indexed: done, of } }
}

pub(crate) async fn get_status(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let (world, synced) = current_state(&api, &query.0?).await?;
    let features = world.projects.iter().flat_map(|project| &project.features);
    let is_short = features.clone().count() <= MAX_SHORT_STATUS_FEATURES;
    let size = features.map(|feature| feature.entries.len().max(1)).sum();
    let make = move || {
        let sinks = api.views.board().sinks();
        json::to_line(&build_status(&api, &world, synced, &complete_features(&world), &sinks))
    };
    if is_short {
        short_json_response(size, make).await
    } else {
        json_response_blocking(size, make).await
    }
}

/// The features of each project, made whole.
type CompleteFeatures = Vec<Vec<Arc<crate::core::feature::Feature>>>;

fn complete_features(world: &World) -> CompleteFeatures {
    let features = |project: &Arc<ProjectView>| {
        project.features.iter().map(|feature| Arc::clone(feature.feature())).collect()
    };
    world.projects.iter().map(features).collect()
}

fn build_status<'a>(
    api: &'a ApiState,
    world: &'a World,
    synced: Option<Synced>,
    whole: &'a CompleteFeatures,
    reports: &'a [SinkReport],
) -> Status<'a> {
    let projects = world.projects.iter().zip(whole).map(|(project, features)| ProjectStatus {
        project: Cow::Borrowed(&project.name),
        root: Cow::Borrowed(&project.root),
        root_id: Cow::Borrowed(&project.root_id),
        project_uuid: Cow::Borrowed(&project.project_uuid),
        node_id: Cow::Borrowed(&project.node_id),
        watch: WatchStatus {
            state: match project.watch.0 {
                WatchState::Live => ProjectWatchState::Live,
                WatchState::Rescanning => ProjectWatchState::Rescanning,
                WatchState::Polling => ProjectWatchState::Polling,
                WatchState::Degraded => ProjectWatchState::Degraded,
                WatchState::Unreadable => ProjectWatchState::Unreadable,
                WatchState::RootUnavailable => ProjectWatchState::RootUnavailable,
            },
            watched: project.watched,
            total: project.total,
            detail: project.watch.1.as_deref().map(Cow::Borrowed),
        },
        manifest_errors: Cow::Borrowed(&project.errors),
        manifest_warnings: Cow::Borrowed(&project.warnings),
        skipped: Cow::Borrowed(&project.skipped),
        features: features.iter().map(|feature| Overview::from(&**feature)).collect(),
    });
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_at: api.started_at.wall,
        uptime_s: api.started_at.monotonic.elapsed().as_secs(),
        instance: Cow::Borrowed(&world.instance),
        seq: world.seq,
        synced,
        store: StoreStatus {
            path: api.store_path.to_str().unwrap_or_default().into(),
            state: if world.degraded.is_some() { StoreState::Degraded } else { StoreState::Ok },
            detail: world.degraded.as_deref().or(world.set_aside.as_deref()).map(Cow::Borrowed),
        },
        config: Some(config_status(api)),
        delivery: sink_statuses(reports, world.seq),
        projects: projects.collect(),
    }
}

fn config_status<'a>(api: &ApiState) -> ConfigStatus<'a> {
    let config = api.config.borrow();
    let broken = !config.errors.is_empty();
    ConfigStatus {
        path: escape_bytes(config.path.as_os_str().as_bytes()).into_owned().into(),
        state: if broken { ConfigHealth::Broken } else { ConfigHealth::Ok },
        errors: config.errors.clone().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_from_when_everything_was_indexed_once() {
        let stood = AtomicBool::new(false);
        let mut steps = Vec::new();
        for (instance, indexed) in [
            ("", [].as_slice()),
            ("i", &[true, false]),
            ("i", &[true, true]),
            ("i", &[true, true, false]),
        ] {
            let health = compute_health(&stood, instance, indexed.iter().copied());
            steps.push(serde_json::to_string(&health).unwrap());
        }
        let starting = |indexed: u64, of: u64| {
            format!("{{\"status\":\"starting\",\"indexed\":{indexed},\"of\":{of}}}")
        };
        let ok = "{\"status\":\"ok\"}".to_owned();
        assert_eq!(steps, [starting(0, 0), starting(1, 2), ok.clone(), ok]);
    }
}
