//! The journal, as pages and as a stream.
//!
//! A subscriber is a cursor: it reads the journal at its own pace, and a slow one slows no one
//! else. News only says that there is more to read.

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
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::journal::read_cache::{ReadRequest, RenderedChunk};
use crate::api::request::content_negotiation::prefers_json;
use crate::api::request::query::{Parameters, Query};
use crate::api::request::resolve::{INITIAL_SCAN_TIMEOUT, current_state, resolve_project};
use crate::api::response::json::set_synced_header;
use crate::api::response::problem::internal_error;
use crate::api::response::render::{budgeted_response, budgeted_response_from, run_blocking};
use crate::api::state::{ApiState, MAX_SUBSCRIBERS};
use crate::core::event::{EVENT_TYPES, parse_event_type};
use crate::engine::view::{FeatureView, ProjectView, World};
use crate::store::{EventFilter, EventPage, JournalBounds, JournalReader, StoreError, StoredEvent};
use crate::wire::cursor::{Cursor, Since};
use crate::wire::events::{Gap, write_page, write_sse_message, write_stored_event};
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Synced;

/// Events of a page, at most and by default.
const MAX_PAGE_EVENTS: usize = 1_000;
/// Events that a stream reads at a time, and holds while its client does not read.
const MAX_CHUNK_EVENTS: usize = 32;
/// A stream says at least this often that it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b": keep-alive\n\n";

pub(crate) async fn get_events(
    State(api): State<Arc<ApiState>>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let parameters = query.0?;
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let as_page = prefers_json(&accept.collect::<Vec<_>>().join(","));
    if as_page {
        page_response(&api, &parameters).await
    } else {
        stream_response(&api, &parameters, &headers).await
    }
}

/// Why a reader that is too slow, or was away for too long, has a gap.
const CURSOR_TOO_OLD: &str = "the journal does not go back that far";

/// Where a reader begins: after an event, or behind a gap.
enum StartAt {
    After(u64),
    Gap(&'static str),
}

async fn page_response(api: &ApiState, parameters: &Parameters) -> Result<Response, Problem> {
    wait_started(api).await?;
    let (world, synced) = current_state(api, parameters).await?;
    let limit = match parameters.get("limit") {
        None => MAX_PAGE_EVENTS,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=MAX_PAGE_EVENTS).contains(limit)).ok_or_else(
                || {
                    Problem::new(
                        ProblemCode::BadRequest,
                        format!("`limit` is a number from 1 to {MAX_PAGE_EVENTS}"),
                    )
                },
            )?
        }
    };
    let filter = parse_filter(&world, parameters)?;
    let since = parse_since(parameters.get("since"))?.unwrap_or(Since::Start);
    let ends = api.reader_pool.read(JournalReader::bounds).await?;
    let (answer, ()) = match start_at(&since, &world, ends) {
        StartAt::Gap(_) => {
            budgeted_response(move || {
                Ok((render_gap_page(&world, &filter, synced).map_err(internal_error)?, ()))
            })
            .await?
        }
        StartAt::After(after) => {
            // What is read is held no longer than the answer is in the making.
            let goes_on = matches!(since, Since::After(_));
            let read = move |reader: &mut JournalReader| {
                let found = find_first_match(reader, after, limit, &filter)?;
                // Retention may have gone on since. Who begins at an end of what there is misses
                // nothing.
                Ok(if found.has_gap && goes_on {
                    render_gap_page(&world, &filter, synced)
                } else {
                    render_page(&world, &found, synced)
                })
            };
            let made =
                async { Ok((api.reader_pool.read(read).await?.map_err(internal_error)?, ())) };
            budgeted_response_from(made).await?
        }
    };
    Ok(answer)
}

/// The page of what was found in the journal.
fn render_page(world: &World, found: &EventPage, synced: Option<Synced>) -> io::Result<Vec<u8>> {
    let next = cursor_at(world, found.last_scanned).to_string();
    let events: Vec<&str> = found.events.iter().map(|event| event.envelope_json.as_str()).collect();
    let mut body = Vec::new();
    write_page(&mut body, &events, &next, None, synced)?;
    Ok(body)
}

/// The page of a gap: the present state of every feature that is wanted.
fn render_gap_page(
    world: &World,
    filter: &EventFilter,
    synced: Option<Synced>,
) -> io::Result<Vec<u8>> {
    let features = matching_features(world, filter);
    let snapshots: Vec<_> =
        features.map(|feature| Arc::clone(&feature.feature().snapshot)).collect();
    let next = cursor_at(world, world.seq).to_string();
    let mut body = Vec::new();
    write_page(&mut body, &[], &next, Some(&snapshots), synced)?;
    Ok(body)
}

