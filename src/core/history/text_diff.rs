//! Compares two texts line by line, and the changed lines word by word. It does not know files.
//!
//! Lines are compared with the Histogram algorithm, which has no time limit, so larger texts than
//! [`MAX_DIFF_BYTES`] and [`MAX_DIFF_LINES`] are not compared. Callers must not block others meanwhile:
//! 50,000 lines of few kinds take a second.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};
use serde::{Deserialize, Serialize};

/// Maximum size of a text in bytes; larger ones are not compared.
pub const MAX_DIFF_BYTES: usize = 2 << 20;
/// Maximum number of lines of a text; longer ones are not compared.
pub const MAX_DIFF_LINES: usize = 50_000;
/// Number of unchanged lines around a change.
const CONTEXT: u32 = 3;
/// Maximum size of the changed lines of a change in bytes; beyond it their words are not compared.
const MAX_WORD_BYTES: usize = 200_000;
/// Words are marked if at least this part of each side, without white space, did not change.
const MIN_COMMON_DIVISOR: usize = 4;

/// The difference between two versions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentDiff<'a> {
    /// Both are text.
    Text(TextDiff<'a>),
    /// One is not text: it is not UTF-8, or has a NUL character.
    Binary,
    /// One is larger than [`MAX_DIFF_BYTES`] or has more than [`MAX_DIFF_LINES`].
    TooLarge,
}

/// The difference between two texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextDiff<'a> {
    /// Number of lines that only the second text has.
    pub added_lines: u32,
    /// Number of lines that only the first text has.
    pub removed_lines: u32,
    /// Changes with the lines around them, in order.
    pub hunks: Vec<DiffHunk<'a>>,
}

/// Lines of both texts with at least one change. A range without lines begins after its `_start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiffHunk<'a> {
    /// Number of its first line in the first text, from 1.
    pub from_start: u32,
    /// Number of its lines in the first text.
    pub from_lines: u32,
    /// Number of its first line in the second text, from 1.
    pub to_start: u32,
    /// Number of its lines in the second text.
    pub to_lines: u32,
    /// Its lines, in order.
    pub lines: Vec<DiffLine<'a>>,
}

impl DiffHunk<'_> {
    /// Returns the hunk with lines of its own.
    #[must_use]
    pub fn into_owned(self) -> DiffHunk<'static> {
        let line = |line: DiffLine<'_>| DiffLine {
            kind: line.kind,
            text: line.text.into_owned().into(),
            changed: line.changed,
            no_newline: line.no_newline,
        };
        DiffHunk {
            from_start: self.from_start,
            from_lines: self.from_lines,
            to_start: self.to_start,
            to_lines: self.to_lines,
            lines: self.lines.into_iter().map(line).collect(),
        }
    }

    /// Returns the size of the lines in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.lines.iter().map(|line| line.text.len()).sum()
    }
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiffLine<'a> {
    /// Which texts have it.
    pub kind: LineKind,
    /// The line without its line feed.
    pub text: std::borrow::Cow<'a, str>,
    /// Changed parts, in Unicode characters: pairs of begin and end. Empty if the line has no
    /// counterpart, or too little in common with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<(u32, u32)>,
    /// True if the text ends with this line, without a line feed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_newline: bool,
}

/// Which of two texts have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// Both.
    Context,
    /// The first.
    Removed,
    /// The second.
    Added,
}

/// Returns true if the bytes are text: UTF-8 without a NUL character.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    text(bytes).is_some()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Returns the difference between two contents.
#[must_use]
pub fn diff_contents<'a>(from: &'a [u8], to: &'a [u8]) -> ContentDiff<'a> {
    let (Some(from), Some(to)) = (text(from), text(to)) else {
        return ContentDiff::Binary;
    };
    let is_large =
        |text: &str| text.len() > MAX_DIFF_BYTES || text.lines().count() > MAX_DIFF_LINES;
    if is_large(from) || is_large(to) {
        return ContentDiff::TooLarge;
    }
    ContentDiff::Text(diff_lines(from, to))
}

/// Returns the numbers of lines added and removed; `None` if the contents are not compared.
#[must_use]
pub fn count_changed_lines(from: &[u8], to: &[u8]) -> Option<(u32, u32)> {
    match diff_contents(from, to) {
        ContentDiff::Text(diff) => Some((diff.added_lines, diff.removed_lines)),
        ContentDiff::Binary | ContentDiff::TooLarge => None,
    }
}

fn diff_lines<'a>(from: &'a str, to: &'a str) -> TextDiff<'a> {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (from.split_inclusive('\n').collect(), to.split_inclusive('\n').collect());
    let mut input = InternedInput::default();
    input.update_before(before.iter().copied());
    input.update_after(after.iter().copied());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let changes: Vec<Hunk> = diff.hunks().collect();
    let texts = Lines { before: &before, after: &after };
    let close = |a: &Hunk, b: &Hunk| b.before.start - a.before.end <= 2 * CONTEXT;
    TextDiff {
        added_lines: diff.count_additions(),
        removed_lines: diff.count_removals(),
        hunks: changes.chunk_by(close).map(|group| texts.hunk(group)).collect(),
    }
}

