//! Delivery state and dead letters: `GET /api/delivery`, `POST /api/delivery/retry` and
//! `POST /api/delivery/drop`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use tokio::sync::oneshot;

use crate::api::request::body;
use crate::api::request::engine_call::call_engine;
use crate::api::response::json::json_response;
use crate::api::state::ApiState;
use crate::core::error::error_chain;
use crate::engine::command::Command;
use crate::engine::sinks::{SinkCommand, SinkError, SinkHealth, SinkReport};
use crate::store::DeadLetterSelector;
use crate::wire::delivery::{
    DeadLetterEvent, DeadLetterRequest, DeadLetterResponse, DeliveryList, DeliveryState,
    SinkStatus, WEBHOOK_SINK,
};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

pub(crate) async fn list_delivery(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    let rows = api.reader_pool.read(|reader| reader.dead_letters(WEBHOOK_SINK)).await?;
    let (reports, seq) = (api.views.sinks().list(), api.views.load().seq);
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
    body: Body,
) -> Result<Response, Problem> {
    let command = |selector, reply| SinkCommand::Retry { sink: WEBHOOK_SINK, selector, reply };
    change_dead_letters(&api, body, command).await
}

pub(crate) async fn drop_dead_letters(
    State(api): State<Arc<ApiState>>,
    body: Body,
) -> Result<Response, Problem> {
    let command = |selector, reply| SinkCommand::Drop { sink: WEBHOOK_SINK, selector, reply };
    change_dead_letters(&api, body, command).await
}

/// Returns the state of all sinks, for a journal whose last event is `seq`.
pub(crate) fn sink_statuses(reports: &[SinkReport], seq: u64) -> Vec<SinkStatus<'_>> {
    reports.iter().map(|report| sink_status(report, seq)).collect()
}

fn sink_status(report: &SinkReport, seq: u64) -> SinkStatus<'_> {
    SinkStatus {
        sink: report.sink.into(),
        url: Cow::Owned(report.url.to_string()),
        address: report.address.as_deref().map(Cow::Borrowed),
        cursor: report.cursor,
        lag: seq.saturating_sub(report.cursor + report.ahead),
        oldest_undelivered_at: report.oldest_at,
        state: match report.health {
            SinkHealth::Retrying => DeliveryState::Retrying,
            SinkHealth::Refused => DeliveryState::Refused,
            SinkHealth::Ok if report.dead_letters > 0 => DeliveryState::DeadLetters,
            SinkHealth::Ok => DeliveryState::Ok,
        },
        last_error: report.last_error.as_deref().map(Cow::Borrowed),
        next_try_at: report.next_try_at,
        dead_letters: report.dead_letters,
        dropped_by_retention: report.dropped,
    }
}

/// Where the engine sends the number of selected dead letters.
type DeadLetterReply = oneshot::Sender<Result<u64, SinkError>>;

/// Sends the engine a command about the dead letters that the body selects.
async fn change_dead_letters(
    api: &ApiState,
    body: Body,
    command: impl FnOnce(DeadLetterSelector, DeadLetterReply) -> SinkCommand,
) -> Result<Response, Problem> {
    let request: DeadLetterRequest = body::read_json(body).await?.unwrap_or_default();
    let selector = match request {
        DeadLetterRequest { ids: None, all: true } => DeadLetterSelector::All,
        DeadLetterRequest { ids: Some(ids), all: false } => DeadLetterSelector::Ids(ids),
        _ => {
            let detail = "no dead letters are selected";
            let hint = HintCode::DeadLettersRequired;
            return Err(Problem::new(ProblemCode::BadRequest, detail, hint));
        }
    };
    let names_events = matches!(&selector, DeadLetterSelector::Ids(ids) if !ids.is_empty());
    let events = call_engine(api, |reply| Command::Sink(command(selector, reply))).await?;
    let events = events.map_err(|error| {
        Problem::new(ProblemCode::WriteFailed, error_chain(&error), HintCode::WriteFailed)
    })?;
    if names_events && events == 0 {
        let detail = "none of these events is a dead letter";
        return Err(Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchDeadLetter));
    }
    api.views.sinks().request_retry();
    Ok(json_response(&DeadLetterResponse { events }))
}
