//! The state of the screen: `state + input -> state + requests`. Pure: no terminal, clock or daemon.

use std::collections::VecDeque;

use ratatui::text::Line;

use crate::cli::render::status_line::StatusSummary;
use crate::cli::render::status_view;
use crate::cli::top::input::{Input, Key, RestoreAsked, TextId, TextKind, TopRequest};
use crate::cli::top::rows::{FeatureId, Row, SortOrder, rows};
use crate::cli::top::styled;
use crate::core::artifact::ErrorReason;
use crate::core::digest::Digest;
use crate::core::drift::DriftState;
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::wire::artifacts::{ArtifactItem, ArtifactList};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, ProjectWatchState, Status};

/// Maximum number of events that are kept; the oldest is dropped for a new one.
const MAX_EVENTS: usize = 200;

/// Everything that the screen shows.
#[derive(Debug, Default)]
pub(super) struct TopState {
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
    pub(super) now: Timestamp,
    pub(super) status: Option<Box<Status<'static>>>,
    /// One line about all features.
    pub(super) summary: String,
    /// Lines about what is wrong with the daemon and with projects.
    pub(super) problems: Vec<String>,
    /// Only of the project with this root.
    root: Option<String>,
    pub(super) rows: Vec<Row>,
    /// Number of rows without the filter.
    pub(super) row_count: usize,
    pub(super) cursor: ListCursor,
    /// The selected feature, which stays selected when the order changes.
    selected: Option<FeatureId>,
    pub(super) order: SortOrder,
    pub(super) filter: String,
    /// Keys are part of the filter.
    pub(super) is_filtering: bool,
    pub(super) events: VecDeque<Line<'static>>,
    pub(super) is_live: bool,
    /// Pages above the list, the visible one last.
    pub(super) pages: Vec<Page>,
    pub(super) question: Option<Question>,
    /// What was done or refused, until the next key.
    pub(super) notice: Option<String>,
    is_changed: bool,
}

/// A page above the list.
#[derive(Debug)]
pub(super) enum Page {
    Feature(FeaturePage),
    Text(TextPage),
    Help(TextLines),
}

/// A feature with its artifacts.
#[derive(Debug)]
pub(super) struct FeaturePage {
    pub(super) id: FeatureId,
    /// Tree hash at the time of the request.
    tree: Option<Digest>,
    /// `None` until they arrive.
    pub(super) artifacts: Option<Result<Vec<ArtifactItem<'static>>, String>>,
    pub(super) cursor: ListCursor,
}

/// A text of a feature.
#[derive(Debug)]
pub(super) struct TextPage {
    pub(super) id: TextId,
    /// Tree hash at the time of the request.
    tree: Option<Digest>,
    /// False until the text arrives.
    pub(super) has_text: bool,
    pub(super) lines: TextLines,
}

/// Lines that fit the screen.
#[derive(Debug, Default)]
pub(super) struct TextLines {
    lines: Vec<Line<'static>>,
    width: u16,
    /// The lines for this width.
    pub(super) wrapped: Vec<Line<'static>>,
    pub(super) offset: usize,
}

/// A question, which only `y` affirms.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) text: String,
    request: TopRequest,
}

/// The selected one of many rows, and the first one that is visible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ListCursor {
    pub(super) at: usize,
    pub(super) offset: usize,
}

impl ListCursor {
    fn apply(&mut self, step: Move, visible: usize) {
        self.at = step.apply(self.at, visible);
    }

    /// Moves into the list of `count` rows, of which `visible` are visible.
    fn clamp(&mut self, count: usize, visible: usize) {
        self.at = self.at.min(count.saturating_sub(1));
        let lowest = self.at.saturating_sub(visible.saturating_sub(1));
        self.offset =
            self.offset.clamp(lowest, self.at).min(count.saturating_sub(visible).max(lowest));
    }
}

