//! The event streams whose clients do not read, and which of them to close when memory is needed.
//!
//! A stream can continue at its cursor, so closing it loses nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::api::response::byte_budget::{ByteBudget, Reservation, STREAM_BYTES};
use crate::core::sync::lock;

/// How long a stream waits for memory before another one that does not read is closed.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

static STALLED: StalledStreams = StalledStreams::new();

/// Connections by the number that they got when their client stopped reading.
#[derive(Debug)]
struct StalledStreams {
    next_number: AtomicU64,
    evictions: Mutex<BTreeMap<u64, Arc<Notify>>>,
    /// Held by the one that closes streams: memory is given to those who wait in their turn, so a stream that
    /// each of them closed would be more than is needed.
    evictor: tokio::sync::Mutex<()>,
}

/// A stream whose client does not read, until dropped.
#[derive(Debug)]
pub(crate) struct StalledStream {
    streams: &'static StalledStreams,
    number: u64,
}

impl StalledStream {
    /// Records that a client has stopped reading. Its connection closes itself on `eviction`.
    pub(crate) fn new(eviction: &Arc<Notify>) -> Self {
        STALLED.add(eviction)
    }
}

impl StalledStreams {
    const fn new() -> Self {
        Self {
            next_number: AtomicU64::new(0),
            evictions: Mutex::new(BTreeMap::new()),
            evictor: tokio::sync::Mutex::const_new(()),
        }
    }

    fn add(&'static self, eviction: &Arc<Notify>) -> StalledStream {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        lock(&self.evictions).insert(number, Arc::clone(eviction));
        StalledStream { streams: self, number }
    }

    /// Closes the stream that has been unread for the longest time.
    fn evict_oldest(&self) {
        if let Some((_, eviction)) = lock(&self.evictions).pop_first() {
            eviction.notify_one();
        }
    }

    /// Waits for memory; while there is none, closes one stream after the other.
    async fn reserve(&self, budget: &'static ByteBudget, bytes: usize) -> Reservation {
        let reserving = budget.reserve(bytes);
        tokio::pin!(reserving);
        let evicting = async {
            let _evictor = self.evictor.lock().await;
            loop {
                sleep(EVICTION_INTERVAL).await;
                self.evict_oldest();
            }
        };
        tokio::select! {
            biased;
            reservation = &mut reserving => reservation,
            never = evicting => never,
        }
    }
}

impl Drop for StalledStream {
    fn drop(&mut self) {
        lock(&self.streams.evictions).remove(&self.number);
    }
}

/// Waits for memory for the next messages of a stream. While the budget is used up, the streams that have
/// been unread for the longest time are closed.
pub(crate) async fn reserve_for_stream(bytes: usize) -> Reservation {
    STALLED.reserve(&STREAM_BYTES, bytes).await
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn streams_unread_for_the_longest_time_are_closed_when_memory_is_needed() {
        static STREAMS: StalledStreams = StalledStreams::new();
        static BUDGET: ByteBudget = ByteBudget::new(100);
        let hold = async |name: &'static str| {
            let eviction = Arc::new(Notify::new());
            let bytes = BUDGET.reserve(30).await.pay_for(Bytes::from_static(&[0; 30]));
            (name, STREAMS.add(&eviction), eviction, bytes)
        };
        let streams = [hold("first").await, hold("reads again").await, hold("last").await];
        let [first, reads_again, last] = streams;
        drop(reads_again.1);
        let needed = STREAMS.reserve(&BUDGET, 60);
        tokio::pin!(needed);
        let evicted =
            async |(_, stalled, eviction, bytes): (_, StalledStream, Arc<Notify>, Bytes)| {
                eviction.notified().await;
                drop((stalled, bytes));
            };
        let closing = evicted(first);
        tokio::select! {
            biased;
            () = closing => {}
            _ = &mut needed => panic!("there is no memory yet"),
        }
        assert!(last.2.notified().now_or_never().is_none(), "one stream at a time");
        let closing = evicted(last);
        tokio::select! {
            biased;
            () = closing => {}
            _ = &mut needed => panic!("there is no memory yet: 40 of 60 bytes are free"),
        }
        needed.await;
        assert!(reads_again.2.notified().now_or_never().is_none());
    }

    #[tokio::test]
    async fn streams_are_closed_for_the_one_that_waits_first_not_for_each_that_waits() {
        static STREAMS: StalledStreams = StalledStreams::new();
        static BUDGET: ByteBudget = ByteBudget::new(90);
        let mut stalled = Vec::new();
        for _ in 0..9 {
            let eviction = Arc::new(Notify::new());
            let bytes = BUDGET.reserve(10).await.pay_for(Bytes::from_static(&[0; 10]));
            stalled.push((STREAMS.add(&eviction), eviction, bytes));
        }
        let needed = futures_util::future::join_all((0..5).map(|_| STREAMS.reserve(&BUDGET, 10)));
        tokio::pin!(needed);
        let first = Arc::clone(&stalled[0].1);
        tokio::select! {
            biased;
            () = first.notified() => {}
            _ = &mut needed => panic!("there is no memory yet"),
        }
        let others =
            stalled.iter().filter(|(_, other, _)| other.notified().now_or_never().is_some());
        assert_eq!(others.count(), 0, "one is closed, which is enough for the first");
        stalled.clear();
        assert_eq!(needed.await.len(), 5);
    }
}
