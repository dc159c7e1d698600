//! Highlights keys, strings, numbers and keywords of JSON and YAML.
//!
//! It recognises tokens only and does not parse, so invalid JSON or YAML is shown too.

use crate::wire::rich_text::tree::{Element, Node, TooManyNodes, TreeBuilder};

/// Scalars with a meaning of their own.
const SCALAR_KEYWORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "~"];

/// Returns the tree of a JSON text.
pub(crate) fn json(text: &str) -> Result<Vec<Node>, TooManyNodes> {
    let mut out = TreeBuilder::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, class) = if first == '"' {
            let end = find_string_end(rest, first);
            let is_key = rest[end..].trim_start().starts_with(':');
            (&rest[..end], Some(if is_key { "key" } else { "text" }))
        } else if first.is_ascii_alphanumeric() || first == '-' {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (&rest[..end], scalar_class(&rest[..end]))
        } else {
            (&rest[..first.len_utf8()], None)
        };
        push_token(&mut out, token, class);
        rest = &rest[token.len()..];
    }
    out.finish()
}

/// Returns the tree of a YAML text.
pub(crate) fn yaml(text: &str) -> Result<Vec<Node>, TooManyNodes> {
    let mut out = TreeBuilder::default();
    for line in text.split_inclusive('\n') {
        let body = line.trim_end();
        let begin = body.len() - body.trim_start_matches([' ', '-']).len();
        let (indent, content) = body.split_at(begin);
        out.push_text(indent);
        let value = match find_key_end(content) {
            Some(key) => {
                push_token(&mut out, &content[..key], Some("key"));
                &content[key..]
            }
            None => content,
        };
        push_yaml_value(&mut out, value);
        out.push_text(&line[body.len()..]);
    }
    out.finish()
}

fn push_yaml_value(out: &mut TreeBuilder, value: &str) {
    let begin = value.len() - value.trim_start_matches([':', ' ']).len();
    let (before, value) = value.split_at(begin);
    out.push_text(before);
    let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'');
    let end = match quote {
        Some(quote) => find_string_end(value, quote),
        None if value.starts_with('#') => 0,
        None => value.find(" #").unwrap_or(value.len()),
    };
    let (value, comment) = value.split_at(end);
    push_token(out, value, if quote.is_some() { Some("text") } else { scalar_class(value.trim()) });
    push_token(out, comment, comment.trim_start().starts_with('#').then_some("comment"));
}

/// Returns the end of the key at the start of a line, if it has one.
fn find_key_end(line: &str) -> Option<usize> {
    let quote = line.chars().next().filter(|c| *c == '"' || *c == '\'');
    let end = match quote {
        Some(quote) => find_string_end(line, quote),
        None if line.starts_with(['#', '[', '{', '&', '*', '!', '|', '>', '%', '@']) => {
            return None;
        }
        None => line.match_indices(':').map(|(at, _)| at).find(|at| {
            let after = &line[at + 1..];
            after.is_empty() || after.starts_with(' ')
        })?,
    };
    (end > 0 && line[end..].starts_with(':')).then_some(end)
}

/// Returns the end of the quoted string at the start of `text`; at most the end of the line.
fn find_string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn scalar_class(text: &str) -> Option<&'static str> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if numeric && text.parse::<f64>().is_ok() {
        Some("number")
    } else if SCALAR_KEYWORDS.contains(&text) {
        Some("word")
    } else {
        None
    }
}

fn push_token(out: &mut TreeBuilder, text: &str, class: Option<&'static str>) {
    match class {
        _ if text.is_empty() => {}
        Some(class) => out.push_leaf(Element::new("span").with_class(class), text),
        None => out.push_text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rich_text::html::write_html;

    fn html(nodes: &[Node]) -> String {
        let mut out = String::new();
        write_html(&mut out, nodes);
        out.replace("<span class=\"", "<").replace("\">", ">").replace("</span>", "</>")
    }

    #[test]
    fn json_tokens_are_classified() {
        for (text, expected) in [
            (
                "{\"a\": [\"b\\\"c\", -1.5e3, true]}",
                "{<key>&quot;a&quot;</>: [<text>&quot;b\\&quot;c&quot;</>, <number>-1.5e3</>, \
                 <word>true</>]}",
            ),
            ("\"open\n1", "<text>&quot;open</>\n<number>1</>"),
            ("<b>", "&lt;b&gt;"),
        ] {
            assert_eq!(html(&json(text).unwrap()), expected);
        }
    }

    #[test]
    fn yaml_tokens_are_classified() {
        for (text, expected) in [
            ("a: 1 # c\n", "<key>a</>: <number>1</><comment> # c</>\n"),
            ("- 'b c': \"d # e\"", "- <key>&#39;b c&#39;</>: <text>&quot;d # e&quot;</>"),
            ("# all\n  x:\n", "<comment># all</>\n  <key>x</>:\n"),
            ("url: http://a:80", "<key>url</>: http://a:80"),
            ("- no", "- <word>no</>"),
            ("a: |\n  <b>: x", "<key>a</>: |\n  <key>&lt;b&gt;</>: x"),
        ] {
            assert_eq!(html(&yaml(text).unwrap()), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        /// The tree has the text of the input, complete and unchanged.
        #[test]
        fn highlighting_preserves_the_text(text in r#"([ -~\n]|ü|: |"|- )*"#) {
            fn flat(nodes: &[Node]) -> String {
                nodes.iter().map(|node| match node {
                    Node::Text(text) => text.clone(),
                    Node::Element(element) => flat(&element.children),
                }).collect()
            }
            proptest::prop_assert_eq!(&flat(&json(&text).unwrap()), &text);
            proptest::prop_assert_eq!(&flat(&yaml(&text).unwrap()), &text);
        }
    }
}
