//! The feature or project that a request means, with every change made before where that is asked for.

use std::sync::Arc;
use std::time::Duration;

use super::Api;
use super::query::Parameters;
use crate::engine::inbox::ProjectId;
use crate::engine::view::{FeatureView, ProjectView, World};
use crate::wire::mend;
use crate::wire::problem::{Code, Problem};
use crate::wire::status::Synced;

/// How long a request waits for a first index.
pub(super) const INDEX_WAIT: Duration = Duration::from_secs(10);

/// A feature of the present picture.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    pub(super) id: ProjectId,
    pub(super) project: Arc<ProjectView>,
    pub(super) feature: Arc<FeatureView>,
}

impl Meant {
    fn find(world: &World, parameters: &Parameters) -> Result<Self, Problem> {
        let Some(slug) = parameters.said("feature") else {
            return Err(Problem::new(Code::BadRequest, "the parameter `feature` is missing")
                .hint(mend::FEATURE));
        };
        let project = parameters.said("project");
        let mut found: Vec<Self> = named(world, project)
            .flat_map(|(id, view)| view.features.iter().map(move |feature| (id, view, feature)))
            .filter(|(.., feature)| feature.slug().as_str() == slug)
            .map(|(id, project, feature)| Self {
                id,
                project: Arc::clone(project),
                feature: Arc::clone(feature),
            })
            .collect();
        match (found.pop(), found.as_slice()) {
            (None, _) => Err(match project {
                Some(project) if named(world, Some(project)).next().is_none() => unknown(project),
                _ => Problem::new(Code::NotFound, format!("there is no feature `{slug}`"))
                    .hint(mend::FEATURES),
            }),
            (Some(one), []) => Ok(one),
            (Some(last), others) => {
                let all = others.iter().chain([&last]).map(|meant| &*meant.project);
                Err(ambiguous(&format!("`{slug}` is a feature of"), all))
            }
        }
    }
}

/// The project that is named; the same for all requests.
///
/// # Errors
/// A problem: none, or more than one.
pub(super) fn project(world: &World, name: &str) -> Result<(ProjectId, Arc<ProjectView>), Problem> {
    let found: Vec<(ProjectId, &Arc<ProjectView>)> = named(world, Some(name)).collect();
    match found.as_slice() {
        [] => Err(unknown(name)),
        [(id, project)] => Ok((*id, Arc::clone(project))),
        several => {
            let all = several.iter().map(|(_, project)| &***project);
            Err(ambiguous(&format!("`{name}` is the name of"), all))
        }
    }
}

/// The projects of that root, name or identity of the root; all where none is said.
fn named<'w>(
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

fn unknown(project: &str) -> Problem {
    Problem::new(Code::NotFound, format!("no project `{project}` is watched")).hint(mend::PROJECTS)
}

fn ambiguous<'p>(what: &str, projects: impl Iterator<Item = &'p ProjectView>) -> Problem {
    let roots: Vec<&str> = projects.map(|project| project.root.as_str()).collect();
    Problem::new(Code::Conflict, format!("{what} {}", roots.join(" and of ")))
        .hint(mend::ONE_PROJECT)
}

impl Api {
    /// The feature that is meant, once its first index stands and, if asked for, once every change
    /// made before the request is seen.
    pub(super) async fn meant(
        &self,
        parameters: &Parameters,
    ) -> Result<(Meant, Option<Synced>), Problem> {
        let sync = parameters.is_set("sync")?;
        let meant = match self.indexed(parameters).await {
            // It may have been made just before.
            Err(problem) if problem.status == 404 && sync => {
                self.sync(None).await?;
                self.indexed(parameters).await?
            }
            found => found?,
        };
        if !sync {
            return Ok((meant, None));
        }
        let (meant, synced) = self.synced(&meant, parameters).await?;
        Ok((meant, Some(synced)))
    }

    /// That feature with every change made before.
    pub(super) async fn synced(
        &self,
        meant: &Meant,
        parameters: &Parameters,
    ) -> Result<(Meant, Synced), Problem> {
        let synced = self.sync(Some((meant.id, meant.feature.slug().clone()))).await?;
        Ok((Meant::find(&self.views.world(), parameters)?, synced))
    }

    /// That feature as it is shown now.
    pub(super) fn present(&self, parameters: &Parameters) -> Result<Meant, Problem> {
        Meant::find(&self.views.world(), parameters)
    }

    /// The present picture, likewise.
    pub(super) async fn world(
        &self,
        parameters: &Parameters,
    ) -> Result<(Arc<World>, Option<Synced>), Problem> {
        let synced = if parameters.is_set("sync")? { Some(self.sync(None).await?) } else { None };
        Ok((self.views.world(), synced))
    }

    /// The feature that is meant, once its first index stands, whatever others are doing.
    async fn indexed(&self, parameters: &Parameters) -> Result<Meant, Problem> {
        let mut news = self.views.news();
        let found = async {
            loop {
                // Seen before looking: what is shown meanwhile is news again.
                news.borrow_and_update();
                let world = self.views.world();
                if !world.instance.is_empty() {
                    let meant = Meant::find(&world, parameters)?;
                    if meant.feature.indexed {
                        return Ok(meant);
                    }
                }
                if news.changed().await.is_err() {
                    return Err(Problem::new(Code::Unavailable, "the daemon is stopping"));
                }
            }
        };
        tokio::time::timeout(INDEX_WAIT, found).await.unwrap_or_else(|_| {
            let detail = "the first index of the feature does not stand yet";
            Err(Problem::new(Code::Unavailable, detail).hint("ask again in a second"))
        })
    }
}
