//! Writes responses: JSON, problems, and the memory budget of large ones.

pub(crate) mod render;
