//! The same values as the daemon returns, from one scan of a project that none watches. Blocking.

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use crate::cli::args::{FeatureArgs, LoneArgs, ProjectArgs, SocketArgs};
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::history::LocalHistory;
use crate::cli::local::target::LocalTarget;
use crate::cli::scope::root_text;
use crate::core::artifact::ArtifactClass;
use crate::core::feature::Feature;
use crate::core::feature_name::similar_feature;
use crate::core::history::revision::Revision;
use crate::core::path::RelPath;
use crate::history::compare::{DiffLines, compare, list_versions};
use crate::project::{LocateError, LoneFeature};
use crate::wire::artifacts::{ArtifactDetail, ArtifactFilters, ArtifactList};
use crate::wire::drift::DriftDetail;
use crate::wire::history::VersionList;
use crate::wire::overview::Overview;

/// What is requested of one feature.
#[derive(Debug, Clone)]
pub(super) enum FeatureRequest {
    /// Its overview.
    Overview,
    /// Its artifacts.
    Artifacts {
        class: Option<String>,
        step: Option<String>,
        work_package: Option<String>,
        required_only: bool,
        missing_only: bool,
    },
    /// An artifact with its content.
    Artifact { key: String },
    /// How it differs from its baseline.
    Drift,
    /// What changed between two states.
    Diff { from: String, to: String, keys: Vec<String> },
    /// Its stored versions.
    Versions { key: Option<String>, limit: u16 },
}

impl FeatureRequest {
    /// Returns a request of all artifacts.
    pub(super) fn all_artifacts() -> Self {
        Self::Artifacts {
            class: None,
            step: None,
            work_package: None,
            required_only: false,
            missing_only: false,
        }
    }

    /// Returns a request of the required artifacts that are missing.
    pub(super) fn missing_artifacts() -> Self {
        Self::Artifacts {
            class: None,
            step: None,
            work_package: None,
            required_only: true,
            missing_only: true,
        }
    }
}

/// A project that was scanned.
pub(super) struct ScannedProject {
    pub(super) target: LocalTarget,
    pub(super) features: Vec<Feature>,
    pub(super) diagnostics: ProjectDiagnostics,
}

/// Scans the projects of `dirs`, apart from those whose root `is_watched`. Directories in no project are left
/// out.
pub(super) fn scan_projects(
    dirs: &[PathBuf],
    is_watched: &dyn Fn(&Path) -> bool,
) -> anyhow::Result<Vec<ScannedProject>> {
    let mut scanned: Vec<ScannedProject> = Vec::new();
    for target in targets_of(dirs)? {
        let root = &target.project.root;
        if is_watched(root) || scanned.iter().any(|one| one.target.project.root == *root) {
            continue;
        }
        let mut features = Vec::new();
        target.scan(|feature| feature, |feature| features.push(feature))?;
        let diagnostics = target.diagnostics();
        scanned.push(ScannedProject { target, features, diagnostics });
    }
    Ok(scanned)
}

/// Opens the projects of `dirs`, each once. Directories in no project are left out.
fn targets_of(dirs: &[PathBuf]) -> anyhow::Result<Vec<LocalTarget>> {
    let mut targets: Vec<LocalTarget> = Vec::new();
    for dir in dirs {
        let found = match LocalTarget::all_from_path(dir, LoneFeature::Refuse) {
            Err(error) if is_not_recognised(&error) => continue,
            found => found?,
        };
        for target in found {
            if targets.iter().all(|one| one.project.root != target.project.root) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

fn is_not_recognised(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LocateError::NotRecognised { .. }))
}

/// What is done about a feature that is in none of the client's projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AbsentFeature {
    /// It may be of any project.
    OfAny,
    /// It was deleted from the client's project, if that is the only one.
    OfOnlyProject,
}

/// Returns the identity of the project of `dirs` that has a feature; `None` if none has, or it is not known
/// which one had it.
///
/// # Errors
/// If several projects have the feature.
pub(super) fn project_with(
    dirs: &[PathBuf],
    slug: &str,
    absent: AbsentFeature,
) -> anyhow::Result<Option<String>> {
    let targets = targets_of(dirs)?;
    let has_feature = |one: &&LocalTarget| one.features.iter().any(|dir| dir.slug.as_str() == slug);
    let with_feature: Vec<&LocalTarget> = targets.iter().filter(has_feature).collect();
    let id = |target: &LocalTarget| target.project.root_id.as_str().to_owned();
    match (with_feature.as_slice(), targets.as_slice()) {
        ([one], _) => Ok(Some(id(one))),
        ([], [only]) if absent == AbsentFeature::OfOnlyProject => Ok(Some(id(only))),
        ([], _) => Ok(None),
        (several, _) => {
            let roots: Vec<String> =
                several.iter().map(|one| root_text(&one.project.root)).collect();
            bail!(
                "several projects have a feature `{slug}`: {}; name one in `project`",
                roots.join(", ")
            )
        }
    }
}

