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

use super::Api;
use super::accept::wants_json;
use super::meant::{INDEX_WAIT, project};
use super::query::{Parameters, Query};
use super::respond::{internal, large, large_of, off_thread, say_synced};
use super::tail::{Part, Want};
use crate::core::event::{EVENT_TYPES, event_type};
use crate::engine::view::{FeatureView, ProjectView, World};
use crate::store::{Filter, JournalReader, Page, StoreError, StoredEvent};
use crate::wire::cursor::{Cursor, Since};
use crate::wire::events::{Gap, push_page, write_message, write_stored};
use crate::wire::problem::{Code, Problem};
use crate::wire::status::Synced;

/// Events of a page, at most and by default.
const PAGE_MAX: usize = 1_000;
/// Events that a stream reads at a time, and holds while its client does not read.
const CHUNK: usize = 32;
/// Streams at a time: fewer than connections, so that there is always room for other requests.
pub(super) const SUBSCRIBERS_MAX: usize = 1_280;
/// A stream says at least this often that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const ALIVE: &[u8] = b": keep-alive\n\n";

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Query,
) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let as_page = wants_json(&accept.collect::<Vec<_>>().join(","));
    let result = match query.0 {
        Ok(parameters) if as_page => page(&api, &parameters).await,
        Ok(parameters) => stream_of(&api, &parameters, &headers).await,
        Err(problem) => Err(problem),
    };
    result.unwrap_or_else(Problem::into_response)
}

/// Why a reader that is too slow, or was away for too long, has a gap.
const TOO_OLD: &str = "the journal does not go back that far";

/// Where a reader begins: after an event, or behind a gap.
enum Begin {
    After(u64),
    Gap(&'static str),
}

async fn page(api: &Api, parameters: &Parameters) -> Result<Response, Problem> {
    begun(api).await?;
    let (world, synced) = api.world(parameters).await?;
    let limit = match parameters.get("limit") {
        None => PAGE_MAX,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
                Problem::new(Code::BadRequest, format!("`limit` is a number from 1 to {PAGE_MAX}"))
            })?
        }
    };
    let filter = filter(&world, parameters)?;
    let since = since(parameters.get("since"))?.unwrap_or(Since::Start);
    let ends = api.readers.read(JournalReader::ends).await?;
    let (answer, ()) = match begin(&since, &world, ends) {
        Begin::Gap(_) => {
            large(move || Ok((present(&world, &filter, synced).map_err(internal)?, ()))).await?
        }
        Begin::After(after) => {
            // What is read is held no longer than the answer is in the making.
            let goes_on = matches!(since, Since::After(_));
            let read = move |reader: &mut JournalReader| {
                let found = first_wanted(reader, after, limit, &filter)?;
                // Retention may have gone on since. Who begins at an end of what there is misses
                // nothing.
                Ok(if found.gap && goes_on {
                    present(&world, &filter, synced)
                } else {
                    written(&world, &found, synced)
                })
            };
            let made = async { Ok((api.readers.read(read).await?.map_err(internal)?, ())) };
            large_of(made).await?
        }
    };
    Ok(answer)
}

/// The page of what was found in the journal.
fn written(world: &World, found: &Page, synced: Option<Synced>) -> io::Result<Vec<u8>> {
    let next = cursor(world, found.last_scanned).to_string();
    let events: Vec<&str> = found.events.iter().map(|event| event.envelope_json.as_str()).collect();
    let mut body = Vec::new();
    push_page(&mut body, &events, &next, None, synced)?;
    Ok(body)
}

/// The page of a gap: the present state of every feature that is wanted.
fn present(world: &World, filter: &Filter, synced: Option<Synced>) -> io::Result<Vec<u8>> {
    let features = wanted(world, filter);
    let snapshots: Vec<_> =
        features.map(|feature| Arc::clone(&feature.feature().snapshot)).collect();
    let next = cursor(world, world.seq).to_string();
    let mut body = Vec::new();
    push_page(&mut body, &[], &next, Some(&snapshots), synced)?;
    Ok(body)
}

