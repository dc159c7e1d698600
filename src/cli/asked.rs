//! What the daemon says of one feature, and what is to be said beside it: the same as after a scan.

use serde::de::DeserializeOwned;

use super::args::{FeatureArgs, ProjectArgs};
use super::exit::Exit;
use super::link::{Link, is_refusal};
use super::out;
use super::place::Place;
use super::target::Findings;
use crate::client::{Answer, Target};
use crate::core::feature::Watch;
use crate::wire::status::{ProjectStatus, Status};

/// An answer about a feature.
pub(super) struct Asked {
    /// The answer.
    pub(super) answer: Answer,
    link: Link,
    place: Place,
}

/// A daemon that watches the place.
pub(super) struct Watching {
    pub(super) link: Link,
    pub(super) status: Status<'static>,
}

impl Asked {
    /// Asks about the feature that is meant; `None`, which is said, where no daemon watches it.
    pub(super) fn about(
        args: &FeatureArgs,
        target: impl Fn(&Place) -> Target,
    ) -> anyhow::Result<Option<Self>> {
        let Some(mut link) = Link::find(&args.project.socket)? else {
            return Ok(None);
        };
        let place = Place::of(Some(&args.feature), &args.project)?;
        match link.get(&target(&place)) {
            Ok(answer) => Ok(Some(Self { answer, link, place })),
            Err(error) if is_refusal(&error, 404) && !is_watched(&mut link, &place)? => {
                out::note("the daemon does not watch this project; `dossierd project add` lets it");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for more about the same feature.
    pub(super) fn more<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.link.read(&self.place.target(path))
    }

    /// Says what is wrong with the feature and with the project's files, and with which code that
    /// ends a command that has printed its data.
    pub(super) fn end(mut self) -> anyhow::Result<Exit> {
        let status: Status<'_> = self.link.read(&Target::new("/api/status"))?;
        Ok(end(&status, &self.place))
    }
}

/// As [`Asked::end`], of a status that was asked for.
pub(super) fn end(status: &Status<'_>, place: &Place) -> Exit {
    let slug = place.feature.as_deref();
    for project in projects(status, place) {
        for feature in project.features.iter().filter(|f| Some(&*f.feature_slug) == slug) {
            let watch = match feature.watch {
                Watch::Live | Watch::Settling => None,
                Watch::Unreadable => Some("cannot be read"),
                Watch::Gone => Some("is gone"),
                Watch::Degraded => Some("is beyond a budget"),
            };
            let wrong = [watch, feature.meta_error.as_deref(), feature.step_error.as_deref()];
            for line in wrong.into_iter().flatten() {
                out::warn(&format!("{}: {line}", feature.feature_slug));
            }
        }
    }
    let findings = findings(status, place);
    findings.say();
    findings.exit()
}

/// What is wrong with the files of the project that is meant.
pub(super) fn findings(status: &Status<'_>, place: &Place) -> Findings {
    Findings {
        errors: projects(status, place).flat_map(|p| p.manifest_errors.to_vec()).collect(),
        warnings: projects(status, place).flat_map(|p| p.manifest_warnings.to_vec()).collect(),
    }
}

/// The project that is meant, or those with such a feature.
fn projects<'s, 'a>(
    status: &'s Status<'a>,
    place: &'s Place,
) -> impl Iterator<Item = &'s ProjectStatus<'a>> {
    let (root, slug) = (place.root_text(), place.feature.as_deref());
    status.projects.iter().filter(move |project| match &root {
        Some(root) => project.root == *root,
        None => project.features.iter().any(|feature| Some(&*feature.feature_slug) == slug),
    })
}

impl Watching {
    /// A daemon that watches the project that is meant; `None`, which is said, where none does.
    pub(super) fn project(args: &ProjectArgs, place: &Place) -> anyhow::Result<Option<Self>> {
        let Some(mut link) = Link::find(&args.socket)? else {
            return Ok(None);
        };
        let status: Status<'_> = link.read(&Target::new("/api/status").synced())?;
        if place.root.is_some() && place.watched(&status).is_none() {
            out::note("the daemon does not watch this project; `dossierd project add` lets it");
            return Ok(None);
        }
        Ok(Some(Self { link, status }))
    }
}

fn is_watched(link: &mut Link, place: &Place) -> anyhow::Result<bool> {
    let status: Status<'_> = link.read(&Target::new("/api/status"))?;
    Ok(place.root.is_none() || place.watched(&status).is_some())
}
