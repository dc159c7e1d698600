//! A persistent sorted list: clones share unchanged chunks, and a change copies one chunk. It is
//! written by hand because incremental hashing needs to know the first changed chunk.

use std::fmt;
use std::sync::Arc;

/// Maximum number of items in a chunk; a larger one is split.
const MAX_CHUNK_LEN: usize = 256;
/// Number of items by which the capacity of a full chunk grows. It is small because there are many
/// chunks and each has unused capacity.
const CHUNK_GROWTH: usize = 8;

/// An item of a sorted list.
pub trait Keyed: Clone {
    /// Type of the key that determines the order.
    type Key: Ord + ?Sized;
    /// Returns the key of the item.
    fn key(&self) -> &Self::Key;
}

/// Items sorted by key, with unique keys.
#[derive(Clone)]
pub struct SortedChunks<T> {
    /// The chunks in order; none is empty.
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
    /// Index of the first chunk that was changed since the last call of
    /// [`SortedChunks::take_first_changed_chunk`].
    first_changed_chunk: usize,
}

impl<T> Default for SortedChunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0, first_changed_chunk: 0 }
    }
}

impl<T: Keyed> SortedChunks<T> {
    /// Returns the number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns the items from `key` on, in order.
    pub fn range_from(&self, key: &T::Key) -> impl Iterator<Item = &T> {
        let chunk = self.chunk_index(key);
        let rest = self.chunks[chunk..].iter().flat_map(|chunk| chunk.iter());
        rest.skip_while(move |item| item.key() < key)
    }

    /// Returns the chunks from index `from` on.
    pub(super) fn chunks_from(&self, from: usize) -> impl ExactSizeIterator<Item = &[T]> {
        self.chunks[from.min(self.chunks.len())..].iter().map(|chunk| chunk.as_slice())
    }

    /// Returns the index of the first chunk that may have changed since the last call. All chunks
    /// before it are unchanged.
    pub(super) fn take_first_changed_chunk(&mut self) -> usize {
        std::mem::replace(&mut self.first_changed_chunk, usize::MAX)
    }

    /// Returns the item with the key.
    #[must_use]
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let chunk = self.chunks.get(self.chunk_index(key))?;
        let index = chunk.binary_search_by(|item| item.key().cmp(key)).ok()?;
        chunk.get(index)
    }

    /// Inserts an item; returns the previous item with its key.
    pub fn insert(&mut self, item: T) -> Option<T> {
        if self.chunks.is_empty() {
            self.chunks.push(Arc::new(Vec::new()));
        }
        let chunk_index = self.chunk_index(item.key()).min(self.chunks.len() - 1);
        self.first_changed_chunk = self.first_changed_chunk.min(chunk_index);
        let chunk = Arc::make_mut(&mut self.chunks[chunk_index]);
        match chunk.binary_search_by(|known| known.key().cmp(item.key())) {
            Ok(index) => Some(std::mem::replace(&mut chunk[index], item)),
            Err(index) => {
                if chunk.len() == chunk.capacity() {
                    chunk.reserve_exact(CHUNK_GROWTH);
                }
                chunk.insert(index, item);
                self.len += 1;
                if chunk.len() > MAX_CHUNK_LEN {
                    // Items inserted in order fill their chunks completely. Otherwise both halves
                    // have capacity for further items.
                    let keep =
                        if index == MAX_CHUNK_LEN { MAX_CHUNK_LEN } else { MAX_CHUNK_LEN / 2 };
                    let tail = chunk.split_off(keep);
                    chunk.shrink_to_fit();
                    self.chunks.insert(chunk_index + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    /// Removes and returns the item with the key.
    pub fn remove(&mut self, key: &T::Key) -> Option<T> {
        let chunk_index = self.chunk_index(key);
        let chunk = self.chunks.get(chunk_index)?;
        let index = chunk.binary_search_by(|item| item.key().cmp(key)).ok()?;
        self.first_changed_chunk = self.first_changed_chunk.min(chunk_index);
        let chunk = Arc::make_mut(&mut self.chunks[chunk_index]);
        let item = chunk.remove(index);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(chunk_index);
        }
        Some(item)
    }

    /// Returns the index of the chunk for `key`: the first one whose last item is not less than it.
    fn chunk_index(&self, key: &T::Key) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.key() < key))
    }
}

impl<T: Keyed> FromIterator<T> for SortedChunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut chunks = Self::default();
        for item in items {
            chunks.insert(item);
        }
        chunks
    }
}

impl<T: Keyed> IntoIterator for SortedChunks<T> {
    type Item = T;
    type IntoIter =
        std::iter::FlatMap<std::vec::IntoIter<Arc<Vec<T>>>, Vec<T>, fn(Arc<Vec<T>>) -> Vec<T>>;

    /// Returns the items in order. Each chunk is freed as soon as its items were returned.
    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flat_map(Arc::unwrap_or_clone)
    }
}

impl<T: Keyed + PartialEq> PartialEq for SortedChunks<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Keyed + Eq> Eq for SortedChunks<T> {}

impl<T: fmt::Debug> fmt::Debug for SortedChunks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chunks.iter().flat_map(|chunk| chunk.iter())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Item(u16, u16);

    impl Keyed for Item {
        type Key = u16;
        fn key(&self) -> &u16 {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn operations_equal_those_of_a_btree_map(ops in proptest::collection::vec((any::<bool>(), 0u16..900, 0u16..9), 0..2500)) {
            let mut chunks = SortedChunks::default();
            let mut model = BTreeMap::new();
            for (insert, key, value) in ops {
                if insert {
                    let before = chunks.insert(Item(key, value)).map(|item: Item| item.1);
                    prop_assert_eq!(before, model.insert(key, value));
                } else {
                    prop_assert_eq!(chunks.remove(&key).map(|item| item.1), model.remove(&key));
                }
            }
            prop_assert_eq!(chunks.len(), model.len());
            let items: Vec<(u16, u16)> = chunks.iter().map(|item| (item.0, item.1)).collect();
            prop_assert_eq!(items, model.clone().into_iter().collect::<Vec<_>>());
            for key in [0, 300, 899] {
                prop_assert_eq!(chunks.get(&key).map(|item| item.1), model.get(&key).copied());
                let tail: Vec<u16> = chunks.range_from(&key).map(|item| item.0).collect();
                prop_assert_eq!(tail, model.range(key..).map(|(key, _)| *key).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn clone_is_independent_and_shares_unchanged_chunks() {
        let mut chunks: SortedChunks<Item> = SortedChunks::default();
        for key in 0..1000 {
            chunks.insert(Item(key, 0));
        }
        let copy = chunks.clone();
        chunks.insert(Item(500, 1));
        chunks.remove(&0);
        assert_eq!((copy.len(), copy.get(&500)), (1000, Some(&Item(500, 0))));
        let shared = copy.chunks.iter().filter(|a| chunks.chunks.iter().any(|b| Arc::ptr_eq(a, b)));
        assert_eq!(shared.count(), copy.chunks.len() - 2);
    }
}
