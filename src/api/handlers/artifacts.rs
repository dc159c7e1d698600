//! Artifacts of a feature: `GET /api/dossier/artifacts[/{artifact_key}]`.
//!
//! Lists come from the published state, and their provenance from git's index and the content store. Content is read from
//! disk, and served only if its hash is the listed one.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use tokio::time::timeout;

use crate::api::request::project_call::call_project;
use crate::api::request::query::{Parameters, percent_decode};
use crate::api::request::resolve::{ResolvedFeature, resolve_feature, sync_feature};
use crate::api::response::byte_budget::CONTENT_BYTES;
use crate::api::response::json::{WithSync, set_sync_headers};
use crate::api::response::problem::internal_error;
use crate::api::response::render::{
    budgeted_response, json_response_blocking, run_blocking, too_busy,
};
use crate::api::server::client_shares::{FairPermits, MAX_WAITING, TURN_TIMEOUT, TurnTimeout};
use crate::api::state::ApiState;
use crate::core::artifact::{ArtifactClass, ArtifactRef, ErrorReason};
use crate::core::digest::Digest;
use crate::core::dossier::find_by_path;
use crate::core::key::suggest_similar;
use crate::core::path::RelPath;
use crate::core::provenance::FileOrigins;
use crate::engine::read_model::ContentError;
use crate::engine::read_model::{FeatureView, ProjectView, WatchState};
use crate::wire::artifacts::{ArtifactDetail, ArtifactFilters, ArtifactList, MAX_CONTENT_BYTES};
use crate::wire::hint::HintCode;
use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::rich_text::{Node, render_text};
use crate::wire::status::SyncStatus;

/// Path of one artifact, before its key.
const ARTIFACT_PATH_PREFIX: &str = "/api/dossier/artifacts/";
/// Maximum number of reads of a file that keeps changing; after the last one the response has no
/// content.
const MAX_READ_ATTEMPTS: usize = 3;
/// Time that a list waits for git's index to be read, and for what was restored; after it the provenance of
/// files that may be of either kind is not known.
const ORIGINS_TIMEOUT: Duration = Duration::from_millis(250);
/// Number of contents that are in memory before their responses are rendered.
static CONTENT_PERMITS: FairPermits = FairPermits::new(2, MAX_WAITING, TURN_TIMEOUT);
const UNRESPONSIVE: &str =
    "the project's file system does not respond, so the content cannot be read";

pub(crate) async fn list_artifacts(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let filters = parse_filters(&parameters)?;
    let missing_only = parameters.flag("missing_only")?;
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let headers = sync.clone();
    let size = resolved.feature.entries.len();
    let feature = resolved.clone();
    let read = move || feature.project.staged_files(&feature.feature);
    let read = call_project(&api, &resolved.project, read);
    let staged = timeout(ORIGINS_TIMEOUT, read).await.ok().flatten().flatten();
    let origins = FileOrigins { staged, restored: restored_files(&api, &resolved).await };
    let render = move || {
        let artifacts = sorted_artifacts_and_tombstones(&resolved.feature);
        let feature = resolved.feature.feature();
        let mut list = ArtifactList::new(&artifacts, feature.provenance_rules(&origins), filters);
        list.tombstones = resolved.feature.tombstones.len();
        if missing_only {
            list.retain_missing();
        }
        json::to_line(&WithSync { body: list, sync })
    };
    Ok(set_sync_headers(json_response_blocking(size, render).await?, headers.as_ref()))
}