/// A movement in a list or a text.
#[derive(Debug, Clone, Copy)]
enum Move {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

impl Move {
    fn from_key(key: Key) -> Option<Self> {
        Some(match key {
            Key::Up | Key::Char('k') => Self::Up,
            Key::Down | Key::Char('j') => Self::Down,
            Key::PageUp | Key::Ctrl('b') => Self::PageUp,
            Key::PageDown | Key::Ctrl('f') | Key::Char(' ') => Self::PageDown,
            Key::Home | Key::Char('g') => Self::Home,
            Key::End | Key::Char('G') => Self::End,
            _ => return None,
        })
    }

    fn apply(self, at: usize, visible: usize) -> usize {
        match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at.saturating_add(1),
            Self::PageUp => at.saturating_sub(visible.max(1)),
            Self::PageDown => at.saturating_add(visible.max(1)),
            Self::Home => 0,
            Self::End => usize::MAX,
        }
    }
}

impl TextLines {
    fn set(&mut self, text: &str, size: (u16, u16)) {
        self.lines = styled::lines(text);
        self.width = 0;
        self.fit(size);
    }

    /// Wraps for this size, and keeps the last page filled.
    fn fit(&mut self, size: (u16, u16)) {
        if self.width != size.0 || self.wrapped.is_empty() {
            self.width = size.0;
            let wrap = |line| styled::wrap(line, usize::from(size.0));
            self.wrapped = self.lines.iter().flat_map(wrap).collect();
        }
        let last = self.wrapped.len().saturating_sub(page_rows(size));
        self.offset = self.offset.min(last);
    }

    fn scroll(&mut self, step: Move, size: (u16, u16)) {
        self.offset = step.apply(self.offset, page_rows(size));
        self.fit(size);
    }
}

/// Rows of the parts of the list's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListLayout {
    pub(super) problems: u16,
    pub(super) features: u16,
    /// With their title; 0 if there is no space for them.
    pub(super) events: u16,
}

impl ListLayout {
    pub(super) fn new(height: u16, problems: usize) -> Self {
        let events = if height < 10 { 0 } else { (height / 4).clamp(2, 12) + 1 };
        let most: u16 = if height < 20 { 1 } else { 3 };
        let problems = u16::try_from(problems).unwrap_or(u16::MAX).min(most);
        // The summary, the headings and the last line.
        Self { problems, features: height.saturating_sub(3 + problems + events), events }
    }
}

/// Rows of a text: all but the title and the last line.
pub(super) fn page_rows((_, height): (u16, u16)) -> usize {
    usize::from(height.saturating_sub(2))
}

/// Rows of artifacts: all but the title, two lines about the feature, the headings and the last line.
pub(super) fn artifact_rows((_, height): (u16, u16)) -> usize {
    usize::from(height.saturating_sub(5))
}

impl TopState {
    /// Returns the state before the first status, of one project or of all.
    pub(super) fn new(size: (u16, u16), root: Option<String>, now: Timestamp) -> Self {
        Self { size, root, now, is_live: true, is_changed: true, ..Self::default() }
    }

    /// Returns true once after something visible changed.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Applies an input and returns what is to be done.
    pub(super) fn handle(&mut self, input: Input) -> Vec<TopRequest> {
        self.is_changed = true;
        let requests = match input {
            Input::Key(key) => self.on_key(key),
            Input::Click(row) => {
                self.on_click(row);
                Vec::new()
            }
            Input::Resize(columns, rows) => {
                self.size = (columns, rows);
                Vec::new()
            }
            Input::Status(status) => self.on_status(status),
            Input::Events(lines) => {
                for line in lines {
                    self.events.push_back(styled::line(&line));
                }
                let surplus = self.events.len().saturating_sub(MAX_EVENTS);
                self.events.drain(..surplus);
                Vec::new()
            }
            Input::Disconnected => {
                self.is_live = false;
                self.question = None;
                Vec::new()
            }
            Input::Reconnected => {
                self.is_live = true;
                self.notice = Some("the connection to the daemon is restored".to_owned());
                Vec::new()
            }
            Input::Artifacts(id, list) => {
                self.on_artifacts(&id, list);
                Vec::new()
            }
            Input::Text(id, text) => {
                self.on_text(&id, text);
                Vec::new()
            }
            Input::Done(done) => {
                self.notice = Some(done.unwrap_or_else(|error| format!("refused: {error}")));
                Vec::new()
            }
            Input::Tick(now) => {
                self.now = now;
                Vec::new()
            }
        };
        self.fit();
        requests
    }

