//! The journal as pages and as a stream: `GET /api/events`.
//!
//! A subscriber is a cursor: it reads the journal at its own pace, so a slow one delays no other.
//! A notification of the engine only means that there is more to read. What is not read yet is not made
//! yet: a large event or snapshot is made in parts. Rules for cursors and gaps:
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

use crate::api::journal::parts::{MAX_PART_BYTES, PartQueue};
use crate::api::journal::read_cache::{ReadRequest, RenderedChunk};
use crate::api::request::content_negotiation::prefers_json;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::{INITIAL_SCAN_TIMEOUT, current_state, resolve_project};
use crate::api::request::wait::wait_until;
use crate::api::response::byte_budget::{PAGE_BYTES, without_spare_capacity};
use crate::api::response::json::{json_body_response, set_sync_headers};
use crate::api::response::problem::internal_error;
use crate::api::response::render::{
    StreamedBody, budget_deadline, render_permit, reserve, text_response,
};
use crate::api::server::stalled_streams::reserve_for_stream;
use crate::api::state::{ApiState, MAX_SUBSCRIBERS};
use crate::core::event::{EVENT_TYPES, parse_event_type};
use crate::engine::read_model::{EngineState, FeatureView, ProjectView};
use crate::store::{
    BoundedPage, EventFilter, EventRow, JournalBounds, JournalReader, LargeEvent, PageLimits,
    StoreError, StoredEvent,
};
use crate::wire::cursor::{Cursor, CursorError, Since};
use crate::wire::events::{
    Gap, MESSAGE_END, PAGE_BEGIN, PageState, write_message_begin, write_page_end, write_page_next,
    write_sse_message, write_stored_event,
};
use crate::wire::hint::HintCode;
use crate::wire::json::escape_for_terminal;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::SyncStatus;

/// Maximum and default number of events in a page.
const MAX_PAGE_EVENTS: usize = 1_000;
/// Size in bytes after which a page ends. Its first event may be larger.
const MAX_PAGE_BYTES: u64 = 1 << 20;
/// Maximum number of events that a stream reads at a time.
const MAX_CHUNK_EVENTS: usize = 32;
/// Size in bytes of an event from which it is made in parts, and of all events that a stream holds while
/// its client does not read.
const MAX_WHOLE_BYTES: u64 = 64 << 10;
const CHUNK_LIMITS: PageLimits =
    PageLimits { events: MAX_CHUNK_EVENTS, bytes: MAX_WHOLE_BYTES, whole_event: MAX_WHOLE_BYTES };
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

async fn page_response(api: &Arc<ApiState>, parameters: &Parameters) -> Result<Response, Problem> {
    wait_started(api).await?;
    let (world, report) = current_state(api, parameters).await?;
    // The time for memory includes the wait for a turn to read.
    let deadline = budget_deadline();
    let sync = report.map(|report| report.of_state(&world));
    let headers = sync.clone();
    let limit = match parameters.get("limit") {
        None => MAX_PAGE_EVENTS,
        Some(text) => parse_limit(text)?,
    };
    let filter = parse_filter(&world, parameters)?;
    let since = parse_since(parameters.get("since"))?.unwrap_or(Since::Start);
    let bounds = api.reader_pool.read(JournalReader::bounds).await?;
    // Held until the response has its memory, so that few pages wait for it.
    let _permit = render_permit().await?;
    let parts = match start_at(&since, &world, bounds) {
        StartAt::Gap(_) => gap_page(&world, &filter, sync.as_ref()),
        StartAt::After(after) => {
            // Reading and rendering is one call on a blocking thread, so that the events are not
            // held any longer.
            let is_resuming = matches!(since, Since::After(_));
            let read = move |reader: &mut JournalReader| {
                let found = find_first_match(reader, after, limit, &filter)?;
                // Retention may have deleted events since the bounds were read. A client that
                // starts at `start` or `now` misses nothing by that.
                Ok(if found.has_gap && is_resuming {
                    gap_page(&world, &filter, sync.as_ref())
                } else {
                    page(&world, &found, sync.as_ref())
                })
            };
            api.reader_pool.read(read).await?
        }
    };
    let response = parts_response(api, parts.map_err(internal_error)?, deadline).await?;
    Ok(set_sync_headers(response, headers.as_ref()))
}

