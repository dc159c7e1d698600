//! Documents as a tree of allowed elements.

pub mod highlight;
pub mod markdown;
pub mod tree;
