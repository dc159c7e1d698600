//! Resolves `project=`, `feature=` and `sync=` to a published state.

use std::sync::Arc;
use std::time::Duration;

use crate::api::request::query::Parameters;
use crate::api::request::sync::{SyncReport, wait_synced};
use crate::api::request::wait::wait_until;
use crate::api::response::overview::overview;
use crate::api::state::ApiState;
use crate::core::feature_name::similar_feature;
use crate::core::path::FeatureSlug;
use crate::engine::ids::ProjectId;
use crate::engine::read_model::{EngineState, FeatureView, ProjectView};
use crate::wire::hint::HintCode;
use crate::wire::overview::Overview;
use crate::wire::problem::{Candidate, Problem, ProblemCode};
use crate::wire::status::SyncStatus;

/// Time that a request waits for the first index of its feature, or for the start of the daemon;
/// after it the response is 503.
pub(crate) const INITIAL_SCAN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a request synchronises again if a project was restarted meanwhile.
const MAX_SYNC_ATTEMPTS: usize = 3;

/// Bytes of a name up to which a similar one is searched for: the time grows with its length.
const MAX_SIMILAR_BYTES: usize = 128;

/// A feature of one published state, and its project.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedFeature {
    pub(crate) project_id: ProjectId,
    pub(crate) project: Arc<ProjectView>,
    pub(crate) feature: Arc<FeatureView>,
}

impl ResolvedFeature {
    /// Returns the feature that `feature=` and `project=` select in `world`.
    ///
    /// # Errors
    /// 400 without `feature=`, 404 if there is none, 409 if there are several.
    pub(crate) fn find(world: &EngineState, parameters: &Parameters) -> Result<Self, Problem> {
        let Some(slug) = parameters.get_non_empty("feature") else {
            let detail = "the query parameter `feature` is missing";
            return Err(Problem::new(ProblemCode::BadRequest, detail, HintCode::FeatureRequired));
        };
        let project = parameters.get_non_empty("project");
        let mut found: Vec<Self> = matching_projects(world, project)
            .flat_map(|(id, view)| view.features.iter().map(move |feature| (id, view, feature)))
            .filter(|(.., feature)| feature.slug().as_str() == slug)
            .map(|(id, project, feature)| Self {
                project_id: id,
                project: Arc::clone(project),
                feature: Arc::clone(feature),
            })
            .collect();
        // Of the work trees of a repository, the main one is selected.
        let roots: Vec<String> = found.iter().map(|one| one.project.root_id.clone()).collect();
        found.retain(|one| {
            let main = one.project.worktree_of.as_deref();
            !main.is_some_and(|main| roots.iter().any(|root_id| root_id == main))
        });
        match (found.pop(), found.as_slice()) {
            (None, _) => Err(match project {
                Some(project) if matching_projects(world, Some(project)).next().is_none() => {
                    project_not_found(project)
                }
                _ => {
                    let mut detail = format!("there is no feature `{slug}`");
                    let known = matching_projects(world, project)
                        .flat_map(|(_, view)| view.features.iter().map(|one| one.slug().as_str()));
                    if slug.len() <= MAX_SIMILAR_BYTES
                        && let Some(similar) = similar_feature(slug, known)
                    {
                        detail.push_str(&format!("; the most similar one is {similar}"));
                    }
                    Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchFeature)
                }
            }),
            (Some(feature), []) => Ok(feature),
            (Some(last), others) => {
                let candidates = others.iter().chain([&last]).map(Self::candidate).collect();
                Err(ambiguous_project(&format!("`{slug}` is a feature of"), candidates))
            }
        }
    }

    /// Returns what a problem about this feature names.
    pub(crate) fn candidate(&self) -> Candidate {
        project_candidate(&self.project, Some(self.feature.slug()))
    }

    /// Returns its overview; `world` is the state in which the other work trees of the repository are looked up.
    pub(crate) fn overview<'a>(&'a self, world: &'a EngineState) -> Overview<'a> {
        overview(world, &self.project, &self.feature, self.feature.feature())
    }
}

/// Returns what a problem about this project, or a feature of it, names.
pub(crate) fn project_candidate(project: &ProjectView, feature: Option<&FeatureSlug>) -> Candidate {
    Candidate {
        project: project.name.to_string(),
        root: project.root.clone(),
        root_id: project.root_id.clone(),
        feature_slug: feature.map(|slug| slug.as_str().to_owned()),
    }
}

/// Returns the project with this root, root id or name.
///
/// # Errors
/// 404 if there is none, 409 if there are several.
pub(crate) fn resolve_project(
    world: &EngineState,
    name: &str,
) -> Result<(ProjectId, Arc<ProjectView>), Problem> {
    let found: Vec<(ProjectId, &Arc<ProjectView>)> = matching_projects(world, Some(name)).collect();
    match found.as_slice() {
        [] => Err(project_not_found(name)),
        [(id, project)] => Ok((*id, Arc::clone(project))),
        several => {
            let candidates = several.iter().map(|(_, view)| project_candidate(view, None));
            Err(ambiguous_project(&format!("`{name}` is the name of"), candidates.collect()))
        }
    }
}

