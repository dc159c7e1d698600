//! Draws the state into a buffer. Pure; builds only the rows that are visible.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::cli::render::labels;
use crate::cli::render::output::printable_lines;
use crate::cli::render::status_view::{problem_line, watch_label};
use crate::cli::top::input::TextKind;
use crate::cli::top::state::{
    FeaturePage, ListCursor, ListLayout, Page, TextLines, TextPage, TopState, artifact_rows,
    page_rows,
};
use crate::cli::top::styled;
use crate::core::artifact::RequiredStatus;
use crate::core::drift::DriftState;
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::wire::artifacts::ArtifactItem;
use crate::wire::overview::Overview;
use crate::wire::status::ProjectStatus;

/// Whether the screen has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Palette {
    Colored,
    /// Words and symbols alone; bold and reversed text remains.
    Plain,
}

/// Minimum width of a terminal with all columns in words of full length.
const FULL_WIDTH: u16 = 70;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws everything.
pub(super) fn draw(state: &TopState, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut canvas = Canvas { area, buffer, row: 0 };
    match state.pages.last() {
        None => draw_list(state, &mut canvas),
        Some(Page::Feature(page)) => draw_feature(state, page, &mut canvas),
        Some(Page::Text(page)) => draw_text_page(state, page, &mut canvas),
        Some(Page::Help(lines)) => {
            draw_title(state, "keys", &mut canvas);
            draw_lines(lines, state.size, &mut canvas);
        }
    }
    draw_last_line(state, &mut canvas);
    if palette == Palette::Plain {
        for cell in &mut canvas.buffer.content {
            cell.fg = Color::Reset;
            cell.bg = Color::Reset;
        }
    }
}

/// Writes rows from top to bottom, and ignores what does not fit.
struct Canvas<'b> {
    area: Rect,
    buffer: &'b mut Buffer,
    row: u16,
}

impl Canvas<'_> {
    fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Writes a row at the next position.
    fn push(&mut self, line: Line<'static>) {
        let line = styled::truncate(line, self.width());
        if self.row < self.area.height {
            let y = self.area.y + self.row;
            self.buffer.set_line(self.area.x, y, &line, self.area.width);
        }
        self.row = self.row.saturating_add(1);
    }

    fn reverse(&mut self, row: u16) {
        if row < self.area.height {
            let area = Rect { y: self.area.y + row, height: 1, ..self.area };
            self.buffer.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    fn move_to(&mut self, row: u16) {
        self.row = row;
    }
}

fn plain(text: impl Into<String>, style: Style) -> Line<'static> {
    Line::from(Span::styled(text.into(), style))
}

/// Returns `left` and `right` at the ends of a row.
fn spread(left: Line<'static>, right: Line<'static>, width: usize) -> Line<'static> {
    let space = width.saturating_sub(right.width() + 1);
    let mut line = styled::truncate(left, space);
    let gap = width.saturating_sub(line.width() + right.width());
    line.push_span(" ".repeat(gap));
    line.extend(right);
    line
}

/// Returns `live`, or that the state is old.
fn liveness(state: &TopState) -> Line<'static> {
    match (state.is_live, state.status.is_some()) {
        (true, true) => plain("live", Style::new().fg(Color::Green)),
        (true, false) => plain("loading", DIM),
        (false, _) => plain("NOT LIVE", BOLD.fg(Color::Red)),
    }
}

fn draw_title(state: &TopState, title: &str, canvas: &mut Canvas<'_>) {
    let title = plain(escape_unprintable(title), BOLD);
    let line = spread(title, liveness(state), canvas.width());
    canvas.push(line);
}

