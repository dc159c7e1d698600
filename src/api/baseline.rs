//! Showing, accepting and clearing baselines: `GET`, `POST` and `DELETE /api/dossier/baseline`.
//!
//! The file is written durably on a thread of its own. The engine is told, for the kernel may not
//! tell it of a folder that it cannot watch; the answer comes once it has seen the file, so whoever
//! asks next is told of it too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::answers::{With, of_feature};
use super::body;
use super::meant::Meant;
use super::query::{Parameters, Query};
use super::respond::{off_thread, short_of};
use crate::core::accept::{Corrupt, Refused, accept as accept_state};
use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::time::Timestamp;
use crate::engine::files::BaselineError;
use crate::engine::inbox::Command;
use crate::engine::view::FeatureView;
use crate::wire::accepted::{AcceptAnswer, AcceptRequest, Accepted, BaselineShown, ClearAnswer};
use crate::wire::json;
use crate::wire::mend;
use crate::wire::overview::Overview;
use crate::wire::problem::{Code, Problem};
use crate::wire::status::Synced;

/// How long an answer waits for the engine to have seen the file.
const SEEN_WAIT: Duration = Duration::from_secs(5);

pub(super) async fn show(State(api): State<Arc<Api>>, query: Query) -> Response {
    let make = |meant: &Meant, synced| {
        let answer = BaselineShown::from(&**meant.feature.feature());
        json::line(&With { answer, synced })
    };
    of_feature(&api, query, make).await
}

pub(super) async fn accept(State(api): State<Arc<Api>>, query: Query, body: Body) -> Response {
    accepted(&api, query, body).await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn clear(State(api): State<Arc<Api>>, query: Query) -> Response {
    cleared(&api, query).await.unwrap_or_else(Problem::into_response)
}

async fn accepted(api: &Api, query: Query, body: Body) -> Result<Response, Problem> {
    let parameters = query.0?;
    let said: AcceptRequest = body::read(body).await?.unwrap_or_default();
    let (meant, _) = api.meant(&parameters).await?;
    // What is accepted is what is there now.
    let (meant, _) = api.synced(&meant, &parameters).await?;
    let of = meant.clone();
    let (baseline, before) = off_thread(move || write(&of, &said)).await??;
    let written = BaselineFile::Sound(Box::new(baseline.clone()));
    let (meant, synced) =
        seen(api, &meant, &parameters, |feature| feature.bearings.baseline == written).await?;
    let size = meant.feature.entries.len();
    let make = move || {
        json::line(&AcceptAnswer {
            overview: Overview::from(&**meant.feature.feature()),
            synced: Some(synced),
            accepted: Accepted::instead_of(&before, &baseline),
        })
    };
    Ok(short_of(size, make).await)
}

async fn cleared(api: &Api, query: Query) -> Result<Response, Problem> {
    let parameters = query.0?;
    let (meant, _) = api.meant(&parameters).await?;
    let of = meant.clone();
    let cleared = off_thread(move || of.project.clear_baseline(&of.feature)).await?;
    let cleared = cleared.map_err(|error| not_written(&error))?;
    let is_absent = |feature: &FeatureView| feature.bearings.baseline == BaselineFile::Absent;
    match seen(api, &meant, &parameters, is_absent).await {
        Ok((meant, synced)) => {
            let size = meant.feature.entries.len();
            let make = move || {
                let overview = Overview::from(&**meant.feature.feature());
                json::line(&ClearAnswer { overview, synced: Some(synced), cleared })
            };
            Ok(short_of(size, make).await)
        }
        // Its baseline was all that was left of it.
        Err(problem) if problem.status == 404 => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(problem) => Err(problem),
    }
}

/// Writes the present state as the baseline; what was there before is given too.
fn write(meant: &Meant, said: &AcceptRequest) -> Result<(Baseline, BaselineFile), Problem> {
    let corrupt = if said.replace_corrupt { Corrupt::Replace } else { Corrupt::Keep };
    let at = Timestamp::from(SystemTime::now());
    let baseline = accept_state(meant.feature.feature(), said.tree_hash_sha256, corrupt, at)
        .map_err(|refused| refusal(&refused))?;
    meant.project.write_baseline(&meant.feature, &baseline).map_err(|error| not_written(&error))?;
    Ok((baseline, meant.feature.bearings.baseline.clone()))
}

fn refusal(refused: &Refused) -> Problem {
    let (code, hint) = match refused {
        Refused::MovedOn { .. } => {
            (Code::MovedOn, "look at the feature again, then accept".to_owned())
        }
        Refused::Corrupt(_) => (Code::BaselineCorrupt, mend::CORRUPT.into()),
        Refused::ManifestBroken => (Code::NotJudged, mend::BROKEN.into()),
        Refused::Unseen(_) | Refused::Gone => (Code::NotJudged, mend::SEEN.into()),
    };
    Problem::new(code, refused.to_string()).hint(hint)
}

fn not_written(error: &BaselineError) -> Problem {
    let cause = std::error::Error::source(error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(Code::NotWritten, format!("{error}{cause}"))
}

/// The feature once the engine has seen what was done to its baseline.
async fn seen(
    api: &Api,
    meant: &Meant,
    parameters: &Parameters,
    is_seen: impl Fn(&FeatureView) -> bool,
) -> Result<(Meant, Synced), Problem> {
    let unseen = || {
        let detail = "the file is as asked for, but the daemon has not seen it yet";
        Problem::new(Code::Unavailable, detail)
    };
    let mut news = api.views.news();
    let (of, feature) = (Some(meant.id), Some(meant.feature.slug().clone()));
    let begun = api.ask(|reply| Command::Rescan { project: of, feature, reply }).await;
    begun.map_err(|_| unseen())?;
    let (mut meant, synced) = match api.synced(meant, parameters).await {
        Err(problem) if problem.status == 503 => return Err(unseen()),
        synced => synced?,
    };
    let shown = async {
        while !is_seen(&meant.feature) {
            news.changed().await.ok()?;
            meant = api.present(parameters).ok()?;
        }
        Some(())
    };
    let waited = tokio::time::timeout(SEEN_WAIT, shown).await;
    match waited {
        Ok(Some(())) => Ok((meant, synced)),
        _ => Err(unseen()),
    }
}
