//! Writes a difference as a unified diff that `git apply` and `patch` accept. It colours nothing.

use super::text_diff::{DiffHunk, LineKind, TextDiff};

/// Permissions of a file as git writes them.
#[must_use]
pub fn git_mode(mode: u32) -> &'static str {
    if mode & 0o100 == 0 { "100644" } else { "100755" }
}

/// The files of a unified diff, and what changed in addition to their content.
#[derive(Debug, Clone, Copy)]
pub struct UnifiedHeader<'a> {
    /// Path before; `None` if the file is new.
    pub from: Option<&'a [u8]>,
    /// Path after; `None` if the file is missing.
    pub to: Option<&'a [u8]>,
    /// Permissions of a file that is new or missing.
    pub mode: u32,
}

/// The content of a unified diff.
#[derive(Debug, Clone, Copy)]
pub enum UnifiedBody<'d, 'a> {
    /// The changes.
    Text(&'d TextDiff<'a>),
    /// At least one file is not text.
    Binary,
    /// Why there are no lines.
    Note(&'d str),
}

/// Returns the lines before the changes.
#[must_use]
pub fn header_lines(header: &UnifiedHeader<'_>, has_hunks: bool) -> Vec<Vec<u8>> {
    let named = header.from.or(header.to).unwrap_or_default();
    let (from, to) = (header.from.unwrap_or(named), header.to.unwrap_or(named));
    let name = |prefix: &[u8], path: &[u8]| quote(&[prefix, path].concat());
    let (a, b) = (name(b"a/", from), name(b"b/", to));
    let mut lines = vec![[b"diff --git ", &a[..], b" ", &b[..]].concat()];
    match (header.from, header.to) {
        (None, _) => lines.push(format!("new file mode {}", git_mode(header.mode)).into_bytes()),
        (_, None) => {
            lines.push(format!("deleted file mode {}", git_mode(header.mode)).into_bytes());
        }
        (Some(from), Some(to)) if from != to => {
            lines.push([b"rename from ", &quote(from)[..]].concat());
            lines.push([b"rename to ", &quote(to)[..]].concat());
        }
        _ => {}
    }
    if has_hunks {
        let none: &[u8] = b"/dev/null";
        // A name with a space ends with a tab, as git writes it, so that nothing after it is a date.
        let end = |name: &[u8]| if name.contains(&b' ') { &b"\t"[..] } else { b"" };
        let a = if header.from.is_none() { none } else { &a };
        let b = if header.to.is_none() { none } else { &b };
        lines.push([b"--- ", a, end(a)].concat());
        lines.push([b"+++ ", b, end(b)].concat());
    }
    lines
}

/// Appends the difference of one file to `out`.
pub fn write_unified(out: &mut Vec<u8>, header: &UnifiedHeader<'_>, body: UnifiedBody<'_, '_>) {
    let has_hunks = matches!(body, UnifiedBody::Text(diff) if !diff.hunks.is_empty());
    let mut push = |line: &[u8]| {
        out.extend_from_slice(line);
        out.push(b'\n');
    };
    for line in header_lines(header, has_hunks) {
        push(&line);
    }
    match body {
        UnifiedBody::Text(diff) => {
            for hunk in &diff.hunks {
                push(hunk_heading(hunk).as_bytes());
                for line in &hunk.lines {
                    push(format!("{}{}", sign(line.kind), line.text).as_bytes());
                    if line.no_newline {
                        push(NO_NEWLINE.as_bytes());
                    }
                }
            }
        }
        UnifiedBody::Binary => push(b"Binary files differ"),
        UnifiedBody::Note(note) => push(note.as_bytes()),
    }
}

/// The line after one that ends the file without a line feed.
pub const NO_NEWLINE: &str = "\\ No newline at end of file";

/// Returns the first character of a line.
#[must_use]
pub fn sign(kind: LineKind) -> char {
    match kind {
        LineKind::Context => ' ',
        LineKind::Removed => '-',
        LineKind::Added => '+',
    }
}

/// Returns the heading of a hunk.
#[must_use]
pub fn hunk_heading(hunk: &DiffHunk<'_>) -> String {
    let from = range_text(hunk.from_start, hunk.from_lines);
    let to = range_text(hunk.to_start, hunk.to_lines);
    format!("@@ -{from} +{to} @@")
}

fn range_text(start: u32, lines: u32) -> String {
    if lines == 1 { start.to_string() } else { format!("{start},{lines}") }
}

/// Quotes a path as git does if it has a control character, a quote, a backslash, or a byte that is not
/// ASCII.
fn quote(path: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !b"\"\\".contains(byte);
    if path.iter().all(is_plain) {
        return path.to_vec();
    }
    let mut quoted = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            byte if is_plain(byte) => quoted.push(*byte),
            byte => quoted.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::text_diff::{ContentDiff, diff_contents};

    fn unified(from: Option<(&[u8], &str)>, to: Option<(&[u8], &str)>) -> String {
        let (old, new) = (from.map_or("", |side| side.1), to.map_or("", |side| side.1));
        let ContentDiff::Text(diff) = diff_contents(old.as_bytes(), new.as_bytes()) else {
            panic!("not text");
        };
        let (from, to) = (from.map(|side| side.0), to.map(|side| side.0));
        let mut out = Vec::new();
        write_unified(&mut out, &UnifiedHeader { from, to, mode: 0o644 }, UnifiedBody::Text(&diff));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn unified_diff_has_the_form_of_git() {
        for (from, to, expected) in [
            (
                Some((&b"a b"[..], "1\n2\n")),
                Some((&b"a b"[..], "1\nx")),
                "diff --git a/a b b/a b\n--- a/a b\t\n+++ b/a b\t\n@@ -1,2 +1,2 @@\n 1\n-2\n+x\n\
                 \\ No newline at end of file\n",
            ),
            (
                None,
                Some((b"\xff", "1\n")),
                "diff --git \"a/\\377\" \"b/\\377\"\nnew file mode 100644\n--- /dev/null\n\
                 +++ \"b/\\377\"\n@@ -0,0 +1 @@\n+1\n",
            ),
            (
                Some((b"a", "1\n")),
                Some((b"b", "1\n")),
                "diff --git a/a b/b\nrename from a\nrename to b\n",
            ),
            (Some((b"a", "")), None, "diff --git a/a b/a\ndeleted file mode 100644\n"),
        ] {
            assert_eq!(unified(from, to), expected);
        }
        assert_eq!((git_mode(0o644), git_mode(0o750)), ("100644", "100755"));
    }
}
