//! Shows, accepts and clears baselines: `GET`, `POST` and `DELETE /api/dossier/baseline`.
//!
//! The file is written durably on a blocking thread. Then the engine is asked to rescan the
//! feature, since inotify reports nothing for a directory that could not be watched. The response
//! is sent once the engine has published the new baseline, so a later request sees it too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::handlers::dossier::respond_for_feature;
use crate::api::request::body;
use crate::api::request::engine_call::call_engine;
use crate::api::request::project_call::call_project;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::{
    ResolvedFeature, resolve_current_feature, resolve_feature, sync_feature,
};
use crate::api::request::wait::wait_until;
use crate::api::response::json::{WithSync, set_sync_headers};
use crate::api::response::render::short_json_response;
use crate::api::state::ApiState;
use crate::core::baseline::accept::{AcceptError, OnCorruptBaseline, accept_state};
use crate::core::baseline::{Baseline, BaselineFile, BaselineScope};
use crate::core::error::error_chain;
use crate::core::time::Timestamp;
use crate::engine::command::Command;
use crate::engine::read_model::BaselineError;
use crate::engine::read_model::{EngineState, FeatureView};
use crate::wire::baseline::{
    AcceptRequest, AcceptResponse, AcceptedBaseline, BaselineDetail, ClearRequest, ClearResponse,
};
use crate::wire::hint::HintCode;
use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::SyncStatus;

/// Time limit for the engine to publish a baseline that was written; after it the response is 503
/// with the hint `change_pending`.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn get_baseline(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let render = |resolved: &ResolvedFeature, sync| {
        let body = BaselineDetail::from(&**resolved.feature.feature());
        json::to_line(&WithSync { body, sync })
    };
    respond_for_feature(&api, &parameters, render).await
}

pub(crate) async fn accept_baseline(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    let request: AcceptRequest = body::read_json(body).await?.unwrap_or_default();
    let (resolved, _) = resolve_current_feature(&api, &parameters).await?;
    let feature = resolved.clone();
    let counting = resolved.feature.metadata.baseline_scope;
    let scope = request.scope.unwrap_or(counting);
    let write = move || write_baseline(&feature, &request, scope);
    let written = call_project(&api, &resolved.project, write).await;
    let (baseline, replaced) = written.ok_or_else(unresponsive)??;
    let written = BaselineFile::Valid(Box::new(baseline.clone()));
    // One of this machine does not count where there is a shared one.
    let counts = scope == BaselineScope::Shared || counting == BaselineScope::Local;
    let is_written = |feature: &FeatureView| !counts || feature.metadata.baseline == written;
    let (resolved, sync) = wait_until_confirmed(&api, &resolved, &parameters, is_written).await?;
    let size = resolved.feature.entries.len();
    let headers = sync.clone();
    let render = move || {
        let world = api.views.load();
        json::to_line(&AcceptResponse {
            overview: resolved.overview(&world),
            sync: Some(sync),
            accepted: AcceptedBaseline::replacing(&replaced, &baseline),
        })
    };
    Ok(set_sync_headers(short_json_response(size, render).await?, Some(&headers)))
}

pub(crate) async fn clear_baseline(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    let request: ClearRequest = body::read_json(body).await?.unwrap_or_default();
    let (resolved, _) = resolve_feature(&api, &parameters).await?;
    let feature = resolved.clone();
    let before = resolved.feature.metadata.baseline.clone();
    let counting = resolved.feature.metadata.baseline_scope;
    let scope = request.scope.unwrap_or(counting);
    let clear = move || feature.project.clear_baseline(&feature.feature, scope);
    let cleared = call_project(&api, &resolved.project, clear).await.ok_or_else(unresponsive)?;
    let cleared = cleared.map_err(|error| write_problem(&error))?;
    // Without a shared baseline that of this machine counts, if there is one.
    let was_counting = scope == counting && before != BaselineFile::Absent;
    let is_absent = |feature: &FeatureView| {
        let now = &feature.metadata;
        !was_counting || now.baseline == BaselineFile::Absent || now.baseline_scope != scope
    };
    match wait_until_confirmed(&api, &resolved, &parameters, is_absent).await {
        Ok((resolved, sync)) => {
            let size = resolved.feature.entries.len();
            let headers = sync.clone();
            let render = move || {
                let world = api.views.load();
                let overview = resolved.overview(&world);
                json::to_line(&ClearResponse { overview, sync: Some(sync), cleared })
            };
            Ok(set_sync_headers(short_json_response(size, render).await?, Some(&headers)))
        }
        // The feature was deleted, and listed only because of its baseline.
        Err(problem) if problem.status == 404 => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(problem) => Err(problem),
    }
}

