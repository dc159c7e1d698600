//! Renders the content of artifacts as a tree of allowed elements, and the tree as HTML.

mod highlight;
mod html;
mod markdown;
mod render;
mod tree;

pub use html::{escape_html, write_html};
pub use render::render_text;
pub use tree::{Element, Node, TooManyNodes};