/// The lines of both texts, with their line feeds.
struct Lines<'t, 'a> {
    before: &'t [&'a str],
    after: &'t [&'a str],
}

impl<'a> Lines<'_, 'a> {
    /// Returns the hunk of changes that are close to each other.
    fn hunk(&self, changes: &[Hunk]) -> DiffHunk<'a> {
        let end = |range: &Range<u32>, lines: &[&str]| {
            (range.end + CONTEXT).min(u32::try_from(lines.len()).unwrap_or(u32::MAX))
        };
        let range = |of: fn(&Hunk) -> &Range<u32>, lines: &[&str]| {
            let start = changes.first().map_or(0, |first| of(first).start.saturating_sub(CONTEXT));
            start..changes.last().map_or(0, |last| end(of(last), lines))
        };
        let from = range(|hunk| &hunk.before, self.before);
        let to = range(|hunk| &hunk.after, self.after);
        let mut lines = Vec::new();
        let mut next = from.start;
        let line = |kind, text: &&'a str, changed| DiffLine {
            kind,
            text: text.strip_suffix('\n').unwrap_or(text).into(),
            changed,
            no_newline: !text.ends_with('\n'),
        };
        let context = |range: Range<u32>| slice(self.before, &range).iter();
        for change in changes {
            let unchanged = context(next..change.before.start);
            lines.extend(unchanged.map(|text| line(LineKind::Context, text, Vec::new())));
            let (removed, added) =
                (slice(self.before, &change.before), slice(self.after, &change.after));
            let (removed_marks, added_marks) = changed_words(removed, added);
            let marked = |kind, texts: &[&'a str], marks: Vec<Vec<(u32, u32)>>| {
                let marks = marks.into_iter().chain(std::iter::repeat(Vec::new()));
                texts.iter().zip(marks).map(|(text, marks)| line(kind, text, marks)).collect()
            };
            let removed: Vec<DiffLine<'a>> = marked(LineKind::Removed, removed, removed_marks);
            let added: Vec<DiffLine<'a>> = marked(LineKind::Added, added, added_marks);
            lines.extend(removed);
            lines.extend(added);
            next = change.before.end;
        }
        lines.extend(context(next..from.end).map(|text| line(LineKind::Context, text, Vec::new())));
        // As in a unified diff, an empty range begins after the line that it names.
        let start = |range: &Range<u32>| range.start + u32::from(!range.is_empty());
        DiffHunk {
            from_start: start(&from),
            from_lines: from.end - from.start,
            to_start: start(&to),
            to_lines: to.end - to.start,
            lines,
        }
    }
}

