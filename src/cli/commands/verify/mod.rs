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

use crate::cli::args::{OptionalFeatureArgs, ProjectArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::output;
use crate::cli::scope::{Scope, project_add_command, root_text};
use crate::client::RequestPath as Request;
use crate::core::feature::{Feature, FeatureWatchState};
use crate::core::feature_context::UnknownReason;
use crate::core::path::{escape_unprintable, unescape_bytes};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};
use difference::{
    FieldDifference, compare_snapshots, content_fields, feature_difference, persistent_differences,
};

/// How often a difference must be found.
const REQUIRED_PASSES: usize = 3;
/// Fields of an overview that a snapshot lacks and both looks must agree on.
const OVERVIEW_FIELDS: [&str; 6] =
    ["mission", "manifest_version", "step", "step_source", "meta_error", "drift"];

/// `--json`.
#[derive(Serialize)]
struct VerifyReport<'a> {
    features: usize,
    differences: &'a BTreeSet<FieldDifference>,
}

pub(crate) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<CommandExit> {
    let mut link = DaemonConnection::connect(&args.project.socket)?;
    let meant = VerifyScope::resolve(args, &mut link)?;
    let mut found = compare_all(&mut link, &meant)?;
    let mut moving = false;
    for _ in 1..REQUIRED_PASSES {
        if found.differences.is_empty() {
            break;
        }
        // Discovered and read anew: also what steers may be changing.
        let again = compare_all(&mut link, &meant)?;
        moving |= again.differences != found.differences;
        let differences = persistent_differences(&found.differences, &again.differences);
        found = VerifyResult { differences, ..again };
    }
    for slug in &found.contents_only {
        output::note(&format!(
            "{slug}: while its manifest is broken only paths and contents are compared"
        ));
    }
    for why in &found.unreadable_projects {
        output::error(why);
    }
    let VerifyResult { features, differences, unreadable_projects: unseen, .. } = found;
    if args.project.json {
        output::print_json(&VerifyReport { features, differences: &differences })?;
    } else {
        print(features, &differences)?;
    }
    if moving {
        output::note("files were changing meanwhile; only what differed each time is shown");
    }
    Ok(if differences.is_empty() && unseen.is_empty() {
        CommandExit::Success
    } else {
        CommandExit::Failed
    })
}

/// What is to be compared: a feature or project that is named or that the current directory is in; in
/// none, whatever is watched.
struct VerifyScope {
    /// The feature, as it was typed.
    feature: Option<OsString>,
    projects: Vec<ProjectArgs>,
}

impl VerifyScope {
    fn resolve(args: &OptionalFeatureArgs, link: &mut DaemonConnection) -> anyhow::Result<Self> {
        let place = Scope::resolve(args.feature.as_deref(), &args.project)?;
        let feature = args.feature.clone();
        if place.root.is_some() {
            return Ok(Self { feature, projects: vec![args.project.clone()] });
        }
        // The daemon says the root where the feature's slug is that of one only, or why not.
        let only = match place.feature {
            Some(_) => Some(link.get_json::<Value>(&place.request_path("/api/dossier/drift"))?),
            None => None,
        };
        let status: Status<'_> = link.get_json(&Request::new("/api/status").with_sync())?;
        let has = |project: &&ProjectStatus<'_>| match (&only, &place.feature) {
            (Some(_), Some(slug)) => {
                project.features.iter().any(|feature| feature.feature_slug == *slug)
            }
            _ => true,
        };
        let projects = status.projects.iter().filter(has).map(|project| {
            let root = OsString::from_vec(unescape_bytes(&project.root)?);
            Ok(ProjectArgs { project: Some(root.into()), ..args.project.clone() })
        });
        Ok(Self { feature, projects: projects.collect::<anyhow::Result<_>>()? })
    }
}

/// What came of looking at both.
#[derive(Default)]
struct VerifyResult {
    features: usize,
    differences: BTreeSet<FieldDifference>,
    /// Features of which not everything was compared.
    contents_only: BTreeSet<String>,
    /// Projects that cannot be seen, and why.
    unreadable_projects: BTreeSet<String>,
}

