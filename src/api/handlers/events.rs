//! The journal as pages and as a stream: `GET /api/events`.
//!
//! A subscriber is a cursor: it reads the journal at its own pace, so a slow one delays no other.
//! A notification of the engine only means that there is more to read. Rules for cursors and gaps:
//! `docs/specification.md#cursors`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use crate::api::journal::read_cache::{ReadRequest, RenderedChunk};
use crate::api::request::content_negotiation::prefers_json;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::{INITIAL_SCAN_TIMEOUT, current_state, resolve_project};
use crate::api::request::wait::wait_until;
use crate::api::response::json::set_sync_headers;
use crate::api::response::problem::internal_error;
use crate::api::response::render::{budgeted_response, budgeted_response_from, run_blocking};
use crate::api::state::{ApiState, MAX_SUBSCRIBERS};
use crate::core::event::{EVENT_TYPES, parse_event_type};
use crate::engine::read_model::{EngineState, FeatureView, ProjectView};
use crate::store::{EventFilter, EventPage, JournalBounds, JournalReader, StoreError, StoredEvent};
use crate::wire::cursor::{Cursor, CursorError, Since};
use crate::wire::events::{Gap, write_page, write_sse_message, write_stored_event};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::SyncStatus;

/// Maximum and default number of events in a page.
const MAX_PAGE_EVENTS: usize = 1_000;
/// Maximum number of events that a stream reads at a time, and holds while its client does not
/// read.
const MAX_CHUNK_EVENTS: usize = 32;
/// Maximum time between two writes to a stream; a comment is sent if there is no event.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b": keep-alive\n\n";

pub(crate) async fn get_events(
    State(api): State<Arc<ApiState>>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let as_page = prefers_json(&accept.collect::<Vec<_>>().join(","));
    if as_page {
        page_response(&api, &parameters).await
    } else {
        stream_response(&api, &parameters, &headers).await
    }
}

/// Reason of the gap of a reader that is too slow, or was disconnected for too long.
const CURSOR_TOO_OLD: &str = "the journal no longer has the events after the cursor";

