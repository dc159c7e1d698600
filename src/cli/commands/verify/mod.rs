//! `dossierd verify`: compares the daemon's state with a new scan.
//!
//! Files may change between the request and the scan, so only differences that are found in each of
//! several passes are reported.

mod difference;

use std::collections::{BTreeMap, BTreeSet};
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
use crate::core::diagnostics::FileError;
use crate::core::feature::{Feature, FeatureWatchState};
use crate::core::feature_context::UnknownReason;
use crate::core::path::{escape_unprintable, unescape_bytes};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status, Synced};
use difference::{
    FieldDifference, compare_snapshots, content_fields, feature_difference, persistent_differences,
};

/// Number of passes in which a difference must be found.
const REQUIRED_PASSES: usize = 3;
/// Fields of an overview that are not part of a snapshot and are compared too.
const OVERVIEW_FIELDS: [&str; 6] =
    ["mission", "manifest_version", "step", "step_source", "meta_error", "drift"];

/// The output of `verify --json`.
#[derive(Serialize)]
struct VerifyReport<'a> {
    features: usize,
    differences: &'a BTreeSet<FieldDifference>,
}

pub(crate) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<CommandExit> {
    let mut connection = DaemonConnection::connect(&args.project.socket)?;
    let verify_scope = VerifyScope::resolve(args, &mut connection)?;
    let mut result = compare_all(&mut connection, &verify_scope)?;
    let mut is_changing = false;
    for _ in 1..REQUIRED_PASSES {
        if result.differences.is_empty() {
            break;
        }
        // Projects are opened again, because their configuration may be changing too.
        let again = compare_all(&mut connection, &verify_scope)?;
        is_changing |= again.differences != result.differences;
        let differences = persistent_differences(&result.differences, &again.differences);
        result = VerifyResult { differences, ..again };
    }
    for (slug, file) in &result.contents_only {
        output::note(&format!(
            "{slug}: {file} cannot be used, so only paths and contents are compared"
        ));
    }
    for error in &result.unreadable_projects {
        output::error(error);
    }
    for error in &result.invalid_files {
        output::error(error);
    }
    let has_invalid_file = !result.invalid_files.is_empty();
    let VerifyResult { features, differences, unreadable_projects, is_outdated, .. } = result;
    if args.project.json {
        output::print_json(&VerifyReport { features, differences: &differences })?;
    } else {
        print(features, &differences)?;
    }
    if is_changing {
        output::note("files changed during the comparison; only persistent differences are shown");
    }
    Ok(match differences.is_empty() && unreadable_projects.is_empty() {
        _ if has_invalid_file => CommandExit::InvalidFile,
        // The daemon's warnings name the project and the reason.
        _ if is_outdated => CommandExit::Indeterminate,
        true => CommandExit::Success,
        false => CommandExit::Failed,
    })
}

/// The feature or projects to compare: the selected ones, or all watched projects if the current
/// directory is in none.
struct VerifyScope {
    /// The feature argument.
    feature: Option<OsString>,
    projects: Vec<ProjectArgs>,
}

impl VerifyScope {
    fn resolve(
        args: &OptionalFeatureArgs,
        connection: &mut DaemonConnection,
    ) -> anyhow::Result<Self> {
        let scope = Scope::resolve(args.feature.as_deref(), &args.project)?;
        let feature = args.feature.clone();
        if scope.root.is_some() {
            return Ok(Self { feature, projects: vec![args.project.clone()] });
        }
        // Fails unless exactly one watched project has the feature.
        let feature_response = match scope.feature {
            Some(_) => {
                Some(connection.get_json::<Value>(&scope.request_path("/api/dossier/drift"))?)
            }
            None => None,
        };
        let status: Status<'_> = connection.get_json(&Request::new("/api/status").with_sync())?;
        let is_selected = |project: &&ProjectStatus<'_>| match (&feature_response, &scope.feature) {
            (Some(_), Some(slug)) => {
                project.features.iter().any(|feature| feature.feature_slug == *slug)
            }
            _ => true,
        };
        let projects = status.projects.iter().filter(is_selected).map(|project| {
            let root = OsString::from_vec(unescape_bytes(&project.root)?);
            Ok(ProjectArgs { project: Some(root.into()), ..args.project.clone() })
        });
        Ok(Self { feature, projects: projects.collect::<anyhow::Result<_>>()? })
    }
}

