//! Renders the content of an artifact as a tree, by its media type.

use crate::wire::rich_text::tree::{Node, TooManyNodes, code_block};
use crate::wire::rich_text::{highlight, markdown};

/// Maximum size in bytes of rendered content; larger content is shown as plain text, since a page
/// has to hold every node.
const MAX_RENDER_BYTES: usize = 256 << 10;

/// Renders content of this kind; `None` if it is to be shown as plain text.
///
/// # Errors
/// [`TooManyNodes`], if it is to be shown as plain text although it could be rendered.
pub fn render_text(media_type_hint: &str, text: &str) -> Result<Option<Vec<Node>>, TooManyNodes> {
    if text.len() > MAX_RENDER_BYTES {
        return Ok(None);
    }
    let nodes = match media_type_hint {
        "markdown" => markdown::parse(text)?,
        "json" => vec![code_block(highlight::json(text)?)],
        "yaml" => vec![code_block(highlight::yaml(text)?)],
        _ => return Ok(None),
    };
    Ok(Some(nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_content_and_plain_text_are_not_rendered() {
        assert!(render_text("markdown", "# a").unwrap().is_some());
        assert!(render_text("markdown", &"a".repeat(MAX_RENDER_BYTES + 1)).unwrap().is_none());
        assert!(render_text("text", "# a").unwrap().is_none());
    }

    #[test]
    fn documents_of_too_many_nodes_are_not_rendered() {
        let numbers = |count: usize| format!("[{}]", "1,".repeat(count));
        for (media_type, text) in [
            ("json", numbers(100_000)),
            ("json", "\"\"".repeat(100_000)),
            ("yaml", "a: 1\n".repeat(30_000)),
            ("markdown", format!("```json\n{}\n```\n", numbers(100_000))),
            ("markdown", format!("```json\n{}\n```\n", numbers(1_000)).repeat(60)),
            ("markdown", "*a* ".repeat(60_000)),
            ("markdown", "\\\n".repeat(60_000)),
        ] {
            assert_eq!(render_text(media_type, &text), Err(TooManyNodes), "{}", &text[..10]);
        }
        assert!(render_text("json", &numbers(10_000)).unwrap().is_some());
    }
}
