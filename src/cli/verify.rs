//! `dossierd verify`: whether what the daemon shows is what a fresh scan sees.
//!
//! Files may change between the two looks, so a difference counts only if it is found each time of
//! several.

mod difference;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::Value;

use super::args::{OptionalFeatureArgs, ProjectArgs};
use super::exit::Exit;
use super::link::{Link, is_refusal};
use super::place::{Place, root_text};
use super::target::Target;
use super::{out, words};
use crate::client::Target as Request;
use crate::core::dossier::Doubt;
use crate::core::feature::{Feature, Watch};
use crate::core::path::{printable, unescape};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};
use difference::{Difference, contents, lasting, snapshots, whole};

/// How often a difference must be found.
const TIMES: usize = 3;
/// Fields of an overview that a snapshot lacks and both looks must agree on.
const OF_OVERVIEW: [&str; 6] =
    ["mission", "manifest_version", "step", "step_source", "meta_error", "drift"];

/// `--json`.
#[derive(Serialize)]
struct Report<'a> {
    features: usize,
    differences: &'a BTreeSet<Difference>,
}

pub(super) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<Exit> {
    let mut link = Link::open(&args.project.socket)?;
    let meant = Meant::of(args, &mut link)?;
    let mut found = compare_all(&mut link, &meant)?;
    let mut moving = false;
    for _ in 1..TIMES {
        if found.differences.is_empty() {
            break;
        }
        // Discovered and read anew: also what steers may be changing.
        let again = compare_all(&mut link, &meant)?;
        moving |= again.differences != found.differences;
        let differences = lasting(&found.differences, &again.differences);
        found = Found { differences, ..again };
    }
    for slug in &found.contents_only {
        out::note(&format!(
            "{slug}: while its manifest is broken only paths and contents are compared"
        ));
    }
    for why in &found.unseen {
        out::error(why);
    }
    let Found { features, differences, unseen, .. } = found;
    if args.project.json {
        out::print_json(&Report { features, differences: &differences })?;
    } else {
        print(features, &differences)?;
    }
    if moving {
        out::note("files were changing meanwhile; only what differed each time is shown");
    }
    Ok(if differences.is_empty() && unseen.is_empty() { Exit::Done } else { Exit::Failed })
}

/// What is to be compared: a feature or project that is named or that the current folder is in; in
/// none, whatever is watched.
struct Meant {
    /// The feature, as it was typed.
    feature: Option<OsString>,
    projects: Vec<ProjectArgs>,
}

impl Meant {
    fn of(args: &OptionalFeatureArgs, link: &mut Link) -> anyhow::Result<Self> {
        let place = Place::of(args.feature.as_deref(), &args.project)?;
        let feature = args.feature.clone();
        if place.root.is_some() {
            return Ok(Self { feature, projects: vec![args.project.clone()] });
        }
        // The daemon says the root where the feature's slug is that of one only, or why not.
        let only = match place.feature {
            Some(_) => Some(link.read::<Value>(&place.target("/api/dossier/drift"))?),
            None => None,
        };
        let status: Status<'_> = link.read(&Request::new("/api/status").synced())?;
        let has = |project: &&ProjectStatus<'_>| match (&only, &place.feature) {
            (Some(_), Some(slug)) => {
                project.features.iter().any(|feature| feature.feature_slug == *slug)
            }
            _ => true,
        };
        let projects = status.projects.iter().filter(has).map(|project| {
            let root = OsString::from_vec(unescape(&project.root)?);
            Ok(ProjectArgs { project: Some(root.into()), ..args.project.clone() })
        });
        Ok(Self { feature, projects: projects.collect::<anyhow::Result<_>>()? })
    }
}

/// What came of looking at both.
#[derive(Default)]
struct Found {
    features: usize,
    differences: BTreeSet<Difference>,
    /// Features of which not everything was compared.
    contents_only: BTreeSet<String>,
    /// Projects that cannot be seen, and why.
    unseen: BTreeSet<String>,
}