fn compare_all(link: &mut DaemonConnection, meant: &VerifyScope) -> anyhow::Result<VerifyResult> {
    let extent =
        if meant.feature.is_some() { CompareExtent::Feature } else { CompareExtent::Project };
    let mut found = VerifyResult::default();
    for project in &meant.projects {
        let target = match &meant.feature {
            Some(feature) => LocalTarget::from_feature_name(feature, project),
            None => LocalTarget::from_project_args(project),
        };
        match target {
            Ok(target) => compare(link, &target, project, extent, &mut found)?,
            Err(error) if meant.projects.len() == 1 => return Err(error),
            // The others are compared nevertheless.
            Err(error) => {
                found.unreadable_projects.insert(format!("{error:#}"));
            }
        }
    }
    Ok(found)
}

/// Whether features that only the daemon shows are a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompareExtent {
    Feature,
    Project,
}

/// Looks at both once.
fn compare(
    link: &mut DaemonConnection,
    target: &LocalTarget,
    project: &ProjectArgs,
    extent: CompareExtent,
    found: &mut VerifyResult,
) -> anyhow::Result<()> {
    let root = root_text(&target.project.root);
    let status: Status<'_> = link.get_json(&Request::new("/api/status").with_sync())?;
    let Some(project) = status.projects.iter().find(|project| project.root == root) else {
        anyhow::bail!("the daemon does not watch {root}; `{}`", project_add_command(project));
    };
    let mut scanned: Vec<Feature> = Vec::new();
    target.scan(|feature| feature, |feature| scanned.push(feature))?;
    for feature in &scanned {
        let slug = feature.dossier.context.feature_slug.as_str();
        let about = |path: &str| {
            Request::new(path).with("feature", slug).with("project", &root).with_sync()
        };
        let export = link.get(&about("/api/dossier/snapshots/export"));
        let export: Value = match export {
            Ok(answer) => answer.parse()?,
            Err(error) if has_problem_status(&error, 404) => {
                found.differences.insert(feature_difference(
                    slug,
                    "feature",
                    &Value::Null,
                    &"present".into(),
                ));
                continue;
            }
            Err(error) => return Err(error),
        };
        let snapshot = serde_json::to_value(&*feature.snapshot)?;
        // The daemon goes on with the last good manifest, of which a scan knows nothing.
        if feature.dossier.context.unknown_reason == Some(UnknownReason::InvalidManifest) {
            found.contents_only.insert(slug.to_owned());
            let (daemon, disk) = (content_fields(&export), content_fields(&snapshot));
            compare_snapshots(slug, &daemon, &disk, &mut found.differences);
            continue;
        }
        let overview: Value = link.get_json(&about("/api/dossier/overview"))?;
        let own = serde_json::to_value(Overview::from(feature))?;
        compare_snapshots(slug, &export, &snapshot, &mut found.differences);
        for field in OVERVIEW_FIELDS {
            if overview[field] != own[field] {
                found.differences.insert(feature_difference(
                    slug,
                    field,
                    &overview[field],
                    &own[field],
                ));
            }
        }
    }
    if extent == CompareExtent::Project {
        let seen: BTreeSet<&str> =
            scanned.iter().map(|feature| feature.dossier.context.feature_slug.as_str()).collect();
        for shown in &project.features {
            if shown.watch != FeatureWatchState::Gone && !seen.contains(&*shown.feature_slug) {
                let slug = &shown.feature_slug;
                found.differences.insert(feature_difference(
                    slug,
                    "feature",
                    &"present".into(),
                    &Value::Null,
                ));
            }
        }
    }
    found.features += scanned.len();
    Ok(())
}

fn print(features: usize, differences: &BTreeSet<FieldDifference>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    for difference in differences {
        let FieldDifference { feature_slug, artifact_key, relative_path, field, daemon, disk } =
            difference;
        let mut subject = escape_unprintable(feature_slug).bold().to_string();
        if let Some(key) = artifact_key {
            let path = relative_path.as_deref().unwrap_or_default();
            subject.push_str(&format!(
                ": {} ({})",
                escape_unprintable(key),
                escape_unprintable(path)
            ));
        }
        let (daemon, disk) = (escape_unprintable(daemon), escape_unprintable(disk));
        writeln!(out, "{subject}: {field}: daemon {}, disk {}", daemon.red(), disk.green())?;
    }
    let verdict = match differences.len() {
        0 => "the daemon shows what is there".green().to_string(),
        count => format!("{count} differences").red().to_string(),
    };
    writeln!(out, "{features} features compared: {verdict}")?;
    Ok(out.flush()?)
}
