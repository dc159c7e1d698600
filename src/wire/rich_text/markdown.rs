//! Renders Markdown. HTML, images and links with unsafe schemes become text.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::wire::rich_text::highlight;
use crate::wire::rich_text::tree::{
    Element, Node, TooManyNodes, TreeBuilder, code_block, parse_safe_link, text_nodes,
};

/// Returns the tree of a Markdown text.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, TooManyNodes> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut renderer = Renderer::default();
    for event in Parser::new_ext(text, options) {
        renderer.on_event(event);
    }
    renderer.builder.finish()
}

#[derive(Default)]
struct Renderer {
    builder: TreeBuilder,
    in_head: bool,
    /// Language and text of the code block that is being read.
    code_block: Option<(Language, String)>,
    /// Number of open images, whose descriptions are shown as text.
    image_depth: usize,
}

#[derive(Clone, Copy)]
enum Language {
    Json,
    Yaml,
    Metadata,
    Html,
    Other,
}

impl Language {
    fn from_code_block(kind: &CodeBlockKind<'_>) -> Self {
        let CodeBlockKind::Fenced(info) = kind else { return Self::Other };
        match info.split([' ', ',']).next().unwrap_or_default() {
            "json" | "jsonl" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            _ => Self::Other,
        }
    }
}

impl Renderer {
    fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.on_start(&tag),
            Event::End(tag) => self.on_end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.push_text(&text);
            }
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.builder.push_leaf(Element::new("code"), &text);
            }
            Event::SoftBreak => self.push_text("\n"),
            Event::HardBreak => self.builder.push_tree(Node::Element(Element::new("br"))),
            Event::Rule => self.builder.push_tree(Node::Element(Element::new("hr"))),
            Event::TaskListMarker(done) => {
                self.push_text(if done { "\u{2611} " } else { "\u{2610} " });
            }
            Event::FootnoteReference(name) => self.push_text(&format!("[^{name}]")),
        }
    }

    fn push_text(&mut self, text: &str) {
        match &mut self.code_block {
            Some((_, block)) => block.push_str(text),
            None => self.builder.push_text(text),
        }
    }

    fn on_start(&mut self, tag: &Tag<'_>) {
        let element = match tag {
            Tag::CodeBlock(kind) => {
                self.code_block = Some((Language::from_code_block(kind), String::new()));
                return;
            }
            Tag::MetadataBlock(_) => {
                self.code_block = Some((Language::Metadata, String::new()));
                return;
            }
            Tag::HtmlBlock => {
                self.code_block = Some((Language::Html, String::new()));
                return;
            }
            Tag::Heading { level, .. } => Element::new(heading_tag(*level)),
            Tag::BlockQuote(_) => Element::new("blockquote"),
            Tag::List(start) => {
                let tag = if start.is_some() { "ol" } else { "ul" };
                Element { start: start.filter(|start| *start != 1), ..Element::new(tag) }
            }
            Tag::Item => Element::new("li"),
            Tag::Table(_) => Element::new("table"),
            Tag::TableHead => {
                self.in_head = true;
                self.builder.open_element(Element::new("thead"));
                Element::new("tr")
            }
            Tag::TableRow => Element::new("tr"),
            Tag::TableCell => Element::new(if self.in_head { "th" } else { "td" }),
            Tag::Emphasis => Element::new("em"),
            Tag::Strong => Element::new("strong"),
            Tag::Strikethrough => Element::new("del"),
            Tag::Link { dest_url, .. } => match parse_safe_link(dest_url) {
                Some(href) => Element { href: Some(href), ..Element::new("a") },
                None => Element::new("span").with_class("link"),
            },
            Tag::Image { .. } => {
                self.image_depth += 1;
                self.builder.open_element(Element::new("span").with_class("image"));
                self.builder.push_text("[image: ");
                return;
            }
            _ => Element::new("p"),
        };
        self.builder.open_element(element);
    }

    fn on_end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::CodeBlock | TagEnd::MetadataBlock(_) | TagEnd::HtmlBlock => {
                let Some((language, text)) = self.code_block.take() else { return };
                let nodes = match language {
                    Language::Json => highlight::json(&text),
                    Language::Yaml | Language::Metadata => highlight::yaml(&text),
                    Language::Html | Language::Other => text_nodes(&text),
                };
                let Ok(nodes) = nodes else {
                    self.builder.exceed();
                    return;
                };
                let mut block = code_block(nodes);
                if let (Node::Element(element), Language::Metadata) = (&mut block, language) {
                    element.class = Some("metadata");
                }
                self.builder.push_tree(block);
                return;
            }
            TagEnd::TableHead => {
                self.in_head = false;
                self.builder.close_element();
            }
            TagEnd::Image => {
                self.image_depth = self.image_depth.saturating_sub(1);
                self.builder.push_text("]");
            }
            _ => {}
        }
        self.builder.close_element();
    }
}