/// The result of one pass.
#[derive(Default)]
struct VerifyResult {
    features: usize,
    differences: BTreeSet<FieldDifference>,
    /// Features of which only paths and contents were compared, and the file that is the reason.
    contents_only: BTreeMap<String, &'static str>,
    /// Files of the projects that are invalid.
    invalid_files: BTreeSet<String>,
    /// Errors of projects that could not be opened.
    unreadable_projects: BTreeSet<String>,
    /// The state of a project may be older than the files that it was compared with.
    is_outdated: bool,
}

fn compare_all(
    connection: &mut DaemonConnection,
    scope: &VerifyScope,
) -> anyhow::Result<VerifyResult> {
    let extent =
        if scope.feature.is_some() { CompareExtent::Feature } else { CompareExtent::Project };
    let mut found = VerifyResult::default();
    for project in &scope.projects {
        let target = match &scope.feature {
            Some(feature) => LocalTarget::from_feature_name(feature, project),
            None => LocalTarget::from_project_args(project),
        };
        match target {
            Ok(target) => compare(connection, &target, project, extent, &mut found)?,
            Err(error) if scope.projects.len() == 1 => return Err(error),
            // The other projects are still compared.
            Err(error) => {
                let is_invalid_file = error.downcast_ref::<FileError>().is_some();
                let VerifyResult { invalid_files, unreadable_projects, .. } = &mut found;
                let errors = if is_invalid_file { invalid_files } else { unreadable_projects };
                errors.insert(format!("{error:#}"));
            }
        }
    }
    Ok(found)
}

/// Whether features that only the daemon has are differences.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompareExtent {
    Feature,
    Project,
}

/// Compares one project once.
fn compare(
    connection: &mut DaemonConnection,
    target: &LocalTarget,
    project: &ProjectArgs,
    extent: CompareExtent,
    found: &mut VerifyResult,
) -> anyhow::Result<()> {
    let root = root_text(&target.project.root);
    let status: Status<'_> = connection.get_json(&Request::new("/api/status").with_sync())?;
    let Some(project) = status.projects.iter().find(|project| project.root == root) else {
        anyhow::bail!(
            "the daemon does not watch {root}; run `{}` to watch it",
            project_add_command(project)
        );
    };
    let sync = project.sync.as_ref();
    found.is_outdated |= sync.is_none_or(|sync| sync.synced == Synced::None);
    let mut scanned: Vec<Feature> = Vec::new();
    target.scan(|feature| feature, |feature| scanned.push(feature))?;
    found.invalid_files.extend(target.diagnostics().errors.iter().map(ToString::to_string));
    for feature in &scanned {
        let slug = feature.dossier.context.feature_slug.as_str();
        let request = |path: &str| {
            Request::new(path).with("feature", slug).with("project", &root).with_sync()
        };
        let export = connection.get(&request("/api/dossier/snapshots/export"));
        let export: Value = match export {
            Ok(response) => response.parse()?,
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
        // The daemon uses what was valid last, which a scan does not know.
        let invalid_file = match feature.dossier.context.unknown_reason {
            Some(UnknownReason::InvalidManifest(_)) => Some("its manifest"),
            Some(UnknownReason::UnreadableMeta) => Some("its `meta.json`"),
            _ => None,
        };
        if let Some(file) = invalid_file {
            found.contents_only.insert(slug.to_owned(), file);
            let (daemon, disk) = (content_fields(&export), content_fields(&snapshot));
            compare_snapshots(slug, &daemon, &disk, &mut found.differences);
            continue;
        }
        let overview: Value = connection.get_json(&request("/api/dossier/overview"))?;
        let own = serde_json::to_value(Overview::from(feature))?;
        if overview["step_source"] == "files" && overview["step"] != own["step"] {
            // A scan does not know of deleted files, because of which the step has not fallen.
            let list: Value = connection.get_json(&request("/api/dossier/artifacts"))?;
            if list["tombstones"].as_u64() > Some(0) {
                let (daemon, disk) = (content_fields(&export), content_fields(&snapshot));
                compare_snapshots(slug, &daemon, &disk, &mut found.differences);
                continue;
            }
        }
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
        let slugs: BTreeSet<&str> =
            scanned.iter().map(|feature| feature.dossier.context.feature_slug.as_str()).collect();
        for feature in &project.features {
            if feature.watch != FeatureWatchState::Gone && !slugs.contains(&*feature.feature_slug) {
                let slug = &feature.feature_slug;
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
    let result = match differences.len() {
        0 => "no differences".green().to_string(),
        1 => "1 difference".red().to_string(),
        count => format!("{count} differences").red().to_string(),
    };
    let noun = if features == 1 { "feature" } else { "features" };
    writeln!(out, "{features} {noun} compared: {result}")?;
    Ok(out.flush()?)
}