    /// Returns the selected feature with its project; on a page that of the page.
    pub(super) fn feature(&self) -> Option<(&ProjectStatus<'static>, &Overview<'static>)> {
        match self.pages.iter().rev().find_map(Page::feature) {
            Some(id) => self.find(id),
            None => self.rows.get(self.cursor.at)?.find(self.status.as_ref()?),
        }
    }

    /// Returns the number of projects.
    pub(super) fn project_count(&self) -> usize {
        self.status.as_ref().map_or(0, |status| status.projects.len())
    }

    fn find(&self, id: &FeatureId) -> Option<(&ProjectStatus<'static>, &Overview<'static>)> {
        let projects = &self.status.as_ref()?.projects;
        let project = projects.iter().find(|project| project.root_id == id.root_id)?;
        let overview = project.features.iter().find(|one| one.feature_slug == id.slug)?;
        Some((project, overview))
    }

    fn tree(&self, id: &FeatureId) -> Option<Digest> {
        self.find(id).map(|(_, overview)| overview.tree_hash_sha256)
    }

    fn on_status(&mut self, mut status: Box<Status<'static>>) -> Vec<TopRequest> {
        if let Some(root) = &self.root {
            status.projects.retain(|project| project.root == *root);
        }
        let projects: Vec<&ProjectStatus<'_>> = status.projects.iter().collect();
        let config = status.config.as_ref().map_or(&[][..], |config| &config.errors);
        let name = match projects.as_slice() {
            [one] => escape_unprintable(&one.project).into_owned(),
            all => format!("{} projects", all.len()),
        };
        self.summary = StatusSummary::new(&projects, &[], config.len()).line(&name);
        self.problems = config.iter().map(status_view::config_problem).collect();
        self.problems.extend(status_view::store_problem(&status.store));
        self.problems.extend(projects.iter().filter_map(|project| project_problem(project)));
        for project in &projects {
            self.problems.extend(project.manifest_errors.iter().map(ToString::to_string));
        }
        self.problems = self.problems.iter().map(|one| escape_lines(one)).collect();
        self.status = Some(status);
        self.sort_rows();
        self.reload_pages()
    }

    /// Asks again for what the pages show of features that changed.
    fn reload_pages(&mut self) -> Vec<TopRequest> {
        let mut requests = Vec::new();
        let mut pages = std::mem::take(&mut self.pages);
        for page in &mut pages {
            match page {
                Page::Feature(page) if self.tree(&page.id) != page.tree => {
                    page.tree = self.tree(&page.id);
                    requests.push(TopRequest::Artifacts(page.id.clone()));
                }
                Page::Text(page) if self.tree(&page.id.feature) != page.tree => {
                    page.tree = self.tree(&page.id.feature);
                    requests.push(TopRequest::Text(page.id.clone()));
                }
                Page::Feature(_) | Page::Text(_) | Page::Help(_) => {}
            }
        }
        self.pages = pages;
        requests
    }

    /// Orders the rows and finds the selected one among them again.
    fn sort_rows(&mut self) {
        let Some(status) = &self.status else { return };
        self.rows = rows(status, &self.filter, self.order);
        self.row_count = if self.filter.is_empty() {
            self.rows.len()
        } else {
            rows(status, "", self.order).len()
        };
        let id = |row: &Row| row.id(status);
        let is_selected = |row: &Row| self.selected.is_some() && id(row) == self.selected;
        if let Some(at) = self.rows.iter().position(is_selected) {
            self.cursor.at = at;
        }
    }

