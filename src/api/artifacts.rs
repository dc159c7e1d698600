//! The artifacts of a feature: `GET /api/dossier/artifacts[/{artifact_key}]`.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::answers::With;
use super::meant::Meant;
use super::query::{Parameters, Query, decode};
use super::respond::{answer_of, internal, large};
use crate::core::artifact::{ArtifactClass, ArtifactRef, ErrorReason};
use crate::core::key::similar;
use crate::engine::content::ContentError;
use crate::engine::view::{FeatureView, WatchState};
use crate::wire::artifacts::{ArtifactDetail, ArtifactList, CONTENT_MAX, Filters};
use crate::wire::json;
use crate::wire::mend;
use crate::wire::problem::{Code, Problem};
use crate::wire::rendered::{Node, rendered};
use crate::wire::status::Synced;

/// Where one artifact is; its key follows.
const ADDRESS: &str = "/api/dossier/artifacts/";
/// A file that changes while it is read is read this often.
const READS: usize = 3;

pub(super) async fn list(State(api): State<Arc<Api>>, query: Query) -> Response {
    let found = async {
        let parameters = query.0?;
        let filters = filters(&parameters)?;
        let missing_only = parameters.is_set("missing_only")?;
        let (meant, synced) = api.meant(&parameters).await?;
        Ok::<_, Problem>((filters, missing_only, meant, synced))
    };
    match found.await {
        Ok((filters, missing_only, meant, synced)) => {
            let size = meant.feature.entries.len();
            let make = move || {
                let artifacts = listed(&meant.feature);
                let mut answer = ArtifactList::new(&artifacts, filters);
                answer.tombstones = meant.feature.tombstones.len();
                if missing_only {
                    answer.keep_missing();
                }
                json::line(&With { answer, synced })
            };
            answer_of(size, make).await
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn detail(State(api): State<Arc<Api>>, uri: Uri, query: Query) -> Response {
    match detail_of(&api, &uri, query).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn detail_of(api: &Api, uri: &Uri, query: Query) -> Result<Response, Problem> {
    let parameters = query.0?;
    let key = uri.path().strip_prefix(ADDRESS).and_then(decode).ok_or_else(|| {
        Problem::new(Code::BadRequest, "the key in the address is not percent-encoded UTF-8")
    })?;
    let render = parameters.is_set("render")?;
    let (mut meant, mut synced) = api.meant(&parameters).await?;
    let mut read = 1;
    loop {
        let (wanted, of) = (key.clone(), meant.clone());
        match large(move || look(&of, &wanted, synced, render)).await? {
            (answer, Looked::Whole) => return Ok(answer),
            (answer, Looked::Changed) if read == READS => return Ok(answer),
            // What is listed is not what is there: it will be in a moment.
            (_, Looked::Changed) => {
                let seen = api.synced(&meant, &parameters).await?;
                meant = seen.0;
                synced = synced.map(|_| seen.1);
                read += 1;
            }
        }
    }
}

/// Whether the answer is whole, or without the content, which is not the one that is listed.
enum Looked {
    Whole,
    Changed,
}

/// An artifact, and what its content looks like where that was asked for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    detail: With<ArtifactDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendered: Option<Vec<Node>>,
}

fn look(
    meant: &Meant,
    key: &str,
    synced: Option<Synced>,
    render: bool,
) -> Result<(Vec<u8>, Looked), Problem> {
    let artifacts = listed(&meant.feature);
    let Some(artifact) = artifacts.iter().find(|artifact| &*artifact.artifact_key == key) else {
        return Err(no_artifact(meant, key, &artifacts));
    };
    let line = |answer: ArtifactDetail<'_>| {
        let content = answer.content.as_deref().filter(|_| render);
        let rendered = content.and_then(|text| rendered(&answer.media_type_hint, text));
        json::line(&Shown { detail: With { answer, synced }, rendered }).map_err(internal)
    };
    match meant.project.content(&meant.feature, artifact, CONTENT_MAX) {
        Ok(bytes) => Ok((line(ArtifactDetail::new(artifact, bytes.as_deref()))?, Looked::Whole)),
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
            Ok((line(answer)?, Looked::Changed))
        }
    }
}

/// All that the list has, by key: files, absent specs, and tombstones. A tombstone with an absent
/// spec's key takes that entry's place.
fn listed(feature: &FeatureView) -> Vec<Arc<ArtifactRef>> {
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

fn filters(parameters: &Parameters) -> Result<Filters, Problem> {
    let class = |text: &str| {
        ArtifactClass::parse(text).ok_or_else(|| {
            let classes = ArtifactClass::OF_MANIFESTS.iter().chain([&ArtifactClass::Other]);
            let classes: Vec<&str> = classes.map(|class| class.as_str()).collect();
            Problem::new(Code::BadRequest, format!("there is no class `{text}`"))
                .hint(format!("the classes are {}", classes.join(", ")))
        })
    };
    Ok(Filters {
        class: parameters.said("class").map(class).transpose()?,
        wp_id: parameters.said("wp_id").map(str::to_owned),
        step_id: parameters.said("step_id").map(str::to_owned),
        required_only: parameters.is_set("required_only")?,
    })
}

fn no_artifact(meant: &Meant, key: &str, listed: &[Arc<ArtifactRef>]) -> Problem {
    let slug = meant.feature.slug();
    let similar = similar(listed.iter().map(|artifact| &*artifact.artifact_key), key);
    let mend = match similar.as_slice() {
        [] => mend::ARTIFACTS.into(),
        some => format!("did you mean {}?", some.join(", ")),
    };
    Problem::new(Code::NotFound, format!("{slug} has no artifact `{key}`")).hint(mend)
}
