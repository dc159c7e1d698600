//! Shares the latest read of the journal among subscribers.
//!
//! Subscribers that have caught up and have the same filter are notified of an event at the same
//! time: the first one reads it, and the others get the same bytes.

use axum::body::Bytes;
use tokio::sync::Mutex;

use crate::store::{EventFilter, LargeEvent};

/// A read of the journal: the events after `after` that pass the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) instance: String,
    pub(crate) after: u64,
    pub(crate) filter: EventFilter,
}

/// Result of a read.
#[derive(Debug, Clone)]
pub(crate) struct RenderedChunk {
    /// Events as messages of a stream.
    pub(crate) messages: Bytes,
    /// Last event that was read, whether or not it passed the filter.
    pub(crate) last_scanned: u64,
    /// True if retention has deleted events between `after` and the messages.
    pub(crate) has_gap: bool,
    /// The event after the messages, which is too large for them.
    pub(crate) large: Option<LargeEvent>,
}

/// The latest read and its result.
#[derive(Debug, Default)]
pub(crate) struct LatestReadCache {
    latest: Mutex<Option<CachedRead>>,
}

#[derive(Debug)]
struct CachedRead {
    request: ReadRequest,
    chunk: RenderedChunk,
}

impl LatestReadCache {
    /// Returns the result of the latest read if `request` is the same, else that of `read`. A
    /// result without progress is not cached: there may be more events by now.
    ///
    /// The lock is held while `read` runs, so that others with the same request wait for it.
    pub(crate) async fn get_or_read(
        &self,
        request: ReadRequest,
        read: impl AsyncFnOnce() -> Option<RenderedChunk>,
    ) -> Option<RenderedChunk> {
        let mut latest = self.latest.lock().await;
        if let Some(cached) = &*latest
            && cached.request == request
        {
            return Some(cached.chunk.clone());
        }
        let chunk = read().await?;
        let has_progress = chunk.last_scanned > request.after;
        *latest = has_progress.then(|| CachedRead { request, chunk: chunk.clone() });
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(after: u64) -> ReadRequest {
        ReadRequest { instance: "i".to_owned(), after, filter: EventFilter::default() }
    }

    fn chunk(last_scanned: u64) -> RenderedChunk {
        RenderedChunk {
            messages: Bytes::from_static(b"m"),
            last_scanned,
            has_gap: false,
            large: None,
        }
    }

    #[tokio::test]
    async fn same_request_is_read_once_unless_it_made_no_progress() {
        let cache = LatestReadCache::default();
        let mut reads = 0;
        for (wanted, last_scanned, expected_reads) in [
            (request(1), 3, 1),
            (request(1), 4, 1),
            (request(3), 3, 2),
            (request(3), 5, 3),
            (
                ReadRequest {
                    filter: EventFilter { max_seq: Some(9), ..EventFilter::default() },
                    ..request(3)
                },
                5,
                4,
            ),
            (ReadRequest { instance: "j".to_owned(), ..request(3) }, 5, 5),
        ] {
            cache
                .get_or_read(wanted, async || {
                    reads += 1;
                    Some(chunk(last_scanned))
                })
                .await
                .unwrap();
            assert_eq!(reads, expected_reads);
        }
    }
}
