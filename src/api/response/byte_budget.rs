//! The memory of what clients have not read yet: one account for each kind of response
//! (`docs/specification.md#limits`). A part of a response is reserved before it is made, and given back
//! when the last copy of its bytes is sent or dropped.

use axum::body::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Messages of event streams.
pub(crate) static STREAM_BYTES: ByteBudget = ByteBudget::new(24 << 20);
/// Pages of the journal, snapshots and lists.
pub(crate) static PAGE_BYTES: ByteBudget = ByteBudget::new(12 << 20);
/// Artifacts with their content and its tree of elements.
pub(crate) static CONTENT_BYTES: ByteBudget = ByteBudget::new(12 << 20);

/// Size of an allocation that glibc maps on its own by default, and can shrink without a rest (`man 3
/// mallopt`).
const MAPPED_BYTES: usize = 128 << 10;

/// An account of bytes.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    capacity: u32,
    free: Semaphore,
}

/// Reserved bytes.
#[derive(Debug)]
pub(crate) struct Reservation(SemaphorePermit<'static>);

/// Bytes and the reservation that pays for them.
struct ReservedBytes {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ByteBudget {
    pub(crate) const fn new(capacity: u32) -> Self {
        Self { capacity, free: Semaphore::const_new(capacity as usize) }
    }

    /// Waits until `bytes` are free, in turn with others, and reserves them. More than the budget is all of
    /// it.
    pub(crate) async fn reserve(&'static self, bytes: usize) -> Reservation {
        let count = u32::try_from(bytes).unwrap_or(self.capacity).min(self.capacity);
        loop {
            // It fails only if the semaphore is closed, which nothing does.
            if let Ok(permit) = self.free.acquire_many(count).await {
                return Reservation(permit);
            }
        }
    }
}

impl Reservation {
    /// Returns bytes that give this reservation back when the last copy of them is dropped. What they do
    /// not need of it is free at once.
    pub(crate) fn pay_for(mut self, bytes: Bytes) -> Bytes {
        let unused = self.0.num_permits().saturating_sub(bytes.len());
        drop(self.0.split(unused));
        Bytes::from_owner(ReservedBytes { bytes, _reservation: self })
    }
}

/// Returns the bytes in an allocation of their size. One that was shrunk would leave a rest into which the
/// next part of a response does not fit; a copy leaves all of it.
pub(crate) fn without_spare_capacity(mut bytes: Vec<u8>) -> Bytes {
    if bytes.capacity() < MAPPED_BYTES {
        return Bytes::copy_from_slice(&bytes);
    }
    bytes.shrink_to_fit();
    bytes.into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn bytes_are_free_again_when_the_last_copy_is_dropped() {
        static BUDGET: ByteBudget = ByteBudget::new(100);
        let reserve = |bytes| BUDGET.reserve(bytes).now_or_never();
        let mut sent = reserve(90).unwrap().pay_for(Bytes::from_static(&[1; 60]));
        assert!(reserve(50).is_none(), "60 of 100 are used");
        let part = sent.split_to(10);
        drop(sent);
        assert!(reserve(50).is_none(), "a part is in use");
        drop(part);
        let all = reserve(1_000).unwrap();
        assert!(reserve(1).is_none(), "more than the budget is all of it");
        drop(all);
        assert!(reserve(100).is_some());
    }
}
