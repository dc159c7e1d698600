//! SHA-256 over a long list that changes a little at a time.
//!
//! What the hasher knew before each chunk is kept, so that a change costs what lies behind it and
//! not the whole list.

use sha2::{Digest as _, Sha256};

use crate::core::digest::Digest;
use crate::core::sorted_chunks::{Keyed, SortedChunks};

/// The hasher's states over one list.
#[derive(Clone, Default)]
pub(super) struct IncrementalHasher {
    /// Before each chunk.
    checkpoints: Vec<Sha256>,
}

impl IncrementalHasher {
    /// The digest of what `feed` makes of the items, in order. It must be given the same list each
    /// time, and no one else may take what changed of it.
    pub(super) fn digest<T: Keyed>(
        &mut self,
        list: &mut SortedChunks<T>,
        feed: impl Fn(&T, &mut Vec<u8>),
    ) -> Digest {
        let from = list.take_first_changed_chunk().min(self.checkpoints.len().saturating_sub(1));
        self.checkpoints.truncate(from + 1);
        let mut hasher = self.checkpoints.pop().unwrap_or_default();
        let mut bytes = Vec::new();
        let chunks = list.chunks_from(from);
        // Most lists have one.
        self.checkpoints.reserve_exact(chunks.len());
        for chunk in chunks {
            self.checkpoints.push(hasher.clone());
            bytes.clear();
            for item in chunk {
                feed(item, &mut bytes);
            }
            hasher.update(&bytes);
        }
        Digest::from_hasher(hasher)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone)]
    struct Item(u16);

    impl Keyed for Item {
        type Key = u16;
        fn key(&self) -> &u16 {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn after_any_changes_it_is_the_digest_of_all(
            rounds in proptest::collection::vec(
                proptest::collection::vec((any::<bool>(), 0u16..1500), 0..700),
                1..6,
            ),
        ) {
            let feed = |item: &Item, bytes: &mut Vec<u8>| bytes.extend(item.0.to_be_bytes());
            let mut list = SortedChunks::default();
            let mut running = IncrementalHasher::default();
            for changes in rounds {
                for (insert, key) in changes {
                    if insert {
                        list.insert(Item(key));
                    } else {
                        list.remove(&key);
                    }
                }
                let all: Vec<u8> = list.iter().flat_map(|item| item.0.to_be_bytes()).collect();
                prop_assert_eq!(running.digest(&mut list, feed), Digest::of(&all));
            }
        }
    }
}
