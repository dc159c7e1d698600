//! The YAML front matter of work packages: its position, its static lines and the work package id
//! (`docs/specification.md#front-matter`).
//!
//! It is read line by line, not by a YAML parser: every work package has it, its content is
//! untrusted, and removing top-level entries does not need a parser. Only an id that is written in
//! an unusual way is parsed as YAML, with the limits of the parser.

use std::ops::Range;

use serde_yaml::Value;

/// Fields that runtimes rewrite while the work proceeds. Fields with one of [`RUNTIME_PREFIXES`]
/// are runtime fields too.
const RUNTIME_FIELDS: [&str; 13] = [
    "agent",
    "agent_profile",
    "assignee",
    "lane",
    "model",
    "role",
    "status",
    "shell_pid",
    "shell_pid_created_at",
    "history",
    "activity_log",
    "approved_by",
    "reviewed_by",
];
const RUNTIME_PREFIXES: [&str; 2] = ["review_", "reviewer"];

/// Maximum length of a work package id in bytes; a longer one is ignored.
const MAX_WP_ID_LEN: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Front matter in the leading bytes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum FrontMatter {
    /// There is none, whatever bytes follow.
    Absent,
    /// More bytes are needed. The range is set if the bytes end with a closing fence without a line
    /// end: if the file ends there, it is the block between the fences.
    Partial(Option<Range<usize>>),
    /// The range of the block between the fences.
    Complete(Range<usize>),
}

/// Finds front matter: the lines between a first line `---` and the next one.
#[must_use]
pub fn find_front_matter(bytes: &[u8]) -> FrontMatter {
    let bom = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let text = &bytes[bom..];
    if bom == 0 && BOM.starts_with(bytes) {
        return FrontMatter::Partial(None);
    }
    let Some(first) = text.iter().position(|byte| *byte == b'\n') else {
        let may_be_fence = b"---".starts_with(text) || is_fence(text);
        return if may_be_fence { FrontMatter::Partial(None) } else { FrontMatter::Absent };
    };
    if !is_fence(&text[..first]) {
        return FrontMatter::Absent;
    }
    let start = bom + first + 1;
    let mut end = start;
    for line in bytes[start..].split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(complete) if is_fence(complete) => return FrontMatter::Complete(start..end),
            None if is_fence(line) => return FrontMatter::Partial(Some(start..end)),
            _ => end += line.len(),
        }
    }
    FrontMatter::Partial(None)
}

fn is_fence(line: &[u8]) -> bool {
    line.strip_prefix(b"---").is_some_and(|rest| rest.trim_ascii().is_empty())
}

/// Calls `emit` with each line that does not belong to a runtime field. The lines of a field are
/// that of its key and those that continue it: indented, blank, or items of a list.
pub fn for_each_static_line(block: &[u8], emit: impl FnMut(&[u8])) {
    for_each_line_without(block, is_runtime_field, emit);
}

/// Calls `emit` with each line that does not belong to a field of these names.
pub fn for_each_line_without(
    block: &[u8],
    is_left_out: impl Fn(&str) -> bool,
    mut emit: impl FnMut(&[u8]),
) {
    let mut is_in_field = false;
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        match line.first() {
            Some(b' ' | b'\t' | b'-' | b'\n' | b'\r') => {}
            Some(b'#') => {
                emit(line);
                continue;
            }
            _ => {
                is_in_field = split_key_value(line).is_some_and(|(key, _)| is_left_out(key));
            }
        }
        if !is_in_field {
            emit(line);
        }
    }
}

