//! Health and status: `GET /healthz` and `GET /api/status`.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::handlers::delivery::sink_statuses;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::current_state;
use crate::api::request::sync::SyncReport;
use crate::api::response::json::{json_response, set_sync_headers};
use crate::api::response::overview::overview;
use crate::api::response::render::{json_response_blocking, short_json_response};
use crate::api::state::ApiState;
use crate::core::feature::Feature;
use crate::core::path::escape_bytes;
use crate::engine::read_model::{EngineState, ProjectView, WatchState};
use crate::engine::runtime::WatchUsage;
use crate::engine::sinks::SinkReport;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::problem::Problem;
use crate::wire::status::{
    ConfigHealth, ConfigStatus, Health, InotifyStatus, ProjectStatus, ProjectWatchState, Status,
    StoreState, StoreStatus, WatchStatus,
};

/// Number of features up to which the status is rendered as a short response.
const MAX_SHORT_STATUS_FEATURES: usize = 100;

pub(crate) async fn get_health(State(api): State<Arc<ApiState>>) -> Response {
    let world = api.views.load();
    let features = world.projects.iter().flat_map(|project| &project.features);
    match compute_health(
        &api.initial_scan_done,
        &world.instance,
        features.map(|feature| feature.indexed),
    ) {
        Health::Ok => json_response(&Health::Ok),
        not_ready @ (Health::Starting { .. } | Health::Configuration) => {
            (StatusCode::SERVICE_UNAVAILABLE, json_response(&not_ready)).into_response()
        }
    }
}

/// Returns `Ok` if the first index of every feature is complete, or was before: features that
/// appear later do not make the daemon unhealthy.
fn compute_health(
    initial_scan_done: &AtomicBool,
    instance: &str,
    is_indexed: impl Iterator<Item = bool>,
) -> Health {
    let (mut indexed, mut of) = (0, 0);
    for is_indexed in is_indexed {
        of += 1;
        indexed += u64::from(is_indexed);
    }
    if !instance.is_empty() && indexed == of {
        initial_scan_done.store(true, Ordering::Relaxed);
    }
    if initial_scan_done.load(Ordering::Relaxed) {
        Health::Ok
    } else {
        Health::Starting { indexed, of }
    }
}

pub(crate) async fn get_status(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (world, report) = current_state(&api, &parameters).await?;
    let sync = report.as_ref().map(|report| report.of_state(&world));
    let features = world.projects.iter().flat_map(|project| &project.features);
    let is_short = features.clone().count() <= MAX_SHORT_STATUS_FEATURES;
    let size = features.map(|feature| feature.entries.len().max(1)).sum();
    let render = move || {
        let sinks = api.views.sinks().list();
        json::to_line(&build_status(
            &api,
            &world,
            report.as_ref(),
            &complete_features(&world),
            &sinks,
        ))
    };
    let response = if is_short {
        short_json_response(size, render).await?
    } else {
        json_response_blocking(size, render).await?
    };
    Ok(set_sync_headers(response, sync.as_ref()))
}

/// All features of each project, with the parts that are computed on demand.
type CompleteFeatures = Vec<Vec<Arc<Feature>>>;

fn complete_features(world: &EngineState) -> CompleteFeatures {
    let features = |project: &Arc<ProjectView>| {
        project.features.iter().map(|feature| Arc::clone(feature.feature())).collect()
    };
    world.projects.iter().map(features).collect()
}

/// Returns the overviews of a project's features, which are also given with all their fields.
fn overviews<'a>(
    world: &'a EngineState,
    project: &'a ProjectView,
    complete: &'a [Arc<Feature>],
) -> impl Iterator<Item = Overview<'a>> {
    let pairs = project.features.iter().zip(complete);
    pairs.map(|(view, feature)| overview(world, project, view, feature))
}

