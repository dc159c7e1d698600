//! The requests that are answered from one picture.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::delivery::sinks;
use super::meant::Meant;
use super::query::{Parameters, Query};
use super::respond::{answer, answer_of, say_synced, short_of};
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

/// The status of so many features is short.
const FEW: usize = 100;

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
    let features = world.projects.iter().flat_map(|project| &project.features);
    match health_of(&api.healthy, &world.instance, features.map(|feature| feature.indexed)) {
        Health::Ok => answer(&Health::Ok),
        starting @ Health::Starting { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, answer(&starting)).into_response()
        }
    }
}

/// Whether the first index of every feature stands. Once it stood it stands: a feature that is new
/// since then is its own matter.
fn health_of(stood: &AtomicBool, instance: &str, indexed: impl Iterator<Item = bool>) -> Health {
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

pub(super) async fn status(State(api): State<Arc<Api>>, query: Query) -> Response {
    let found = async { api.world(&query.0?).await }.await;
    match found {
        Ok((world, synced)) => {
            let features = world.projects.iter().flat_map(|project| &project.features);
            let is_short = features.clone().count() <= FEW;
            let size = features.map(|feature| feature.entries.len().max(1)).sum();
            let make = move || {
                let sinks = api.views.board().sinks();
                json::line(&status_of(&api, &world, synced, &whole(&world), &sinks))
            };
            if is_short { short_of(size, make).await } else { answer_of(size, make).await }
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn overview(State(api): State<Arc<Api>>, query: Query) -> Response {
    match meant(&api, query).await {
        Ok((meant, synced)) => {
            let size = meant.feature.entries.len();
            let make = move || {
                let answer = Overview::from(&**meant.feature.feature());
                json::line(&With { answer, synced })
            };
            short_of(size, make).await
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn export(State(api): State<Arc<Api>>, query: Query) -> Response {
    match meant(&api, query).await {
        Ok((meant, synced)) => {
            let size = meant.feature.entries.len();
            let make = move || json::line(&*meant.feature.feature().snapshot);
            say_synced(answer_of(size, make).await, synced)
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn drift(State(api): State<Arc<Api>>, query: Query) -> Response {
    let make = |meant: &Meant, synced| {
        let feature = meant.feature.feature();
        json::line(&With { answer: DriftDetail::from(&**feature), synced })
    };
    of_feature(&api, query, make).await
}

/// Answers from one feature.
pub(super) async fn of_feature(
    api: &Api,
    query: Query,
    make: impl FnOnce(&Meant, Option<Synced>) -> std::io::Result<Vec<u8>> + Send + 'static,
) -> Response {
    match meant(api, query).await {
        Ok((meant, synced)) => {
            answer_of(meant.feature.entries.len(), move || make(&meant, synced)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn meant(api: &Api, query: Query) -> Result<(Meant, Option<Synced>), Problem> {
    let parameters: Parameters = query.0?;
    api.meant(&parameters).await
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
            let health = health_of(&stood, instance, indexed.iter().copied());
            steps.push(serde_json::to_string(&health).unwrap());
        }
        let starting = |indexed: u64, of: u64| {
            format!("{{\"status\":\"starting\",\"indexed\":{indexed},\"of\":{of}}}")
        };
        let ok = "{\"status\":\"ok\"}".to_owned();
        assert_eq!(steps, [starting(0, 0), starting(1, 2), ok.clone(), ok]);
    }
}
