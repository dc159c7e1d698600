//! Reads the journal on behalf of requests: pooled connections, shared reads, parts
//! that are made as a client reads.

pub(crate) mod parts;
pub(crate) mod read_cache;
pub(crate) mod reader_pool;
