//! The feature or project that a request means, with every change made before where that is asked for.

use std::sync::Arc;
use std::time::Duration;

use crate::api::request::engine_call::wait_synced;
use crate::api::request::query::Parameters;
use crate::api::state::ApiState;
use crate::engine::inbox::ProjectId;
use crate::engine::view::{FeatureView, ProjectView, World};
use crate::wire::hint;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Synced;

/// How long a request waits for a first index.
pub(crate) const INITIAL_SCAN_TIMEOUT: Duration = Duration::from_secs(10);

/// A feature of the present picture.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedFeature {
    pub(crate) project_id: ProjectId,
    pub(crate) project: Arc<ProjectView>,
    pub(crate) feature: Arc<FeatureView>,
}

impl ResolvedFeature {
    fn find(world: &World, parameters: &Parameters) -> Result<Self, Problem> {
        let Some(slug) = parameters.get_non_empty("feature") else {
            return Err(Problem::new(
                ProblemCode::BadRequest,
                "the parameter `feature` is missing",
            )
            .with_hint(hint::FEATURE_REQUIRED));
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
        match (found.pop(), found.as_slice()) {
            (None, _) => Err(match project {
                Some(project) if matching_projects(world, Some(project)).next().is_none() => {
                    project_not_found(project)
                }
                _ => Problem::new(ProblemCode::NotFound, format!("there is no feature `{slug}`"))
                    .with_hint(hint::NO_SUCH_FEATURE),
            }),
            (Some(one), []) => Ok(one),
            (Some(last), others) => {
                let all = others.iter().chain([&last]).map(|meant| &*meant.project);
                Err(ambiguous_project(&format!("`{slug}` is a feature of"), all))
            }
        }
    }
}

/// The project that is named; the same for all requests.
///
/// # Errors
/// A problem: none, or more than one.
pub(crate) fn resolve_project(
    world: &World,
    name: &str,
) -> Result<(ProjectId, Arc<ProjectView>), Problem> {
    let found: Vec<(ProjectId, &Arc<ProjectView>)> = matching_projects(world, Some(name)).collect();
    match found.as_slice() {
        [] => Err(project_not_found(name)),
        [(id, project)] => Ok((*id, Arc::clone(project))),
        several => {
            let all = several.iter().map(|(_, project)| &***project);
            Err(ambiguous_project(&format!("`{name}` is the name of"), all))
        }
    }
}

/// The projects of that root, name or identity of the root; all where none is said.
fn matching_projects<'w>(
    world: &'w World,
    name: Option<&'w str>,
) -> impl Iterator<Item = (ProjectId, &'w Arc<ProjectView>)> {
    let is_root = |wanted: &str| {
        world.projects.iter().any(|view| view.root == wanted || view.root_id == wanted)
    };
    let by_root = name.is_some_and(is_root);
    let all = world.projects.iter().map(|view| (view.id, view));
    all.filter(move |(_, view)| {
        name.is_none_or(|wanted| {
            if by_root {
                view.root == wanted || view.root_id == wanted
            } else {
                *view.name == *wanted
            }
        })
    })
}

fn project_not_found(project: &str) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("no project `{project}` is watched"))
        .with_hint(hint::NO_SUCH_PROJECT)
}

fn ambiguous_project<'p>(what: &str, projects: impl Iterator<Item = &'p ProjectView>) -> Problem {
    let roots: Vec<&str> = projects.map(|project| project.root.as_str()).collect();
    Problem::new(ProblemCode::Conflict, format!("{what} {}", roots.join(" and of ")))
        .with_hint(hint::AMBIGUOUS_PROJECT)
}

/// The feature that is meant, once its first index stands and, if asked for, once every change
/// made before the request is seen.
pub(crate) async fn resolve_feature(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<(ResolvedFeature, Option<Synced>), Problem> {
    let sync = parameters.flag("sync")?;
    let meant = match wait_initial_scan(api, parameters).await {
        // It may have been made just before.
        Err(problem) if problem.status == 404 && sync => {
            wait_synced(api, None).await?;
            wait_initial_scan(api, parameters).await?
        }
        found => found?,
    };
    if !sync {
        return Ok((meant, None));
    }
    let (meant, synced) = sync_feature(api, &meant, parameters).await?;
    Ok((meant, Some(synced)))
}

/// That feature with every change made before.
pub(crate) async fn sync_feature(
    api: &ApiState,
    meant: &ResolvedFeature,
    parameters: &Parameters,
) -> Result<(ResolvedFeature, Synced), Problem> {
    let synced = wait_synced(api, Some((meant.project_id, meant.feature.slug().clone()))).await?;
    Ok((ResolvedFeature::find(&api.views.world(), parameters)?, synced))
}

/// That feature as it is shown now.
pub(crate) fn current_feature(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<ResolvedFeature, Problem> {
    ResolvedFeature::find(&api.views.world(), parameters)
}

/// The present picture, likewise.
pub(crate) async fn current_state(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<(Arc<World>, Option<Synced>), Problem> {
    let synced = if parameters.flag("sync")? { Some(wait_synced(api, None).await?) } else { None };
    Ok((api.views.world(), synced))
}

/// The feature that is meant, once its first index stands, whatever others are doing.
async fn wait_initial_scan(
    api: &ApiState,
    parameters: &Parameters,
) -> Result<ResolvedFeature, Problem> {
    let mut news = api.views.news();
    let found = async {
        loop {
            // Seen before looking: what is shown meanwhile is news again.
            news.borrow_and_update();
            let world = api.views.world();
            if !world.instance.is_empty() {
                let meant = ResolvedFeature::find(&world, parameters)?;
                if meant.feature.indexed {
                    return Ok(meant);
                }
            }
            if news.changed().await.is_err() {
                return Err(Problem::new(ProblemCode::Unavailable, "the daemon is stopping"));
            }
        }
    };
    tokio::time::timeout(INITIAL_SCAN_TIMEOUT, found).await.unwrap_or_else(|_| {
        let detail = "the first index of the feature does not stand yet";
        Err(Problem::new(ProblemCode::Unavailable, detail).with_hint("ask again in a second"))
    })
}
