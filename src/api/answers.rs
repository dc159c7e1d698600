//! The requests that are answered from one picture.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::delivery::sinks;
use super::meant::Meant;
use super::query::{Parameters, Query};
use super::respond::{answer, answer_of};
use crate::core::path::escape_bytes;
use crate::engine::outbox::SinkReport;
use crate::engine::view::{ProjectView, WatchState, World};
use crate::wire::drift::DriftDetail;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::problem::{Code, Problem};
use crate::wire::status::{
    ConfigHealth, ConfigStatus, Health, ProjectStatus, ProjectWatch, Status, StoreState,
    StoreStatus, Synced, WatchStatus,
};

/// An answer, and how it came to include every earlier change.
#[derive(Serialize)]
pub(super) struct With<T> {
    #[serde(flatten)]
    pub(super) answer: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) synced: Option<Synced>,
}

pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let world = api.views.world();
    let features = || world.projects.iter().flat_map(|project| &project.features);
    let stands = !world.instance.is_empty() && features().all(|feature| feature.indexed);
    // Once it stood it stands: a feature that is new since then is its own matter.
    if stands || api.healthy.load(Ordering::Relaxed) {
        api.healthy.store(true, Ordering::Relaxed);
        return answer(&Health::Ok);
    }
    let of = features().count() as u64;
    let indexed = features().filter(|feature| feature.indexed).count() as u64;
    let starting = answer(&Health::Starting { indexed, of });
    (StatusCode::SERVICE_UNAVAILABLE, starting).into_response()
}

pub(super) async fn status(State(api): State<Arc<Api>>, query: Query) -> Response {
    let found = async { api.world(&query.0?).await }.await;
    match found {
        Ok((world, synced)) => {
            let features = world.projects.iter().flat_map(|project| &project.features);
            let size = features.map(|feature| feature.entries.len().max(1)).sum();
            let make = move || {
                let sinks = api.views.board().sinks();
                json::line(&status_of(&api, &world, synced, &whole(&world), &sinks))
            };
            answer_of(size, make).await
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn overview(State(api): State<Arc<Api>>, query: Query) -> Response {
    of_feature(&api, query, |meant, synced| json::line(&overview_of(meant, synced))).await
}

pub(super) async fn export(State(api): State<Arc<Api>>, query: Query) -> Response {
    of_feature(&api, query, |meant, _| json::line(&*meant.feature.feature().snapshot)).await
}

pub(super) async fn drift(State(api): State<Arc<Api>>, query: Query) -> Response {
    let make = |meant: &Meant, synced| {
        let feature = meant.feature.feature();
        json::line(&With { answer: DriftDetail::from(&**feature), synced })
    };
    of_feature(&api, query, make).await
}

/// What `GET /api/dossier/overview` answers.
pub(super) fn overview_of(meant: &Meant, synced: Option<Synced>) -> With<Overview<'_>> {
    With { answer: Overview::from(&**meant.feature.feature()), synced }
}

async fn of_feature(
    api: &Api,
    query: Query,
    make: impl FnOnce(&Meant, Option<Synced>) -> std::io::Result<Vec<u8>> + Send + 'static,
) -> Response {
    let found = async {
        let parameters: Parameters = query.0?;
        api.meant(&parameters).await
    };
    match found.await {
        Ok((meant, synced)) => {
            answer_of(meant.feature.entries.len(), move || make(&meant, synced)).await
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no such address")
        .hint("`GET /api/openapi.json` says which there are")
}

pub(super) async fn not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "that address does not take this method")
        .hint("the `Allow` header says which it takes")
}

/// The features of each project, made whole.
type Whole = Vec<Vec<Arc<crate::core::feature::Feature>>>;

fn whole(world: &World) -> Whole {
    let features = |project: &Arc<ProjectView>| {
        project.features.iter().map(|feature| Arc::clone(feature.feature())).collect()
    };
    world.projects.iter().map(features).collect()
}

fn status_of<'a>(
    api: &'a Api,
    world: &'a World,
    synced: Option<Synced>,
    whole: &'a Whole,
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
                WatchState::Live => ProjectWatch::Live,
                WatchState::Rescanning => ProjectWatch::Rescanning,
                WatchState::Polling => ProjectWatch::Polling,
                WatchState::Degraded => ProjectWatch::Degraded,
                WatchState::Unreadable => ProjectWatch::Unreadable,
                WatchState::RootUnavailable => ProjectWatch::RootUnavailable,
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
        started_at: api.started.0,
        uptime_s: api.started.1.elapsed().as_secs(),
        instance: Cow::Borrowed(&world.instance),
        seq: world.seq,
        synced,
        store: StoreStatus {
            path: api.store.to_str().unwrap_or_default().into(),
            state: if world.degraded.is_some() { StoreState::Degraded } else { StoreState::Ok },
            detail: world.degraded.as_deref().or(world.set_aside.as_deref()).map(Cow::Borrowed),
        },
        config: Some(config_of(api)),
        delivery: sinks(reports, world.seq),
        projects: projects.collect(),
    }
}

fn config_of<'a>(api: &Api) -> ConfigStatus<'a> {
    let config = api.config.borrow();
    let broken = !config.errors.is_empty();
    ConfigStatus {
        path: escape_bytes(config.path.as_os_str().as_bytes()).into_owned().into(),
        state: if broken { ConfigHealth::Broken } else { ConfigHealth::Ok },
        errors: config.errors.clone().into(),
    }
}
