//! Tables without lines: aligned columns and a dimmed header.

use comfy_table::{Cell, Table, presets};
use owo_colors::OwoColorize as _;

/// Creates a table with these headings.
pub(crate) fn with_headings(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| Cell::new(heading.dimmed().to_string())));
    table
}

/// Returns the text of a table, without trailing spaces.
pub(crate) fn render(mut table: Table) -> String {
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