pub(crate) async fn get_artifact(
    State(api): State<Arc<ApiState>>,
    uri: Uri,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let key = uri.path().strip_prefix(ARTIFACT_PATH_PREFIX).and_then(percent_decode);
    let key = key.ok_or_else(|| {
        let detail = "the artifact key in the path is not percent-encoded UTF-8";
        Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidPercentEncoding)
    })?;
    let with_rendered = parameters.flag("render")?;
    let (mut resolved, mut sync) = resolve_feature(&api, &parameters).await?;
    let mut attempt = 1;
    loop {
        // Held until the response is rendered, since contents are large.
        let permit = CONTENT_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
        let (wanted, feature) = (key.clone(), resolved.clone());
        let artifact = run_blocking(move || find_artifact(&feature, &wanted)).await??;
        let (wanted, feature) = (Arc::clone(&artifact), resolved.clone());
        let read = move || {
            let ResolvedFeature { project, feature, .. } = &feature;
            let content = project.content(feature, &wanted, MAX_CONTENT_BYTES);
            (content, project.staged_files(feature))
        };
        let (content, staged) = call_project(&api, &resolved.project, read).await.unzip();
        let restored = restored_files(&api, &resolved).await;
        let origins = FileOrigins { staged: staged.flatten(), restored };
        let (feature, body_sync) = (resolved.clone(), sync.clone());
        let read = (content, origins);
        let render = move || render_artifact(&feature, &artifact, read, body_sync, with_rendered);
        let rendered = budgeted_response(&CONTENT_BYTES, render).await?;
        drop(permit);
        match rendered {
            (response, ReadOutcome::Complete) => {
                return Ok(set_sync_headers(response, sync.as_ref()));
            }
            (response, ReadOutcome::Changed) if attempt == MAX_READ_ATTEMPTS => {
                return Ok(set_sync_headers(response, sync.as_ref()));
            }
            // The published state is behind the disk: let the engine catch up.
            (_, ReadOutcome::Changed) => {
                let (current, how) = sync_feature(&api, &resolved, &parameters).await?;
                resolved = current;
                sync = sync.map(|_| how);
                attempt += 1;
            }
        }
    }
}

/// Returns the hashes of what was restored in a feature; `None` if they cannot be read.
async fn restored_files(
    api: &ApiState,
    resolved: &ResolvedFeature,
) -> Option<HashMap<RelPath, Digest>> {
    let reader = api.history.reader.clone();
    let (root_id, slug) = (resolved.project.root_id.clone(), resolved.feature.slug().clone());
    let read = run_blocking(move || reader.restored(&root_id, &slug));
    timeout(ORIGINS_TIMEOUT, read).await.ok()?.ok()?.ok()
}

/// Whether a response has the content that it should have.
enum ReadOutcome {
    Complete,
    /// The bytes on disk are not those of the published state; the response has no content.
    Changed,
}

/// An artifact; with `render=true` and renderable content also its tree of elements.
#[derive(Serialize)]
struct ArtifactResponse<'a> {
    #[serde(flatten)]
    detail: WithSync<ArtifactDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendered: Option<Vec<Node>>,
    /// Why content that could be rendered is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    render_notice: Option<String>,
}

/// Returns the artifact or tombstone with a key, else the one at that path.
fn find_artifact(resolved: &ResolvedFeature, key: &str) -> Result<Arc<ArtifactRef>, Problem> {
    let feature = resolved.feature.feature();
    let present = feature.dossier.artifacts.iter().filter(|one| one.is_present());
    let present = present.filter(|one| &*one.artifact_key == key);
    if let Some(found) = present.min_by_key(|one| &one.relative_path) {
        return Ok(Arc::clone(found));
    }
    // Only now, since there may be very many.
    let artifacts = sorted_artifacts_and_tombstones(&resolved.feature);
    let found = artifacts.iter().find(|artifact| &*artifact.artifact_key == key);
    found
        .or_else(|| find_by_path(&artifacts, key))
        .cloned()
        .ok_or_else(|| artifact_not_found(resolved, key, &artifacts))
}

/// What is read of an artifact for its details: its content, `None` if the file system does not respond, and
/// where files come from.
type ArtifactRead = (Option<Result<Option<Vec<u8>>, ContentError>>, FileOrigins);

