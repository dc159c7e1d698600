//! The tree that content is rendered to: texts, and elements with a known tag and class.
//!
//! Content is never markup: it becomes text nodes, and a client creates elements only for the tags
//! of the tree. Links are kept only with a scheme that cannot run a script. Control characters and
//! characters that reorder text are replaced by escapes.

use std::borrow::Cow;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::core::path::is_unprintable;

/// Maximum depth of nested elements; the text of deeper ones is added to the last one.
const MAX_ELEMENT_DEPTH: usize = 40;

/// Maximum number of nodes of a tree. A browser takes a tenth of a second for ten thousand, and the daemon
/// holds all of them at once.
const MAX_NODES: usize = 50_000;

/// A document has too many nodes to be shown as a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document has too many elements to be rendered; its source is shown")]
pub struct TooManyNodes;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text, which is never markup.
    Text(String),
    /// An element with its children.
    Element(Element),
}

/// An element of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// HTML tag.
    pub tag: &'static str,
    /// CSS class.
    pub class: Option<&'static str>,
    /// Target of a link.
    pub href: Option<String>,
    /// First number of an ordered list, if it is not 1.
    pub start: Option<u64>,
    /// Nodes inside the element.
    pub children: Vec<Node>,
}

impl Element {
    /// Creates an element without children.
    #[must_use]
    pub fn new(tag: &'static str) -> Self {
        Self { tag, class: None, href: None, start: None, children: Vec::new() }
    }

    /// Sets the class.
    #[must_use]
    pub fn with_class(mut self, class: &'static str) -> Self {
        self.class = Some(class);
        self
    }
}

/// Returns a code block.
pub(crate) fn code_block(children: Vec<Node>) -> Node {
    Node::Element(Element { children, ..Element::new("pre") })
}

/// Returns plain text as nodes.
pub(crate) fn text_nodes(text: &str) -> Result<Vec<Node>, TooManyNodes> {
    let mut out = TreeBuilder::default();
    out.push_text(text);
    out.finish()
}

/// Replaces control characters and characters that reorder text by escapes, and `\r\n` by `\n`.
#[must_use]
pub(crate) fn escape_control_chars(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_unprintable(c) && c != '\n' && c != '\t';
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Part of a line end on other systems.
            '\r' => {}
            c if is_escaped(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Returns the link if it cannot run a script: its scheme is `http`, `https` or `mailto`.
#[must_use]
pub(crate) fn parse_safe_link(link: &str) -> Option<String> {
    let lower = link.to_ascii_lowercase();
    let has_safe_scheme =
        ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme));
    let is_printable = !link.contains(|c: char| c.is_whitespace() || is_unprintable(c));
    (has_safe_scheme && is_printable).then(|| link.to_owned())
}

/// Builds a tree from a sequence of texts, starts and ends of elements.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    nodes: Vec<Node>,
    open_elements: Vec<Element>,
    /// Number of open elements that were left out because they are nested too deeply.
    skipped_depth: usize,
    /// Number of nodes. When there are too many, no more are added.
    count: usize,
}

impl TreeBuilder {
    pub(crate) fn push_text(&mut self, text: &str) {
        if self.count > MAX_NODES {
            return;
        }
        let text = escape_control_chars(text);
        let into = self.open_elements.last_mut().map_or(&mut self.nodes, |open| &mut open.children);
        match into.last_mut() {
            Some(Node::Text(before)) => before.push_str(&text),
            _ => {
                into.push(Node::Text(text.into_owned()));
                self.count += 1;
            }
        }
    }

    /// Adds a node with all of its children.
    pub(crate) fn push_tree(&mut self, node: Node) {
        let added = count_nodes(&node);
        self.count = self.count.saturating_add(added);
        if self.count <= MAX_NODES {
            self.push_counted(node);
        }
    }

    /// Records that a part of the document has too many nodes.
    pub(crate) fn exceed(&mut self) {
        self.count = usize::MAX;
    }

    fn push_counted(&mut self, node: Node) {
        self.open_elements.last_mut().map_or(&mut self.nodes, |open| &mut open.children).push(node);
    }

    pub(crate) fn open_element(&mut self, element: Element) {
        if self.skipped_depth > 0 || self.open_elements.len() >= MAX_ELEMENT_DEPTH {
            self.skipped_depth += 1;
        } else {
            self.count = self.count.saturating_add(1);
            self.open_elements.push(element);
        }
    }

    pub(crate) fn close_element(&mut self) {
        if self.skipped_depth > 0 {
            self.skipped_depth -= 1;
        } else if let Some(element) = self.open_elements.pop()
            && self.count <= MAX_NODES
        {
            self.push_counted(Node::Element(element));
        }
    }

    pub(crate) fn push_leaf(&mut self, element: Element, text: &str) {
        self.open_element(element);
        self.push_text(text);
        self.close_element();
    }

    /// Returns the nodes.
    pub(crate) fn finish(mut self) -> Result<Vec<Node>, TooManyNodes> {
        while !self.open_elements.is_empty() {
            self.skipped_depth = 0;
            self.close_element();
        }
        if self.count > MAX_NODES { Err(TooManyNodes) } else { Ok(self.nodes) }
    }
}

fn count_nodes(node: &Node) -> usize {
    match node {
        Node::Text(_) => 1,
        Node::Element(element) => 1 + element.children.iter().map(count_nodes).sum::<usize>(),
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Element(element) => {
                let mut out = serializer.serialize_struct("Element", 5)?;
                out.serialize_field("tag", element.tag)?;
                if let Some(class) = element.class {
                    out.serialize_field("class", class)?;
                }
                if let Some(href) = &element.href {
                    out.serialize_field("href", href)?;
                }
                if let Some(start) = element.start {
                    out.serialize_field("start", &start)?;
                }
                if !element.children.is_empty() {
                    out.serialize_field("children", &element.children)?;
                }
                out.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_kept_only_with_a_safe_scheme() {
        for safe in ["https://a.b/c?d=1&e", "HTTP://a", "mailto:a@b"] {
            assert_eq!(parse_safe_link(safe).as_deref(), Some(safe));
        }
        for unsafe_link in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            " https://a",
            "java\tscript:x",
            "data:text/html,x",
            "vbscript:x",
            "//a.b",
            "/etc/passwd",
            "file:///etc",
            "https://a\u{202e}b",
            "",
        ] {
            assert_eq!(parse_safe_link(unsafe_link), None, "{unsafe_link:?}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            escape_control_chars("a\tb\r\nc\u{1b}[2J\u{202e}d"),
            "a\tb\nc\\u{1b}[2J\\u{202e}d"
        );
        assert!(matches!(escape_control_chars("gr\u{fc}n\n"), Cow::Borrowed(_)));
    }
}