/// Returns what is requested of a feature in one of the projects of `dirs`; `project` selects one of them, by
/// root, identity or name.
pub(super) fn scan_feature(
    dirs: &[PathBuf],
    project: Option<&str>,
    slug: &str,
    request: &FeatureRequest,
) -> anyhow::Result<Value> {
    let targets = targets_of(dirs)?;
    for target in &targets {
        let found = &target.project;
        let is_selected = project.is_none_or(|name| {
            root_text(&found.root) == name || found.root_id.as_str() == name || *found.name == *name
        });
        if is_selected && target.features.iter().any(|dir| dir.slug.as_str() == slug) {
            return read_feature(&found.root, slug, request);
        }
    }
    let slugs = targets.iter().flat_map(|target| &target.features).map(|dir| dir.slug.as_str());
    let similar =
        similar_feature(slug, slugs).map(|one| format!("; the most similar one is {one}"));
    bail!(
        "there is no feature `{slug}` in the projects of the client{}; `status` lists all features",
        similar.unwrap_or_default()
    );
}

fn read_feature(root: &Path, slug: &str, request: &FeatureRequest) -> anyhow::Result<Value> {
    let args = FeatureArgs {
        feature: slug.into(),
        project: ProjectArgs {
            project: Some(root.to_owned()),
            lone: LoneArgs::default(),
            json: true,
            socket: SocketArgs { socket: None },
        },
    };
    match request {
        FeatureRequest::Diff { from, to, keys } => {
            let (from, to) = (Revision::parse(from)?, Revision::parse(to)?);
            let local = LocalHistory::open(&args)?;
            let comparison = compare(&local.history, &from, &to, keys, local.now)?;
            json(&local.state_diff(&comparison, (&from, &to), DiffLines::Return)?)
        }
        FeatureRequest::Versions { key, limit } => {
            let local = LocalHistory::open(&args)?;
            let selected = key.as_deref().map(|key| local.history.select(key)).transpose()?;
            let paths: Vec<RelPath> = selected.unwrap_or_default();
            let (versions, omitted) = list_versions(&local.history, &paths, usize::from(*limit));
            json(&VersionList {
                feature_slug: slug.into(),
                stored_seq: local.reader.counts()?.unwrap_or_default().stored_seq,
                versions,
                omitted,
            })
        }
        _ => {
            let target = LocalTarget::from_feature_args(&args)?;
            let feature = target.scan_one()?;
            read_scanned(&target, &feature, request)
        }
    }
}

fn read_scanned(
    target: &LocalTarget,
    feature: &Feature,
    request: &FeatureRequest,
) -> anyhow::Result<Value> {
    let origins = target.file_origins(feature);
    let rules = feature.provenance_rules(&origins);
    match request {
        FeatureRequest::Artifacts { class, step, work_package, required_only, missing_only } => {
            let filters = ArtifactFilters {
                class: class.as_deref().and_then(ArtifactClass::parse),
                wp_id: work_package.clone(),
                step_id: step.clone(),
                required_only: *required_only,
            };
            let mut list = ArtifactList::new(&feature.dossier.artifacts, rules, filters);
            if *missing_only {
                list.retain_missing();
            }
            json(&list)
        }
        FeatureRequest::Artifact { key } => {
            let Some(artifact) = feature.dossier.find_by_name(key) else {
                bail!("there is no artifact `{key}`; `artifacts` lists all keys");
            };
            let content = target.read_content(artifact)?;
            json(&ArtifactDetail::new(artifact, rules, content.as_deref()))
        }
        FeatureRequest::Drift => json(&DriftDetail::from(feature)),
        FeatureRequest::Overview
        | FeatureRequest::Diff { .. }
        | FeatureRequest::Versions { .. } => json(&Overview::from(feature)),
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(value)?)
}