/// Renders an artifact.
fn render_artifact(
    resolved: &ResolvedFeature,
    artifact: &ArtifactRef,
    (content, origins): ArtifactRead,
    sync: Option<SyncStatus>,
    with_rendered: bool,
) -> Result<(Vec<u8>, ReadOutcome), Problem> {
    let (bytes, notice, outcome) = match content {
        Some(Ok(bytes)) => (bytes, None, ReadOutcome::Complete),
        // Another attempt would wait as long again.
        None => (None, Some(UNRESPONSIVE), ReadOutcome::Complete),
        Some(Err(error)) => {
            (None, Some(read_notice(&resolved.project, &error)), ReadOutcome::Changed)
        }
    };
    let feature = resolved.feature.feature();
    let mut detail =
        ArtifactDetail::new(artifact, feature.provenance_rules(&origins), bytes.as_deref());
    if let Some(notice) = notice {
        detail.truncation_notice = Some(notice.into());
    }
    let content = detail.content.as_deref().filter(|_| with_rendered);
    let rendered = content.map_or(Ok(None), |text| render_text(&detail.media_type_hint, text));
    let (rendered, render_notice) = match rendered {
        Ok(rendered) => (rendered, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let detail = WithSync { body: detail, sync };
    let line = json::to_line(&ArtifactResponse { detail, rendered, render_notice })
        .map_err(internal_error)?;
    Ok((line, outcome))
}

/// Returns why there is no content.
fn read_notice(project: &ProjectView, error: &ContentError) -> &'static str {
    match error {
        // The last known state is served; whether the file still exists is unknown.
        ContentError::Read(_) if project.watch.state == WatchState::RootUnavailable => {
            "the project's root is unavailable, so the content cannot be read"
        }
        ContentError::Changed => "changed while being read; retry",
        ContentError::Read(error) if error.kind() == io::ErrorKind::NotFound => {
            "just deleted; retry"
        }
        ContentError::Read(_) => "cannot be read now; retry",
    }
}

/// Returns all entries of the list by key: files, absent specs and tombstones. A tombstone
/// replaces the entry of an absent spec with the same key.
fn sorted_artifacts_and_tombstones(feature: &FeatureView) -> Vec<Arc<ArtifactRef>> {
    let complete = feature.feature();
    let is_replaced = |artifact: &&Arc<ArtifactRef>| {
        artifact.error_reason() == Some(ErrorReason::NotFound)
            && feature.tombstones.iter().any(|dead| dead.artifact_key == artifact.artifact_key)
    };
    let entries = complete.dossier.artifacts.iter().filter(|artifact| !is_replaced(artifact));
    let mut all: Vec<_> = entries.chain(&feature.tombstones).cloned().collect();
    // A key can occur twice, once present and once as a tombstone. The present artifact comes
    // first, so that a request for the key returns it.
    all.sort_by(|a, b| {
        let order = |artifact: &ArtifactRef| !artifact.is_present();
        (&a.artifact_key, order(a), &a.relative_path).cmp(&(
            &b.artifact_key,
            order(b),
            &b.relative_path,
        ))
    });
    all
}

fn parse_filters(parameters: &Parameters) -> Result<ArtifactFilters, Problem> {
    let class = |text: &str| {
        ArtifactClass::parse(text).ok_or_else(|| {
            let classes = ArtifactClass::MANIFEST_CLASSES.iter().chain([&ArtifactClass::Other]);
            let classes: Vec<&str> = classes.map(|class| class.as_str()).collect();
            let hint = format!("valid classes: {}", classes.join(", "));
            let detail = format!("unknown class `{text}`");
            Problem::new(ProblemCode::BadRequest, detail, HintCode::UnknownClass.with_text(hint))
        })
    };
    Ok(ArtifactFilters {
        class: parameters.get_non_empty("class").map(class).transpose()?,
        wp_id: parameters.get_non_empty("wp_id").map(str::to_owned),
        step_id: parameters.get_non_empty("step_id").map(str::to_owned),
        required_only: parameters.flag("required_only")?,
    })
}

fn artifact_not_found(
    resolved: &ResolvedFeature,
    key: &str,
    listed: &[Arc<ArtifactRef>],
) -> Problem {
    let slug = resolved.feature.slug();
    let similar = suggest_similar(listed.iter().map(|artifact| &*artifact.artifact_key), key);
    let hint = match similar.as_slice() {
        [] => HintCode::NoSuchArtifact.into(),
        keys => HintCode::DidYouMean.with_text(format!("did you mean {}?", keys.join(", "))),
    };
    Problem::new(ProblemCode::NotFound, format!("{slug} has no artifact `{key}`"), hint)
}
