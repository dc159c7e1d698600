//! Formats what commands print: tables, labels, events, JSON lines, the terminal.

pub(crate) mod diff_view;
pub(crate) mod event_format;
pub(crate) mod labels;
pub(crate) mod output;
pub(crate) mod pager;
pub(crate) mod progress;
pub(crate) mod status_line;
pub(crate) mod status_view;
pub(crate) mod stream_record;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod time_text;