async fn stream_of(
    api: &Arc<Api>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = Arc::clone(&api.subscribers).try_acquire_owned().map_err(|_| {
        let detail = format!("there are {SUBSCRIBERS_MAX} subscribers, which is the most");
        Problem::new(Code::Unavailable, detail)
    })?;
    begun(api).await?;
    let news = api.views.news();
    let (world, synced) = api.world(parameters).await?;
    let filter = filter(&world, parameters)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = since(last.or(parameters.get("since")))?.unwrap_or(Since::Now);
    let ends = api.readers.read(JournalReader::ends).await?;
    let mut subscriber = Subscriber {
        api: Arc::clone(api),
        after: world.seq,
        filter,
        instance: world.instance.clone(),
        news,
        first: None,
        snapshots: Vec::new().into_iter(),
        shown: world.seq,
        sent: Instant::now(),
        _place: place,
    };
    match begin(&since, &world, ends) {
        Begin::After(after) => subscriber.after = after,
        Begin::Gap(reason) => {
            subscriber.first = Some(subscriber.gap(&world, reason).map_err(internal)?);
        }
    }
    let messages = stream::unfold(subscriber, |mut subscriber| async move {
        let message = subscriber.next().await?;
        subscriber.sent = Instant::now();
        Some((Ok::<_, Infallible>(message), subscriber))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok(say_synced((headers, Body::from_stream(messages)).into_response(), synced))
}

/// The first page that has an event, or the last: an empty one is the end.
fn first_wanted(
    reader: &mut JournalReader,
    mut after: u64,
    limit: usize,
    filter: &Filter,
) -> Result<Page, StoreError> {
    let mut gap = false;
    loop {
        let mut page = reader.page(after, limit, filter)?;
        page.gap |= gap;
        if !page.events.is_empty() || page.last_scanned <= after {
            return Ok(page);
        }
        after = page.last_scanned;
        gap |= page.gap;
    }
}

/// A reader of the journal that waits for news. What it holds is bounded: a chunk of events.
struct Subscriber {
    api: Arc<Api>,
    after: u64,
    filter: Filter,
    instance: String,
    news: watch::Receiver<u64>,
    first: Option<Bytes>,
    /// Features whose present state is still to be sent, after a gap.
    snapshots: std::vec::IntoIter<Arc<FeatureView>>,
    /// What their state includes.
    shown: u64,
    /// When something was sent last.
    sent: Instant,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    /// What to send next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(feature) = self.snapshots.next() {
            let is_last = self.snapshots.len() == 0;
            let id = is_last.then(|| Cursor { instance: self.instance.clone(), seq: self.shown });
            let made = off_thread(move || {
                let mut message = Vec::new();
                write_message(&mut message, id.as_ref(), "snapshot", &*feature.feature().snapshot)?;
                Ok::<_, std::io::Error>(Bytes::from(message))
            });
            return made.await.ok()?.ok();
        }
        loop {
            // Seen before reading: what is committed meanwhile is news again.
            let newest = *self.news.borrow_and_update();
            if newest > self.after {
                let Part { messages, last_scanned, gap } = self.read(newest).await?;
                // A store begun anew gives numbers out again: the reader comes back to a gap.
                if self.api.views.world().instance != self.instance {
                    return None;
                }
                if gap {
                    let world = self.present().await?;
                    return self.gap(&world, TOO_OLD).ok();
                }
                self.after = last_scanned.max(self.after);
                if !messages.is_empty() {
                    return Some(messages);
                }
                // However much happens that is not wanted.
                if self.sent.elapsed() >= KEEP_ALIVE {
                    return Some(Bytes::from_static(ALIVE));
                }
                continue;
            }
            match timeout_at(self.sent + KEEP_ALIVE, self.news.changed()).await {
                Ok(Ok(())) if self.api.views.world().instance != self.instance => return None,
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(ALIVE)),
            }
        }
    }

    /// The picture that includes what is committed: it follows the news of that, and one without
    /// would lead into the same gap again.
    async fn present(&mut self) -> Option<Arc<World>> {
        loop {
            let newest = *self.news.borrow_and_update();
            let world = self.api.views.world();
            if world.instance != self.instance {
                return None;
            }
            if world.seq >= newest {
                return Some(world);
            }
            self.news.changed().await.ok()?;
        }
    }

    /// What says that something is missing. The present state of all that is wanted comes after it,
    /// and then what follows that.
    fn gap(&mut self, world: &World, reason: &str) -> io::Result<Bytes> {
        let mut message = Vec::new();
        let snapshots: Vec<_> = wanted(world, &self.filter).map(Arc::clone).collect();
        // Whoever does not hear all of it is to hear of the gap again.
        let id = snapshots.is_empty().then(|| cursor(world, world.seq));
        write_message(&mut message, id.as_ref(), "gap", &Gap { reason: reason.into() })?;
        self.snapshots = snapshots.into_iter();
        self.shown = world.seq;
        self.after = world.seq;
        Ok(Bytes::from(message))
    }

    async fn read(&mut self, newest: u64) -> Option<Part> {
        let (instance, filter) = (self.instance.clone(), self.filter.clone());
        let want = Want { instance, after: self.after, filter };
        // Who is behind reads alone, and keeps no one waiting.
        if newest - self.after <= CHUNK as u64 {
            // A task of its own: others wait for it, whatever becomes of this connection.
            let api = Arc::clone(&self.api);
            let shared = tokio::spawn(async move {
                api.tail.part(want.clone(), async || read(&api, want).await).await
            });
            shared.await.ok()?
        } else {
            read(&self.api, want).await
        }
    }
}

