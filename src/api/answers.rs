//! The requests that are answered from one picture.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::query::{Parameters, answer};
use crate::engine::view::{ProjectView, WatchState, World};
use crate::wire::overview::Overview;
use crate::wire::problem::{Code, Problem};
use crate::wire::status::{
    Health, ProjectStatus, ProjectWatch, Status, StoreState, StoreStatus, Synced, WatchStatus,
};

type Pairs = Query<Vec<(String, String)>>;

/// An answer, and how it came to include every earlier change.
#[derive(Serialize)]
struct With<T> {
    #[serde(flatten)]
    answer: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<Synced>,
}

pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let world = api.views.world();
    let of = world.projects.iter().map(|project| project.features.len() as u64).sum();
    if !world.instance.is_empty() && world.projects.iter().all(|project| project.ready) {
        return answer(&Health::Ok);
    }
    let ready = world.projects.iter().filter(|project| project.ready);
    let indexed = ready.map(|project| project.features.len() as u64).sum();
    let starting = answer(&Health::Starting { indexed, of });
    (StatusCode::SERVICE_UNAVAILABLE, starting).into_response()
}

pub(super) async fn status(State(api): State<Arc<Api>>, Query(pairs): Pairs) -> Response {
    match api.world(&Parameters(pairs)).await {
        Ok((world, synced)) => answer(&status_of(&api, &world, synced, &whole(&world))),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn overview(State(api): State<Arc<Api>>, Query(pairs): Pairs) -> Response {
    match api.meant(&Parameters(pairs)).await {
        Ok((meant, synced)) => {
            answer(&With { answer: Overview::from(&**meant.feature.feature()), synced })
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn export(State(api): State<Arc<Api>>, Query(pairs): Pairs) -> Response {
    match api.meant(&Parameters(pairs)).await {
        Ok((meant, _)) => answer(&*meant.feature.feature().snapshot),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no such address")
        .hint("`GET /api/status` is one that there is")
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
) -> Status<'a> {
    let projects = world.projects.iter().zip(whole).map(|(project, features)| ProjectStatus {
        project: &project.name,
        root: &project.root,
        root_id: &project.root_id,
        project_uuid: &project.project_uuid,
        node_id: &project.node_id,
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
            detail: project.watch.1.as_deref(),
        },
        manifest_errors: &project.errors,
        manifest_warnings: &project.warnings,
        skipped: &project.skipped,
        features: features.iter().map(|feature| Overview::from(&**feature)).collect(),
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: api.started.0,
        uptime_s: api.started.1.elapsed().as_secs(),
        instance: &world.instance,
        seq: world.seq,
        synced,
        store: StoreStatus {
            path: api.store.to_str().unwrap_or_default(),
            state: if world.degraded.is_some() { StoreState::Degraded } else { StoreState::Ok },
            detail: world.degraded.as_deref().or(world.set_aside.as_deref()),
        },
        projects: projects.collect(),
    }
}
