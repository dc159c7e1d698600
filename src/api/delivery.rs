//! How events are delivered, and what was set aside: `GET /api/delivery`, `POST
//! /api/delivery/retry` and `drop`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::body;
use super::query::Query;
use super::respond::answer;
use crate::engine::inbox::Command;
use crate::engine::outbox::{SinkCommand, SinkHealth, SinkReport};
use crate::store::Meant;
use crate::wire::delivery::{
    DeliveryList, SetAsideAnswer, SetAsideEvent, SetAsideRequest, Sink, SinkState, WEBHOOK,
};
use crate::wire::mend;
use crate::wire::problem::{Code, Problem};

pub(super) async fn list(State(api): State<Arc<Api>>, query: Query) -> Response {
    listed(&api, query).await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn retry(State(api): State<Arc<Api>>, query: Query, body: Body) -> Response {
    let make = |meant, reply| SinkCommand::Retry { sink: WEBHOOK, meant, reply };
    changed(&api, query, body, make).await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn drop(State(api): State<Arc<Api>>, query: Query, body: Body) -> Response {
    let make = |meant, reply| SinkCommand::Drop { sink: WEBHOOK, meant, reply };
    changed(&api, query, body, make).await.unwrap_or_else(Problem::into_response)
}

/// The sinks as they are shown, beside a journal whose last event that is.
pub(super) fn sinks(reports: &[SinkReport], seq: u64) -> Vec<Sink<'_>> {
    reports.iter().map(|report| sink(report, seq)).collect()
}

fn sink(report: &SinkReport, seq: u64) -> Sink<'_> {
    Sink {
        sink: report.sink.into(),
        url: Cow::Owned(report.url.to_string()),
        cursor: report.cursor,
        lag: seq.saturating_sub(report.cursor + report.ahead),
        oldest_undelivered_at: report.oldest_at,
        state: match report.health {
            SinkHealth::Retrying => SinkState::Retrying,
            SinkHealth::Ok if report.set_aside > 0 => SinkState::SetAside,
            SinkHealth::Ok => SinkState::Ok,
        },
        last_error: report.last_error.as_deref().map(Cow::Borrowed),
        next_try_at: report.next_try_at,
        set_aside: report.set_aside,
        dropped_by_retention: report.dropped,
    }
}

async fn listed(api: &Api, query: Query) -> Result<Response, Problem> {
    query.0?;
    let rows = api.readers.read(|reader| reader.set_aside(WEBHOOK)).await?;
    let (reports, seq) = (api.views.board().sinks(), api.views.world().seq);
    let set_aside = rows.iter().map(|row| SetAsideEvent {
        sink: WEBHOOK.into(),
        event_id: row.event_id.as_str().into(),
        seq: row.seq,
        event_type: row.event_type.as_str().into(),
        root_id: row.root_id.as_str().into(),
        feature_slug: row.feature.as_str().into(),
        tries: row.tries,
        refused_at: row.at,
        error: row.error.as_str().into(),
        retrying: row.retry,
    });
    Ok(answer(&DeliveryList { sinks: sinks(&reports, seq), set_aside: set_aside.collect() }))
}

async fn changed(
    api: &Api,
    query: Query,
    body: Body,
    make: impl FnOnce(Meant, tokio::sync::oneshot::Sender<Result<u64, String>>) -> SinkCommand,
) -> Result<Response, Problem> {
    query.0?;
    let request: SetAsideRequest = body::read(body).await?.unwrap_or_default();
    let meant = match request {
        SetAsideRequest { ids: None, all: true } => Meant::All,
        SetAsideRequest { ids: Some(ids), all: false } => Meant::Ids(ids),
        _ => {
            return Err(Problem::new(Code::BadRequest, "it is not said which events are meant")
                .hint("`{\"ids\": [\"01H...\"]}` or `{\"all\": true}`"));
        }
    };
    let some = matches!(&meant, Meant::Ids(ids) if !ids.is_empty());
    let events = api.ask(|reply| Command::Sink(make(meant, reply))).await?;
    let events = events.map_err(|why| Problem::new(Code::NotWritten, why))?;
    if some && events == 0 {
        return Err(
            Problem::new(Code::NotFound, "none of these events is set aside").hint(mend::SET_ASIDE)
        );
    }
    api.views.board().ask();
    Ok(answer(&SetAsideAnswer { events }))
}
