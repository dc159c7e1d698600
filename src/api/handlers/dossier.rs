//! The overview, snapshot and drift of a feature: `GET /api/dossier/{overview,snapshots/export,drift}`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::api::request::query::{Parameters, Query};
use crate::api::request::resolve::{ResolvedFeature, resolve_feature};
use crate::api::response::json::{WithSync, set_synced_header};
use crate::api::response::render::{json_response_blocking, short_json_response};
use crate::api::state::ApiState;
use crate::wire::drift::DriftDetail;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::problem::Problem;
use crate::wire::status::Synced;

pub(crate) async fn get_overview(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let (meant, synced) = resolve_query(&api, query).await?;
    let size = meant.feature.entries.len();
    let make = move || {
        let answer = Overview::from(&**meant.feature.feature());
        json::to_line(&WithSync { answer, synced })
    };
    short_json_response(size, make).await
}

pub(crate) async fn export_snapshot(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let (meant, synced) = resolve_query(&api, query).await?;
    let size = meant.feature.entries.len();
    let make = move || json::to_line(&*meant.feature.feature().snapshot);
    Ok(set_synced_header(json_response_blocking(size, make).await?, synced))
}

pub(crate) async fn get_drift(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let make = |meant: &ResolvedFeature, synced| {
        let feature = meant.feature.feature();
        json::to_line(&WithSync { answer: DriftDetail::from(&**feature), synced })
    };
    respond_for_feature(&api, query, make).await
}

/// Answers from one feature.
pub(crate) async fn respond_for_feature(
    api: &ApiState,
    query: Query,
    make: impl FnOnce(&ResolvedFeature, Option<Synced>) -> std::io::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let (meant, synced) = resolve_query(api, query).await?;
    json_response_blocking(meant.feature.entries.len(), move || make(&meant, synced)).await
}

async fn resolve_query(
    api: &ApiState,
    query: Query,
) -> Result<(ResolvedFeature, Option<Synced>), Problem> {
    let parameters: Parameters = query.0?;
    resolve_feature(api, &parameters).await
}
