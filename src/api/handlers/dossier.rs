//! Overview, snapshot and drift of a feature: `GET /api/dossier/{overview,snapshots/export,drift}`.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::api::request::query::Parameters;
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
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (resolved, synced) = resolve_feature(&api, &parameters).await?;
    let size = resolved.feature.entries.len();
    let render = move || {
        let body = Overview::from(&**resolved.feature.feature());
        json::to_line(&WithSync { body, synced })
    };
    short_json_response(size, render).await
}

pub(crate) async fn export_snapshot(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (resolved, synced) = resolve_feature(&api, &parameters).await?;
    let size = resolved.feature.entries.len();
    let render = move || json::to_line(&*resolved.feature.feature().snapshot);
    Ok(set_synced_header(json_response_blocking(size, render).await?, synced))
}

pub(crate) async fn get_drift(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let render = |resolved: &ResolvedFeature, synced| {
        let body = DriftDetail::from(&**resolved.feature.feature());
        json::to_line(&WithSync { body, synced })
    };
    respond_for_feature(&api, &parameters, render).await
}

/// Responds with what `render` returns for the selected feature.
pub(crate) async fn respond_for_feature(
    api: &ApiState,
    parameters: &Parameters,
    render: impl FnOnce(&ResolvedFeature, Option<Synced>) -> io::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let (resolved, synced) = resolve_feature(api, parameters).await?;
    let size = resolved.feature.entries.len();
    json_response_blocking(size, move || render(&resolved, synced)).await
}