async fn stream_response(
    api: &Arc<ApiState>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = Arc::clone(&api.subscriber_permits).try_acquire_owned().map_err(|_| {
        let detail = format!("there are {MAX_SUBSCRIBERS} subscribers, which is the most");
        Problem::new(ProblemCode::Unavailable, detail)
    })?;
    wait_started(api).await?;
    let news = api.views.news();
    let (world, synced) = current_state(api, parameters).await?;
    let filter = parse_filter(&world, parameters)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = parse_since(last.or(parameters.get("since")))?.unwrap_or(Since::Now);
    let ends = api.reader_pool.read(JournalReader::bounds).await?;
    let mut subscriber = Subscriber {
        api: Arc::clone(api),
        after: world.seq,
        filter,
        instance: world.instance.clone(),
        seq_updates: news,
        pending_message: None,
        snapshots: Vec::new().into_iter(),
        snapshot_seq: world.seq,
        last_sent_at: Instant::now(),
        _permit: place,
    };
    match start_at(&since, &world, ends) {
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
    Ok(set_synced_header((headers, Body::from_stream(messages)).into_response(), synced))
}

/// The first page that has an event, or the last: an empty one is the end.
fn find_first_match(
    reader: &mut JournalReader,
    mut after: u64,
    limit: usize,
    filter: &EventFilter,
) -> Result<EventPage, StoreError> {
    let mut gap = false;
    loop {
        let mut page = reader.page(after, limit, filter)?;
        page.has_gap |= gap;
        if !page.events.is_empty() || page.last_scanned <= after {
            return Ok(page);
        }
        after = page.last_scanned;
        gap |= page.has_gap;
    }
}

/// A reader of the journal that waits for news. What it holds is bounded: a chunk of events.
struct Subscriber {
    api: Arc<ApiState>,
    after: u64,
    filter: EventFilter,
    instance: String,
    seq_updates: watch::Receiver<u64>,
    pending_message: Option<Bytes>,
    /// Features whose present state is still to be sent, after a gap.
    snapshots: std::vec::IntoIter<Arc<FeatureView>>,
    /// What their state includes.
    snapshot_seq: u64,
    /// When something was sent last.
    last_sent_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    /// What to send next; `None` at the end.
    async fn next_message(&mut self) -> Option<Bytes> {
        if let Some(first) = self.pending_message.take() {
            return Some(first);
        }
        if let Some(feature) = self.snapshots.next() {
            let is_last = self.snapshots.len() == 0;
            let id =
                is_last.then(|| Cursor { instance: self.instance.clone(), seq: self.snapshot_seq });
            let made = run_blocking(move || {
                let mut message = Vec::new();
                write_sse_message(
                    &mut message,
                    id.as_ref(),
                    "snapshot",
                    &*feature.feature().snapshot,
                )?;
                Ok::<_, std::io::Error>(Bytes::from(message))
            });
            return made.await.ok()?.ok();
        }
        loop {
            // Seen before reading: what is committed meanwhile is news again.
            let newest = *self.seq_updates.borrow_and_update();
            if newest > self.after {
                let RenderedChunk { messages, last_scanned, has_gap: gap } =
                    self.read_chunk(newest).await?;
                // A store begun anew gives numbers out again: the reader comes back to a gap.
                if self.api.views.world().instance != self.instance {
                    return None;
                }
                if gap {
                    let world = self.wait_current_state().await?;
                    return self.begin_gap(&world, CURSOR_TOO_OLD).ok();
                }
                self.after = last_scanned.max(self.after);
                if !messages.is_empty() {
                    return Some(messages);
                }
                // However much happens that is not wanted.
                if self.last_sent_at.elapsed() >= KEEP_ALIVE_INTERVAL {
                    return Some(Bytes::from_static(KEEP_ALIVE_COMMENT));
                }
                continue;
            }
            match timeout_at(self.last_sent_at + KEEP_ALIVE_INTERVAL, self.seq_updates.changed())
                .await
            {
                Ok(Ok(())) if self.api.views.world().instance != self.instance => return None,
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(KEEP_ALIVE_COMMENT)),
            }
        }
    }

    /// The picture that includes what is committed: it follows the news of that, and one without
    /// would lead into the same gap again.
    async fn wait_current_state(&mut self) -> Option<Arc<World>> {
        loop {
            let newest = *self.seq_updates.borrow_and_update();
            let world = self.api.views.world();
            if world.instance != self.instance {
                return None;
            }
            if world.seq >= newest {
                return Some(world);
            }
            self.seq_updates.changed().await.ok()?;
        }
    }

    /// What says that something is missing. The present state of all that is wanted comes after it,
    /// and then what follows that.
    fn begin_gap(&mut self, world: &World, reason: &str) -> io::Result<Bytes> {
        let mut message = Vec::new();
        let snapshots: Vec<_> = matching_features(world, &self.filter).map(Arc::clone).collect();
        // Whoever does not hear all of it is to hear of the gap again.
        let id = snapshots.is_empty().then(|| cursor_at(world, world.seq));
        write_sse_message(&mut message, id.as_ref(), "gap", &Gap { reason: reason.into() })?;
        self.snapshots = snapshots.into_iter();
        self.snapshot_seq = world.seq;
        self.after = world.seq;
        Ok(Bytes::from(message))
    }

    async fn read_chunk(&mut self, newest: u64) -> Option<RenderedChunk> {
        let (instance, filter) = (self.instance.clone(), self.filter.clone());
        let want = ReadRequest { instance, after: self.after, filter };
        // Who is behind reads alone, and keeps no one waiting.
        if newest - self.after <= MAX_CHUNK_EVENTS as u64 {
            // A task of its own: others wait for it, whatever becomes of this connection.
            let api = Arc::clone(&self.api);
            let shared = tokio::spawn(async move {
                api.read_cache
                    .get_or_read(want.clone(), async || read_journal_chunk(&api, want).await)
                    .await
            });
            shared.await.ok()?
        } else {
            read_journal_chunk(&self.api, want).await
        }
    }
}