fn build_status<'a>(
    api: &'a ApiState,
    world: &'a EngineState,
    report: Option<&SyncReport>,
    complete: &'a CompleteFeatures,
    reports: &'a [SinkReport],
) -> Status<'a> {
    let projects = world.projects.iter().zip(complete).map(|(project, features)| ProjectStatus {
        project: Cow::Borrowed(&project.name),
        root: Cow::Borrowed(&project.root),
        root_id: Cow::Borrowed(&project.root_id),
        worktree_of: project.worktree_of.as_deref().map(Cow::Borrowed),
        project_uuid: Cow::Borrowed(&project.project_uuid),
        node_id: Cow::Borrowed(&project.node_id),
        sync: report.map(|report| report.project(project)),
        watch: WatchStatus {
            state: watch_state(project.watch.state),
            watched: project.watched,
            total: project.total,
            detail: project.watch.detail.as_deref().map(Cow::Borrowed),
        },
        manifest_errors: Cow::Borrowed(&project.errors),
        manifest_warnings: Cow::Borrowed(&project.warnings),
        skipped: Cow::Borrowed(&project.skipped),
        features: overviews(world, project, features).collect(),
    });
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_at: api.started_at.wall,
        uptime_s: api.started_at.monotonic.elapsed().as_secs(),
        instance: Cow::Borrowed(&world.instance),
        seq: world.seq,
        sync: report.map(|report| report.of_state(world)),
        store: StoreStatus {
            path: api.store_path.to_str().unwrap_or_default().into(),
            state: if world.degraded.is_some() { StoreState::Degraded } else { StoreState::Ok },
            detail: world.degraded.as_deref().or(world.quarantined.as_deref()).map(Cow::Borrowed),
        },
        config: Some(config_status(api)),
        inotify: Some(inotify_status(api)),
        delivery: sink_statuses(reports, world.seq),
        projects: projects.collect(),
    }
}

fn watch_state(state: WatchState) -> ProjectWatchState {
    match state {
        WatchState::Live => ProjectWatchState::Live,
        WatchState::Rescanning => ProjectWatchState::Rescanning,
        WatchState::Polling => ProjectWatchState::Polling,
        WatchState::Degraded => ProjectWatchState::Degraded,
        WatchState::Unreadable => ProjectWatchState::Unreadable,
        WatchState::RootUnavailable => ProjectWatchState::RootUnavailable,
        WatchState::Unresponsive => ProjectWatchState::Unresponsive,
    }
}

fn inotify_status(api: &ApiState) -> InotifyStatus {
    let WatchUsage { instances, max_instances, shared_instances, watches } = api.shards.usage();
    let [instances, max_instances, shared_instances, watches] =
        [instances, max_instances, shared_instances, watches].map(|number| number as u64);
    InotifyStatus { instances, max_instances, shared_instances, watches }
}

fn config_status<'a>(api: &ApiState) -> ConfigStatus<'a> {
    let config = api.config.borrow();
    let is_broken = !config.errors.is_empty();
    ConfigStatus {
        path: escape_bytes(config.path.as_os_str().as_bytes()).into_owned().into(),
        state: if is_broken { ConfigHealth::Broken } else { ConfigHealth::Ok },
        errors: config.errors.clone().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_ok_once_every_feature_was_indexed_and_stays_so() {
        let initial_scan_done = AtomicBool::new(false);
        let mut bodies = Vec::new();
        for (instance, indexed) in [
            ("", [].as_slice()),
            ("i", &[true, false]),
            ("i", &[true, true]),
            ("i", &[true, true, false]),
        ] {
            let health = compute_health(&initial_scan_done, instance, indexed.iter().copied());
            bodies.push(serde_json::to_string(&health).unwrap());
        }
        let starting = |indexed: u64, of: u64| {
            format!("{{\"status\":\"starting\",\"indexed\":{indexed},\"of\":{of}}}")
        };
        let ok = "{\"status\":\"ok\"}".to_owned();
        assert_eq!(bodies, [starting(0, 0), starting(1, 2), ok.clone(), ok]);
    }

    #[test]
    fn every_watch_state_of_the_engine_has_its_name_in_the_api() {
        let all = [
            WatchState::Live,
            WatchState::Rescanning,
            WatchState::Polling,
            WatchState::Degraded,
            WatchState::Unreadable,
            WatchState::RootUnavailable,
            WatchState::Unresponsive,
        ];
        let names = all.map(|state| serde_json::to_value(watch_state(state)).unwrap());
        assert_eq!(
            serde_json::json!(names),
            serde_json::json!([
                "live",
                "rescanning",
                "polling",
                "degraded",
                "unreadable",
                "root_unavailable",
                "unresponsive"
            ])
        );
    }
}