    fn fit(&mut self) {
        let layout = ListLayout::new(self.size.1, self.problems.len());
        self.cursor.clamp(self.rows.len(), usize::from(layout.features));
        let row = self.rows.get(self.cursor.at);
        if let (Some(status), Some(row)) = (&self.status, row) {
            self.selected = row.id(status);
        }
        let size = self.size;
        for page in &mut self.pages {
            match page {
                Page::Feature(page) => page.cursor.clamp(page.items().len(), artifact_rows(size)),
                Page::Text(TextPage { lines, .. }) | Page::Help(lines) => lines.fit(size),
            }
        }
    }

    fn on_click(&mut self, row: u16) {
        let layout = ListLayout::new(self.size.1, self.problems.len());
        let row = usize::from(row);
        let first = match self.pages.last() {
            None => 2 + usize::from(layout.problems),
            Some(Page::Feature(_)) => 4,
            Some(_) => return,
        };
        let Some(at) = row.checked_sub(first) else { return };
        match self.pages.last_mut() {
            None if at < usize::from(layout.features) => self.cursor.at = self.cursor.offset + at,
            Some(Page::Feature(page)) => page.cursor.at = page.cursor.offset + at,
            _ => {}
        }
    }

    fn on_key(&mut self, key: Key) -> Vec<TopRequest> {
        self.notice = None;
        match key {
            Key::Ctrl('c') => return vec![TopRequest::Quit],
            Key::Ctrl('z') => return vec![TopRequest::Suspend],
            Key::Ctrl('l') => return vec![TopRequest::Redraw],
            _ => {}
        }
        if let Some(question) = self.question.take() {
            let is_yes = matches!(key, Key::Char('y' | 'Y'));
            if !is_yes {
                self.notice = Some("nothing was changed".to_owned());
            }
            return is_yes.then_some(question.request).into_iter().collect();
        }
        if self.is_filtering {
            self.on_filter_key(key);
            return Vec::new();
        }
        match (key, self.pages.last()) {
            (Key::Char('?'), Some(Page::Help(_))) | (Key::Char('q') | Key::Esc, Some(_)) => {
                self.pages.pop();
            }
            (Key::Char('?'), _) => {
                let mut lines = TextLines::default();
                lines.set(HELP, self.size);
                self.pages.push(Page::Help(lines));
            }
            (Key::Esc, None) if !self.filter.is_empty() => {
                self.filter.clear();
                self.sort_rows();
            }
            (Key::Char('q') | Key::Esc, None) => return vec![TopRequest::Quit],
            (Key::Char('a'), _) => self.ask_accept(),
            (Key::Char('d'), page) if !page.is_some_and(Page::is_text) => {
                return self.open_text(TextKind::Diff);
            }
            (_, None) => return self.on_list_key(key),
            (_, Some(_)) => return self.on_page_key(key),
        }
        Vec::new()
    }