/// Returns true for a field that runtimes rewrite in work packages.
pub(super) fn is_runtime_field(key: &str) -> bool {
    RUNTIME_FIELDS.contains(&key) || RUNTIME_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Splits a top-level line `key: value`; the key is returned without its quotes.
fn split_key_value(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (key, value) = line.split_once(':')?;
    if !value.is_empty() && !value.starts_with([' ', '\t', '\r', '\n']) {
        return None;
    }
    let key = key.trim_end();
    let unquoted = ['"', '\''].into_iter().find_map(|q| key.strip_prefix(q)?.strip_suffix(q));
    Some((unquoted.unwrap_or(key), value.trim()))
}

/// Returns the `work_package_id` of a block, if it is valid: 1 to 64 of `[A-Za-z0-9._-]`.
#[must_use]
pub fn parse_work_package_id(block: &[u8]) -> Option<Box<str>> {
    const FIELD: &[u8] = b"work_package_id";
    if !block.windows(FIELD.len()).any(|window| window == FIELD) {
        return None;
    }
    let mut lines = block.split(|byte| *byte == b'\n').filter_map(split_key_value);
    let mut fields = lines.by_ref().filter(|(key, _)| key.as_bytes() == FIELD);
    if let (Some((_, value)), None) = (fields.next(), fields.next())
        && let Some(id) = parse_plain_id(value)
    {
        return Some(id.into());
    }
    let block: Value = serde_yaml::from_slice(block).ok()?;
    let id = match block.get("work_package_id")? {
        Value::String(id) => id.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    is_valid_wp_id(&id).then(|| id.into())
}

/// Returns the id of a value that is a string in YAML without parsing: one that is quoted, or
/// begins with `WP`.
fn parse_plain_id(value: &str) -> Option<&str> {
    let value = value.split(" #").next().unwrap_or_default().trim_end();
    let quoted = ['"', '\''].into_iter().find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
    let id = quoted.or_else(|| Some(value).filter(|value| value.starts_with("WP")))?;
    is_valid_wp_id(id).then_some(id)
}

fn is_valid_wp_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_WP_ID_LEN && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_found_between_fences() {
        for (text, expected) in [
            ("---\na: 1\n---\nbody", FrontMatter::Complete(4..9)),
            ("---\r\na: 1\r\n---\r\nbody", FrontMatter::Complete(5..11)),
            ("\u{feff}---\na: 1\n---\n", FrontMatter::Complete(7..12)),
            ("---\n---\n", FrontMatter::Complete(4..4)),
            ("---  \na\n---\t\n", FrontMatter::Complete(6..8)),
            ("---\na: 1\n---", FrontMatter::Partial(Some(4..9))),
            ("---\na: 1\n", FrontMatter::Partial(None)),
            ("--", FrontMatter::Partial(None)),
            ("", FrontMatter::Partial(None)),
            ("----\na\n---\n", FrontMatter::Absent),
            ("# title\n---\n", FrontMatter::Absent),
            ("text", FrontMatter::Absent),
        ] {
            assert_eq!(find_front_matter(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn static_lines_leave_out_runtime_fields_only() {
        let block = "title: T\nlane: doing\nhistory:\n- at: 1\n  lane: planned\n\n# note\n- at: 2\n\
                     'agent': \"x\"\nreview_status: ok\nreviewer_agent: y\nreviewed_by: z\n\
                     approved_by: q\ndescription: |\n  lane: in text\nlanes: kept\nshell_pid: 1";
        let mut text = String::new();
        for_each_static_line(block.as_bytes(), |line| {
            text.push_str(std::str::from_utf8(line).unwrap());
        });
        assert_eq!(text, "title: T\n# note\ndescription: |\n  lane: in text\nlanes: kept\n");
    }

    #[test]
    fn work_package_id_is_read_from_valid_top_level_fields() {
        for (block, id) in [
            ("work_package_id: WP01\n", Some("WP01")),
            ("title: x\nwork_package_id: \"WP02\" # second\n", Some("WP02")),
            ("'work_package_id': 'WP03'\r\n", Some("WP03")),
            ("{work_package_id: WP04}", Some("WP04")),
            ("work_package_id: >-\n  WP05\n", Some("WP05")),
            ("nested:\n  work_package_id: WP06\n", None),
            ("work_package_id:\n", None),
            ("work_package_id: null\n", None),
            ("work_package_id: true\n", None),
            ("work_package_id:WP05\n", None),
            ("work_package_id: 7\n", Some("7")),
            ("work_package_id: \"WP\\e[31m\"\n", None),
            ("work_package_id: [WP]\n", None),
            ("title: x\n", None),
        ] {
            assert_eq!(parse_work_package_id(block.as_bytes()).as_deref(), id, "{block:?}");
        }
    }
}