fn draw_list(state: &TopState, canvas: &mut Canvas<'_>) {
    let layout = ListLayout::new(canvas.area.height, state.problems.len());
    draw_title(state, &state.summary, canvas);
    for (index, problem) in state.problems.iter().take(usize::from(layout.problems)).enumerate() {
        let more = state.problems.len() - usize::from(layout.problems);
        let is_last = index + 1 == usize::from(layout.problems);
        let more = if is_last && more > 0 { format!(" ({more} more)") } else { String::new() };
        canvas.push(plain(format!("! {problem}{more}"), Style::new().fg(Color::Yellow)));
    }
    let columns = Columns::new(canvas.area.width);
    canvas.push(columns.headings());
    let first = canvas.row;
    if let Some(status) = &state.status {
        let visible =
            state.rows.iter().skip(state.cursor.offset).take(usize::from(layout.features));
        for (index, row) in visible.enumerate() {
            let Some((project, overview)) = row.find(status) else { continue };
            let is_selected = state.cursor.offset + index == state.cursor.at;
            let name = if state.project_count() > 1 {
                format!("{}/{}", project.project, overview.feature_slug)
            } else {
                overview.feature_slug.to_string()
            };
            canvas.push(columns.row(&name, overview, state.now, is_selected));
            if is_selected {
                canvas.reverse(canvas.row - 1);
            }
        }
        if state.rows.is_empty() && layout.features > 0 {
            canvas.push(plain(format!("  {}", empty_list(state)), DIM));
        }
    }
    canvas.move_to(first + layout.features);
    draw_events(state, layout.events, canvas);
}

fn empty_list(state: &TopState) -> String {
    if !state.filter.is_empty() {
        format!("no feature matches `{}`; Esc shows all", escape_unprintable(&state.filter))
    } else if state.project_count() == 0 {
        "no project is watched; run `dossierd project add .`".to_owned()
    } else {
        "no features".to_owned()
    }
}

fn draw_events(state: &TopState, rows: u16, canvas: &mut Canvas<'_>) {
    if rows == 0 {
        return;
    }
    let rule = "\u{2500}".repeat(canvas.width().saturating_sub("events ".len()));
    canvas.push(plain(format!("events {rule}"), DIM));
    let count = usize::from(rows - 1);
    for line in state.events.iter().skip(state.events.len().saturating_sub(count)) {
        canvas.push(line.clone());
    }
}

/// Widths of the columns; 0 hides one.
#[derive(Debug, Clone, Copy)]
struct Columns {
    is_full: bool,
    name: usize,
    completeness: usize,
    drift: usize,
    progress: usize,
    watch: usize,
    last: usize,
}

impl Columns {
    fn new(width: u16) -> Self {
        let (is_full, completeness, drift) =
            if width >= FULL_WIDTH { (true, 16, 17) } else { (false, 10, 7) };
        let (progress, watch, last) = match width {
            100.. => (8, 12, 5),
            80.. => (7, 8, 4),
            52.. => (0, 6, 4),
            _ => (0, 0, 0),
        };
        let others = [completeness, drift, progress, watch, last];
        let gaps = others.iter().filter(|width| **width > 0).count() * 2;
        // The mark of the selected row.
        let name = usize::from(width).saturating_sub(2 + others.iter().sum::<usize>() + gaps);
        Self { is_full, name, completeness, drift, progress, watch, last }
    }

