//! SHA-256 over a sorted list, recomputed from the first changed chunk.
//!
//! The state of the hasher before each chunk is stored, so that a change rehashes the chunks from
//! the changed one on, not the whole list.

use sha2::{Digest as _, Sha256};

use crate::core::digest::Digest;
use crate::core::sorted_chunks::{Keyed, SortedChunks};

/// Stored states of the hasher of one list.
#[derive(Clone, Default)]
pub(super) struct IncrementalHasher {
    /// State of the hasher before each chunk.
    checkpoints: Vec<Sha256>,
}

impl IncrementalHasher {
    /// Returns the digest of all items in order, each encoded by `encode`.
    ///
    /// Each call must get the same list and the same encoding, and no other code may call
    /// [`SortedChunks::take_first_changed_chunk`] on that list.
    pub(super) fn digest<T: Keyed>(
        &mut self,
        list: &mut SortedChunks<T>,
        encode: impl Fn(&T, &mut Vec<u8>),
    ) -> Digest {
        let from = list.take_first_changed_chunk().min(self.checkpoints.len().saturating_sub(1));
        self.checkpoints.truncate(from + 1);
        let mut hasher = self.checkpoints.pop().unwrap_or_default();
        let mut bytes = Vec::new();
        let chunks = list.chunks_from(from);
        // Most lists have a single chunk.
        self.checkpoints.reserve_exact(chunks.len());
        for chunk in chunks {
            self.checkpoints.push(hasher.clone());
            bytes.clear();
            for item in chunk {
                encode(item, &mut bytes);
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
        fn digest_after_any_changes_equals_the_digest_of_the_whole_list(
            rounds in proptest::collection::vec(
                proptest::collection::vec((any::<bool>(), 0u16..1500), 0..700),
                1..6,
            ),
        ) {
            let encode = |item: &Item, bytes: &mut Vec<u8>| bytes.extend(item.0.to_be_bytes());
            let mut list = SortedChunks::default();
            let mut hasher = IncrementalHasher::default();
            for changes in rounds {
                for (insert, key) in changes {
                    if insert {
                        list.insert(Item(key));
                    } else {
                        list.remove(&key);
                    }
                }
                let all: Vec<u8> = list.iter().flat_map(|item| item.0.to_be_bytes()).collect();
                prop_assert_eq!(hasher.digest(&mut list, encode), Digest::of(&all));
            }
        }
    }
}
