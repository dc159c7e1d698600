//! What is watched, and looking at it again: `POST /api/rescan`, `POST` and `DELETE /api/projects`.

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
use crate::api::request::engine_call::{call_engine, wait_synced};
use crate::api::request::query::Query;
use crate::api::request::resolve::{current_feature, resolve_project};
use crate::api::response::json::json_response;
use crate::api::state::ApiState;
use crate::core::path::unescape_bytes;
use crate::engine::inbox::{AddError, Command, RemoveError};
use crate::engine::view::ProjectView;
use crate::wire::hint;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::projects::{AddProjectRequest, ProjectRef, RescanResponse};

/// How long an answer waits until a new project is shown.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn request_rescan(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let wait = parameters.flag("sync")?;
    let (of, feature, features) = if parameters.get_non_empty("feature").is_some() {
        let meant = current_feature(&api, &parameters)?;
        (Some(meant.project_id), Some(meant.feature.slug().clone()), 1)
    } else {
        let world = api.views.world();
        match parameters.get_non_empty("project") {
            Some(name) => {
                let (id, view) = resolve_project(&world, name)?;
                (Some(id), None, view.features.len())
            }
            None => (None, None, world.projects.iter().map(|view| view.features.len()).sum()),
        }
    };
    let only = of.zip(feature.clone());
    call_engine(&api, |reply| Command::Rescan { project: of, feature, reply }).await?;
    let synced = if wait { Some(wait_synced(&api, only).await?) } else { None };
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, json_response(&RescanResponse { features, synced })).into_response())
}

pub(crate) async fn add_project(
    State(api): State<Arc<ApiState>>,
    query: Query,
    body: Body,
) -> Result<Response, Problem> {
    query.0?;
    let AddProjectRequest { path, keep } = body::read_json(body).await?.ok_or_else(|| {
        Problem::new(ProblemCode::BadRequest, "the body is missing")
            .with_hint("`{\"path\": \"/a/project\"}`")
    })?;
    let root = unescape_bytes(&path).map_err(|error| {
        let hint = "paths are written as they are answered: a backslash as `\\\\`";
        Problem::new(ProblemCode::BadRequest, format!("`path`: {error}")).with_hint(hint)
    })?;
    let root = PathBuf::from(OsString::from_vec(root));
    if !root.is_absolute() {
        let detail = format!("`{}` is not absolute", root.display());
        return Err(
            Problem::new(ProblemCode::BadRequest, detail).with_hint("give its absolute path")
        );
    }
    let mut news = api.views.news();
    let known: Vec<usize> = api.views.world().projects.iter().map(|view| view.id).collect();
    let id = call_engine(&api, |reply| Command::AddProject { root, keep, reply }).await?;
    let id = id.map_err(|error| match &error {
        AddError::Root { source, .. } => {
            Problem::new(ProblemCode::BadRequest, format!("{error}: {source}"))
        }
        AddError::Store(_) => Problem::new(ProblemCode::WriteFailed, error.to_string()),
    })?;
    let shown = async {
        loop {
            news.borrow_and_update();
            let world = api.views.world();
            if let Some(view) = world.projects.iter().find(|view| view.id == id) {
                return Some(Arc::clone(view));
            }
            news.changed().await.ok()?;
        }
    };
    let Ok(Some(view)) = tokio::time::timeout(PUBLISH_TIMEOUT, shown).await else {
        return Err(Problem::new(ProblemCode::Unavailable, "it is added, but not shown yet"));
    };
    let status = if known.contains(&id) { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, json_response(&project_ref(&view))).into_response())
}

pub(crate) async fn remove_project(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let Some(named) = parameters.get_non_empty("project") else {
        return Err(Problem::new(ProblemCode::BadRequest, "the parameter `project` is missing")
            .with_hint(hint::PROJECT_REQUIRED));
    };
    let (id, view) = resolve_project(&api.views.world(), named)?;
    let done = call_engine(&api, |reply| Command::RemoveProject { id, reply }).await?;
    done.map_err(|error| match error {
        RemoveError::Configured(_) => Problem::new(ProblemCode::Conflict, error.to_string()),
        RemoveError::Store(_) => Problem::new(ProblemCode::WriteFailed, error.to_string()),
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
