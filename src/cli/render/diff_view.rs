//! Formats a difference for people: coloured, with changed words marked, and escaped.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use crate::cli::render::output::printable_lines;
use crate::core::history::text_diff::{DiffLine, LineKind};
use crate::core::history::unified::{NO_NEWLINE, hunk_heading, sign};
use crate::core::path::escape_unprintable;
use crate::wire::history::{FileDiff, StateDiff};

/// Maximum number of characters of a line that is shown; the rest is counted.
const MAX_LINE_CHARS: usize = 2_000;

/// Returns the difference with all lines.
pub(crate) fn styled(diff: &StateDiff) -> String {
    let mut out = String::new();
    for file in &diff.files {
        let _ = writeln!(out, "{}", heading(file).bold());
        if let Some(reason) = &file.unavailable {
            let _ =
                writeln!(out, "{}", escape_unprintable(&unavailable_text(file, reason)).dimmed());
        }
        for hunk in &file.hunks {
            let _ = writeln!(out, "{}", hunk_heading(hunk).cyan());
            for line in &hunk.lines {
                push_line(&mut out, line);
            }
        }
    }
    out
}

fn push_line(out: &mut String, line: &DiffLine<'_>) {
    let sign = sign(line.kind);
    let mut text = String::new();
    let shown = line.text.chars().take(MAX_LINE_CHARS);
    let is_changed = |column: usize| {
        line.changed.iter().any(|(from, to)| (*from as usize..*to as usize).contains(&column))
    };
    let characters: Vec<(bool, char)> =
        shown.enumerate().map(|(column, c)| (is_changed(column), c)).collect();
    for part in characters.chunk_by(|a, b| a.0 == b.0) {
        let is_marked = part.first().is_some_and(|(marked, _)| *marked);
        let part: String = part.iter().map(|(_, c)| c).collect();
        let part = printable_lines(&part);
        if is_marked {
            let _ = write!(text, "{}", part.reversed());
        } else {
            text.push_str(&part);
        }
    }
    let hidden = line.text.chars().count().saturating_sub(MAX_LINE_CHARS);
    if hidden > 0 {
        let _ = write!(text, " … {hidden} more characters");
    }
    let _ = match line.kind {
        LineKind::Context => writeln!(out, "{sign}{text}"),
        LineKind::Removed => writeln!(out, "{}", format!("{sign}{text}").red()),
        LineKind::Added => writeln!(out, "{}", format!("{sign}{text}").green()),
    };
    if line.no_newline {
        let _ = writeln!(out, "{NO_NEWLINE}");
    }
}

fn heading(file: &FileDiff) -> String {
    let path = escape_unprintable(&file.relative_path.text()).into_owned();
    let kind = file.kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
    match &file.previous_path {
        Some(previous) => format!("{kind} {} to {path}", escape_unprintable(&previous.text())),
        None => format!("{kind} {path}{}", counts(file)),
    }
}

/// Returns the numbers of changed lines, if they are known.
fn counts(file: &FileDiff) -> String {
    match (file.added_lines, file.removed_lines) {
        (Some(added), Some(removed)) => format!(" +{added} -{removed}"),
        _ => String::new(),
    }
}

/// Returns one line for each file, and a sum.
pub(crate) fn stat(diff: &StateDiff) -> String {
    let mut out = String::new();
    for file in &diff.files {
        let reason = file.unavailable.as_ref().map(|reason| format!(" ({})", reason_text(reason)));
        let _ = writeln!(out, "{}{}", heading(file), reason.unwrap_or_default());
    }
    let sum = |count: fn(&FileDiff) -> Option<u32>| -> u64 {
        diff.files.iter().filter_map(count).map(u64::from).sum()
    };
    let (added, removed) = (sum(|file| file.added_lines), sum(|file| file.removed_lines));
    let files = diff.files.len();
    let noun = if files == 1 { "file" } else { "files" };
    let _ = writeln!(out, "{files} {noun}, +{added} -{removed}");
    out
}

/// Returns why the lines of a file are not shown.
pub(crate) fn unavailable_text(file: &FileDiff, reason: &str) -> String {
    format!("{}: {}", file.relative_path.text(), reason_text(reason))
}

fn reason_text(reason: &str) -> &str {
    match reason {
        "binary" => "not text, so its lines are not compared",
        "too_large" => "too large to be compared",
        "not_stored" => "a version is not stored",
        "not_kept" => "no version of that moment is kept",
        "omitted" => "left out, because the difference is too large; name the file to see it",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::state_diff::FileChangeKind;
    use crate::core::history::text_diff::{ContentDiff, DiffHunk, diff_contents};
    use crate::core::path::RelPath;

    fn file(from: &str, to: &str) -> FileDiff {
        let ContentDiff::Text(text) = diff_contents(from.as_bytes(), to.as_bytes()) else {
            panic!("not text");
        };
        FileDiff {
            artifact_key: "input.spec.md".to_owned(),
            relative_path: RelPath::new(*b"spec.md").unwrap(),
            previous_path: None,
            kind: Some(FileChangeKind::Changed),
            from_hash: None,
            to_hash: None,
            added_lines: Some(text.added_lines),
            removed_lines: Some(text.removed_lines),
            mode: "100644".into(),
            hunks: text.hunks.into_iter().map(DiffHunk::into_owned).collect(),
            unavailable: None,
        }
    }

    fn diff(files: Vec<FileDiff>) -> StateDiff {
        StateDiff {
            feature_slug: "001-a".to_owned(),
            feature_path: "specs/001-a".to_owned(),
            from: "baseline".to_owned(),
            to: "now".to_owned(),
            files,
        }
    }

    fn plain(text: &str) -> String {
        let mut plain = String::new();
        let mut is_escape = false;
        for c in text.chars() {
            match c {
                '\u{1b}' => is_escape = true,
                'm' if is_escape => is_escape = false,
                c if !is_escape => plain.push(c),
                _ => {}
            }
        }
        plain
    }

    #[test]
    fn lines_are_escaped_marked_and_shortened() {
        let long = "x".repeat(MAX_LINE_CHARS + 5);
        let text = styled(&diff(vec![file("a b\n", &format!("a \u{1b}[2J\u{202e}c\r\n{long}"))]));
        assert_eq!(
            plain(&text),
            format!(
                "changed spec.md +2 -1\n@@ -1 +1,2 @@\n-a b\n+a \\u{{1b}}[2J\\u{{202e}}c\\r\n+{} … 5 more \
                 characters\n\\ No newline at end of file\n",
                "x".repeat(MAX_LINE_CHARS)
            )
        );
    }

    #[test]
    fn stat_has_a_line_for_each_file_and_a_sum() {
        let mut renamed = file("", "");
        renamed.kind = Some(FileChangeKind::Renamed);
        renamed.previous_path = Some(RelPath::new(*b"old.md").unwrap());
        let mut binary = file("", "");
        (binary.added_lines, binary.removed_lines) = (None, None);
        binary.unavailable = Some("binary".into());
        assert_eq!(
            stat(&diff(vec![file("1\n", "2\n3\n"), renamed, binary])),
            "changed spec.md +2 -1\nrenamed old.md to spec.md\nchanged spec.md (not text, so its lines are \
             not compared)\n3 files, +2 -1\n"
        );
    }
}
