//! How much of the work of a feature is done: boxes of Markdown lists, states of items, and files
//! with a partner (`docs/specification.md#progress`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::layout::state_document::scalar_text;
use super::layout::{Fences, ItemState};
use super::path::RelPath;
use super::pattern::{Pattern, PatternSet};

/// Numbers of items of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskProgress {
    /// Required items that are finished.
    pub done: u64,
    /// Required items.
    pub total: u64,
    /// Required items that are begun and not finished.
    pub in_progress: u64,
    /// Optional items that are not finished; they are in no other number.
    pub optional_open: u64,
}

impl TaskProgress {
    /// Returns true if there is no item at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0 && self.optional_open == 0
    }

    /// Returns the sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            total: self.total + other.total,
            in_progress: self.in_progress + other.in_progress,
            optional_open: self.optional_open + other.optional_open,
        }
    }

    /// Counts one required item.
    pub fn add(&mut self, state: ItemState) {
        self.total += u64::from(state != ItemState::None);
        self.done += u64::from(state == ItemState::Done);
        self.in_progress += u64::from(state == ItemState::InProgress);
    }
}

/// A box of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ListBox {
    state: ItemState,
    is_optional: bool,
}

/// Counts the boxes of the lists in Markdown.
///
/// # Examples
/// ```
/// use dossierd::core::layout::Fences;
/// use dossierd::core::task_progress::count_boxes;
///
/// let text = "- [x] one\n- [ ] two\n  1. [-] three\n- [ ]* four\n";
/// let progress = count_boxes(text, Fences::Exclude);
/// assert_eq!((progress.done, progress.total), (1, 3));
/// assert_eq!((progress.in_progress, progress.optional_open), (1, 1));
/// ```
#[must_use]
pub fn count_boxes(text: &str, fences: Fences) -> TaskProgress {
    let mut progress = TaskProgress::default();
    let mut open_fence: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if fences == Fences::Exclude {
            match (open_fence, fence_of(line)) {
                (None, Some(fence)) => {
                    open_fence = Some(fence);
                    continue;
                }
                (Some(open), Some(fence))
                    if fence.starts_with(open) && fence.len() == line.len() =>
                {
                    open_fence = None;
                    continue;
                }
                (Some(_), _) => continue,
                (None, None) => {}
            }
        }
        match parse_box(line) {
            Some(ListBox { state, is_optional: true }) => {
                progress.optional_open += u64::from(state != ItemState::Done);
            }
            Some(ListBox { state, is_optional: false }) => progress.add(state),
            None => {}
        }
    }
    progress
}

/// Returns the characters with which a line begins or ends a block of fenced code.
fn fence_of(line: &str) -> Option<&str> {
    let first = line.chars().next().filter(|first| matches!(first, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(first).len();
    let info = &line[length..];
    let is_fence = length >= 3 && !(first == '`' && info.contains('`'));
    is_fence.then(|| &line[..length])
}

/// Parses a trimmed line as a list item with a box.
fn parse_box(line: &str) -> Option<ListBox> {
    let rest = match line.strip_prefix(['-', '*']) {
        Some(rest) => rest,
        None => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < line.len()).then_some(rest)?.strip_prefix('.')?
        }
    };
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start().strip_prefix('[')?;
    let mark = rest.chars().next()?;
    let rest = rest[mark.len_utf8()..].strip_prefix(']')?;
    let state = match mark {
        ' ' | '\t' => ItemState::Open,
        'x' | 'X' => ItemState::Done,
        '-' | '~' => ItemState::InProgress,
        _ => return None,
    };
    let is_optional = rest.starts_with('*') && !rest.starts_with("**");
    let ends = rest.is_empty() || is_optional || rest.starts_with([' ', '\t']);
    ends.then_some(ListBox { state, is_optional })
}