/// Where a reader starts: after an event, or with a gap, for this reason.
enum StartAt {
    After(u64),
    Gap(&'static str),
}

async fn page_response(api: &ApiState, parameters: &Parameters) -> Result<Response, Problem> {
    wait_started(api).await?;
    let (world, report) = current_state(api, parameters).await?;
    let sync = report.map(|report| report.of_state(&world));
    let headers = sync.clone();
    let limit = match parameters.get("limit") {
        None => MAX_PAGE_EVENTS,
        Some(text) => parse_limit(text)?,
    };
    let filter = parse_filter(&world, parameters)?;
    let since = parse_since(parameters.get("since"))?.unwrap_or(Since::Start);
    let bounds = api.reader_pool.read(JournalReader::bounds).await?;
    let (response, ()) = match start_at(&since, &world, bounds) {
        StartAt::Gap(_) => {
            budgeted_response(move || {
                Ok((render_gap_page(&world, &filter, sync.as_ref()).map_err(internal_error)?, ()))
            })
            .await?
        }
        StartAt::After(after) => {
            // Reading and rendering is one call on a blocking thread, so that the events are not
            // held any longer.
            let is_resuming = matches!(since, Since::After(_));
            let read = move |reader: &mut JournalReader| {
                let found = find_first_match(reader, after, limit, &filter)?;
                // Retention may have deleted events since the bounds were read. A client that
                // starts at `start` or `now` misses nothing by that.
                Ok(if found.has_gap && is_resuming {
                    render_gap_page(&world, &filter, sync.as_ref())
                } else {
                    render_page(&world, &found, sync.as_ref())
                })
            };
            let work =
                async { Ok((api.reader_pool.read(read).await?.map_err(internal_error)?, ())) };
            budgeted_response_from(work).await?
        }
    };
    Ok(set_sync_headers(response, headers.as_ref()))
}

/// Writes a page of events.
fn render_page(
    world: &EngineState,
    found: &EventPage,
    sync: Option<&SyncStatus>,
) -> io::Result<Vec<u8>> {
    let next = cursor_at(world, found.last_scanned).to_string();
    let events: Vec<&str> = found.events.iter().map(|event| event.envelope_json.as_str()).collect();
    let mut body = Vec::new();
    write_page(&mut body, &events, &next, None, sync)?;
    Ok(body)
}

/// Writes a page with a gap: the current state of every feature that passes the filter.
fn render_gap_page(
    world: &EngineState,
    filter: &EventFilter,
    sync: Option<&SyncStatus>,
) -> io::Result<Vec<u8>> {
    let features = matching_features(world, filter);
    let snapshots: Vec<_> =
        features.map(|feature| Arc::clone(&feature.feature().snapshot)).collect();
    let next = cursor_at(world, world.seq).to_string();
    let mut body = Vec::new();
    write_page(&mut body, &[], &next, Some(&snapshots), sync)?;
    Ok(body)
}

async fn stream_response(
    api: &Arc<ApiState>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&api.subscriber_permits).try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_SUBSCRIBERS} event streams are open, which is the maximum");
        Problem::new(ProblemCode::Unavailable, detail, HintCode::TooManyStreams)
    })?;
    wait_started(api).await?;
    let seq_updates = api.views.subscribe();
    let (world, report) = current_state(api, parameters).await?;
    let sync = report.map(|report| report.of_state(&world));
    let filter = parse_filter(&world, parameters)?;
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = parse_since(last_id.or(parameters.get("since")))?.unwrap_or(Since::Now);
    let bounds = api.reader_pool.read(JournalReader::bounds).await?;
    let mut subscriber = Subscriber {
        api: Arc::clone(api),
        after: world.seq,
        filter,
        instance: world.instance.clone(),
        seq_updates,
        pending_message: None,
        snapshots: Vec::new().into_iter(),
        snapshot_seq: world.seq,
        last_sent_at: Instant::now(),
        _permit: permit,
    };
    match start_at(&since, &world, bounds) {
        StartAt::After(after) => subscriber.after = after,
        StartAt::Gap(reason) => {
            subscriber.pending_message =
                Some(subscriber.begin_gap(&world, reason).map_err(internal_error)?);
        }
    }
    let messages = stream::unfold(subscriber, |mut subscriber| async move {
        let message = subscriber.next_message().await?;
        subscriber.last_sent_at = Instant::now();
        Some((Ok::<_, Infallible>(message), subscriber))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let response = (headers, Body::from_stream(messages)).into_response();
    Ok(set_sync_headers(response, sync.as_ref()))
}

/// Returns the first page after `after` that has events, or the last page: an empty page means
/// that the client has reached the end.
fn find_first_match(
    reader: &mut JournalReader,
    mut after: u64,
    limit: usize,
    filter: &EventFilter,
) -> Result<EventPage, StoreError> {
    let mut has_gap = false;
    loop {
        let mut page = reader.page(after, limit, filter)?;
        page.has_gap |= has_gap;
        if !page.events.is_empty() || page.last_scanned <= after {
            return Ok(page);
        }
        after = page.last_scanned;
        has_gap |= page.has_gap;
    }
}

/// A client of a stream. It holds at most one chunk of events.
struct Subscriber {
    api: Arc<ApiState>,
    /// Last event that was sent or skipped.
    after: u64,
    filter: EventFilter,
    instance: String,
    seq_updates: watch::Receiver<u64>,
    /// Message to send before anything else: the gap.
    pending_message: Option<Bytes>,
    /// Features whose snapshots are still to be sent, after a gap.
    snapshots: std::vec::IntoIter<Arc<FeatureView>>,
    /// Last event that the snapshots include.
    snapshot_seq: u64,
    /// Time of the last message or comment.
    last_sent_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    /// Waits for the next message; `None` ends the stream.
    async fn next_message(&mut self) -> Option<Bytes> {
        if let Some(first) = self.pending_message.take() {
            return Some(first);
        }
        if let Some(feature) = self.snapshots.next() {
            let is_last = self.snapshots.len() == 0;
            let id =
                is_last.then(|| Cursor { instance: self.instance.clone(), seq: self.snapshot_seq });
            let rendered = run_blocking(move || {
                let mut message = Vec::new();
                write_sse_message(
                    &mut message,
                    id.as_ref(),
                    "snapshot",
                    &*feature.feature().snapshot,
                )?;
                Ok::<_, std::io::Error>(Bytes::from(message))
            });
            return rendered.await.ok()?.ok();
        }
        loop {
            // Marked as seen before the journal is read: an event committed meanwhile wakes us
            // again.
            let newest = *self.seq_updates.borrow_and_update();
            if newest > self.after {
                let RenderedChunk { messages, last_scanned, has_gap } =
                    self.read_chunk(newest).await?;
                // A new store reuses sequence numbers: the client reconnects and gets a gap.
                if self.api.views.load().instance != self.instance {
                    return None;
                }
                if has_gap {
                    let world = self.wait_current_state().await?;
                    return self.begin_gap(&world, CURSOR_TOO_OLD).ok();
                }
                self.after = last_scanned.max(self.after);
                if !messages.is_empty() {
                    return Some(messages);
                }
                // The filter passed nothing; many such events must not keep the stream silent.
                if self.last_sent_at.elapsed() >= KEEP_ALIVE_INTERVAL {
                    return Some(Bytes::from_static(KEEP_ALIVE_COMMENT));
                }
                continue;
            }
            match timeout_at(self.last_sent_at + KEEP_ALIVE_INTERVAL, self.seq_updates.changed())
                .await
            {
                Ok(Ok(())) if self.api.views.load().instance != self.instance => return None,
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(KEEP_ALIVE_COMMENT)),
            }
        }
    }

    /// Waits for a published state that includes all committed events. Publication follows the
    /// notification of a commit, and an older state would lead into the same gap again.
    async fn wait_current_state(&mut self) -> Option<Arc<EngineState>> {
        loop {
            let newest = *self.seq_updates.borrow_and_update();
            let world = self.api.views.load();
            if world.instance != self.instance {
                return None;
            }
            if world.seq >= newest {
                return Some(world);
            }
            self.seq_updates.changed().await.ok()?;
        }
    }

    /// Returns the gap message, and prepares the snapshots that follow it. After them the stream
    /// continues with the events after `world`.
    fn begin_gap(&mut self, world: &EngineState, reason: &str) -> io::Result<Bytes> {
        let mut message = Vec::new();
        let snapshots: Vec<_> = matching_features(world, &self.filter).map(Arc::clone).collect();
        // Only the last snapshot has an id: a client that disconnects before it gets the gap again.
        let id = snapshots.is_empty().then(|| cursor_at(world, world.seq));
        write_sse_message(&mut message, id.as_ref(), "gap", &Gap { reason: reason.into() })?;
        self.snapshots = snapshots.into_iter();
        self.snapshot_seq = world.seq;
        self.after = world.seq;
        Ok(Bytes::from(message))
    }

    async fn read_chunk(&mut self, newest: u64) -> Option<RenderedChunk> {
        let recent = self.api.views.recent_events();
        if let Some(page) = recent.after(&self.instance, self.after, &self.filter) {
            return render_chunk(&self.instance, page);
        }
        let (instance, filter) = (self.instance.clone(), self.filter.clone());
        let request = ReadRequest { instance, after: self.after, filter };
        // A client that is behind reads on its own, and does not delay the others.
        if newest - self.after <= MAX_CHUNK_EVENTS as u64 {
            // A task of its own, since others wait for the result even if this client disconnects.
            let api = Arc::clone(&self.api);
            let shared = tokio::spawn(async move {
                api.read_cache
                    .get_or_read(request.clone(), async || read_journal_chunk(&api, request).await)
                    .await
            });
            shared.await.ok()?
        } else {
            read_journal_chunk(&self.api, request).await
        }
    }
}

