//! Showing, accepting and clearing baselines: `GET`, `POST` and `DELETE /api/dossier/baseline`.
//!
//! The file is written durably on a thread of its own. The engine is told, for the kernel may not
//! tell it of a directory that it cannot watch; the answer comes once it has seen the file, so whoever
//! asks next is told of it too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::handlers::dossier::respond_for_feature;
use crate::api::request::body;
use crate::api::request::engine_call::call_engine;
use crate::api::request::query::{Parameters, Query};
use crate::api::request::resolve::{
    ResolvedFeature, current_feature, resolve_feature, sync_feature,
};
use crate::api::response::json::WithSync;
use crate::api::response::render::{run_blocking, short_json_response};
use crate::api::state::ApiState;
use crate::core::baseline::accept::{AcceptError, OnCorruptBaseline, accept_state};
use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::time::Timestamp;
use crate::engine::files::BaselineError;
use crate::engine::inbox::Command;
use crate::engine::view::FeatureView;
use crate::wire::baseline::{
    AcceptRequest, AcceptResponse, AcceptedBaseline, BaselineDetail, ClearResponse,
};
use crate::wire::hint;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Synced;

/// How long an answer waits for the engine to have seen the file.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn get_baseline(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let make = |meant: &ResolvedFeature, synced| {
        let answer = BaselineDetail::from(&**meant.feature.feature());
        json::to_line(&WithSync { answer, synced })
    };
    respond_for_feature(&api, query, make).await
}

pub(crate) async fn accept_baseline(
    State(api): State<Arc<ApiState>>,
    query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let said: AcceptRequest = body::read_json(body).await?.unwrap_or_default();
    let (meant, _) = resolve_feature(&api, &parameters).await?;
    // What is accepted is what is there now.
    let (meant, _) = sync_feature(&api, &meant, &parameters).await?;
    let of = meant.clone();
    let (baseline, before) = run_blocking(move || write_baseline(&of, &said)).await??;
    let written = BaselineFile::Valid(Box::new(baseline.clone()));
    let (meant, synced) = wait_until_confirmed(&api, &meant, &parameters, |feature| {
        feature.bearings.baseline == written
    })
    .await?;
    let size = meant.feature.entries.len();
    let make = move || {
        json::to_line(&AcceptResponse {
            overview: Overview::from(&**meant.feature.feature()),
            synced: Some(synced),
            accepted: AcceptedBaseline::replacing(&before, &baseline),
        })
    };
    short_json_response(size, make).await
}

pub(crate) async fn clear_baseline(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let (meant, _) = resolve_feature(&api, &parameters).await?;
    let of = meant.clone();
    let cleared = run_blocking(move || of.project.clear_baseline(&of.feature)).await?;
    let cleared = cleared.map_err(|error| write_problem(&error))?;
    let is_absent = |feature: &FeatureView| feature.bearings.baseline == BaselineFile::Absent;
    match wait_until_confirmed(&api, &meant, &parameters, is_absent).await {
        Ok((meant, synced)) => {
            let size = meant.feature.entries.len();
            let make = move || {
                let overview = Overview::from(&**meant.feature.feature());
                json::to_line(&ClearResponse { overview, synced: Some(synced), cleared })
            };
            short_json_response(size, make).await
        }
        // Its baseline was all that was left of it.
        Err(problem) if problem.status == 404 => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(problem) => Err(problem),
    }
}

/// Writes the present state as the baseline; what was there before is given too.
fn write_baseline(
    meant: &ResolvedFeature,
    said: &AcceptRequest,
) -> Result<(Baseline, BaselineFile), Problem> {
    let corrupt =
        if said.replace_corrupt { OnCorruptBaseline::Replace } else { OnCorruptBaseline::Refuse };
    let at = Timestamp::from(SystemTime::now());
    let baseline = accept_state(meant.feature.feature(), said.tree_hash_sha256, corrupt, at)
        .map_err(|refused| accept_problem(&refused))?;
    meant
        .project
        .write_baseline(&meant.feature, &baseline)
        .map_err(|error| write_problem(&error))?;
    Ok((baseline, meant.feature.bearings.baseline.clone()))
}

fn accept_problem(refused: &AcceptError) -> Problem {
    let (code, hint) = match refused {
        AcceptError::StateChanged { .. } => {
            (ProblemCode::StateChanged, "look at the feature again, then accept".to_owned())
        }
        AcceptError::CorruptBaseline(_) => {
            (ProblemCode::BaselineCorrupt, hint::CORRUPT_BASELINE.into())
        }
        AcceptError::InvalidManifest => (ProblemCode::NotEvaluated, hint::INVALID_MANIFEST.into()),
        AcceptError::NotFullyReadable(_) | AcceptError::FeatureDeleted => {
            (ProblemCode::NotEvaluated, hint::FEATURE_NOT_READABLE.into())
        }
    };
    Problem::new(code, refused.to_string()).with_hint(hint)
}

fn write_problem(error: &BaselineError) -> Problem {
    let cause = std::error::Error::source(error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(ProblemCode::WriteFailed, format!("{error}{cause}"))
}

/// The feature once the engine has seen what was done to its baseline.
async fn wait_until_confirmed(
    api: &ApiState,
    meant: &ResolvedFeature,
    parameters: &Parameters,
    is_seen: impl Fn(&FeatureView) -> bool,
) -> Result<(ResolvedFeature, Synced), Problem> {
    let unseen = || {
        let detail = "the file is as asked for, but the daemon has not seen it yet";
        Problem::new(ProblemCode::Unavailable, detail)
    };
    let mut news = api.views.news();
    let (of, feature) = (Some(meant.project_id), Some(meant.feature.slug().clone()));
    let begun = call_engine(api, |reply| Command::Rescan { project: of, feature, reply }).await;
    begun.map_err(|_| unseen())?;
    let (mut meant, synced) = match sync_feature(api, meant, parameters).await {
        Err(problem) if problem.status == 503 => return Err(unseen()),
        synced => synced?,
    };
    let shown = async {
        while !is_seen(&meant.feature) {
            news.changed().await.ok()?;
            meant = current_feature(api, parameters).ok()?;
        }
        Some(())
    };
    let waited = tokio::time::timeout(CONFIRM_TIMEOUT, shown).await;
    match waited {
        Ok(Some(())) => Ok((meant, synced)),
        _ => Err(unseen()),
    }
}