    fn on_filter_key(&mut self, key: Key) {
        match key {
            Key::Enter => self.is_filtering = false,
            Key::Esc => {
                self.is_filtering = false;
                self.filter.clear();
            }
            Key::Backspace | Key::Ctrl('h') => drop(self.filter.pop()),
            Key::Ctrl('u') => self.filter.clear(),
            Key::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.sort_rows();
    }

    fn on_list_key(&mut self, key: Key) -> Vec<TopRequest> {
        match key {
            Key::Char('/') => self.is_filtering = true,
            Key::Char('s') => {
                self.order = self.order.next();
                self.sort_rows();
                // What is first in the new order is what the user looks for.
                self.cursor = ListCursor::default();
            }
            Key::Enter => {
                let status = self.status.as_ref();
                let row = self.rows.get(self.cursor.at);
                if let Some(id) = status.zip(row).and_then(|(status, row)| row.id(status)) {
                    let page = FeaturePage {
                        tree: self.tree(&id),
                        id: id.clone(),
                        artifacts: None,
                        cursor: ListCursor::default(),
                    };
                    self.pages.push(Page::Feature(page));
                    return vec![TopRequest::Artifacts(id)];
                }
            }
            key => {
                if let Some(step) = Move::from_key(key) {
                    let layout = ListLayout::new(self.size.1, self.problems.len());
                    self.cursor.apply(step, usize::from(layout.features));
                }
            }
        }
        Vec::new()
    }

    fn on_page_key(&mut self, key: Key) -> Vec<TopRequest> {
        let size = self.size;
        match self.pages.last_mut() {
            Some(Page::Feature(page)) => match key {
                Key::Enter => {
                    let item = page.items().get(page.cursor.at);
                    let key = item
                        .filter(|item| item.is_present)
                        .map(|item| item.artifact_key.to_string());
                    if let Some(key) = key {
                        return self.open_text(TextKind::Content(key));
                    }
                    let absent = item.and_then(|item| item.error_reason);
                    self.notice = absent.map(|reason| absent_text(reason).to_owned());
                }
                Key::Char('r') => self.ask_restore(),
                key => {
                    if let Some(step) = Move::from_key(key) {
                        page.cursor.apply(step, artifact_rows(size));
                    }
                }
            },
            Some(Page::Text(TextPage { lines, .. }) | Page::Help(lines)) => {
                let step = match key {
                    Key::Enter => Some(Move::Down),
                    key => Move::from_key(key),
                };
                if let Some(step) = step {
                    lines.scroll(step, size);
                }
            }
            None => {}
        }
        Vec::new()
    }

    fn open_text(&mut self, kind: TextKind) -> Vec<TopRequest> {
        let Some((project, overview)) = self.feature() else { return Vec::new() };
        if kind == TextKind::Diff && overview.drift.state == Some(DriftState::NoBaseline) {
            self.notice =
                Some("no baseline to compare with; a accepts the present state".to_owned());
            return Vec::new();
        }
        let tree = Some(overview.tree_hash_sha256);
        let slug = overview.feature_slug.to_string();
        let feature = FeatureId { root_id: project.root_id.to_string(), slug };
        let id = TextId { feature, kind };
        let lines = TextLines::default();
        self.pages.push(Page::Text(TextPage { id: id.clone(), tree, has_text: false, lines }));
        vec![TopRequest::Text(id)]
    }

    /// Returns true, with a notice, if nothing can be changed now.
    fn refuses_changes(&mut self) -> bool {
        if !self.is_live {
            self.notice = Some("refused: the daemon does not run".to_owned());
        }
        !self.is_live
    }

    fn ask_accept(&mut self) {
        if self.refuses_changes() || matches!(self.pages.last(), Some(Page::Help(_))) {
            return;
        }
        let Some((project, overview)) = self.feature() else { return };
        let slug = overview.feature_slug.to_string();
        let id = FeatureId { root_id: project.root_id.to_string(), slug };
        // A text shows the state at the time of its request.
        let tree = match self.pages.last() {
            Some(Page::Text(page)) => page.tree,
            _ => Some(overview.tree_hash_sha256),
        };
        let Some(tree) = tree else { return };
        let slug = escape_unprintable(&id.slug).into_owned();
        self.question = Some(Question {
            text: format!("accept as baseline: {slug}, tree {tree:.12}?"),
            request: TopRequest::Accept(id, tree),
        });
    }

    fn ask_restore(&mut self) {
        if self.refuses_changes() {
            return;
        }
        let Some(Page::Feature(page)) = self.pages.last() else { return };
        let Some(item) = page.items().get(page.cursor.at) else { return };
        let Some((_, overview)) = self.find(&page.id) else { return };
        let asked = RestoreAsked {
            feature: page.id.clone(),
            artifact_key: item.artifact_key.to_string(),
            is_present: item.is_present,
            tree: overview.tree_hash_sha256,
        };
        let path = item.relative_path.text();
        let path = escape_unprintable(&path);
        let text = if item.is_present {
            format!("replace by the baseline's version: {path}?")
        } else {
            format!("restore the last version: {path}?")
        };
        self.question = Some(Question { text, request: TopRequest::Restore(asked) });
    }

    fn on_artifacts(&mut self, id: &FeatureId, list: Result<ArtifactList<'static>, String>) {
        // What is not present first.
        let sorted = list.map(|list| {
            let mut items = list.artifacts;
            items.sort_by_key(|item| item.is_present);
            items
        });
        let page = self.pages.iter_mut().find_map(|page| match page {
            Page::Feature(page) if page.id == *id => Some(page),
            _ => None,
        });
        let Some(page) = page else { return };
        let selected = page.items().get(page.cursor.at).map(|item| item.artifact_key.clone());
        page.artifacts = Some(sorted);
        let is_selected = |item: &ArtifactItem<'_>| Some(&item.artifact_key) == selected.as_ref();
        if let Some(at) = page.items().iter().position(is_selected) {
            page.cursor.at = at;
        }
    }

    fn on_text(&mut self, id: &TextId, text: Result<String, String>) {
        let size = self.size;
        let page = self.pages.iter_mut().find_map(|page| match page {
            Page::Text(page) if page.id == *id => Some(page),
            _ => None,
        });
        let Some(page) = page else { return };
        page.has_text = true;
        let text = text.unwrap_or_else(|error| format!("not available: {}", escape_lines(&error)));
        page.lines.set(&text, size);
    }
}

impl Page {
    fn feature(&self) -> Option<&FeatureId> {
        match self {
            Self::Feature(page) => Some(&page.id),
            Self::Text(page) => Some(&page.id.feature),
            Self::Help(_) => None,
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Help(_))
    }
}

impl FeaturePage {
    /// Returns the artifacts; none before they arrive.
    pub(super) fn items(&self) -> &[ArtifactItem<'static>] {
        match &self.artifacts {
            Some(Ok(items)) => items,
            Some(Err(_)) | None => &[],
        }
    }
}

/// Returns why an artifact has no content to show.
fn absent_text(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::NotFound => "this artifact does not exist yet",
        ErrorReason::DeletedAfterScan => "this artifact was deleted; r restores it",
        ErrorReason::Unreadable | ErrorReason::InvalidFormat => "this artifact cannot be read",
    }
}

