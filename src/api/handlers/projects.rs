//! Adds, removes and rescans projects: `POST` and `DELETE /api/projects`, `POST /api/rescan`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::request::body;
use crate::api::request::engine_call::call_engine;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::{current_feature, project_candidate, resolve_project};
use crate::api::request::sync::wait_synced;
use crate::api::request::wait::wait_until;
use crate::api::response::json::{json_response, set_sync_headers};
use crate::api::response::render::resolve_blocking;
use crate::api::response::render::too_busy;
use crate::api::server::client_shares::{FairPermits, MAX_WAITING, TURN_TIMEOUT, TurnTimeout};
use crate::api::state::ApiState;
use crate::core::error::error_chain;
use crate::core::path::unescape_bytes;
use crate::engine::command::{AddError, Command, RemoveError};
use crate::engine::ids::ProjectId;
use crate::engine::read_model::{EngineState, ProjectView};
use crate::engine::runtime::resolve_dir;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::projects::{AddProjectRequest, ProjectRef, RescanResponse};

/// Time limit for the engine to publish a new project; after it the response is 503 with the hint
/// `change_pending`.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of rescans at a time that clients request: each lists all directories of the features.
const MAX_RESCANS: usize = 4;

static RESCAN_PERMITS: FairPermits = FairPermits::new(MAX_RESCANS, MAX_WAITING, TURN_TIMEOUT);

pub(crate) async fn request_rescan(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let wait = parameters.flag("sync")?;
    let (project, feature, features) = if parameters.get_non_empty("feature").is_some() {
        let resolved = current_feature(&api, &parameters)?;
        (Some(resolved.project_id), Some(resolved.feature.slug().clone()), 1)
    } else {
        let world = api.views.load();
        match parameters.get_non_empty("project") {
            Some(name) => {
                let (id, view) = resolve_project(&world, name)?;
                (Some(id), None, view.features.len())
            }
            None => (None, None, world.projects.iter().map(|view| view.features.len()).sum()),
        }
    };
    let synced_feature = project.zip(feature.clone());
    let permit = RESCAN_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    call_engine(&api, |reply| Command::Rescan { project, feature, reply }).await?;
    let (status, sync) = if wait {
        let report = wait_synced(&api, synced_feature).await?;
        let world = api.views.load();
        let projects = world.projects.iter().map(|view| &**view);
        let projects = projects.filter(|view| project.is_none_or(|only| only == view.id));
        (StatusCode::OK, Some(report.weakest(projects)))
    } else {
        // It keeps its permit until it has ended, or cannot be waited for.
        tokio::spawn(async move {
            let _ = wait_synced(&api, synced_feature).await;
            drop(permit);
        });
        (StatusCode::ACCEPTED, None)
    };
    let body = json_response(&RescanResponse { features, sync: sync.clone() });
    Ok(set_sync_headers((status, body).into_response(), sync.as_ref()))
}

pub(crate) async fn add_project(
    State(api): State<Arc<ApiState>>,
    body: Body,
) -> Result<Response, Problem> {
    let AddProjectRequest { path, keep } = body::read_json(body).await?.ok_or_else(|| {
        let detail = "the request body is missing";
        Problem::new(ProblemCode::BadRequest, detail, HintCode::BodyRequired)
    })?;
    let root = unescape_bytes(&path).map_err(|error| {
        Problem::new(ProblemCode::BadRequest, format!("`path`: {error}"), HintCode::PathEscaping)
    })?;
    let root = PathBuf::from(OsString::from_vec(root));
    if !root.is_absolute() {
        let detail = format!("`{}` is not absolute", root.display());
        let hint = HintCode::AbsolutePathRequired;
        return Err(Problem::new(ProblemCode::BadRequest, detail, hint));
    }
    let known: Vec<ProjectId> = api.views.load().projects.iter().map(|view| view.id).collect();
    // Not on the engine thread: the file system may not respond.
    let named = root.clone();
    let canonical = resolve_blocking(move || resolve_dir(&named)).await?;
    let root = canonical.map_err(|source| {
        let error = AddError::Root { path: root, source };
        Problem::new(ProblemCode::BadRequest, error_chain(&error), HintCode::UnusableRoot)
    })?;
    let id = call_engine(&api, |reply| Command::AddProject { root, keep, reply }).await?;
    let id = id.map_err(|error| match &error {
        AddError::Root { .. } => {
            Problem::new(ProblemCode::BadRequest, error_chain(&error), HintCode::UnusableRoot)
        }
        AddError::Store(_) => {
            Problem::new(ProblemCode::WriteFailed, error_chain(&error), HintCode::WriteFailed)
        }
    })?;
    let find = |world: &Arc<EngineState>| world.projects.iter().find(|view| view.id == id).cloned();
    let Some(view) = wait_until(&api.views, PUBLISH_TIMEOUT, find).await else {
        let detail = "the project was added, but is not visible yet";
        return Err(Problem::new(ProblemCode::Unavailable, detail, HintCode::ChangePending));
    };
    let status = if known.contains(&id) { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, json_response(&project_ref(&view))).into_response())
}

pub(crate) async fn remove_project(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let Some(name) = parameters.get_non_empty("project") else {
        let detail = "the query parameter `project` is missing";
        return Err(Problem::new(ProblemCode::BadRequest, detail, HintCode::ProjectRequired));
    };
    let (id, view) = resolve_project(&api.views.load(), name)?;
    let removed = call_engine(&api, |reply| Command::RemoveProject { id, reply }).await?;
    removed.map_err(|error| match error {
        RemoveError::Configured(_) | RemoveError::Worktree(_) => {
            Problem::new(ProblemCode::Conflict, error.to_string(), HintCode::ConfiguredProject)
                .with_candidates(vec![project_candidate(&view, None)])
        }
        RemoveError::Store(_) | RemoveError::List(_) => {
            Problem::new(ProblemCode::WriteFailed, error_chain(&error), HintCode::WriteFailed)
        }
    })?;
    Ok(json_response(&project_ref(&view)))
}

fn project_ref(view: &ProjectView) -> ProjectRef<'_> {
    ProjectRef {
        project: (&*view.name).into(),
        root: view.root.as_str().into(),
        root_id: view.root_id.as_str().into(),
    }
}