    fn headings(self) -> Line<'static> {
        let completeness = if self.is_full { "COMPLETENESS" } else { "COMPLETE" };
        let texts = ["FEATURE", completeness, "DRIFT", "DONE", "WATCH", "LAST"];
        self.join(" ", texts.map(|text| plain(text, DIM)))
    }

    fn row(
        self,
        name: &str,
        overview: &Overview<'_>,
        now: Timestamp,
        is_selected: bool,
    ) -> Line<'static> {
        let counts = overview.artifact_counts;
        let mut completeness = labels::completeness_label(overview.completeness_status);
        if self.is_full {
            completeness.push_str(&format!(" {}/{}", counts.required_present, counts.required));
        }
        let drift = labels::drift_state_label(overview.drift.state, overview.drift.severity);
        let drift = if self.is_full { drift } else { short_drift(overview.drift.state).to_owned() };
        let watch = watch_label(overview.watch);
        let watch = watch.split(':').next().unwrap_or_default();
        let progress = overview.progress.as_ref().map_or("-".to_owned(), labels::progress_label);
        let last = overview.dossier_updated_at.map_or("-".to_owned(), |at| age(now, at));
        let mark = if is_selected { ">" } else { " " };
        self.join(
            mark,
            [
                plain(escape_unprintable(name), Style::new()),
                styled::line(&completeness),
                styled::line(&drift),
                plain(progress, Style::new()),
                styled::line(watch),
                plain(last, DIM),
            ],
        )
    }

    fn join(self, mark: &str, cells: [Line<'static>; 6]) -> Line<'static> {
        let widths =
            [self.name, self.completeness, self.drift, self.progress, self.watch, self.last];
        let mut line = Line::from(format!("{mark} "));
        pad(&mut line, cells.into_iter().zip(widths));
        line
    }
}

/// Appends cells with their widths, two columns apart; those without a width are left out.
fn pad(line: &mut Line<'static>, cells: impl Iterator<Item = (Line<'static>, usize)>) {
    let mut gap = "";
    for (cell, width) in cells.filter(|(_, width)| *width > 0) {
        let cell = styled::truncate(cell, width);
        let space = width.saturating_sub(cell.width());
        line.push_span(gap);
        line.extend(cell);
        line.push_span(" ".repeat(space));
        gap = "  ";
    }
}

fn short_drift(state: Option<DriftState>) -> &'static str {
    match state {
        None => "unknown",
        Some(DriftState::NoBaseline) => "none",
        Some(DriftState::InParity) => "parity",
        Some(DriftState::Drifted) => "drifted",
        Some(DriftState::BaselineCorrupt) => "corrupt",
        Some(DriftState::KeyMismatch) => "key",
    }
}

/// Returns how long ago `at` was, in at most four characters.
pub(super) fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = age_seconds(now, at);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn age_seconds(now: Timestamp, at: Timestamp) -> i64 {
    (now.as_millis() - at.as_millis()).max(0) / 1_000
}

/// Returns after how many milliseconds an age changes that is visible; `None` if none is.
pub(super) fn next_tick(state: &TopState) -> Option<u64> {
    let is_visible = state.pages.is_empty() && Columns::new(state.size.0).last > 0;
    let status = state.status.as_ref().filter(|_| is_visible)?;
    let layout = ListLayout::new(state.size.1, state.problems.len());
    let rows = state.rows.iter().skip(state.cursor.offset).take(usize::from(layout.features));
    let times = rows.filter_map(|row| row.find(status)?.1.dossier_updated_at);
    times.map(|at| millis_to_change(state.now, at)).min()
}

fn millis_to_change(now: Timestamp, at: Timestamp) -> u64 {
    let unit = match age_seconds(now, at) {
        0..60 => 1_000,
        60..3_600 => 60_000,
        3_600..172_800 => 3_600_000,
        _ => 86_400_000,
    };
    let age = (now.as_millis() - at.as_millis()).max(0);
    // Not more than once a second.
    u64::try_from(unit - age % unit).unwrap_or(1_000).max(1_000)
}

fn draw_feature(state: &TopState, page: &FeaturePage, canvas: &mut Canvas<'_>) {
    draw_title(state, &page.id.slug, canvas);
    let Some((project, overview)) = state.feature() else {
        canvas.push(plain("this feature is no longer watched", Style::new().fg(Color::Yellow)));
        return;
    };
    for line in about_feature(project, overview) {
        canvas.push(line);
    }
    let columns = ArtifactColumns::new(canvas.width());
    canvas.push(columns.headings());
    match &page.artifacts {
        None => canvas.push(plain("  loading", DIM)),
        Some(Err(error)) => canvas.push(plain(
            format!("  not available: {}", escape_unprintable(error)),
            Style::new().fg(Color::Red),
        )),
        Some(Ok(items)) if items.is_empty() => canvas.push(plain("  no artifacts", DIM)),
        Some(Ok(items)) => {
            let ListCursor { at, offset } = page.cursor;
            for (index, item) in
                items.iter().enumerate().skip(offset).take(artifact_rows(state.size))
            {
                canvas.push(columns.row(item, overview, index == at));
                if index == at {
                    canvas.reverse(canvas.row - 1);
                }
            }
        }
    }
}

