//! Content history: how a person names a state of the past, which versions are kept, and what differs
//! between two states (`docs/specification.md#content-history`). Storing and reading contents is the
//! task of `store` and `history`.

pub mod revision;
pub mod state_diff;
pub mod text_diff;
pub mod thinning;
pub mod unified;
