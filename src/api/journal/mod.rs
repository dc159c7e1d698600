//! Reads of the journal, shared among subscribers.

pub(crate) mod read_cache;
pub(crate) mod reader_pool;
