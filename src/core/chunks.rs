//! A sorted list that is cheap to share and cheap to change: an immutable copy shares all chunks
//! with the one that goes on changing, and a change copies one chunk.

use std::fmt;
use std::sync::Arc;

/// Most items of a chunk.
const CHUNK_MAX: usize = 256;
/// By how many items a full chunk gets more room: there are many chunks, and all wait for more.
const CHUNK_STEP: usize = 8;

/// An item with a place in the order.
pub trait Keyed: Clone {
    /// What the order is by.
    type Key: Ord + ?Sized;
    /// The item's key.
    fn key(&self) -> &Self::Key;
}

/// Items in order of key, each key once.
#[derive(Clone)]
pub struct Chunks<T> {
    /// None of them is empty.
    parts: Vec<Arc<Vec<T>>>,
    len: usize,
    /// No chunk before this one was changed since [`Chunks::take_changed`].
    changed_from: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { parts: Vec::new(), len: 0, changed_from: 0 }
    }
}

impl<T: Keyed> Chunks<T> {
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
        self.parts.iter().flat_map(|chunk| chunk.iter())
    }

    /// The items from `key` on, in order.
    pub fn from(&self, key: &T::Key) -> impl Iterator<Item = &T> {
        let chunk = self.chunk_of(key);
        let rest = self.parts[chunk..].iter().flat_map(|chunk| chunk.iter());
        rest.skip_while(move |item| item.key() < key)
    }

    /// The chunks from one on, by number.
    pub(super) fn chunks_from(&self, from: usize) -> impl ExactSizeIterator<Item = &[T]> {
        self.parts[from.min(self.parts.len())..].iter().map(|chunk| chunk.as_slice())
    }

    /// Number of the first chunk that may have changed since this was asked last; all before it are
    /// what they were.
    pub(super) fn take_changed(&mut self) -> usize {
        std::mem::replace(&mut self.changed_from, usize::MAX)
    }

    /// The item with that key.
    #[must_use]
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let chunk = self.parts.get(self.chunk_of(key))?;
        let place = chunk.binary_search_by(|item| item.key().cmp(key)).ok()?;
        chunk.get(place)
    }

    /// Puts an item in its place; gives the one that had its key.
    pub fn insert(&mut self, item: T) -> Option<T> {
        if self.parts.is_empty() {
            self.parts.push(Arc::new(Vec::new()));
        }
        let at = self.chunk_of(item.key()).min(self.parts.len() - 1);
        self.changed_from = self.changed_from.min(at);
        let chunk = Arc::make_mut(&mut self.parts[at]);
        match chunk.binary_search_by(|known| known.key().cmp(item.key())) {
            Ok(place) => Some(std::mem::replace(&mut chunk[place], item)),
            Err(place) => {
                if chunk.len() == chunk.capacity() {
                    chunk.reserve_exact(CHUNK_STEP);
                }
                chunk.insert(place, item);
                self.len += 1;
                if chunk.len() > CHUNK_MAX {
                    // Items that come in order fill their chunks; others leave room in both.
                    let keep = if place == CHUNK_MAX { CHUNK_MAX } else { CHUNK_MAX / 2 };
                    let tail = chunk.split_off(keep);
                    chunk.shrink_to_fit();
                    self.parts.insert(at + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    /// Takes the item with that key out.
    pub fn remove(&mut self, key: &T::Key) -> Option<T> {
        let at = self.chunk_of(key);
        let place = self.parts.get(at)?.binary_search_by(|item| item.key().cmp(key)).ok()?;
        self.changed_from = self.changed_from.min(at);
        let chunk = Arc::make_mut(&mut self.parts[at]);
        let item = chunk.remove(place);
        self.len -= 1;
        if chunk.is_empty() {
            self.parts.remove(at);
        }
        Some(item)
    }

    /// The chunk that has `key` or would: the first whose last item is not below it.
    fn chunk_of(&self, key: &T::Key) -> usize {
        self.parts.partition_point(|chunk| chunk.last().is_some_and(|last| last.key() < key))
    }
}

impl<T: Keyed> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut chunks = Self::default();
        for item in items {
            chunks.insert(item);
        }
        chunks
    }
}

impl<T: Keyed> IntoIterator for Chunks<T> {
    type Item = T;
    type IntoIter =
        std::iter::FlatMap<std::vec::IntoIter<Arc<Vec<T>>>, Vec<T>, fn(Arc<Vec<T>>) -> Vec<T>>;

    /// The items in order; a chunk is dropped as soon as they are out of it.
    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter().flat_map(Arc::unwrap_or_clone)
    }
}

impl<T: Keyed + PartialEq> PartialEq for Chunks<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Keyed + Eq> Eq for Chunks<T> {}

impl<T: fmt::Debug> fmt::Debug for Chunks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().flat_map(|chunk| chunk.iter())).finish()
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
            let mut chunks = Chunks::default();
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
                let tail: Vec<u16> = chunks.from(&key).map(|item| item.0).collect();
                prop_assert_eq!(tail, model.range(key..).map(|(key, _)| *key).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_copy_does_not_change() {
        let mut chunks: Chunks<Item> = Chunks::default();
        for key in 0..1000 {
            chunks.insert(Item(key, 0));
        }
        let copy = chunks.clone();
        chunks.insert(Item(500, 1));
        chunks.remove(&0);
        assert_eq!((copy.len(), copy.get(&500)), (1000, Some(&Item(500, 0))));
        let shared = copy.parts.iter().filter(|a| chunks.parts.iter().any(|b| Arc::ptr_eq(a, b)));
        assert_eq!(shared.count(), copy.parts.len() - 2);
    }
}
