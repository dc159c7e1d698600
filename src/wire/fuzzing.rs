//! Fuzzing of rendering: any text becomes a tree of known elements, without losing its limits.

use crate::core::path::is_unprintable;
use crate::wire::rich_text::{Node, render_text, write_html};

/// Tags that the page knows.
const TAGS: &[&str] = &[
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "pre",
    "code",
    "span",
    "em",
    "strong",
    "del",
    "a",
    "ul",
    "ol",
    "li",
    "table",
    "thead",
    "tr",
    "th",
    "td",
    "br",
    "hr",
    "blockquote",
];

/// Renders one input as each kind of document.
///
/// # Panics
/// If a property does not hold.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for media_type in ["markdown", "json", "yaml"] {
        let Ok(Some(nodes)) = render_text(media_type, text) else { continue };
        let count: usize = nodes.iter().map(|node| check(node, 0)).sum();
        assert!(count < 60_000, "{count} nodes");
        let mut html = String::new();
        write_html(&mut html, &nodes);
        assert!(!html.contains("<script"), "{html}");
    }
}

/// Checks a node, and returns the number of nodes in it.
fn check(node: &Node, depth: usize) -> usize {
    assert!(depth < 50, "nested too deeply");
    match node {
        Node::Text(text) => {
            let raw = text.chars().find(|c| is_unprintable(*c) && !matches!(c, '\n' | '\t'));
            assert_eq!(raw, None, "{text:?}");
            1
        }
        Node::Element(element) => {
            assert!(TAGS.contains(&element.tag), "{}", element.tag);
            let is_safe = |href: &String| {
                let lower = href.to_ascii_lowercase();
                ["http://", "https://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme))
            };
            assert!(element.href.iter().all(is_safe), "{:?}", element.href);
            1 + element.children.iter().map(|child| check(child, depth + 1)).sum::<usize>()
        }
    }
}