fn compare_all(link: &mut Link, meant: &Meant) -> anyhow::Result<Found> {
    let extent = if meant.feature.is_some() { Extent::Feature } else { Extent::Project };
    let mut found = Found::default();
    for project in &meant.projects {
        let target = match &meant.feature {
            Some(feature) => Target::of_name(feature, project),
            None => Target::of_project(project),
        };
        match target {
            Ok(target) => compare(link, &target, project, extent, &mut found)?,
            Err(error) if meant.projects.len() == 1 => return Err(error),
            // The others are compared nevertheless.
            Err(error) => {
                found.unseen.insert(format!("{error:#}"));
            }
        }
    }
    Ok(found)
}

/// Whether features that only the daemon shows are a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Feature,
    Project,
}

/// Looks at both once.
fn compare(
    link: &mut Link,
    target: &Target,
    project: &ProjectArgs,
    extent: Extent,
    found: &mut Found,
) -> anyhow::Result<()> {
    let root = root_text(&target.project.root);
    let status: Status<'_> = link.read(&Request::new("/api/status").synced())?;
    let Some(project) = status.projects.iter().find(|project| project.root == root) else {
        anyhow::bail!("the daemon does not watch {root}; `{}`", words::add(project));
    };
    let mut scanned: Vec<Feature> = Vec::new();
    target.survey(|feature| feature, |feature| scanned.push(feature))?;
    for feature in &scanned {
        let slug = feature.dossier.terms.feature_slug.as_str();
        let about =
            |path: &str| Request::new(path).with("feature", slug).with("project", &root).synced();
        let export = link.get(&about("/api/dossier/snapshots/export"));
        let export: Value = match export {
            Ok(answer) => answer.read()?,
            Err(error) if is_refusal(&error, 404) => {
                found.differences.insert(whole(slug, "feature", &Value::Null, &"present".into()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let snapshot = serde_json::to_value(&*feature.snapshot)?;
        // The daemon goes on with the last good manifest, of which a scan knows nothing.
        if feature.dossier.terms.doubt == Some(Doubt::ManifestBroken) {
            found.contents_only.insert(slug.to_owned());
            let (daemon, disk) = (contents(&export), contents(&snapshot));
            snapshots(slug, &daemon, &disk, &mut found.differences);
            continue;
        }
        let overview: Value = link.read(&about("/api/dossier/overview"))?;
        let own = serde_json::to_value(Overview::from(feature))?;
        snapshots(slug, &export, &snapshot, &mut found.differences);
        for field in OF_OVERVIEW {
            if overview[field] != own[field] {
                found.differences.insert(whole(slug, field, &overview[field], &own[field]));
            }
        }
    }
    if extent == Extent::Project {
        let seen: BTreeSet<&str> =
            scanned.iter().map(|feature| feature.dossier.terms.feature_slug.as_str()).collect();
        for shown in &project.features {
            if shown.watch != Watch::Gone && !seen.contains(&*shown.feature_slug) {
                let slug = &shown.feature_slug;
                found.differences.insert(whole(slug, "feature", &"present".into(), &Value::Null));
            }
        }
    }
    found.features += scanned.len();
    Ok(())
}

fn print(features: usize, differences: &BTreeSet<Difference>) -> anyhow::Result<()> {
    let mut out = out::people();
    for difference in differences {
        let Difference { feature_slug, artifact_key, relative_path, field, daemon, disk } =
            difference;
        let mut subject = printable(feature_slug).bold().to_string();
        if let Some(key) = artifact_key {
            let path = relative_path.as_deref().unwrap_or_default();
            subject.push_str(&format!(": {} ({})", printable(key), printable(path)));
        }
        let (daemon, disk) = (printable(daemon), printable(disk));
        writeln!(out, "{subject}: {field}: daemon {}, disk {}", daemon.red(), disk.green())?;
    }
    let verdict = match differences.len() {
        0 => "the daemon shows what is there".green().to_string(),
        count => format!("{count} differences").red().to_string(),
    };
    writeln!(out, "{features} features compared: {verdict}")?;
    Ok(out.flush()?)
}
