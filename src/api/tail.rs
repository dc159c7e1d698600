//! The newest part of the journal, read once for all that wait for it.
//!
//! Subscribers that have caught up and want the same are told of the same event at the same time:
//! the first reads it, and the others take what it read.

use axum::body::Bytes;
use tokio::sync::Mutex;

use crate::store::Filter;

/// What a reader wants: its part of the journal behind a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) instance: String,
    pub(super) after: u64,
    pub(super) filter: Filter,
}

/// What was read for it, as messages, and the last number that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) messages: Bytes,
    pub(super) last_scanned: u64,
    /// Whether retention was quicker: something before the messages is lost.
    pub(super) gap: bool,
}

/// The part that was read last.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Option<(Want, Part)>>);

impl Tail {
    /// What is wanted, by `read` where it is not what was read last. A part that leads nowhere is
    /// not kept: there may be more by now.
    pub(super) async fn part(
        &self,
        want: Want,
        read: impl AsyncFnOnce() -> Option<Part>,
    ) -> Option<Part> {
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

    fn want(after: u64) -> Want {
        Want { instance: "i".to_owned(), after, filter: Filter::default() }
    }

    fn part(last_scanned: u64) -> Part {
        Part { messages: Bytes::from_static(b"m"), last_scanned, gap: false }
    }

    #[tokio::test]
    async fn the_same_is_read_once_and_what_leads_nowhere_again() {
        let tail = Tail::default();
        let mut reads = 0;
        for (wanted, last, read) in [
            (want(1), 3, 1),
            (want(1), 4, 1),
            (want(3), 3, 2),
            (want(3), 5, 3),
            (Want { filter: Filter { until: Some(9), ..Filter::default() }, ..want(3) }, 5, 4),
            (Want { instance: "j".to_owned(), ..want(3) }, 5, 5),
        ] {
            tail.part(wanted, async || {
                reads += 1;
                Some(part(last))
            })
            .await
            .unwrap();
            assert_eq!(reads, read);
        }
    }
}