/// Returns the tag of a heading. The page around the content uses `h1` and `h2`.
fn heading_tag(level: HeadingLevel) -> &'static str {
    match level {
        HeadingLevel::H1 => "h3",
        HeadingLevel::H2 => "h4",
        HeadingLevel::H3 => "h5",
        HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => "h6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rich_text::html::write_html;

    fn html(text: &str) -> String {
        let mut out = String::new();
        write_html(&mut out, &parse(text).unwrap());
        out
    }

    #[test]
    fn common_markdown_is_rendered() {
        for (text, expected) in [
            ("# A *b*\n\ntext\nmore", "<h3>A <em>b</em></h3><p>text\nmore</p>"),
            ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
            ("3. a", "<ol start=\"3\"><li>a</li></ol>"),
            ("- [x] done\n- [ ] open", "<ul><li>\u{2611} done</li><li>\u{2610} open</li></ul>"),
            (
                "| a | b |\n| - | - |\n| 1 | ~~2~~ |",
                "<table><thead><tr><th>a</th><th>b</th></tr></thead>\
                 <tr><td>1</td><td><del>2</del></td></tr></table>",
            ),
            (
                "[a](https://b.c/?d&e)",
                "<p><a rel=\"noopener noreferrer\" href=\"https://b.c/?d&amp;e\">a</a></p>",
            ),
            ("`<b>`  \nc", "<p><code>&lt;b&gt;</code><br>c</p>"),
            (
                "---\nlane: done\n---\nx",
                "<pre class=\"metadata\"><span class=\"key\">lane</span>: done\n</pre><p>x</p>",
            ),
        ] {
            assert_eq!(html(text), expected, "{text:?}");
        }
    }

    #[test]
    fn html_and_unsafe_links_become_text() {
        for (text, expected) in [
            ("<script>alert(1)</script>", "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>"),
            ("a <img src=x onerror=y> b", "<p>a &lt;img src=x onerror=y&gt; b</p>"),
            ("[a](javascript:x)", "<p><span class=\"link\">a</span></p>"),
            ("![a](https://b/c.png)", "<p><span class=\"image\">[image: a]</span></p>"),
            ("<javascript:x>", "<p><span class=\"link\">javascript:x</span></p>"),
        ] {
            assert_eq!(html(text), expected, "{text:?}");
        }
    }

    #[test]
    fn nesting_depth_is_bounded() {
        for text in [">".repeat(100_000), "- ".repeat(50_000), "*a ".repeat(20_000)] {
            let out = html(&text);
            assert!(out.matches("<blockquote>").count() < 50);
            assert!(out.matches("<ul>").count() < 50);
        }
    }

    proptest::proptest! {
        /// Any input yields only the tags and attributes of the tree.
        #[test]
        fn output_has_only_known_tags(text in r#"([<>&"'`*_#\[\]()!:/=| \n-]|script|javascript:|onload|img|[a-z])*"#) {
            for part in html(&text).split('<').skip(1) {
                let tag = part.split('>').next().unwrap_or_default();
                let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
                let known = [
                    "h3", "h4", "h5", "h6", "p", "pre", "code", "span", "em", "strong", "del", "a",
                    "ul", "ol", "li", "table", "thead", "tr", "th", "td", "br", "hr", "blockquote",
                ];
                proptest::prop_assert!(known.contains(&name), "{}", tag);
                proptest::prop_assert!(!tag.contains("onload"), "{}", tag);
            }
        }
    }
}
