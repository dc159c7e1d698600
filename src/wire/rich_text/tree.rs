//! What a content looks like: a tree of a few elements, texts and classes that are known here.
//!
//! Foreign text is never markup. It becomes a text of the tree, and a reader builds elements for
//! the tags it knows and texts for the rest; a link is kept only with a scheme that cannot run
//! anything. What a screen would obey or reorder is shown as an escape.

use std::borrow::Cow;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::core::path::is_unprintable;

/// Elements within each other; what is deeper stands in the last one.
const MAX_ELEMENT_DEPTH: usize = 40;

/// A text, or an element with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text.
    Text(String),
    /// An element.
    Element(Element),
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its tag.
    pub tag: &'static str,
    /// Its class.
    pub class: Option<&'static str>,
    /// Where a link leads.
    pub href: Option<String>,
    /// The first number of a list.
    pub start: Option<u64>,
    /// What is in it.
    pub children: Vec<Node>,
}

impl Element {
    /// An empty one.
    #[must_use]
    pub fn new(tag: &'static str) -> Self {
        Self { tag, class: None, href: None, start: None, children: Vec::new() }
    }

    /// With a class.
    #[must_use]
    pub fn with_class(mut self, class: &'static str) -> Self {
        self.class = Some(class);
        self
    }
}

/// Lines of code.
pub(crate) fn code_block(children: Vec<Node>) -> Node {
    Node::Element(Element { children, ..Element::new("pre") })
}

/// Text as it is.
pub(crate) fn text_nodes(text: &str) -> Vec<Node> {
    let mut out = TreeBuilder::default();
    out.push_text(text);
    out.finish()
}

/// Text of several lines with what a screen would obey written as an escape.
#[must_use]
pub(crate) fn escape_control_chars(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| is_unprintable(c) && c != '\n' && c != '\t';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // The line end of others is one.
            '\r' => {}
            c if hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A link that cannot run anything.
#[must_use]
pub(crate) fn parse_safe_link(link: &str) -> Option<String> {
    let lower = link.to_ascii_lowercase();
    let known = ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme));
    let plain = !link.contains(|c: char| c.is_whitespace() || is_unprintable(c));
    (known && plain).then(|| link.to_owned())
}

/// A tree in the making.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    nodes: Vec<Node>,
    open_elements: Vec<Element>,
    /// Elements that are open and were left out, being too deep.
    skipped_depth: usize,
}

impl TreeBuilder {
    pub(crate) fn push_text(&mut self, text: &str) {
        let text = escape_control_chars(text);
        let into = self.open_elements.last_mut().map_or(&mut self.nodes, |open| &mut open.children);
        match into.last_mut() {
            Some(Node::Text(before)) => before.push_str(&text),
            _ => into.push(Node::Text(text.into_owned())),
        }
    }

    pub(crate) fn push_node(&mut self, node: Node) {
        self.open_elements.last_mut().map_or(&mut self.nodes, |open| &mut open.children).push(node);
    }

    pub(crate) fn open_element(&mut self, element: Element) {
        if self.skipped_depth > 0 || self.open_elements.len() >= MAX_ELEMENT_DEPTH {
            self.skipped_depth += 1;
        } else {
            self.open_elements.push(element);
        }
    }

    pub(crate) fn close_element(&mut self) {
        if self.skipped_depth > 0 {
            self.skipped_depth -= 1;
        } else if let Some(element) = self.open_elements.pop() {
            self.push_node(Node::Element(element));
        }
    }

    pub(crate) fn push_leaf(&mut self, element: Element, text: &str) {
        self.open_element(element);
        self.push_text(text);
        self.close_element();
    }

    pub(crate) fn finish(mut self) -> Vec<Node> {
        while !self.open_elements.is_empty() {
            self.skipped_depth = 0;
            self.close_element();
        }
        self.nodes
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
    fn links_that_could_run_something_are_none() {
        for good in ["https://a.b/c?d=1&e", "HTTP://a", "mailto:a@b"] {
            assert_eq!(parse_safe_link(good).as_deref(), Some(good));
        }
        for bad in [
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
            assert_eq!(parse_safe_link(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_a_screen_would_obey_is_shown() {
        assert_eq!(
            escape_control_chars("a\tb\r\nc\u{1b}[2J\u{202e}d"),
            "a\tb\nc\\u{1b}[2J\\u{202e}d"
        );
        assert!(matches!(escape_control_chars("gr\u{fc}n\n"), Cow::Borrowed(_)));
    }
}