fn unresponsive() -> Problem {
    let detail = "the project's file system does not respond; the request may still be carried out";
    Problem::new(ProblemCode::Unavailable, detail, HintCode::OutcomeUnknown)
}

/// Writes the current state as the baseline, and returns it with the one that it replaces.
fn write_baseline(
    resolved: &ResolvedFeature,
    request: &AcceptRequest,
    scope: BaselineScope,
) -> Result<(Baseline, BaselineFile), Problem> {
    let on_corrupt = if request.replace_corrupt {
        OnCorruptBaseline::Replace
    } else {
        OnCorruptBaseline::Refuse
    };
    let now = Timestamp::from(SystemTime::now());
    let feature = resolved.feature.feature();
    let baseline = accept_state(feature, request.tree_hash_sha256, on_corrupt, now)
        .map_err(|error| accept_problem(&error, resolved))?;
    let written = resolved.project.write_baseline(&resolved.feature, baseline, scope);
    let baseline = written.map_err(|error| write_problem(&error))?;
    Ok((baseline, resolved.feature.metadata.baseline.clone()))
}

fn accept_problem(error: &AcceptError, resolved: &ResolvedFeature) -> Problem {
    let (code, hint) = match error {
        AcceptError::StateChanged { .. } => (ProblemCode::StateChanged, HintCode::StateChanged),
        AcceptError::CorruptBaseline(_) => {
            (ProblemCode::BaselineCorrupt, HintCode::CorruptBaseline)
        }
        AcceptError::InvalidManifest => (ProblemCode::NotEvaluated, HintCode::InvalidManifest),
        AcceptError::NotFullyReadable(_) | AcceptError::FeatureDeleted => {
            (ProblemCode::NotEvaluated, HintCode::FeatureNotReadable)
        }
    };
    Problem::new(code, error.to_string(), hint).with_candidates(vec![resolved.candidate()])
}

fn write_problem(error: &BaselineError) -> Problem {
    Problem::new(ProblemCode::WriteFailed, error_chain(error), HintCode::WriteFailed)
}

/// Returns the feature once the engine has published a state for which `is_confirmed` is true.
async fn wait_until_confirmed(
    api: &ApiState,
    resolved: &ResolvedFeature,
    parameters: &Parameters,
    is_confirmed: impl Fn(&FeatureView) -> bool,
) -> Result<(ResolvedFeature, SyncStatus), Problem> {
    let pending = || {
        let detail = "the change was written, but is not visible to the daemon yet";
        Problem::new(ProblemCode::Unavailable, detail, HintCode::ChangePending)
    };
    let project = Some(resolved.project_id);
    let feature = Some(resolved.feature.slug().clone());
    let rescan = call_engine(api, |reply| Command::Rescan { project, feature, reply }).await;
    rescan.map_err(|_| pending())?;
    let (resolved, sync) = match sync_feature(api, resolved, parameters).await {
        Err(problem) if problem.status == 503 => return Err(pending()),
        result => result?,
    };
    if is_confirmed(&resolved.feature) {
        return Ok((resolved, sync));
    }
    let find = |world: &Arc<EngineState>| match ResolvedFeature::find(world, parameters) {
        Ok(resolved) => is_confirmed(&resolved.feature).then_some(Some(resolved)),
        Err(_) => Some(None),
    };
    let confirmed = wait_until(&api.views, CONFIRM_TIMEOUT, find).await.flatten();
    confirmed.map(|resolved| (resolved, sync)).ok_or_else(pending)
}