/// Returns two lines: what is wrong, and where the work is.
fn about_feature(project: &ProjectStatus<'_>, overview: &Overview<'_>) -> [Line<'static>; 2] {
    let order = format!(
        "{}, {}",
        labels::completeness_label(overview.completeness_status),
        labels::drift_state_label(overview.drift.state, overview.drift.severity)
    );
    let problem = problem_line(overview);
    // The line begins with the slug, which is the title here.
    let problem = problem.as_deref().and_then(|line| line.split_once(": ")).map(|(_, rest)| rest);
    let mut parts = vec![escape_unprintable(&project.project).into_owned()];
    parts.extend(overview.step.as_deref().map(|step| format!("step {}", escape_unprintable(step))));
    parts.extend(
        overview.next_step.as_deref().map(|step| format!("next {}", escape_unprintable(step))),
    );
    parts.extend(
        overview.progress.as_ref().map(|one| format!("{} done", labels::progress_label(one))),
    );
    [styled::line(problem.unwrap_or(&order)), plain(parts.join(", "), DIM)]
}

/// Widths of the columns of artifacts.
#[derive(Debug, Clone, Copy)]
struct ArtifactColumns {
    path: usize,
    state: usize,
    size: usize,
}

impl ArtifactColumns {
    fn new(width: usize) -> Self {
        let (state, size) = if width >= usize::from(FULL_WIDTH) { (29, 9) } else { (18, 0) };
        let gaps = if size > 0 { 4 } else { 2 };
        Self { path: width.saturating_sub(2 + state + size + gaps), state, size }
    }