/// Returns a text with the mark of each box removed: texts that differ only in marks become equal.
#[must_use]
pub fn without_box_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_box = parse_box(line.trim()).is_some();
        match line.find('[').filter(|_| is_box) {
            Some(open) => {
                let close = line[open..].find(']').map_or(line.len(), |at| open + at);
                out.push_str(&line[..=open]);
                out.push_str(&line[close..]);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Returns the states of work packages by their lanes.
#[must_use]
pub fn lane_state(lane: &str) -> ItemState {
    match lane {
        "done" => ItemState::Done,
        "claimed" | "in_progress" | "doing" | "for_review" | "in_review" | "approved" => {
            ItemState::InProgress
        }
        "canceled" | "cancelled" => ItemState::None,
        _ => ItemState::Open,
    }
}

/// How the items of a field are counted.
#[derive(Debug)]
pub struct ItemRules<'a> {
    /// Patterns of the keys that are items; all of them without one.
    pub keys: Option<&'a Pattern>,
    /// States by value.
    pub map: &'a BTreeMap<String, ItemState>,
    /// Whether values that `map` does not have are lanes.
    pub has_lanes: bool,
}

impl ItemRules<'_> {
    fn state(&self, value: &str) -> ItemState {
        match self.map.get(value) {
            Some(state) => *state,
            None if self.has_lanes => lane_state(value),
            None => ItemState::Open,
        }
    }

    /// Counts the items in the value of a field: a map from item to state, a list of items with
    /// `status`, `state` or `lane`, or the state of the one item that the file is. A map or list in
    /// which no item has a state has no progress.
    #[must_use]
    pub fn count(&self, value: &Value) -> Option<TaskProgress> {
        let mut progress = TaskProgress::default();
        match value {
            Value::Mapping(items) => {
                let keys = self.keys.and_then(|pattern| PatternSet::new([pattern]).ok());
                for (key, value) in items {
                    let key = scalar_text(key)?;
                    let is_item = match (&keys, RelPath::new(key.as_bytes())) {
                        (Some(keys), Ok(key)) => keys.is_match(&key),
                        (Some(_), Err(_)) => false,
                        (None, _) => true,
                    };
                    if is_item {
                        progress.add(self.state(&item_state_text(value)?));
                    }
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    progress.add(self.state(&item_state_text(item)?));
                }
            }
            value => progress.add(self.state(&scalar_text(value)?)),
        }
        Some(progress)
    }
}

fn item_state_text(value: &Value) -> Option<String> {
    let fields = ["lane", "status", "state"];
    scalar_text(value)
        .or_else(|| fields.into_iter().find_map(|field| scalar_text(value.get(field)?)))
}

/// Files that need a partner: of the pattern of the files and that of the partners, the text that
/// `*` matches is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Pattern of the files, with one `*`.
    pub files: Pattern,
    /// Pattern of the partners, with one `*`.
    pub partner: Pattern,
}

/// The files of a [`Relation`] that exist, with the numbers that follow from them. Each change costs
/// the same, however many files there are.
#[derive(Debug, Clone, Default)]
pub struct RelationCounts {
    stems: BTreeMap<Box<[u8]>, StemFiles>,
    progress: TaskProgress,
}

/// Which files of a stem exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StemFiles {
    has_file: bool,
    has_partner: bool,
}

impl StemFiles {
    fn progress(self) -> TaskProgress {
        let done = u64::from(self.has_file && self.has_partner);
        TaskProgress { done, total: u64::from(self.has_file), ..TaskProgress::default() }
    }
}

impl RelationCounts {
    /// Records whether a file exists at a path, which may be none of the relation.
    pub fn set(&mut self, relation: &Relation, path: &RelPath, exists: bool) {
        let (file, partner) = (stem(&relation.files, path), stem(&relation.partner, path));
        if let Some(stem) = file {
            self.update(stem, |files| files.has_file = exists);
        }
        if let Some(stem) = partner {
            self.update(stem, |files| files.has_partner = exists);
        }
    }

    fn update(&mut self, stem: &[u8], change: impl Fn(&mut StemFiles)) {
        let before = self.stems.get(stem).copied().unwrap_or_default();
        let mut now = before;
        change(&mut now);
        let (removed, added) = (before.progress(), now.progress());
        self.progress.done = self.progress.done + added.done - removed.done;
        self.progress.total = self.progress.total + added.total - removed.total;
        if now == StemFiles::default() {
            self.stems.remove(stem);
        } else {
            self.stems.insert(stem.into(), now);
        }
    }

    /// Returns the number of the files, as done where the partner exists.
    #[must_use]
    pub fn progress(&self) -> TaskProgress {
        self.progress
    }
}

