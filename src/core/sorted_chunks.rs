//! A sorted list that is cheap to share and cheap to change: an immutable copy shares all chunks
//! with the one that goes on changing, and a change copies one chunk.

use std::fmt;
use std::sync::Arc;

/// Most items of a chunk.
const MAX_CHUNK_LEN: usize = 256;
/// By how many items a full chunk gets more room: there are many chunks, and all wait for more.
const CHUNK_GROWTH: usize = 8;

/// An item with a place in the order.
pub trait Keyed: Clone {
    /// What the order is by.
    type Key: Ord + ?Sized;
    /// The item's key.
    fn key(&self) -> &Self::Key;
}

/// Items in order of key, each key once.
#[derive(Clone)]
pub struct SortedChunks<T> {
    /// None of them is empty.
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
    /// No chunk before this one was changed since [`SortedChunks::take_first_changed_chunk`].
    first_changed_chunk: usize,
}

impl<T> Default for SortedChunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0, first_changed_chunk: 0 }
    }
}

impl<T: Keyed> SortedChunks<T> {
    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The items from `key` on, in order.
    pub fn range_from(&self, key: &T::Key) -> impl Iterator<Item = &T> {
        let chunk = self.chunk_index(key);
        let rest = self.chunks[chunk..].iter().flat_map(|chunk| chunk.iter());
        rest.skip_while(move |item| item.key() < key)
    }

    /// The chunks from one on, by number.
    pub(super) fn chunks_from(&self, from: usize) -> impl ExactSizeIterator<Item = &[T]> {
        self.chunks[from.min(self.chunks.len())..].iter().map(|chunk| chunk.as_slice())
    }

    /// Number of the first chunk that may have changed since this was asked last; all before it are
    /// what they were.
    pub(super) fn take_first_changed_chunk(&mut self) -> usize {
        std::mem::replace(&mut self.first_changed_chunk, usize::MAX)
    }

    /// The item with that key.
    #[must_use]
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let chunk = self.chunks.get(self.chunk_index(key))?;
        let place = chunk.binary_search_by(|item| item.key().cmp(key)).ok()?;
        chunk.get(place)
    }

    /// Puts an item in its place; gives the one that had its key.
    pub fn insert(&mut self, item: T) -> Option<T> {
        if self.chunks.is_empty() {
            self.chunks.push(Arc::new(Vec::new()));
        }
        let at = self.chunk_index(item.key()).min(self.chunks.len() - 1);
        self.first_changed_chunk = self.first_changed_chunk.min(at);
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match chunk.binary_search_by(|known| known.key().cmp(item.key())) {
            Ok(place) => Some(std::mem::replace(&mut chunk[place], item)),
            Err(place) => {
                if chunk.len() == chunk.capacity() {
                    chunk.reserve_exact(CHUNK_GROWTH);
                }
                chunk.insert(place, item);
                self.len += 1;
                if chunk.len() > MAX_CHUNK_LEN {
                    // Items that come in order fill their chunks; others leave room in both.
                    let keep =
                        if place == MAX_CHUNK_LEN { MAX_CHUNK_LEN } else { MAX_CHUNK_LEN / 2 };
                    let tail = chunk.split_off(keep);
                    chunk.shrink_to_fit();
                    self.chunks.insert(at + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    /// Takes the item with that key out.
    pub fn remove(&mut self, key: &T::Key) -> Option<T> {
        let at = self.chunk_index(key);
        let place = self.chunks.get(at)?.binary_search_by(|item| item.key().cmp(key)).ok()?;
        self.first_changed_chunk = self.first_changed_chunk.min(at);
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let item = chunk.remove(place);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        Some(item)
    }

    /// The chunk that has `key` or would: the first whose last item is not below it.
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

    /// The items in order; a chunk is dropped as soon as they are out of it.
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
        fn behaves_as_a_sorted_map(ops in proptest::collection::vec((any::<bool>(), 0u16..900, 0u16..9), 0..2500)) {
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
    fn a_copy_does_not_change() {
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
