//! Renders the content of an artifact as a tree, by its media type.

use crate::wire::rich_text::tree::{Node, code_block};
use crate::wire::rich_text::{highlight, markdown};

/// Maximum size in bytes of rendered content; larger content is shown as plain text, since a page
/// has to hold every node.
const MAX_RENDER_BYTES: usize = 256 << 10;

/// Renders content of this kind; `None` if it is to be shown as plain text.
#[must_use]
pub fn render_text(media_type_hint: &str, text: &str) -> Option<Vec<Node>> {
    if text.len() > MAX_RENDER_BYTES {
        return None;
    }
    match media_type_hint {
        "markdown" => Some(markdown::parse(text)),
        "json" => Some(vec![code_block(highlight::json(text))]),
        "yaml" => Some(vec![code_block(highlight::yaml(text))]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_content_and_plain_text_are_not_rendered() {
        assert!(render_text("markdown", "# a").is_some());
        assert!(render_text("markdown", &"a".repeat(MAX_RENDER_BYTES + 1)).is_none());
        assert!(render_text("text", "# a").is_none());
    }
}