/// Returns the projects with this root, root id or name; all if `name` is `None`. A name counts
/// only if it is not a root or a root id.
fn matching_projects<'w>(
    world: &'w EngineState,
    name: Option<&'w str>,
) -> impl Iterator<Item = (ProjectId, &'w Arc<ProjectView>)> {
    let is_root =
        |name: &str| world.projects.iter().any(|view| view.root == name || view.root_id == name);
    let by_root = name.is_some_and(is_root);
    let all = world.projects.iter().map(|view| (view.id, view));
    all.filter(move |(_, view)| {
        name.is_none_or(|name| {
            if by_root { view.root == name || view.root_id == name } else { *view.name == *name }
        })
    })
}

fn project_not_found(project: &str) -> Problem {
    let detail = format!("no project `{project}` is watched");
    Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchProject)
}

fn ambiguous_project(subject: &str, mut candidates: Vec<Candidate>) -> Problem {
    candidates.sort_by(|a, b| a.root.cmp(&b.root));
    let roots: Vec<&str> = candidates.iter().map(|project| project.root.as_str()).collect();
    let detail = format!("{subject} {}", roots.join(" and of "));
    Problem::new(ProblemCode::Conflict, detail, HintCode::AmbiguousProject)
        .with_candidates(candidates)
}

/// Returns the selected feature once its first index is complete and, with `sync=true`, once every
/// change made before the request has been seen.
///
/// # Errors
/// 400, 404 or 409 if no single feature is selected; 503 if waiting takes too long.
pub(crate) async fn resolve_feature(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<(ResolvedFeature, Option<SyncStatus>), Problem> {
    let sync = parameters.flag("sync")?;
    let resolved = match wait_initial_scan(api, parameters).await {
        // The feature may have been created just before the request.
        Err(problem) if problem.status == 404 && sync => {
            wait_synced(api, None).await?;
            wait_initial_scan(api, parameters).await?
        }
        result => result?,
    };
    if !sync {
        return Ok((resolved, None));
    }
    let (resolved, sync) = sync_feature(api, &resolved, parameters).await?;
    Ok((resolved, Some(sync)))
}

/// Returns the feature again, with every change made before the call.
pub(crate) async fn sync_feature(
    api: &ApiState,
    resolved: &ResolvedFeature,
    parameters: &Parameters,
) -> Result<(ResolvedFeature, SyncStatus), Problem> {
    let mut current = resolved.clone();
    let mut attempt = 1;
    loop {
        let feature = (current.project_id, current.feature.slug().clone());
        let report = wait_synced(api, Some(feature)).await?;
        current = current_feature(api, parameters)?;
        // A project that was restarted meanwhile is another one.
        if report.covers(current.project_id) || attempt == MAX_SYNC_ATTEMPTS {
            let sync = report.weakest([&*current.project]);
            return Ok((current, sync));
        }
        attempt += 1;
    }
}

/// Returns the feature that a request changes, in its current state, with or without `sync=true`. Fails if
/// that is not known.
pub(crate) async fn resolve_current_feature(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<(ResolvedFeature, SyncStatus), Problem> {
    let (resolved, _) = resolve_feature(api, parameters).await?;
    let (resolved, sync) = sync_feature(api, &resolved, parameters).await?;
    if let Some(reason) = &sync.synced_reason {
        let detail = format!("the current state is not known: {reason}");
        let problem = Problem::new(ProblemCode::NotEvaluated, detail, HintCode::NotSynced);
        return Err(problem.with_candidates(vec![resolved.candidate()]));
    }
    Ok((resolved, sync))
}

/// Returns the feature as it is published now.
pub(crate) fn current_feature(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<ResolvedFeature, Problem> {
    ResolvedFeature::find(&api.views.load(), parameters)
}

/// Returns the published state of everything, with `sync=true` once every change made before the
/// request has been seen.
pub(crate) async fn current_state(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<(Arc<EngineState>, Option<SyncReport>), Problem> {
    if !parameters.flag("sync")? {
        return Ok((api.views.load(), None));
    }
    let mut attempt = 1;
    loop {
        let report = wait_synced(api, None).await?;
        let world = api.views.load();
        let covers_all = world.projects.iter().all(|project| report.covers(project.id));
        if covers_all || attempt == MAX_SYNC_ATTEMPTS {
            return Ok((world, Some(report)));
        }
        attempt += 1;
    }
}

/// Returns the feature once its first index is complete, whatever the state of other features.
async fn wait_initial_scan(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<ResolvedFeature, Problem> {
    let find = |world: &Arc<EngineState>| {
        if world.instance.is_empty() {
            return None;
        }
        let resolved = ResolvedFeature::find(world, parameters);
        if resolved.is_err() && world.projects.iter().any(|project| !project.listed) {
            return None;
        }
        (!resolved.as_ref().is_ok_and(|resolved| !resolved.feature.indexed)).then_some(resolved)
    };
    wait_until(&api.views, INITIAL_SCAN_TIMEOUT, find).await.unwrap_or_else(|| {
        let detail = "the first index of the feature is not complete yet";
        Err(Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater))
    })
}
