//! The journal, as pages and as a stream.
//!
//! A subscriber is a cursor: it reads the journal at its own pace, and a slow one slows no one
//! else. News only says that there is more to read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::Api;
use super::query::Parameters;
use crate::engine::view::World;
use crate::store::{Filter, JournalReader, Page, StoreError, StoredEvent};
use crate::wire::cursor::{Cursor, Since};
use crate::wire::events::{Gap, push_page, write_message, write_stored};
use crate::wire::problem::{Code, Problem};

/// Events of a page, at most and by default.
const PAGE_MAX: usize = 1_000;
/// Events that a stream reads at a time.
const CHUNK: usize = 256;
/// A stream says at least this often that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let parameters = Parameters(pairs);
    let as_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    let result = if as_page {
        page(&api, &parameters).await
    } else {
        stream_of(&api, &parameters, &headers).await
    };
    result.unwrap_or_else(Problem::into_response)
}

/// Where a reader begins: after an event, or behind a gap.
enum Begin {
    After(u64),
    Gap(&'static str),
}

async fn page(api: &Api, parameters: &Parameters) -> Result<Response, Problem> {
    let (world, _) = api.world(parameters).await?;
    let limit = match parameters.get("limit") {
        None => PAGE_MAX,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
                Problem::new(Code::BadRequest, format!("`limit` is a number from 1 to {PAGE_MAX}"))
            })?
        }
    };
    let reader = api.journal.reader();
    let (mut reader, oldest) = blocking(reader, JournalReader::oldest).await?;
    let since = since(parameters.get("since"))?.unwrap_or(Since::Start);
    let mut body = Vec::new();
    match begin(&since, &world, oldest) {
        Begin::Gap(_) => {
            let snapshots = snapshots(&world);
            let next = cursor(&world, world.seq).to_string();
            push_page(&mut body, &[], &next, Some(&snapshots)).map_err(internal)?;
        }
        Begin::After(after) => {
            let filter = filter(parameters);
            let read =
                move |reader: &mut JournalReader| first_wanted(reader, after, limit, &filter);
            let found;
            (reader, found) = blocking(reader, read).await?;
            let next = cursor(&world, found.last_scanned).to_string();
            let events: Vec<&str> =
                found.events.iter().map(|event| event.envelope_json.as_str()).collect();
            push_page(&mut body, &events, &next, None).map_err(internal)?;
        }
    }
    drop(reader);
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

async fn stream_of(
    api: &Arc<Api>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let news = api.views.news();
    let (world, _) = api.world(parameters).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = since(last.or(parameters.get("since")))?.unwrap_or(Since::Now);
    let (reader, oldest) = blocking(api.journal.reader(), JournalReader::oldest).await?;
    let mut first = Vec::new();
    let after = match begin(&since, &world, oldest) {
        Begin::After(after) => after,
        Begin::Gap(reason) => {
            let id = cursor(&world, world.seq);
            write_message(&mut first, &id, "gap", &Gap { reason }).map_err(internal)?;
            for snapshot in snapshots(&world) {
                write_message(&mut first, &id, "snapshot", &*snapshot).map_err(internal)?;
            }
            world.seq
        }
    };
    let subscriber = Subscriber {
        reader: Some(reader),
        after,
        filter: filter(parameters),
        instance: world.instance.clone(),
        news,
        ready: VecDeque::from([Bytes::from(first)]),
    };
    let messages = stream::unfold(subscriber, |mut subscriber| async move {
        let message = subscriber.next().await?;
        Some((Ok::<_, Infallible>(message), subscriber))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(messages)).into_response())
}

/// The first page that has an event, or the last: an empty one is the end.
fn first_wanted(
    reader: &mut JournalReader,
    mut after: u64,
    limit: usize,
    filter: &Filter,
) -> Result<Page, StoreError> {
    loop {
        let page = reader.page(after, limit, filter)?;
        if !page.events.is_empty() || page.last_scanned <= after {
            return Ok(page);
        }
        after = page.last_scanned;
    }
}

/// A reader of the journal that waits for news.
struct Subscriber {
    /// `None` only while it is lent to a reading thread.
    reader: Option<JournalReader>,
    after: u64,
    filter: Filter,
    instance: String,
    news: watch::Receiver<u64>,
    ready: VecDeque<Bytes>,
}

impl Subscriber {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            // Seen before reading: what is committed meanwhile is news again.
            let newest = *self.news.borrow_and_update();
            if newest > self.after {
                self.read().await?;
                continue;
            }
            match tokio::time::timeout(KEEP_ALIVE, self.news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(b": keep-alive\n\n")),
            }
        }
    }

    async fn read(&mut self) -> Option<()> {
        let (after, filter) = (self.after, self.filter.clone());
        let reader = self.reader.take()?;
        let read = blocking(reader, move |reader| reader.page(after, CHUNK, &filter)).await;
        let (reader, page) = read.ok()?;
        self.reader = Some(reader);
        self.after = page.last_scanned.max(self.after);
        for StoredEvent { seq, event_type, envelope_json } in page.events {
            let id = Cursor { instance: self.instance.clone(), seq };
            let mut message = Vec::with_capacity(envelope_json.len() + 128);
            write_stored(&mut message, &id, &event_type, &envelope_json).ok()?;
            self.ready.push_back(Bytes::from(message));
        }
        Some(())
    }
}

fn since(text: Option<&str>) -> Result<Option<Since>, Problem> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|error: crate::wire::cursor::CursorError| {
        Problem::new(Code::BadRequest, error.to_string())
    })
}

fn begin(since: &Since, world: &World, oldest: u64) -> Begin {
    match since {
        Since::Now => Begin::After(world.seq),
        Since::Start => Begin::After(oldest.saturating_sub(1)),
        Since::After(cursor) if cursor.instance != world.instance => {
            Begin::Gap("the cursor is of another store")
        }
        Since::After(cursor) if cursor.seq > world.seq => {
            Begin::Gap("the cursor is ahead of the journal")
        }
        Since::After(cursor) if cursor.seq + 1 < oldest => {
            Begin::Gap("the journal does not go back that far")
        }
        Since::After(cursor) => Begin::After(cursor.seq),
    }
}

fn cursor(world: &World, seq: u64) -> Cursor {
    Cursor { instance: world.instance.clone(), seq }
}

fn snapshots(world: &World) -> Vec<Arc<crate::core::snapshot::MissionDossierSnapshot>> {
    let features = world.projects.iter().flat_map(|project| &project.features);
    features.map(|feature| Arc::clone(&feature.feature().snapshot)).collect()
}

fn filter(parameters: &Parameters) -> Filter {
    Filter {
        types: parameters.all("type"),
        features: parameters.all("feature"),
        ..Filter::default()
    }
}

/// Reads the journal on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    mut reader: JournalReader,
    read: impl FnOnce(&mut JournalReader) -> Result<T, StoreError> + Send + 'static,
) -> Result<(JournalReader, T), Problem> {
    let done = tokio::task::spawn_blocking(move || {
        let result = read(&mut reader);
        (reader, result)
    });
    let (reader, result) = done.await.map_err(internal)?;
    Ok((reader, result.map_err(internal)?))
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}
