//! Overview, snapshot and drift of a feature: `GET /api/dossier/{overview,snapshots/export,drift}`.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::api::request::query::Parameters;
use crate::api::request::resolve::{ResolvedFeature, resolve_feature};
use crate::api::response::json::{WithSync, set_sync_headers};
use crate::api::response::render::{json_response_blocking, short_json_response};
use crate::api::state::ApiState;
use crate::wire::drift::DriftDetail;
use crate::wire::json;
use crate::wire::problem::Problem;
use crate::wire::status::SyncStatus;

pub(crate) async fn get_overview(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let size = resolved.feature.entries.len();
    let headers = sync.clone();
    let render = move || {
        let world = api.views.load();
        let body = resolved.overview(&world);
        json::to_line(&WithSync { body, sync })
    };
    Ok(set_sync_headers(short_json_response(size, render).await?, headers.as_ref()))
}

pub(crate) async fn export_snapshot(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let size = resolved.feature.entries.len();
    let render = move || json::to_line(&*resolved.feature.feature().snapshot);
    Ok(set_sync_headers(json_response_blocking(size, render).await?, sync.as_ref()))
}

pub(crate) async fn get_drift(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let render = |resolved: &ResolvedFeature, sync| {
        let body = DriftDetail::from(&**resolved.feature.feature());
        json::to_line(&WithSync { body, sync })
    };
    respond_for_feature(&api, &parameters, render).await
}

/// Responds with what `render` returns for the selected feature.
pub(crate) async fn respond_for_feature(
    api: &ApiState,
    parameters: &Parameters,
    render: impl FnOnce(&ResolvedFeature, Option<SyncStatus>) -> io::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let (resolved, sync) = resolve_feature(api, parameters).await?;
    let size = resolved.feature.entries.len();
    let headers = sync.clone();
    let response = json_response_blocking(size, move || render(&resolved, sync)).await?;
    Ok(set_sync_headers(response, headers.as_ref()))
}