/// Returns a page of events.
fn page(
    world: &EngineState,
    found: &BoundedPage,
    sync: Option<&SyncStatus>,
) -> io::Result<PartQueue> {
    let (mut parts, mut text) = (PartQueue::default(), PAGE_BEGIN.as_bytes().to_vec());
    for (index, event) in found.events.iter().enumerate() {
        text.extend(if index > 0 { &b","[..] } else { b"" });
        match event {
            EventRow::Whole(event) => {
                text.extend(escape_for_terminal(&event.envelope_json).as_bytes());
            }
            EventRow::Large(event) => {
                parts.push_text(std::mem::take(&mut text));
                parts.push_envelope(event);
            }
        }
    }
    let next = cursor_at(world, found.last_scanned).to_string();
    write_page_next(&mut text, &next, PageState::Complete)?;
    write_page_end(&mut text, PageState::Complete, sync)?;
    parts.push_text(without_spare_capacity(text));
    Ok(parts)
}

/// Returns a page with a gap: the current state of every feature that passes the filter.
fn gap_page(
    world: &EngineState,
    filter: &EventFilter,
    sync: Option<&SyncStatus>,
) -> io::Result<PartQueue> {
    let (mut parts, mut text) = (PartQueue::default(), PAGE_BEGIN.as_bytes().to_vec());
    let next = cursor_at(world, world.seq).to_string();
    write_page_next(&mut text, &next, PageState::Gap)?;
    parts.push_text(text);
    for (index, feature) in matching_features(world, filter).enumerate() {
        if index > 0 {
            parts.push_text(",");
        }
        parts.push_snapshot(Arc::clone(&feature.feature().snapshot));
    }
    let mut end = Vec::new();
    write_page_end(&mut end, PageState::Gap, sync)?;
    parts.push_text(end);
    Ok(parts)
}

/// Returns a response that is made as the client reads it, and reserves memory for what it holds.
async fn parts_response(
    api: &Arc<ApiState>,
    parts: PartQueue,
    deadline: Instant,
) -> Result<Response, Problem> {
    let parts = match parts.into_text() {
        Ok(text) => return text_response(&PAGE_BYTES, text, deadline).await,
        Err(parts) => parts,
    };
    let reservation = reserve(&PAGE_BYTES, parts.held_bytes() + MAX_PART_BYTES, deadline).await?;
    let min_bytes = parts.min_bytes();
    let state = (parts, Arc::clone(api), reservation);
    let body = stream::try_unfold(state, |(parts, api, reservation)| async {
        if parts.is_empty() {
            return Ok::<_, io::Error>(None);
        }
        let (parts, part) = parts.next(&api.reader_pool).await.map_err(|problem| {
            // The client sees that the response is incomplete.
            io::Error::other(problem.detail)
        })?;
        Ok(Some((part, (parts, api, reservation))))
    });
    Ok(json_body_response(Body::new(StreamedBody { stream: Box::pin(body), min_bytes })))
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
        parts: PartQueue::default(),
        snapshots: Vec::new().into_iter(),
        snapshot_seq: world.seq,
        last_sent_at: Instant::now(),
        _permit: permit,
    };
    match start_at(&since, &world, bounds) {
        StartAt::After(after) => subscriber.after = after,
        StartAt::Gap(reason) => subscriber.begin_gap(&world, reason).map_err(internal_error)?,
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
) -> Result<BoundedPage, StoreError> {
    let limits = PageLimits { events: limit, bytes: MAX_PAGE_BYTES, whole_event: MAX_WHOLE_BYTES };
    let mut has_gap = false;
    loop {
        let mut page = reader.bounded_page(after, limits, filter)?;
        page.has_gap |= has_gap;
        if !page.events.is_empty() || page.last_scanned <= after {
            return Ok(page);
        }
        after = page.last_scanned;
        has_gap |= page.has_gap;
    }
}

