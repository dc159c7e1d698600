//! Reads the journal on behalf of requests: pooled connections, shared reads.

pub(crate) mod read_cache;
pub(crate) mod reader_pool;
