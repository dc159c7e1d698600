//! What a request asks: its parameters, the feature it means, and waiting for the engine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;

use super::Api;
use crate::core::path::FeatureSlug;
use crate::engine::inbox::{Command, ProjectId};
use crate::engine::view::{FeatureView, ProjectView, SyncKind, World};
use crate::wire::json;
use crate::wire::problem::{Code, Problem};
use crate::wire::status::Synced;

/// How long a request waits for a first index.
const INDEX_WAIT: Duration = Duration::from_secs(10);

/// A request's parameters, in order.
#[derive(Debug)]
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    /// The last value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | ""))
    }
}

/// A feature of the present picture.
pub(super) struct Meant {
    pub(super) project: ProjectId,
    pub(super) feature: Arc<FeatureView>,
}

impl Meant {
    fn find(world: &World, parameters: &Parameters) -> Result<Self, Problem> {
        let Some(slug) = parameters.get("feature") else {
            return Err(Problem::new(Code::BadRequest, "the parameter `feature` is missing"));
        };
        let project = parameters.get("project");
        let named = |view: &ProjectView| {
            project.is_none_or(|wanted| view.root == wanted || view.name == wanted)
        };
        let found: Vec<(Arc<ProjectView>, Arc<FeatureView>)> = world
            .projects
            .iter()
            .filter(|view| named(view))
            .flat_map(|view| view.features.iter().map(move |feature| (view, feature)))
            .filter(|(_, feature)| feature.slug().as_str() == slug)
            .map(|(view, feature)| (Arc::clone(view), Arc::clone(feature)))
            .collect();
        match found.as_slice() {
            [] => Err(Problem::new(Code::NotFound, format!("there is no feature `{slug}`"))
                .hint("`GET /api/status` lists the features of all projects")),
            [(project, feature)] => Ok(Self { project: project.id, feature: Arc::clone(feature) }),
            several => {
                let roots: Vec<&str> =
                    several.iter().map(|(project, _)| project.root.as_str()).collect();
                let detail = format!("`{slug}` is a feature of {}", roots.join(" and of "));
                Err(Problem::new(Code::Conflict, detail)
                    .hint("add `project=` with one of these roots"))
            }
        }
    }
}

impl Api {
    /// The feature that is meant, once its first index stands and, if asked for, once every change
    /// made before the request is seen.
    pub(super) async fn meant(
        &self,
        parameters: &Parameters,
    ) -> Result<(Meant, Option<Synced>), Problem> {
        self.indexed().await?;
        let meant = match Meant::find(&self.views.world(), parameters) {
            // It may have been made just before.
            Err(problem) if problem.status == 404 && parameters.is_set("sync") => {
                self.sync(None).await?;
                Meant::find(&self.views.world(), parameters)?
            }
            found => found?,
        };
        if !parameters.is_set("sync") {
            return Ok((meant, None));
        }
        let feature = (meant.project, meant.feature.slug().clone());
        let synced = self.sync(Some(feature)).await?;
        Ok((Meant::find(&self.views.world(), parameters)?, Some(synced)))
    }

    /// The present picture, likewise.
    pub(super) async fn world(
        &self,
        parameters: &Parameters,
    ) -> Result<(Arc<World>, Option<Synced>), Problem> {
        let synced = if parameters.is_set("sync") { Some(self.sync(None).await?) } else { None };
        Ok((self.views.world(), synced))
    }

    async fn sync(&self, feature: Option<(ProjectId, FeatureSlug)>) -> Result<Synced, Problem> {
        let (reply, answer) = oneshot::channel();
        let unavailable = |why: &str| Problem::new(Code::Unavailable, why);
        self.inbox
            .command(Command::Sync { feature, reply })
            .map_err(|full| unavailable(&full.to_string()))?;
        match answer.await {
            Ok(SyncKind::Cookie) => Ok(Synced::Cookie),
            Ok(SyncKind::Scan) => Ok(Synced::Scan),
            Err(_) => Err(unavailable("the daemon is stopping")),
        }
    }

    async fn indexed(&self) -> Result<(), Problem> {
        let mut news = self.views.news();
        let ready = async {
            while !self.views.world().projects.iter().all(|project| project.ready) {
                if news.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(INDEX_WAIT, ready)
            .await
            .map_err(|_| Problem::new(Code::Unavailable, "the first index does not stand yet"))
    }
}

/// A JSON answer.
pub(super) fn answer(value: &impl Serialize) -> Response {
    let kind = HeaderValue::from_static("application/json");
    match json::line(value) {
        Ok(body) => ([(header::CONTENT_TYPE, kind)], body).into_response(),
        Err(error) => Problem::new(Code::Internal, error.to_string()).into_response(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(json::line(&self).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
