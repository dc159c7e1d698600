//! Turns text with colours, as the other commands print it, into lines of the screen, and wraps them. Pure.

use std::fmt::Write as _;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// Replaces what is cut from a line.
const ELLIPSIS: &str = "\u{2026}";

/// Returns the lines of `text`, whose only control sequences are those of `owo_colors`.
pub(super) fn lines(text: &str) -> Vec<Line<'static>> {
    let mut style = Style::new();
    text.lines().map(|line| parse_line(line, &mut style)).collect()
}

/// Returns one line of `text`.
pub(super) fn line(text: &str) -> Line<'static> {
    parse_line(text, &mut Style::new())
}

fn parse_line(text: &str, style: &mut Style) -> Line<'static> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        if !before.is_empty() {
            spans.push(Span::styled(before.to_owned(), *style));
        }
        let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(after.len());
        for code in after[..end].split(';') {
            *style = apply(*style, code);
        }
        rest = after.get(end + 1..).unwrap_or_default();
    }
    if !rest.is_empty() {
        spans.push(Span::styled(rest.to_owned(), *style));
    }
    Line::from(spans)
}

/// Applies a parameter of `SGR` (ECMA-48, 8.3.117).
fn apply(style: Style, code: &str) -> Style {
    match code {
        "" | "0" => Style::new(),
        "1" => style.add_modifier(Modifier::BOLD),
        "2" => style.add_modifier(Modifier::DIM),
        "7" => style.add_modifier(Modifier::REVERSED),
        "22" => without(style, Modifier::BOLD | Modifier::DIM),
        "27" => without(style, Modifier::REVERSED),
        "31" => style.fg(Color::Red),
        "32" => style.fg(Color::Green),
        "33" => style.fg(Color::Yellow),
        "36" => style.fg(Color::Cyan),
        "39" => Style { fg: None, ..style },
        _ => style,
    }
}

fn without(style: Style, modifier: Modifier) -> Style {
    Style { add_modifier: style.add_modifier - modifier, ..style }
}

/// Shortens a line to `width` columns; an ellipsis replaces the rest.
pub(super) fn truncate(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    if width == 0 {
        return Line::default();
    }
    let cells = graphemes(&line);
    let (mut end, mut columns) = (0, 0);
    while end < cells.len() && columns + cells[end].2 < width {
        columns += cells[end].2;
        end += 1;
    }
    let mut shown = join(&cells[..end]);
    shown.push_span(ELLIPSIS);
    shown
}

/// Splits a line after at most `width` columns, if possible after a space.
pub(super) fn wrap(line: &Line<'static>, width: usize) -> Vec<Line<'static>> {
    if width == 0 || line.width() <= width {
        return vec![line.clone()];
    }
    let cells = graphemes(line);
    let (mut out, mut start) = (Vec::new(), 0);
    while start < cells.len() {
        let mut end = start;
        let (mut columns, mut after_space) = (0, None);
        while end < cells.len() && columns + cells[end].2 <= width {
            columns += cells[end].2;
            end += 1;
            if cells[end - 1].0 == " " {
                after_space = Some(end);
            }
        }
        if end < cells.len() {
            // A wide character that does not fit into an empty line is shown alone.
            end = after_space.unwrap_or(end).max(start + 1);
        }
        out.push(join(&cells[start..end]));
        start = end;
    }
    out
}

/// Returns the characters of a line as people see them, with style and number of columns.
fn graphemes(line: &Line<'static>) -> Vec<(String, Style, usize)> {
    let all = line.spans.iter().flat_map(|span| span.styled_graphemes(line.style));
    all.map(|one| (one.symbol.to_owned(), one.style, Span::raw(one.symbol).width())).collect()
}

fn join(cells: &[(String, Style, usize)]) -> Line<'static> {
    let spans = cells.chunk_by(|a, b| a.1 == b.1).map(|part| {
        let text = part.iter().fold(String::new(), |mut text, cell| {
            let _ = write!(text, "{}", cell.0);
            text
        });
        Span::styled(text, part.first().map_or(Style::new(), |cell| cell.1))
    });
    Line::from(spans.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use owo_colors::OwoColorize as _;
    use proptest::prelude::*;

    use super::*;

    fn text(line: &Line<'_>) -> String {
        line.spans.iter().map(|span| &*span.content).collect()
    }

    #[test]
    fn colours_become_styles_and_no_control_sequence_remains() {
        let styled = format!("a{}b{}\nc", "x y".red(), format!("{}", "z".reversed()).bold());
        let lines = lines(&styled);
        assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), ["ax ybz", "c"]);
        let spans = &lines[0].spans;
        assert_eq!(spans[1].style.fg, Some(Color::Red));
        assert_eq!(spans[2].style, Style::new());
        assert!(spans[3].style.add_modifier.contains(Modifier::BOLD | Modifier::REVERSED));
        assert_eq!(text(&line("a\x1b[2Jb\x1b[")), "ab");
    }

    #[test]
    fn wrap_prefers_spaces_and_counts_wide_characters() {
        for (line, width, expected) in [
            ("", 5, vec![""]),
            ("short", 5, vec!["short"]),
            ("two words", 5, vec!["two ", "words"]),
            ("abcdefgh", 3, vec!["abc", "def", "gh"]),
            ("\u{65e5}\u{672c}\u{8a9e}", 4, vec!["\u{65e5}\u{672c}", "\u{8a9e}"]),
            ("\u{65e5}\u{672c}", 1, vec!["\u{65e5}", "\u{672c}"]),
            ("\u{1faf0}\u{b4b}a", 2, vec!["\u{1faf0}\u{b4b}", "a"]),
        ] {
            let wrapped: Vec<String> =
                wrap(&Line::from(line.to_owned()), width).iter().map(text).collect();
            assert_eq!(wrapped, expected, "{line} {width}");
        }
    }

    #[test]
    fn truncate_marks_what_is_cut() {
        for (line, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab\u{2026}"),
            ("\u{65e5}\u{672c}", 3, "\u{65e5}\u{2026}"),
            ("ab", 0, ""),
            ("two words", 7, "two wo\u{2026}"),
        ] {
            let line = truncate(Line::from(line.to_owned()), width);
            assert!(line.width() <= width && text(&line) == expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn wrap_loses_nothing_and_keeps_to_the_width(line in "\\PC{0,60}", width in 2_usize..20) {
            let wrapped = wrap(&Line::from(line.clone()), width);
            prop_assert_eq!(wrapped.iter().map(text).collect::<String>(), line);
            // A character that is wider than the line is alone: an emoji with marks has three columns.
            let fits = |part: &Line<'static>| part.width() <= width || graphemes(part).len() == 1;
            prop_assert!(wrapped.iter().all(fits), "{:?}", wrapped);
        }
    }
}
