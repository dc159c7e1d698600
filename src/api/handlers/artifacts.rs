//! The artifacts of a feature: `GET /api/dossier/artifacts[/{artifact_key}]`.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use crate::api::request::query::{Parameters, Query, percent_decode};
use crate::api::request::resolve::{ResolvedFeature, resolve_feature, sync_feature};
use crate::api::response::json::WithSync;
use crate::api::response::problem::internal_error;
use crate::api::response::render::{budgeted_response, json_response_blocking};
use crate::api::state::ApiState;
use crate::core::artifact::{ArtifactClass, ArtifactRef, ErrorReason};
use crate::core::key::suggest_similar;
use crate::engine::content::ContentError;
use crate::engine::view::{FeatureView, WatchState};
use crate::wire::artifacts::{ArtifactDetail, ArtifactFilters, ArtifactList, MAX_CONTENT_BYTES};
use crate::wire::hint;
use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::rich_text::{Node, render_text};
use crate::wire::status::Synced;

/// Where one artifact is; its key follows.
const ARTIFACT_PATH_PREFIX: &str = "/api/dossier/artifacts/";
/// A file that changes while it is read is read this often.
const MAX_READ_ATTEMPTS: usize = 3;

pub(crate) async fn list_artifacts(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let filters = parse_filters(&parameters)?;
    let missing_only = parameters.flag("missing_only")?;
    let (meant, synced) = resolve_feature(&api, &parameters).await?;
    let size = meant.feature.entries.len();
    let make = move || {
        let artifacts = sorted_artifacts_and_tombstones(&meant.feature);
        let mut answer = ArtifactList::new(&artifacts, filters);
        answer.tombstones = meant.feature.tombstones.len();
        if missing_only {
            answer.retain_missing();
        }
        json::to_line(&WithSync { answer, synced })
    };
    json_response_blocking(size, make).await
}

pub(crate) async fn get_artifact(
    State(api): State<Arc<ApiState>>,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let key = uri.path().strip_prefix(ARTIFACT_PATH_PREFIX).and_then(percent_decode).ok_or_else(
        || {
            Problem::new(
                ProblemCode::BadRequest,
                "the key in the address is not percent-encoded UTF-8",
            )
        },
    )?;
    let render = parameters.flag("render")?;
    let (mut meant, mut synced) = resolve_feature(&api, &parameters).await?;
    let mut read = 1;
    loop {
        let (wanted, of) = (key.clone(), meant.clone());
        match budgeted_response(move || render_artifact(&of, &wanted, synced, render)).await? {
            (answer, ReadOutcome::Complete) => return Ok(answer),
            (answer, ReadOutcome::Changed) if read == MAX_READ_ATTEMPTS => return Ok(answer),
            // What is listed is not what is there: it will be in a moment.
            (_, ReadOutcome::Changed) => {
                let seen = sync_feature(&api, &meant, &parameters).await?;
                meant = seen.0;
                synced = synced.map(|_| seen.1);
                read += 1;
            }
        }
    }
}

/// Whether the answer is whole, or without the content, which is not the one that is listed.
enum ReadOutcome {
    Complete,
    Changed,
}

/// An artifact, and what its content looks like where that was asked for.
#[derive(Serialize)]
struct ArtifactResponse<'a> {
    #[serde(flatten)]
    detail: WithSync<ArtifactDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendered: Option<Vec<Node>>,
}

fn render_artifact(
    meant: &ResolvedFeature,
    key: &str,
    synced: Option<Synced>,
    render: bool,
) -> Result<(Vec<u8>, ReadOutcome), Problem> {
    let artifacts = sorted_artifacts_and_tombstones(&meant.feature);
    let Some(artifact) = artifacts.iter().find(|artifact| &*artifact.artifact_key == key) else {
        return Err(artifact_not_found(meant, key, &artifacts));
    };
    let line = |answer: ArtifactDetail<'_>| {
        let content = answer.content.as_deref().filter(|_| render);
        let rendered = content.and_then(|text| render_text(&answer.media_type_hint, text));
        json::to_line(&ArtifactResponse { detail: WithSync { answer, synced }, rendered })
            .map_err(internal_error)
    };
    match meant.project.content(&meant.feature, artifact, MAX_CONTENT_BYTES) {
        Ok(bytes) => {
            Ok((line(ArtifactDetail::new(artifact, bytes.as_deref()))?, ReadOutcome::Complete))
        }
        Err(error) => {
            let mut answer = ArtifactDetail::new(artifact, None);
            let is_away = meant.project.watch.0 == WatchState::RootUnavailable;
            answer.truncation_notice = Some(match error {
                // What was last seen of it is shown; whether it is there no one can tell.
                ContentError::Read(_) if is_away => {
                    "the project's root is away, so the content cannot be read".into()
                }
                ContentError::Changed => "changed while it was read, ask again".into(),
                ContentError::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                    "just deleted, ask again".into()
                }
                ContentError::Read(_) => "cannot be read now, ask again".into(),
            });
            Ok((line(answer)?, ReadOutcome::Changed))
        }
    }
}

/// All that the list has, by key: files, absent specs, and tombstones. A tombstone with an absent
/// spec's key takes that entry's place.
fn sorted_artifacts_and_tombstones(feature: &FeatureView) -> Vec<Arc<ArtifactRef>> {
    let whole = feature.feature();
    let buried = |artifact: &&Arc<ArtifactRef>| {
        artifact.error_reason() == Some(ErrorReason::NotFound)
            && feature.tombstones.iter().any(|dead| dead.artifact_key == artifact.artifact_key)
    };
    let living = whole.dossier.artifacts.iter().filter(|artifact| !buried(artifact));
    let mut all: Vec<_> = living.chain(&feature.tombstones).cloned().collect();
    // Present ones first where a key comes twice: they are what a key means.
    all.sort_by(|a, b| {
        let place = |artifact: &ArtifactRef| !artifact.is_present();
        (&a.artifact_key, place(a), &a.relative_path).cmp(&(
            &b.artifact_key,
            place(b),
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
            Problem::new(ProblemCode::BadRequest, format!("there is no class `{text}`"))
                .with_hint(format!("the classes are {}", classes.join(", ")))
        })
    };
    Ok(ArtifactFilters {
        class: parameters.get_non_empty("class").map(class).transpose()?,
        wp_id: parameters.get_non_empty("wp_id").map(str::to_owned),
        step_id: parameters.get_non_empty("step_id").map(str::to_owned),
        required_only: parameters.flag("required_only")?,
    })
}

fn artifact_not_found(meant: &ResolvedFeature, key: &str, listed: &[Arc<ArtifactRef>]) -> Problem {
    let slug = meant.feature.slug();
    let similar = suggest_similar(listed.iter().map(|artifact| &*artifact.artifact_key), key);
    let mend = match similar.as_slice() {
        [] => hint::NO_SUCH_ARTIFACT.into(),
        some => format!("did you mean {}?", some.join(", ")),
    };
    Problem::new(ProblemCode::NotFound, format!("{slug} has no artifact `{key}`")).with_hint(mend)
}