async fn read_journal_chunk(api: &ApiState, want: ReadRequest) -> Option<RenderedChunk> {
    let ReadRequest { instance, after, filter } = want;
    let page = api
        .reader_pool
        .read(move |reader| reader.page(after, MAX_CHUNK_EVENTS, &filter))
        .await
        .ok()?;
    let mut messages = Vec::new();
    for StoredEvent { seq, event_type, envelope_json } in page.events {
        let id = Cursor { instance: instance.clone(), seq };
        write_stored_event(&mut messages, &id, &event_type, &envelope_json).ok()?;
    }
    let EventPage { last_scanned, has_gap: gap, .. } = page;
    Some(RenderedChunk { messages: Bytes::from(messages), last_scanned, has_gap: gap })
}

fn parse_since(text: Option<&str>) -> Result<Option<Since>, Problem> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|error: crate::wire::cursor::CursorError| {
        Problem::new(ProblemCode::BadRequest, error.to_string())
    })
}

/// Waits for the first picture: before it nothing is known of the journal.
async fn wait_started(api: &ApiState) -> Result<(), Problem> {
    let mut news = api.views.news();
    let begun = async {
        while api.views.world().instance.is_empty() {
            if news.changed().await.is_err() {
                break;
            }
        }
    };
    let late = |_| Problem::new(ProblemCode::Unavailable, "the daemon is still starting");
    timeout(INITIAL_SCAN_TIMEOUT, begun).await.map_err(late)
}

/// `bounds` are those of the journal itself: an event can be read before the picture that includes it
/// is shown.
fn start_at(since: &Since, world: &World, bounds: JournalBounds) -> StartAt {
    let JournalBounds { oldest, last: newest } = bounds;
    match since {
        Since::Now => StartAt::After(newest),
        Since::Start => StartAt::After(oldest.saturating_sub(1)),
        Since::After(cursor) if cursor.instance != world.instance => {
            StartAt::Gap("the cursor is of another store")
        }
        Since::After(cursor) if cursor.seq > newest => {
            StartAt::Gap("the cursor is ahead of the journal")
        }
        Since::After(cursor) if cursor.seq + 1 < oldest => StartAt::Gap(CURSOR_TOO_OLD),
        Since::After(cursor) => StartAt::After(cursor.seq),
    }
}

fn cursor_at(world: &World, seq: u64) -> Cursor {
    Cursor { instance: world.instance.clone(), seq }
}

/// The features whose events a filter passes.
fn matching_features<'w>(
    world: &'w World,
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

fn parse_filter(world: &World, parameters: &Parameters) -> Result<EventFilter, Problem> {
    let known = |text: String| {
        parse_event_type(&text).map(str::to_owned).ok_or_else(|| {
            let detail = format!("there is no event type `{text}`");
            let hint = format!("the types are {}", EVENT_TYPES.join(", "));
            Problem::new(ProblemCode::BadRequest, detail).with_hint(hint)
        })
    };
    let types = parameters.get_all("type").into_iter().map(known).collect::<Result<_, _>>()?;
    let named =
        parameters.get_non_empty("project").map(|name| resolve_project(world, name)).transpose()?;
    Ok(EventFilter {
        types,
        features: parameters.get_all("feature"),
        root_id: named.map(|(_, view)| view.root_id.clone()),
        ..EventFilter::default()
    })
}