/// Returns what the `*` of a pattern matches in a path.
fn stem<'p>(pattern: &Pattern, path: &'p RelPath) -> Option<&'p [u8]> {
    let (before, after) = pattern.as_str().split_once('*')?;
    let rest = path.as_bytes().strip_prefix(before.as_bytes())?;
    let stem = rest.strip_suffix(after.as_bytes())?;
    (!stem.contains(&b'/')).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(progress: TaskProgress) -> [u64; 4] {
        [progress.done, progress.total, progress.in_progress, progress.optional_open]
    }

    #[test]
    fn boxes_are_counted_by_their_marks() {
        for (text, expected) in [
            ("", [0, 0, 0, 0]),
            ("- [ ] a\n* [x] b\n1. [X] c\n12. [ ] d\n", [2, 4, 0, 0]),
            ("- [-] a\n- [~] b\n", [0, 2, 2, 0]),
            ("- [ ]* a\n- [x]* b\n- [-]* c\n", [0, 0, 0, 2]),
            ("  - [x] nested\n\t- [ ] tab\r\n", [1, 2, 0, 0]),
            (
                "-[ ] no space\n[ ] no item\n- [] empty\n- [y] other\n- [x](link)\n+ [x] plus\n",
                [0; 4],
            ),
            ("- [x]\n", [1, 1, 0, 0]),
            ("- [x] **bold** **\n- [ ]** x\n", [1, 1, 0, 0]),
            ("```\n- [ ] a\n```\n- [x] b\n", [1, 1, 0, 0]),
            ("````md\n```\n- [ ] a\n```\n````\n- [x] b\n", [1, 1, 0, 0]),
            ("~~~\n```\n- [ ] a\n~~~\n- [x] b\n", [1, 1, 0, 0]),
            ("```rust\n- [ ] a\n``` not an end\n- [ ] b\n", [0; 4]),
            ("`- [ ] a`\n```x```\n- [x] b\n", [1, 1, 0, 0]),
        ] {
            assert_eq!(numbers(count_boxes(text, Fences::Exclude)), expected, "{text:?}");
        }
        let fenced = "```\n- [ ] a\n```\n- [x] b\n";
        assert_eq!(numbers(count_boxes(fenced, Fences::Include)), [1, 2, 0, 0]);
    }

    #[test]
    fn only_marks_of_boxes_are_removed() {
        let text = |mark: &str| format!("# [a]\n- [{mark}] T1 [P] x\n- see [{mark}]\n");
        assert_eq!(without_box_marks(&text(" ")), "# [a]\n- [] T1 [P] x\n- see [ ]\n");
        let done = "- [x] T1\n* [X] T2";
        assert_eq!(without_box_marks(done), without_box_marks("- [ ] T1\n* [-] T2"));
        assert_ne!(without_box_marks("- [ ] T1"), without_box_marks("- [ ] T2"));
    }

    #[test]
    fn items_are_counted_by_their_states() {
        let map = BTreeMap::from([
            ("done".to_owned(), ItemState::Done),
            ("review".to_owned(), ItemState::InProgress),
        ]);
        let stories = Pattern::new("[0-9]*-[0-9]*-*").unwrap();
        let sprint =
            "epic-1: done\n1-1-a: done\n1-2-b: review\n2-1-c: backlog\nepic-1-retro: optional\n";
        let lanes = "WP01: {lane: done}\nWP02: {lane: for_review}\nWP03: {lane: planned}\n\
                     WP04: {lane: canceled}\n";
        for (text, keys, has_lanes, expected) in [
            (sprint, Some(&stories), false, Some([1, 3, 1, 0])),
            (sprint, None, false, Some([2, 5, 1, 0])),
            (lanes, None, true, Some([1, 3, 1, 0])),
            ("[{id: 1, status: done}, {id: 2, status: open}]", None, false, Some([1, 2, 0, 0])),
            ("done", None, false, Some([1, 1, 0, 0])),
            ("a: {x: 1}", None, false, None),
            ("a: [1]", None, false, None),
        ] {
            let value: Value = serde_yaml::from_str(text).unwrap();
            let counted = ItemRules { keys, map: &map, has_lanes }.count(&value);
            assert_eq!(counted.map(numbers), expected, "{text}");
        }
    }

    #[test]
    fn a_relation_counts_files_with_a_partner_of_the_same_stem() {
        let relation = Relation {
            files: Pattern::new("*-PLAN.md").unwrap(),
            partner: Pattern::new("*-SUMMARY.md").unwrap(),
        };
        for (paths, expected) in [
            ("", [0, 0, 0, 0]),
            ("01-01-PLAN.md 01-02-PLAN.md 01-01-SUMMARY.md", [1, 2, 0, 0]),
            ("01-01-PLAN.md 01-01-SUMMARY.md 01-09-SUMMARY.md", [1, 1, 0, 0]),
            ("01-SUMMARY.md", [0, 0, 0, 0]),
            ("x/01-01-PLAN.md", [0, 0, 0, 0]),
        ] {
            let mut counts = RelationCounts::default();
            for path in paths.split_whitespace() {
                let path = RelPath::new(path.as_bytes()).unwrap();
                counts.set(&relation, &path, true);
                counts.set(&relation, &path, true);
            }
            assert_eq!(numbers(counts.progress()), expected, "{paths:?}");
            for path in paths.split_whitespace() {
                counts.set(&relation, &RelPath::new(path.as_bytes()).unwrap(), false);
            }
            assert_eq!(numbers(counts.progress()), [0; 4], "{paths:?}: all are removed");
            assert!(counts.stems.is_empty());
        }
    }
}
