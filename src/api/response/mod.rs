//! Writes responses: JSON, problems, and the memory budget of large ones.

pub(crate) mod byte_budget;
pub(crate) mod json;
pub(crate) mod overview;
pub(crate) mod problem;
pub(crate) mod render;