fn escape_lines(text: &str) -> String {
    escape_unprintable(text).into_owned()
}

/// Returns a line about a project that is not watched completely.
fn project_problem(project: &ProjectStatus<'_>) -> Option<String> {
    match project.watch.state {
        ProjectWatchState::Live | ProjectWatchState::Rescanning | ProjectWatchState::Unwatched => {
            None
        }
        ProjectWatchState::Polling
        | ProjectWatchState::Degraded
        | ProjectWatchState::Unreadable
        | ProjectWatchState::RootUnavailable
        | ProjectWatchState::Unresponsive => {
            let text = status_view::watch_text(&project.watch);
            let plain: String = anstream::adapter::strip_str(&text).to_string();
            Some(format!("{}: {plain}", project.project))
        }
    }
}

/// The text of `?`.
pub(super) const HELP: &str = "\
Everywhere
  up, down, j, k  move by a line
  PgUp, PgDn      move by a page
  Home, End, g, G to the begin, the end
  ?               show, close this help
  q, Esc          go back, at last end
  Ctrl-C          end
  Ctrl-Z          suspend
  Ctrl-L          draw again
List of features
  Enter           open the feature
  /               filter by project, slug
  s               sort by trouble, recent,
                  progress, name
Feature
  Enter           show the content
  r               restore the artifact:
                  absent: its last version
                  present: the baseline's
List and feature
  d               differences from the
                  baseline
  a               accept as the baseline
  a and r ask first, and are refused if the
  feature has changed meanwhile
Words
  complete, incomplete, unknown:
                  required artifacts
  in parity, drifted, no baseline:
                  against the baseline
  live, settling, degraded, gone, ...:
                  how files are watched
  NOT LIVE:       the daemon is stopped;
                  this is its last state
";
