//! The newest part of the journal, read once for all that wait for it.
//!
//! Subscribers that have caught up and want the same are told of the same event at the same time:
//! the first reads it, and the others take what it read.

use axum::body::Bytes;
use tokio::sync::Mutex;

use crate::store::EventFilter;

/// What a reader wants: its part of the journal behind a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) instance: String,
    pub(crate) after: u64,
    pub(crate) filter: EventFilter,
}

/// What was read for it, as messages, and the last number that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct RenderedChunk {
    pub(crate) messages: Bytes,
    pub(crate) last_scanned: u64,
    /// Whether retention was quicker: something before the messages is lost.
    pub(crate) has_gap: bool,
}

/// The part that was read last.
#[derive(Debug, Default)]
pub(crate) struct LatestReadCache(Mutex<Option<(ReadRequest, RenderedChunk)>>);

impl LatestReadCache {
    /// What is wanted, by `read` where it is not what was read last. A part that leads nowhere is
    /// not kept: there may be more by now.
    pub(crate) async fn get_or_read(
        &self,
        want: ReadRequest,
        read: impl AsyncFnOnce() -> Option<RenderedChunk>,
    ) -> Option<RenderedChunk> {
        let mut last = self.0.lock().await;
        if let Some((known, part)) = &*last
            && *known == want
        {
            return Some(part.clone());
        }
        let part = read().await?;
        *last = (part.last_scanned > want.after).then(|| (want, part.clone()));
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(after: u64) -> ReadRequest {
        ReadRequest { instance: "i".to_owned(), after, filter: EventFilter::default() }
    }

    fn part(last_scanned: u64) -> RenderedChunk {
        RenderedChunk { messages: Bytes::from_static(b"m"), last_scanned, has_gap: false }
    }

    #[tokio::test]
    async fn the_same_is_read_once_and_what_leads_nowhere_again() {
        let tail = LatestReadCache::default();
        let mut reads = 0;
        for (wanted, last, read) in [
            (want(1), 3, 1),
            (want(1), 4, 1),
            (want(3), 3, 2),
            (want(3), 5, 3),
            (
                ReadRequest {
                    filter: EventFilter { max_seq: Some(9), ..EventFilter::default() },
                    ..want(3)
                },
                5,
                4,
            ),
            (ReadRequest { instance: "j".to_owned(), ..want(3) }, 5, 5),
        ] {
            tail.get_or_read(wanted, async || {
                reads += 1;
                Some(part(last))
            })
            .await
            .unwrap();
            assert_eq!(reads, read);
        }
    }
}