async fn read_journal_chunk(api: &ApiState, request: ReadRequest) -> Option<RenderedChunk> {
    let ReadRequest { instance, after, filter } = request;
    let page = api
        .reader_pool
        .read(move |reader| reader.page(after, MAX_CHUNK_EVENTS, &filter))
        .await
        .ok()?;
    render_chunk(&instance, page)
}

fn render_chunk(instance: &str, page: EventPage) -> Option<RenderedChunk> {
    let mut messages = Vec::new();
    for StoredEvent { seq, event_type, envelope_json } in page.events {
        let id = Cursor { instance: instance.to_owned(), seq };
        write_stored_event(&mut messages, &id, &event_type, &envelope_json).ok()?;
    }
    let EventPage { last_scanned, has_gap, .. } = page;
    Some(RenderedChunk { messages: Bytes::from(messages), last_scanned, has_gap })
}

fn parse_limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE_EVENTS).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("`limit` must be a number from 1 to {MAX_PAGE_EVENTS}");
        Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidLimit)
    })
}

fn parse_since(text: Option<&str>) -> Result<Option<Since>, Problem> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|error: CursorError| {
        Problem::new(ProblemCode::BadRequest, error.to_string(), HintCode::InvalidCursor)
    })
}

/// Waits until the engine has opened the store: before that the journal cannot be read.
async fn wait_started(api: &ApiState) -> Result<(), Problem> {
    let find = |world: &Arc<EngineState>| (!world.instance.is_empty()).then_some(());
    wait_until(&api.views, INITIAL_SCAN_TIMEOUT, find).await.ok_or_else(|| {
        let detail = "the daemon is still starting";
        Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater)
    })
}

