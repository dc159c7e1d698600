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

use super::Api;
use super::body;
use super::meant::project;
use super::query::Query;
use super::respond::answer;
use crate::core::path::unescape;
use crate::engine::inbox::{AddError, Command, RemoveError};
use crate::engine::view::ProjectView;
use crate::wire::mend;
use crate::wire::problem::{Code, Problem};
use crate::wire::projects::{AddRequest, ProjectName, Rescan};

/// How long an answer waits until a new project is shown.
const SHOWN_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn rescan(State(api): State<Arc<Api>>, query: Query) -> Response {
    rescanned(&api, query).await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn add(State(api): State<Arc<Api>>, query: Query, body: Body) -> Response {
    added(&api, query, body).await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn remove(State(api): State<Arc<Api>>, query: Query) -> Response {
    removed(&api, query).await.unwrap_or_else(Problem::into_response)
}

async fn rescanned(api: &Api, query: Query) -> Result<Response, Problem> {
    let parameters = query.0?;
    let wait = parameters.is_set("sync")?;
    let (of, feature, features) = if parameters.said("feature").is_some() {
        let meant = api.present(&parameters)?;
        (Some(meant.id), Some(meant.feature.slug().clone()), 1)
    } else {
        let world = api.views.world();
        match parameters.said("project") {
            Some(name) => {
                let (id, view) = project(&world, name)?;
                (Some(id), None, view.features.len())
            }
            None => (None, None, world.projects.iter().map(|view| view.features.len()).sum()),
        }
    };
    let only = of.zip(feature.clone());
    api.ask(|reply| Command::Rescan { project: of, feature, reply }).await?;
    let synced = if wait { Some(api.sync(only).await?) } else { None };
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, answer(&Rescan { features, synced })).into_response())
}

async fn added(api: &Api, query: Query, body: Body) -> Result<Response, Problem> {
    query.0?;
    let AddRequest { path, keep } = body::read(body).await?.ok_or_else(|| {
        Problem::new(Code::BadRequest, "the body is missing").hint("`{\"path\": \"/a/project\"}`")
    })?;
    let root = unescape(&path).map_err(|error| {
        let hint = "paths are written as they are answered: a backslash as `\\\\`";
        Problem::new(Code::BadRequest, format!("`path`: {error}")).hint(hint)
    })?;
    let root = PathBuf::from(OsString::from_vec(root));
    if !root.is_absolute() {
        let detail = format!("`{}` is not absolute", root.display());
        return Err(Problem::new(Code::BadRequest, detail).hint("give its absolute path"));
    }
    let mut news = api.views.news();
    let known: Vec<usize> = api.views.world().projects.iter().map(|view| view.id).collect();
    let id = api.ask(|reply| Command::AddProject { root, keep, reply }).await?;
    let id = id.map_err(|error| match &error {
        AddError::Root { source, .. } => {
            Problem::new(Code::BadRequest, format!("{error}: {source}"))
        }
        AddError::Store(_) => Problem::new(Code::NotWritten, error.to_string()),
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
    let Ok(Some(view)) = tokio::time::timeout(SHOWN_WAIT, shown).await else {
        return Err(Problem::new(Code::Unavailable, "it is added, but not shown yet"));
    };
    let status = if known.contains(&id) { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, answer(&name(&view))).into_response())
}

async fn removed(api: &Api, query: Query) -> Result<Response, Problem> {
    let parameters = query.0?;
    let Some(named) = parameters.said("project") else {
        return Err(Problem::new(Code::BadRequest, "the parameter `project` is missing")
            .hint(mend::PROJECT));
    };
    let (id, view) = project(&api.views.world(), named)?;
    let done = api.ask(|reply| Command::RemoveProject { id, reply }).await?;
    done.map_err(|error| match error {
        RemoveError::Configured(_) => Problem::new(Code::Conflict, error.to_string()),
        RemoveError::Store(_) => Problem::new(Code::NotWritten, error.to_string()),
    })?;
    Ok(answer(&name(&view)))
}

fn name(view: &ProjectView) -> ProjectName<'_> {
    ProjectName {
        project: (&*view.name).into(),
        root: view.root.as_str().into(),
        root_id: view.root_id.as_str().into(),
    }
}
