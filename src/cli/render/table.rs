//! Tables without lines: aligned columns and a dimmed header, as wide as the terminal at most.

use comfy_table::{Cell, Row, Table, presets};
use owo_colors::OwoColorize as _;

use crate::cli::render::terminal;

/// Width below which a column is not narrowed.
const MIN_COLUMN_WIDTH: usize = 8;
/// Width below which a column is not narrowed as long as others can be left out.
const READABLE_COLUMN_WIDTH: usize = 24;
/// Spaces between two columns.
const COLUMN_GAP: usize = 2;

/// Creates a table with these headings.
pub(crate) fn with_headings(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| Cell::new(heading.dimmed().to_string())));
    table
}

/// Returns the text of a table, without trailing spaces. On a terminal the widest columns are narrowed until all fit.
pub(crate) fn render(table: Table) -> String {
    render_with(table, &[])
}

/// Renders like [`render`]; where that does not suffice, the columns with the indexes `droppable` are left out, in that
/// order.
pub(crate) fn render_with(table: Table, droppable: &[usize]) -> String {
    render_within(table, droppable, terminal::size().map(|(columns, _)| columns))
}

fn render_within(table: Table, droppable: &[usize], width: Option<usize>) -> String {
    let mut table = match width {
        Some(width) => narrow(&table, droppable, width),
        None => table,
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String =
        table.to_string().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if text.is_empty() {
        text.push('\n');
    }
    text
}

/// Returns the number of terminal columns that a cell needs, without its colours.
pub(crate) fn display_width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|part| part.chars().count()).sum()
}

/// Narrows the widest columns of a table until it fits into `width`. Coloured cells, which are single words, are kept.
fn narrow(table: &Table, droppable: &[usize], width: usize) -> Table {
    let natural = table.column_max_content_widths();
    let mut columns: Vec<(usize, usize)> =
        natural.into_iter().map(usize::from).enumerate().collect();
    let is_coloured = |column: usize| {
        let mut cells = table.row_iter().filter_map(|row| row.cell_iter().nth(column));
        cells.any(|cell| cell.content().contains('\x1b'))
    };
    let headings: Vec<usize> = table.header().map_or_else(Vec::new, |header| {
        header.cell_iter().map(|cell| display_width(&cell.content())).collect()
    });
    let at_least = |limit: usize, (column, width): &(usize, usize)| {
        let heading = headings.get(*column).copied().unwrap_or_default();
        if is_coloured(*column) { *width } else { (*width).min(limit.max(heading)) }
    };
    // The last column needs no gap.
    let available = width + COLUMN_GAP;
    for dropped in droppable {
        let readable = |column| at_least(READABLE_COLUMN_WIDTH, column) + COLUMN_GAP;
        if columns.iter().map(readable).sum::<usize>() <= available {
            break;
        }
        columns.retain(|(column, _)| column != dropped);
    }
    let needed = columns.iter().map(|(_, width)| width + COLUMN_GAP).sum::<usize>();
    for _ in available..needed {
        let narrowable = columns.iter_mut().filter(|one| one.1 > at_least(MIN_COLUMN_WIDTH, one));
        let Some((_, widest)) = narrowable.max_by_key(|(_, width)| *width) else { break };
        *widest -= 1;
    }
    let mut narrowed = Table::new();
    narrowed.load_style(presets::NOTHING);
    let select = |row: &Row| {
        let cells: Vec<&Cell> = row.cell_iter().collect();
        let selected = columns.iter().filter_map(|(column, width)| {
            let text = cells.get(*column)?.content();
            let is_plain = !text.contains('\x1b');
            Some(Cell::new(if is_plain { truncate_middle(&text, *width) } else { text }))
        });
        Row::from(selected.collect::<Vec<_>>())
    };
    if let Some(header) = table.header() {
        narrowed.set_header(select(header));
    }
    for row in table.row_iter() {
        narrowed.add_row(select(row));
    }
    narrowed
}

/// Shortens `text` to `width` characters. Both ends are kept, because names differ there.
pub(crate) fn truncate_middle(text: &str, width: usize) -> String {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().to_lowercase());
    truncate_with(text, width, ellipsis(locale.as_deref()))
}

/// Returns the sign for what is left out: one character, or in a locale of another encoding three dots.
fn ellipsis(locale: Option<&str>) -> &'static str {
    let is_utf8 = locale.is_none_or(|locale| locale.contains("utf-8") || locale.contains("utf8"));
    if is_utf8 { "\u{2026}" } else { "..." }
}

fn truncate_with(text: &str, width: usize, ellipsis: &str) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(ellipsis.chars().count());
    let tail = kept / 3;
    let start: String = text.chars().take(kept - tail).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}{ellipsis}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncate_keeps_both_ends() {
        for (text, width, expected) in [
            ("short", 16, "short"),
            ("042-local-mission-dossier-authority", 16, "042-local-\u{2026}ority"),
            ("0123456789", 10, "0123456789"),
            ("0123456789", 9, "012345\u{2026}89"),
        ] {
            assert_eq!(truncate_with(text, width, "\u{2026}"), expected);
        }
        assert_eq!(truncate_with("0123456789", 9, "..."), "0123...89");
        for (locale, expected) in [
            (None, "\u{2026}"),
            (Some("c.utf-8"), "\u{2026}"),
            (Some("de_de.utf8"), "\u{2026}"),
            (Some("c"), "..."),
            (Some("de_de.iso-8859-1"), "..."),
        ] {
            assert_eq!(ellipsis(locale), expected, "{locale:?}");
        }
    }

    #[test]
    fn tables_are_narrowed_to_the_width_without_losing_words_in_colour() {
        let mut table = with_headings(&["KEY", "STATE", "PATH"]);
        let state = "present".green().to_string();
        table.add_row([
            "output.tasks.per_wp.WP01-a-long-name",
            &state,
            "tasks/WP01-a-long-name.md",
        ]);
        table.add_row(["input.spec.main", &state, "spec.md"]);
        for (width, droppable) in [(200, &[][..]), (60, &[]), (45, &[]), (30, &[]), (20, &[0])] {
            let text = render_within(table.clone(), droppable, Some(width));
            let widest = text.lines().map(display_width).max().unwrap();
            assert!(widest <= width, "{width}:\n{text}");
            assert_eq!(text.matches("present").count(), 2, "{text}");
            assert_eq!(text.contains("KEY"), droppable.is_empty(), "{text}");
        }
        let wide = render_within(table.clone(), &[0], Some(200));
        assert_eq!(wide, render_within(table, &[], None));
    }
}