/// Decides where a reader starts. The bounds are those of the journal, not of `world`: an event can
/// be read before the state that includes it is published.
fn start_at(since: &Since, world: &EngineState, bounds: JournalBounds) -> StartAt {
    let JournalBounds { oldest, last: newest } = bounds;
    match since {
        Since::Now => StartAt::After(newest),
        Since::Start => StartAt::After(oldest.saturating_sub(1)),
        Since::After(cursor) if cursor.instance != world.instance => {
            StartAt::Gap("the cursor belongs to another store")
        }
        Since::After(cursor) if cursor.seq > newest => {
            StartAt::Gap("the cursor is ahead of the journal")
        }
        Since::After(cursor) if cursor.seq + 1 < oldest => StartAt::Gap(CURSOR_TOO_OLD),
        Since::After(cursor) => StartAt::After(cursor.seq),
    }
}

fn cursor_at(world: &EngineState, seq: u64) -> Cursor {
    Cursor { instance: world.instance.clone(), seq }
}

/// Returns the features whose events pass the filter.
fn matching_features<'w>(
    world: &'w EngineState,
    filter: &'w EventFilter,
) -> impl Iterator<Item = &'w Arc<FeatureView>> {
    let of_project =
        |view: &&'w Arc<ProjectView>| filter.root_id.as_ref().is_none_or(|id| view.root_id == *id);
    let of_feature = |feature: &&'w Arc<FeatureView>| {
        filter.features.is_empty()
            || filter.features.iter().any(|slug| slug == feature.slug().as_str())
    };
    let projects = world.projects.iter().filter(of_project);
    projects.flat_map(|project| &project.features).filter(of_feature)
}

fn parse_filter(world: &EngineState, parameters: &Parameters) -> Result<EventFilter, Problem> {
    let event_type = |text: String| {
        parse_event_type(&text).map(str::to_owned).ok_or_else(|| {
            let detail = format!("unknown event type `{text}`");
            let hint = format!("valid types: {}", EVENT_TYPES.join(", "));
            let hint = HintCode::UnknownEventType.with_text(hint);
            Problem::new(ProblemCode::BadRequest, detail, hint)
        })
    };
    let types = parameters.get_all("type").into_iter().map(event_type).collect::<Result<_, _>>()?;
    let project =
        parameters.get_non_empty("project").map(|name| resolve_project(world, name)).transpose()?;
    Ok(EventFilter {
        types,
        features: parameters.get_all("feature"),
        root_id: project.map(|(_, view)| view.root_id.clone()),
        ..EventFilter::default()
    })
}