fn slice<'t, 'a>(lines: &'t [&'a str], range: &Range<u32>) -> &'t [&'a str] {
    lines.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Changed parts of each line.
type LineMarks = Vec<Vec<(u32, u32)>>;

/// Returns the changed parts of lines that were replaced by others; none if the lines have too little
/// in common, or are too large.
fn changed_words(removed: &[&str], added: &[&str]) -> (LineMarks, LineMarks) {
    let size = |lines: &[&str]| lines.iter().map(|line| line.len()).sum::<usize>();
    let unmarked = (Vec::new(), Vec::new());
    if removed.is_empty() || added.is_empty() || size(removed) + size(added) > MAX_WORD_BYTES {
        return unmarked;
    }
    let words = |lines: &[&str]| -> Vec<String> {
        lines.iter().flat_map(|line| split_words(line)).map(str::to_owned).collect()
    };
    let (before, after) = (words(removed), words(added));
    let mut input = InternedInput::default();
    input.update_before(before.iter().map(String::as_str));
    input.update_after(after.iter().map(String::as_str));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_no_heuristic(&input);
    let lengths = |words: &[String], is_changed: &dyn Fn(u32) -> bool| {
        let visible = |word: &&String| !word.trim().is_empty();
        let length = |words: &mut dyn Iterator<Item = &String>| {
            words.filter(visible).map(String::len).sum::<usize>()
        };
        let total = length(&mut words.iter());
        let mut index = 0_u32;
        let mut common = words.iter().filter(|_| {
            index += 1;
            !is_changed(index - 1)
        });
        (total, length(&mut common))
    };
    let is_similar = |(total, common): (usize, usize)| common * MIN_COMMON_DIVISOR >= total;
    let (is_removed, is_added) = (|at| diff.is_removed(at), |at| diff.is_added(at));
    if !is_similar(lengths(&before, &is_removed)) || !is_similar(lengths(&after, &is_added)) {
        return unmarked;
    }
    (mark(&before, &is_removed), mark(&after, &is_added))
}

/// Returns the changed parts of each line of `words`.
fn mark(words: &[String], is_changed: &dyn Fn(u32) -> bool) -> LineMarks {
    let (mut lines, mut line, mut column) = (Vec::new(), Vec::<(u32, u32)>::new(), 0);
    for (word, index) in words.iter().zip(0..) {
        if word == "\n" {
            lines.push(std::mem::take(&mut line));
            column = 0;
            continue;
        }
        let end = column + u32::try_from(word.chars().count()).unwrap_or(u32::MAX);
        if is_changed(index) {
            match line.last_mut() {
                Some((_, last)) if *last == column => *last = end,
                _ => line.push((column, end)),
            }
        }
        column = end;
    }
    lines.push(line);
    lines
}

/// Splits a line into words, runs of white space, and single other characters; a line feed is one by
/// itself.
fn split_words(line: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| match c {
        '\n' => 0,
        c if c.is_alphanumeric() || c == '_' => 1,
        c if c.is_whitespace() => 2,
        _ => 3,
    };
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_run = matches!(kind(first), 1 | 2);
        let end =
            if is_run { rest.find(|c| kind(c) != kind(first)) } else { Some(first.len_utf8()) };
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff<'a>(from: &'a str, to: &'a str) -> TextDiff<'a> {
        match diff_contents(from.as_bytes(), to.as_bytes()) {
            ContentDiff::Text(diff) => diff,
            other => panic!("{other:?}"),
        }
    }

    /// Lines with a sign, and changed parts in brackets.
    fn marked(diff: &TextDiff<'_>) -> Vec<String> {
        let line = |line: &DiffLine<'_>| {
            let sign = match line.kind {
                LineKind::Context => ' ',
                LineKind::Removed => '-',
                LineKind::Added => '+',
            };
            let mut text: Vec<String> = line.text.chars().map(String::from).collect();
            for (from, to) in &line.changed {
                text[*from as usize].insert(0, '[');
                text[*to as usize - 1].push(']');
            }
            format!("{sign}{}{}", text.concat(), if line.no_newline { "$" } else { "" })
        };
        diff.hunks.iter().flat_map(|hunk| hunk.lines.iter().map(line)).collect()
    }

    #[test]
    fn changed_words_are_marked() {
        for (from, to, expected) in [
            ("a b c\n", "a x c\n", vec!["-a [b] c", "+a [x] c"]),
            ("- [ ] größer\n", "- [x] größer\n", vec!["-- [[ ]] größer", "+- [[x]] größer"]),
            ("one two\n", "three four\n", vec!["-one two", "+three four"]),
            ("a\n", "a", vec!["-a", "+a$"]),
            ("", "a\n", vec!["+a"]),
            ("a\r\n", "a\n", vec!["-a[\r]", "+a"]),
            ("same\n", "same\n", vec![]),
        ] {
            assert_eq!(marked(&diff(from, to)), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn hunks_have_three_lines_around_changes_and_join_if_close() {
        let lines = |changed: &[u32]| -> String {
            let line =
                |n: u32| if changed.contains(&n) { format!("x{n}\n") } else { format!("{n}\n") };
            (1..=30).map(line).collect()
        };
        let old = lines(&[]);
        let starts = |changed: &[u32]| -> Vec<(u32, u32, u32, u32)> {
            let new = lines(changed);
            let diff = diff(&old, &new);
            diff.hunks
                .iter()
                .map(|h| (h.from_start, h.from_lines, h.to_start, h.to_lines))
                .collect()
        };
        assert_eq!(starts(&[10, 17]), [(7, 14, 7, 14)]);
        assert_eq!(starts(&[10, 18]), [(7, 7, 7, 7), (15, 7, 15, 7)]);
        assert_eq!(starts(&[1]), [(1, 4, 1, 4)]);
        let added = diff("", "a\nb\n");
        let hunk = &added.hunks[0];
        assert_eq!((hunk.from_start, hunk.from_lines, hunk.to_start, hunk.to_lines), (0, 0, 1, 2));
        assert_eq!((added.added_lines, added.removed_lines), (2, 0));
    }

    #[test]
    fn binary_and_large_contents_are_not_compared() {
        assert_eq!(diff_contents(b"\xff", b""), ContentDiff::Binary);
        assert_eq!(diff_contents(b"a\0b", b""), ContentDiff::Binary);
        let long = "\n".repeat(MAX_DIFF_LINES + 1);
        assert_eq!(diff_contents(b"", long.as_bytes()), ContentDiff::TooLarge);
        let large = "x".repeat(MAX_DIFF_BYTES + 1);
        assert_eq!(diff_contents(large.as_bytes(), b""), ContentDiff::TooLarge);
        assert_eq!(count_changed_lines(b"a\n", b"b\nc\n"), Some((2, 1)));
        assert_eq!(count_changed_lines(b"\0", b""), None);
    }

    #[test]
    fn one_long_line_is_compared_without_words() {
        let (from, to) = ("a ".repeat(100_000), "b ".repeat(100_000));
        let diff = diff(&from, &to);
        assert!(diff.hunks[0].lines.iter().all(|line| line.changed.is_empty()));
    }
}