/// A client of a stream. It holds nothing that was not reserved.
struct Subscriber {
    api: Arc<ApiState>,
    /// Last event that was sent or skipped.
    after: u64,
    filter: EventFilter,
    instance: String,
    seq_updates: watch::Receiver<u64>,
    /// What is to be sent before anything else: the gap, a snapshot, a large event.
    parts: PartQueue,
    /// Features whose snapshots are still to be sent, after a gap.
    snapshots: std::vec::IntoIter<Arc<FeatureView>>,
    /// Last event that the snapshots include.
    snapshot_seq: u64,
    /// Time of the last message or comment.
    last_sent_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    /// Waits for the next part of the stream; `None` ends it.
    async fn next_message(&mut self) -> Option<Bytes> {
        loop {
            if let Some(part) = self.next_part().await.ok()? {
                return Some(part);
            }
            // Marked as seen before the journal is read: an event committed meanwhile wakes us
            // again.
            let newest = *self.seq_updates.borrow_and_update();
            if newest > self.after {
                let reservation = reserve_for_stream(MAX_PART_BYTES).await;
                let RenderedChunk { messages, last_scanned, has_gap, large } =
                    self.read_chunk(newest).await?;
                // A new store reuses sequence numbers: the client reconnects and gets a gap.
                if self.api.views.load().instance != self.instance {
                    return None;
                }
                if has_gap {
                    let world = self.wait_current_state().await?;
                    self.begin_gap(&world, CURSOR_TOO_OLD).ok()?;
                    continue;
                }
                self.after = last_scanned.max(self.after);
                if let Some(event) = large {
                    self.push_large_event(&event).ok()?;
                }
                if !messages.is_empty() {
                    return Some(reservation.pay_for(messages));
                }
                if !self.parts.is_empty() {
                    continue;
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

    /// Makes the next part of what is to be sent before events; `None` if there is nothing.
    async fn next_part(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.parts.is_empty()
            && let Some(feature) = self.snapshots.next()
        {
            self.push_snapshot(&feature).map_err(internal_error)?;
        }
        if self.parts.is_empty() {
            return Ok(None);
        }
        let reservation = reserve_for_stream(MAX_PART_BYTES).await;
        let parts = std::mem::take(&mut self.parts);
        let (parts, part) = parts.next(&self.api.reader_pool).await?;
        self.parts = parts;
        Ok(Some(reservation.pay_for(part)))
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

    /// Prepares the gap message and the snapshots that follow it. After them the stream continues with
    /// the events after `world`.
    fn begin_gap(&mut self, world: &EngineState, reason: &str) -> io::Result<()> {
        let mut message = Vec::new();
        let snapshots: Vec<_> = matching_features(world, &self.filter).map(Arc::clone).collect();
        // Only the last snapshot has an id: a client that disconnects before it gets the gap again.
        let id = snapshots.is_empty().then(|| cursor_at(world, world.seq));
        write_sse_message(&mut message, id.as_ref(), "gap", &Gap { reason: reason.into() })?;
        self.parts.push_text(message);
        self.snapshots = snapshots.into_iter();
        self.snapshot_seq = world.seq;
        self.after = world.seq;
        Ok(())
    }

    fn push_snapshot(&mut self, feature: &FeatureView) -> io::Result<()> {
        let is_last = self.snapshots.len() == 0;
        let id = is_last.then(|| self.cursor(self.snapshot_seq));
        let mut begin = Vec::new();
        write_message_begin(&mut begin, id.as_ref(), "snapshot")?;
        self.parts.push_text(begin);
        self.parts.push_snapshot(Arc::clone(&feature.feature().snapshot));
        self.parts.push_text(MESSAGE_END);
        Ok(())
    }

    fn push_large_event(&mut self, event: &LargeEvent) -> io::Result<()> {
        let mut begin = Vec::new();
        write_message_begin(&mut begin, Some(&self.cursor(event.seq)), &event.event_type)?;
        self.parts.push_text(begin);
        self.parts.push_envelope(event);
        self.parts.push_text(MESSAGE_END);
        Ok(())
    }

    fn cursor(&self, seq: u64) -> Cursor {
        Cursor { instance: self.instance.clone(), seq }
    }

    async fn read_chunk(&mut self, newest: u64) -> Option<RenderedChunk> {
        let recent = self.api.views.recent_events();
        if let Some(page) = recent.after(&self.instance, self.after, &self.filter) {
            return render_chunk(&self.instance, page.into());
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
        .read(move |reader| reader.bounded_page(after, CHUNK_LIMITS, &filter))
        .await
        .ok()?;
    render_chunk(&instance, page)
}

/// Renders the events before the first large one, which is returned with them.
fn render_chunk(instance: &str, page: BoundedPage) -> Option<RenderedChunk> {
    let BoundedPage { events, mut last_scanned, has_gap } = page;
    let (mut messages, mut large) = (Vec::new(), None);
    for event in events {
        match event {
            EventRow::Whole(StoredEvent { seq, event_type, envelope_json }) => {
                let id = Cursor { instance: instance.to_owned(), seq };
                write_stored_event(&mut messages, &id, &event_type, &envelope_json).ok()?;
            }
            EventRow::Large(event) => {
                last_scanned = event.seq;
                large = Some(event);
                break;
            }
        }
    }
    let messages = without_spare_capacity(messages);
    Some(RenderedChunk { messages, last_scanned, has_gap, large })
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
