//! `dossierd rescan`: lets the daemon compare everything with the disk.

use super::args::OptionalFeatureArgs;
use super::exit::Exit;
use super::link::Link;
use super::out;
use super::place::Place;
use crate::client::Target;

pub(super) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<Exit> {
    let place = Place::of(args.feature.as_deref(), &args.project)?;
    let mut link = Link::open(&args.project.socket)?;
    // Without a feature everything is compared, of all projects.
    let named = args.project.project.as_ref().and_then(|_| place.root_text());
    let project = if place.feature.is_some() { place.root_text() } else { named };
    let target = Target::new("/api/rescan")
        .with_some("feature", place.feature.as_deref())
        .with_some("project", project.as_deref())
        .synced();
    let answer = link.post(&target, Vec::new())?;
    if args.project.json {
        out::print_body(&answer.body)?;
    } else {
        let what = place.feature.as_deref().unwrap_or("everything");
        out::note(&format!("{what} was compared with the disk"));
    }
    Ok(Exit::Done)
}
