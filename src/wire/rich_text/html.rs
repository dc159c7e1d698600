//! Writes a tree as HTML.

use std::fmt::Write as _;

use crate::wire::rich_text::tree::{Node, escape_control_chars};

/// Escapes text for HTML.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for c in escape_control_chars(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Writes a tree as HTML.
pub fn write_html(out: &mut String, nodes: &[Node]) {
    for node in nodes {
        let element = match node {
            Node::Text(text) => {
                out.push_str(&escape_html(text));
                continue;
            }
            Node::Element(element) => element,
        };
        out.push('<');
        out.push_str(element.tag);
        if let Some(class) = element.class {
            let _ = write!(out, " class=\"{class}\"");
        }
        if let Some(href) = &element.href {
            let _ = write!(out, " rel=\"noopener noreferrer\" href=\"{}\"", escape_html(href));
        }
        if let Some(start) = element.start {
            let _ = write!(out, " start=\"{start}\"");
        }
        out.push('>');
        if matches!(element.tag, "br" | "hr") {
            continue;
        }
        write_html(out, &element.children);
        let _ = write!(out, "</{}>", element.tag);
    }
}