async fn read(api: &Api, want: Want) -> Option<Part> {
    let Want { instance, after, filter } = want;
    let page = api.readers.read(move |reader| reader.page(after, CHUNK, &filter)).await.ok()?;
    let mut messages = Vec::new();
    for StoredEvent { seq, event_type, envelope_json } in page.events {
        let id = Cursor { instance: instance.clone(), seq };
        write_stored(&mut messages, &id, &event_type, &envelope_json).ok()?;
    }
    let Page { last_scanned, gap, .. } = page;
    Some(Part { messages: Bytes::from(messages), last_scanned, gap })
}

fn since(text: Option<&str>) -> Result<Option<Since>, Problem> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|error: crate::wire::cursor::CursorError| {
        Problem::new(Code::BadRequest, error.to_string())
    })
}

/// Waits for the first picture: before it nothing is known of the journal.
async fn begun(api: &Api) -> Result<(), Problem> {
    let mut news = api.views.news();
    let begun = async {
        while api.views.world().instance.is_empty() {
            if news.changed().await.is_err() {
                break;
            }
        }
    };
    let late = |_| Problem::new(Code::Unavailable, "the daemon is still starting");
    timeout(INDEX_WAIT, begun).await.map_err(late)
}

/// `ends` are those of the journal itself: an event can be read before the picture that includes it
/// is shown.
fn begin(since: &Since, world: &World, (oldest, newest): (u64, u64)) -> Begin {
    match since {
        Since::Now => Begin::After(newest),
        Since::Start => Begin::After(oldest.saturating_sub(1)),
        Since::After(cursor) if cursor.instance != world.instance => {
            Begin::Gap("the cursor is of another store")
        }
        Since::After(cursor) if cursor.seq > newest => {
            Begin::Gap("the cursor is ahead of the journal")
        }
        Since::After(cursor) if cursor.seq + 1 < oldest => Begin::Gap(TOO_OLD),
        Since::After(cursor) => Begin::After(cursor.seq),
    }
}

fn cursor(world: &World, seq: u64) -> Cursor {
    Cursor { instance: world.instance.clone(), seq }
}

/// The features whose events a filter passes.
fn wanted<'w>(world: &'w World, filter: &'w Filter) -> impl Iterator<Item = &'w Arc<FeatureView>> {
    let of_project =
        |view: &&'w Arc<ProjectView>| filter.root_id.as_ref().is_none_or(|id| view.root_id == *id);
    let of_feature = |feature: &&'w Arc<FeatureView>| {
        filter.features.is_empty()
            || filter.features.iter().any(|slug| slug == feature.slug().as_str())
    };
    let projects = world.projects.iter().filter(of_project);
    projects.flat_map(|project| &project.features).filter(of_feature)
}

fn filter(world: &World, parameters: &Parameters) -> Result<Filter, Problem> {
    let known = |text: String| {
        event_type(&text).map(str::to_owned).ok_or_else(|| {
            let detail = format!("there is no event type `{text}`");
            let hint = format!("the types are {}", EVENT_TYPES.join(", "));
            Problem::new(Code::BadRequest, detail).hint(hint)
        })
    };
    let types = parameters.all("type").into_iter().map(known).collect::<Result<_, _>>()?;
    let named = parameters.said("project").map(|name| project(world, name)).transpose()?;
    Ok(Filter {
        types,
        features: parameters.all("feature"),
        root_id: named.map(|(_, view)| view.root_id.clone()),
        ..Filter::default()
    })
}
