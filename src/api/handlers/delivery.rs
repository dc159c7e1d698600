//! How events are delivered, and what was set aside: `GET /api/delivery`, `POST
//! /api/delivery/retry` and `drop_dead_letters`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;

use crate::api::request::body;
use crate::api::request::engine_call::call_engine;
use crate::api::request::query::Query;
use crate::api::response::json::json_response;
use crate::api::state::ApiState;
use crate::core::error::error_chain;
use crate::engine::inbox::Command;
use crate::engine::outbox::{SinkCommand, SinkError, SinkHealth, SinkReport};
use crate::store::DeadLetterSelector;
use crate::wire::delivery::{
    DeadLetterEvent, DeadLetterRequest, DeadLetterResponse, DeliveryList, DeliveryState,
    SinkStatus, WEBHOOK_SINK,
};
use crate::wire::hint;
use crate::wire::problem::{Problem, ProblemCode};

pub(crate) async fn list_delivery(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    query.0?;
    let rows = api.reader_pool.read(|reader| reader.dead_letters(WEBHOOK_SINK)).await?;
    let (reports, seq) = (api.views.board().sinks(), api.views.world().seq);
    let dead_letters = rows.iter().map(|row| DeadLetterEvent {
        sink: WEBHOOK_SINK.into(),
        event_id: row.event_id.as_str().into(),
        seq: row.seq,
        event_type: row.event_type.as_str().into(),
        root_id: row.root_id.as_str().into(),
        feature_slug: row.feature.as_str().into(),
        tries: row.tries,
        refused_at: row.rejected_at,
        error: row.error.as_str().into(),
        retrying: row.retry,
    });
    Ok(json_response(&DeliveryList {
        sinks: sink_statuses(&reports, seq),
        dead_letters: dead_letters.collect(),
    }))
}

pub(crate) async fn retry_dead_letters(
    State(api): State<Arc<ApiState>>,
    query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let make = |selector, reply| SinkCommand::Retry { sink: WEBHOOK_SINK, selector, reply };
    change_dead_letters(&api, query, body, make).await
}

pub(crate) async fn drop_dead_letters(
    State(api): State<Arc<ApiState>>,
    query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let make = |selector, reply| SinkCommand::Drop { sink: WEBHOOK_SINK, selector, reply };
    change_dead_letters(&api, query, body, make).await
}

/// The sinks as they are shown, beside a journal whose last event that is.
pub(crate) fn sink_statuses(reports: &[SinkReport], seq: u64) -> Vec<SinkStatus<'_>> {
    reports.iter().map(|report| sink_status(report, seq)).collect()
}

fn sink_status(report: &SinkReport, seq: u64) -> SinkStatus<'_> {
    SinkStatus {
        sink: report.sink.into(),
        url: Cow::Owned(report.url.to_string()),
        cursor: report.cursor,
        lag: seq.saturating_sub(report.cursor + report.ahead),
        oldest_undelivered_at: report.oldest_at,
        state: match report.health {
            SinkHealth::Retrying => DeliveryState::Retrying,
            SinkHealth::Ok if report.dead_letters > 0 => DeliveryState::DeadLetters,
            SinkHealth::Ok => DeliveryState::Ok,
        },
        last_error: report.last_error.as_deref().map(Cow::Borrowed),
        next_try_at: report.next_try_at,
        dead_letters: report.dead_letters,
        dropped_by_retention: report.dropped,
    }
}

async fn change_dead_letters(
    api: &ApiState,
    query: Query,
    body: Body,
    make: impl FnOnce(
        DeadLetterSelector,
        tokio::sync::oneshot::Sender<Result<u64, SinkError>>,
    ) -> SinkCommand,
) -> Result<Response, Problem> {
    query.0?;
    let request: DeadLetterRequest = body::read_json(body).await?.unwrap_or_default();
    let meant = match request {
        DeadLetterRequest { ids: None, all: true } => DeadLetterSelector::All,
        DeadLetterRequest { ids: Some(ids), all: false } => DeadLetterSelector::Ids(ids),
        _ => {
            return Err(Problem::new(
                ProblemCode::BadRequest,
                "it is not said which events are meant",
            )
            .with_hint("`{\"ids\": [\"01H...\"]}` or `{\"all\": true}`"));
        }
    };
    let some = matches!(&meant, DeadLetterSelector::Ids(ids) if !ids.is_empty());
    let events = call_engine(api, |reply| Command::Sink(make(meant, reply))).await?;
    let events =
        events.map_err(|error| Problem::new(ProblemCode::WriteFailed, error_chain(&error)))?;
    if some && events == 0 {
        return Err(Problem::new(ProblemCode::NotFound, "none of these events is set aside")
            .with_hint(hint::NO_SUCH_DEAD_LETTER));
    }
    api.views.board().request_retry();
    Ok(json_response(&DeadLetterResponse { events }))
}