    fn headings(self) -> Line<'static> {
        self.join(" ", ["PATH", "STATE", "SIZE"].map(|text| plain(text, DIM)))
    }

    fn row(
        self,
        item: &ArtifactItem<'_>,
        overview: &Overview<'_>,
        is_selected: bool,
    ) -> Line<'static> {
        let mut state = labels::presence_label(item.error_reason, None);
        let lists = &overview.drift.lists;
        let has = |keys: &[std::borrow::Cow<'_, str>]| keys.contains(&item.artifact_key);
        if item.is_present && has(&lists.changed) {
            "changed".clone_into(&mut state);
        } else if item.is_present && has(&lists.missing_in_baseline) {
            "added".clone_into(&mut state);
        }
        if item.required_status == RequiredStatus::Required {
            state.push_str(" (required)");
        }
        let size =
            if item.is_present { labels::size_label(item.size_bytes) } else { "-".to_owned() };
        let path = item.relative_path.text();
        let cells = [
            plain(escape_unprintable(&path), Style::new()),
            styled::line(&state),
            plain(size, DIM),
        ];
        self.join(if is_selected { ">" } else { " " }, cells)
    }

    fn join(self, mark: &str, cells: [Line<'static>; 3]) -> Line<'static> {
        let mut line = Line::from(format!("{mark} "));
        pad(&mut line, cells.into_iter().zip([self.path, self.state, self.size]));
        line
    }
}

fn draw_text_page(state: &TopState, page: &TextPage, canvas: &mut Canvas<'_>) {
    let slug = &page.id.feature.slug;
    let title = match &page.id.kind {
        TextKind::Content(key) => format!("{slug}: {key}"),
        TextKind::Diff => format!("{slug}: difference from the baseline"),
    };
    draw_title(state, &title, canvas);
    if !page.has_text {
        canvas.push(plain("loading", DIM));
    } else if page.lines.wrapped.is_empty() {
        let empty = match page.id.kind {
            TextKind::Content(_) => "the file is empty",
            TextKind::Diff => "no difference",
        };
        canvas.push(plain(empty, DIM));
    }
    draw_lines(&page.lines, state.size, canvas);
}

fn draw_lines(lines: &TextLines, size: (u16, u16), canvas: &mut Canvas<'_>) {
    for line in lines.wrapped.iter().skip(lines.offset).take(page_rows(size)) {
        canvas.push(line.clone());
    }
}

/// Draws the question, the notice, the filter, or the keys.
fn draw_last_line(state: &TopState, canvas: &mut Canvas<'_>) {
    canvas.move_to(canvas.area.height.saturating_sub(1));
    let width = canvas.width();
    let line = if let Some(question) = &state.question {
        // The keys stay visible however long the name is.
        spread(plain(question.text.clone(), BOLD), plain("y/n", BOLD), width)
    } else if let Some(notice) = &state.notice {
        plain(printable_lines(notice).replace('\n', " "), BOLD)
    } else if state.is_filtering {
        let filter = plain(format!("/{}\u{2588}", escape_unprintable(&state.filter)), BOLD);
        spread(filter, plain(matches_label(state), DIM), width)
    } else if !state.is_live {
        plain("stopped: this is the last state; waiting for the daemon", BOLD.fg(Color::Red))
    } else {
        keys(state, width)
    };
    canvas.push(line);
}

/// Returns how many of the features the filter selects.
fn matches_label(state: &TopState) -> String {
    format!("{} of {}", state.rows.len(), state.row_count)
}

fn keys(state: &TopState, width: usize) -> Line<'static> {
    let keys: Vec<String> = match state.pages.last() {
        None => {
            let mut keys = vec!["? help".to_owned(), "q quit".into(), "Enter open".into()];
            keys.push(format!("s sort:{}", state.order.name()));
            keys.push(match state.filter.as_str() {
                "" => "/ filter".to_owned(),
                filter => format!("/{} ({})", escape_unprintable(filter), matches_label(state)),
            });
            keys.extend(["d diff", "a accept"].map(str::to_owned));
            keys
        }
        Some(Page::Feature(_)) => {
            let keys = ["? help", "q back", "Enter show", "d diff", "r restore", "a accept"];
            keys.map(str::to_owned).into()
        }
        Some(Page::Text(page)) => {
            let last = page.lines.wrapped.len();
            let shown = (page.lines.offset + page_rows(state.size)).min(last);
            let mut keys = vec!["? help".to_owned(), "q back".into(), format!("{shown}/{last}")];
            keys.push("a accept".to_owned());
            keys
        }
        Some(Page::Help(_)) => vec!["q back".to_owned()],
    };
    let mut text = String::new();
    for key in keys {
        // Without the keys that do not fit, and not a part of one.
        if text.len() + key.len() + 2 > width && !text.is_empty() {
            break;
        }
        if !text.is_empty() {
            text.push_str("  ");
        }
        text.push_str(&key);
    }
    plain(text, DIM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_has_one_unit_and_changes_when_the_next_tick_says() {
        let at = Timestamp::parse("2026-02-21T10:00:00Z").unwrap();
        for (seconds, text, millis) in [
            (0, "0s", 1_000),
            (59, "59s", 1_000),
            (60, "1m", 60_000),
            (3_599, "59m", 1_000),
            (3_600, "1h", 3_600_000),
            (90_000, "25h", 3_600_000),
            (172_800, "2d", 86_400_000),
        ] {
            let now = Timestamp::from_millis(at.as_millis() + seconds * 1_000).unwrap();
            assert_eq!((&*age(now, at), millis_to_change(now, at)), (text, millis), "{seconds}");
        }
        let before = Timestamp::from_millis(at.as_millis() - 5_000).unwrap();
        assert_eq!(age(before, at), "0s");
    }
}
