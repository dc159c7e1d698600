//! Reads what the layout of a feature takes from its files: mission, step and progress
//! (`docs/specification.md#layouts`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use super::coordination;
use super::feature_dir::FeatureDir;
use crate::core::digest::Digest;
use crate::core::layout::state_document::StateDocument;
use crate::core::layout::{
    Fences, FieldCondition, Layout, ProgressOrigin, ProgressPlace, ProgressRule, StepOrigin,
};
use crate::core::manifest::{InvalidMissionType, MissionType, SchemaSpecs};
use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet};
use crate::core::task_progress::{ItemRules, Relation, TaskProgress, count_boxes};
use crate::core::yaml::ParseError;
use crate::project::missions::{OPENSPEC, mission_of_schema};
use crate::project::root_dir::{ReadError, RootDir};

/// The file of a change of OpenSpec that names its schema.
const CHANGE_FILE: &str = ".openspec.yaml";
/// Maximum size of a state file, and of a file in which progress is counted.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most files that a pattern of progress may match, and directories that are listed for it.
const MAX_MATCHES: usize = 4096;
/// Most bytes of a feature in which progress is counted.
const MAX_COUNTED_BYTES: u64 = 32 << 20;

/// The files of a feature on which its metadata depends, and the content that was read.
#[derive(Debug, Clone, Default)]
pub struct StateFiles {
    /// Files that were looked for; `None` for one that did not exist or could not be read.
    consulted: BTreeMap<RelPath, Option<Digest>>,
    /// The patterns of which all files were looked for.
    expanded: Vec<PatternSet>,
    /// The directory outside of the feature, below the root, in which files were looked for.
    outside: Option<RelPath>,
}

impl StateFiles {
    /// Returns those of a feature whose metadata depends on one file.
    #[cfg(test)]
    pub(crate) fn of_file(path: RelPath, hash: Option<Digest>) -> Self {
        Self { consulted: BTreeMap::from([(path, hash)]), ..Self::default() }
    }

    /// Returns true if metadata of the feature depends on the file at a path outside of it, below the
    /// root.
    #[must_use]
    pub fn contains_outside(&self, path: &RelPath) -> bool {
        self.outside.as_ref().is_some_and(|dir| path.is_below(dir))
    }

    /// Returns true if metadata of the feature depends on the file at a path.
    #[must_use]
    pub fn contains(&self, path: &RelPath) -> bool {
        self.consulted.contains_key(path) || self.expanded.iter().any(|set| set.is_match(path))
    }

    /// Returns true if a file may have other content than when the metadata was read; `hash` is `None`
    /// for one that cannot be read.
    #[must_use]
    pub fn is_outdated(&self, path: &RelPath, hash: Option<Digest>) -> bool {
        match self.consulted.get(path) {
            Some(read) => hash.is_none() || *read != hash,
            None => self.contains(path),
        }
    }

    /// Returns true if a file that was looked for is not listed, so that no check of it follows: it may
    /// have been removed since the metadata was read.
    pub fn lacks_checks(&self, is_listed: impl Fn(&RelPath) -> bool) -> bool {
        self.consulted.keys().any(|path| !is_listed(path))
    }
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{0}: {1}")]
    Read(String, ReadError),
    #[error("{0}:{1}")]
    Parse(String, ParseError),
    #[error("{0}: {1}")]
    Mission(String, InvalidMissionType),
    #[error("{0}: {1}")]
    TooMuch(String, String),
}

type Document = Result<Option<Rc<StateDocument>>, Rc<StateError>>;

/// The step that a state file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StateStep {
    pub(super) step: String,
    pub(super) file: String,
}

/// Reads the files of one feature, each once.
pub(super) struct FeatureFiles<'a> {
    root_dir: &'a RootDir,
    feature: &'a FeatureDir,
    /// The documents of missions and steps, which are few; those of progress are used once.
    documents: RefCell<BTreeMap<RelPath, Document>>,
    state: RefCell<StateFiles>,
    /// Bytes in which progress was counted.
    counted_bytes: Cell<u64>,
}

impl<'a> FeatureFiles<'a> {
    pub(super) fn new(root_dir: &'a RootDir, feature: &'a FeatureDir) -> Self {
        let (documents, state) = (RefCell::default(), RefCell::default());
        Self { root_dir, feature, documents, state, counted_bytes: Cell::new(0) }
    }

    /// Returns the mission of the feature by the rules of its layout; `None` if none applies. That of a
    /// change of OpenSpec depends on its schema, or else on `root_schema`.
    pub(super) fn mission(
        &self,
        layout: &Layout,
        root_schema: Option<&str>,
    ) -> Result<Option<MissionType>, Rc<StateError>> {
        let mission = self.mission_by_rules(layout)?;
        if layout.name != OPENSPEC || mission.is_none() {
            return Ok(mission);
        }
        let document = match RelPath::new(CHANGE_FILE.as_bytes()) {
            Ok(path) => self.document(&path)?,
            Err(_) => None,
        };
        let own = document.as_deref().and_then(|document| document.find_text(Some("schema")));
        let Some(schema) = own.as_deref().or(root_schema).filter(|schema| !schema.is_empty())
        else {
            return Ok(mission);
        };
        let text = |field| document.as_deref().and_then(|one| one.find_text(Some(field)));
        let skips = text("skip_specs").as_deref() == Some("true");
        let specs = if skips { SchemaSpecs::Skipped } else { SchemaSpecs::Required };
        let invalid = |error| Rc::new(StateError::Mission(CHANGE_FILE.to_owned(), error));
        mission_of_schema(schema, specs).map(Some).map_err(invalid)
    }

    fn mission_by_rules(&self, layout: &Layout) -> Result<Option<MissionType>, Rc<StateError>> {
        for rule in &layout.missions {
            let Some(when) = &rule.when else {
                return Ok(rule.mission.clone());
            };
            let Some(value) = self.condition_value(when)? else {
                continue;
            };
            return match &rule.mission {
                Some(mission) => Ok(Some(mission.clone())),
                None => MissionType::new(&value).map(Some).map_err(|error| {
                    Rc::new(StateError::Mission(when.file.as_str().to_owned(), error))
                }),
            };
        }
        Ok(None)
    }

    /// Returns the value of the field of a condition that holds.
    fn condition_value(&self, when: &FieldCondition) -> Result<Option<String>, Rc<StateError>> {
        let Some(document) = self.document(when.file.path())? else {
            return Ok(None);
        };
        let value = match &when.field {
            Some(field) => document.find_text(Some(field)),
            None => Some(String::new()),
        };
        let equals = |value: &String| when.equals.as_ref().is_none_or(|equals| equals == value);
        Ok(value.filter(|value| !value.is_empty() || when.field.is_none()).filter(equals))
    }

    /// Returns the step that a state file of the layout names.
    pub(super) fn state_step(&self, layout: &Layout) -> Result<Option<StateStep>, Rc<StateError>> {
        let rules = layout.step.iter().filter(|rule| rule.source == StepOrigin::State);
        for rule in rules {
            let Some(file) = &rule.file else {
                continue;
            };
            let document = self.document(file.path())?;
            let field = rule.field.as_deref();
            if let Some(value) = document.and_then(|document| document.find_text(field)) {
                let step = rule.map.get(&value).cloned().unwrap_or(value);
                return Ok(Some(StateStep { step, file: file.as_str().to_owned() }));
            }
        }
        Ok(None)
    }

    /// Counts the boxes in the files that a schema of OpenSpec names: also those in fenced code.
    pub(super) fn progress_in_boxes(&self, files: Pattern) -> Result<Option<TaskProgress>, String> {
        let rule = ProgressRule {
            from: ProgressOrigin::Checkboxes,
            files: vec![files],
            place: ProgressPlace::Feature,
            field: None,
            keys: None,
            map: BTreeMap::new(),
            fences: Fences::Include,
        };
        self.progress_by_rules(std::slice::from_ref(&rule))
    }

    /// Counts the progress of the feature: the first rule of which a file exists counts. That of
    /// relations is counted from the names of files, elsewhere. `status_dir` is the directory of the
    /// feature in the worktree in which its mission is coordinated: if it exists, it counts alone. If the
    /// worktree does not exist, though it `is_registered` in git, the progress is not known.
    pub(super) fn progress(
        &self,
        layout: &Layout,
        status_dir: Option<&RelPath>,
        is_registered: impl Fn(&RelPath) -> bool,
    ) -> Result<Option<TaskProgress>, String> {
        let (coordinated, own): (Vec<&ProgressRule>, Vec<&ProgressRule>) =
            layout.progress.iter().partition(|rule| rule.place == ProgressPlace::Coordination);
        let Some(dir) = status_dir.filter(|_| !coordinated.is_empty()) else {
            return self.progress_by_rules(own);
        };
        self.state.borrow_mut().outside = Some(dir.clone());
        let exists = |dir: &RelPath| {
            let exists = self.root_dir.has_dir(dir);
            exists.map_err(|error| format!("{}: {error}", dir.text()))
        };
        if !exists(dir)? {
            // It is made when a mission has its first work packages, and removed when it was merged.
            let worktree = coordination::worktree_of(dir).filter(is_registered);
            if let Some(worktree) = worktree
                && !exists(&worktree)?
            {
                return Err(format!(
                    "the status is in {}, which does not exist; `spec-kitty doctor workspaces --fix` \
                     creates it",
                    worktree.text()
                ));
            }
            return self.progress_by_rules(own);
        }
        let mut sum = None;
        for rule in coordinated {
            for file in &rule.files {
                let path = dir.join(file.path().as_bytes()).map_err(|error| error.to_string())?;
                let bytes = self.root_dir.read(&path, MAX_FILE_BYTES);
                let bytes = bytes.map_err(|error| format!("{}: {error}", path.text()))?;
                if let Some(progress) = self.count_content(rule, &path, bytes.as_deref())? {
                    sum = Some(progress.plus(sum.unwrap_or_default()));
                }
            }
            if sum.is_some() {
                break;
            }
        }
        Ok(sum.filter(|sum| !sum.is_empty()))
    }

    fn progress_by_rules<'r>(
        &self,
        rules: impl IntoIterator<Item = &'r ProgressRule>,
    ) -> Result<Option<TaskProgress>, String> {
        for rule in rules {
            if rule.from == ProgressOrigin::Relation {
                continue;
            }
            let mut paths = Vec::new();
            for pattern in &rule.files {
                self.expand(pattern, &mut paths)?;
            }
            paths.sort_unstable();
            paths.dedup();
            let mut sum = None;
            for path in &paths {
                if let Some(progress) = self.count(rule, path)? {
                    sum = Some(progress.plus(sum.unwrap_or_default()));
                }
            }
            if sum.is_some() {
                return Ok(sum.filter(|sum| !sum.is_empty()));
            }
        }
        Ok(None)
    }

    fn count(&self, rule: &ProgressRule, path: &RelPath) -> Result<Option<TaskProgress>, String> {
        if rule.from == ProgressOrigin::Checkboxes {
            let bytes = self.read(path).map_err(|error| format!("{}: {error}", path.text()))?;
            return self.count_content(rule, path, bytes.as_deref());
        }
        let known = self.documents.borrow().get(path).cloned();
        let document = known.unwrap_or_else(|| self.read_document(path));
        match document.map_err(|error| error.to_string())? {
            Some(document) => count_items(rule, path, &document),
            None => Ok(None),
        }
    }

    /// Counts the progress in the content of a file, `None` if there is no file.
    fn count_content(
        &self,
        rule: &ProgressRule,
        path: &RelPath,
        bytes: Option<&[u8]>,
    ) -> Result<Option<TaskProgress>, String> {
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        self.count_bytes(bytes)?;
        if rule.from == ProgressOrigin::Checkboxes {
            return match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(count_boxes(text, rule.fences))),
                Err(error) => {
                    let at = error.valid_up_to();
                    Err(format!("{}: invalid UTF-8 at byte {at}", path.text()))
                }
            };
        }
        let document = StateDocument::parse(path, bytes);
        count_items(rule, path, &document.map_err(|error| format!("{}:{error}", path.text()))?)
    }

    /// Counts the bytes of a file with progress, of which not too many are read.
    fn count_bytes(&self, bytes: &[u8]) -> Result<(), String> {
        let sum = self.counted_bytes.get().saturating_add(bytes.len() as u64);
        self.counted_bytes.set(sum);
        if sum > MAX_COUNTED_BYTES {
            let max = MAX_COUNTED_BYTES >> 20;
            return Err(format!("the files with progress have more than {max} MiB"));
        }
        Ok(())
    }

    /// Returns which files were looked for, and what was read of them.
    pub(super) fn state_files(self) -> StateFiles {
        self.state.into_inner()
    }

    /// Records the content of a file that was read elsewhere; `None` if there was none.
    pub(super) fn record(&self, path: &RelPath, hash: Option<Digest>) {
        self.state.borrow_mut().consulted.insert(path.clone(), hash);
    }

    fn document(&self, path: &RelPath) -> Document {
        let known = self.documents.borrow().get(path).cloned();
        known.unwrap_or_else(|| {
            let document = self.read_document(path);
            self.documents.borrow_mut().insert(path.clone(), document.clone());
            document
        })
    }

    fn read_document(&self, path: &RelPath) -> Document {
        let shown = || path.text().into_owned();
        let bytes = self.read(path).map_err(|error| Rc::new(StateError::Read(shown(), error)))?;
        if let Some(bytes) = &bytes {
            let counted = self.count_bytes(bytes);
            counted.map_err(|error| Rc::new(StateError::TooMuch(shown(), error)))?;
        }
        let document = bytes.map(|bytes| StateDocument::parse(path, &bytes)).transpose();
        let document = document.map_err(|error| Rc::new(StateError::Parse(shown(), error)))?;
        Ok(document.map(Rc::new))
    }

    fn read(&self, path: &RelPath) -> Result<Option<Vec<u8>>, ReadError> {
        self.record(path, None);
        let Ok(full) = self.feature.join(path.as_bytes()) else {
            return Ok(None);
        };
        let bytes = match self.root_dir.read(&full, MAX_FILE_BYTES) {
            // A file is where a directory was expected.
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotADirectory => None,
            result => result?,
        };
        self.record(path, bytes.as_deref().map(Digest::of));
        Ok(bytes)
    }

    /// Adds the files that a pattern may match: a literal one itself.
    fn expand(&self, pattern: &Pattern, paths: &mut Vec<RelPath>) -> Result<(), String> {
        if pattern.is_literal() {
            paths.push(pattern.path().clone());
            return Ok(());
        }
        let set = PatternSet::new([pattern]).map_err(|error| error.to_string())?;
        self.state.borrow_mut().expanded.push(set.clone());
        let above = pattern.dirs_above();
        let above = PatternSet::new(&above).map_err(|error| error.to_string())?;
        let literal = pattern.literal_components();
        let components: Vec<&str> = pattern.as_str().split('/').collect();
        let start = components[..literal.min(components.len() - 1)].join("/");
        let mut dirs = vec![RelPath::new(start.as_bytes()).ok()];
        let mut listed = 0;
        while let Some(dir) = dirs.pop() {
            listed += 1;
            let below = dir.as_ref().map_or_else(
                || Ok(self.feature.path.clone()),
                |dir| self.feature.join(dir.as_bytes()).map(Some),
            );
            let below = below.map_err(|error| error.to_string())?;
            let entries = match self.root_dir.list(below.as_ref()) {
                Ok(entries) => entries,
                // There is no such directory, or something else, or a link, is in its place.
                Err(ReadError::Io(error))
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(ReadError::Symlink) => continue,
                Err(error) => {
                    let shown = below.map_or_else(String::new, |dir| dir.text().into_owned());
                    return Err(format!("{shown}: {error}"));
                }
            };
            for entry in entries {
                if listed > MAX_MATCHES || paths.len() > MAX_MATCHES {
                    return Err(format!("more than {MAX_MATCHES} files match `{pattern}`"));
                }
                let path = match &dir {
                    Some(dir) => dir.join(&entry.name),
                    None => RelPath::new(entry.name.as_slice()),
                };
                let Ok(path) = path else {
                    continue;
                };
                match entry.kind {
                    rustix::fs::FileType::Directory if above.is_match(&path) => {
                        dirs.push(Some(path));
                    }
                    rustix::fs::FileType::RegularFile if set.is_match(&path) => paths.push(path),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Counts the items in a document.
fn count_items(
    rule: &ProgressRule,
    path: &RelPath,
    document: &StateDocument,
) -> Result<Option<TaskProgress>, String> {
    let Some(value) = document.find(rule.field.as_deref()) else {
        return Ok(None);
    };
    let has_lanes = rule.from == ProgressOrigin::Lanes;
    let items = ItemRules { keys: rule.keys.as_ref(), map: &rule.map, has_lanes };
    let unusable = || {
        let field = rule.field.as_deref().unwrap_or_default();
        format!("{}: `{field}` has no states of items", path.text())
    };
    items.count(value).ok_or_else(unusable).map(Some)
}

/// Returns the relation between files of the progress of a layout.
pub(super) fn relation(layout: &Layout) -> Option<Relation> {
    let rules = layout.progress.iter().filter(|rule| rule.from == ProgressOrigin::Relation);
    rules.into_iter().find_map(|rule| {
        let partner = Pattern::new(rule.field.as_deref()?).ok()?;
        Some(Relation { files: rule.files.first()?.clone(), partner })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::core::layout::{embedded_layouts, parse_layout};
    use crate::core::path::FeatureSlug;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn own_layout(progress: &str) -> Layout {
        let text = format!("schema_version: 1\nname: x\nprogress: {progress}\n");
        parse_layout(text.as_bytes()).unwrap()
    }

    /// Reads progress and state files of a feature with these files.
    fn read(
        layout: &Layout,
        files: &[(&str, &str)],
    ) -> (Result<Option<TaskProgress>, String>, StateFiles) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("f")).unwrap();
        for (path, text) in files {
            let path = dir.path().join("f").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root_dir = RootDir::open(dir.path()).unwrap();
        let slug = FeatureSlug::new(b"f").unwrap();
        let feature = FeatureDir::new(slug, Some(rel("f")));
        let files = FeatureFiles::new(&root_dir, &feature);
        let progress = files.progress(layout, None, |_| false);
        assert!(files.documents.borrow().is_empty(), "documents of progress are not kept");
        (progress, files.state_files())
    }

    #[test]
    fn only_what_was_looked_for_makes_metadata_outdated() {
        let spec_kitty = &embedded_layouts()[0];
        let status = r#"{"work_packages": {"WP01": {"lane": "done"}}}"#;
        let lane = "---\nlane: done\n---\n";
        let hash = |text: &str| Some(Digest::of(text.as_bytes()));
        let (_, state) = read(spec_kitty, &[("status.json", status), ("tasks/WP01.md", lane)]);
        assert!(!state.is_outdated(&rel("status.json"), hash(status)));
        assert!(state.is_outdated(&rel("status.json"), hash("{}")));
        assert!(state.is_outdated(&rel("status.json"), None));
        assert!(!state.is_outdated(&rel("tasks/WP01.md"), hash("x")), "another rule counts");
        assert!(!state.is_outdated(&rel("meta.json"), hash("{}")), "it was not read");
        let (progress, state) = read(spec_kitty, &[("tasks/a/WP01.md", lane)]);
        assert_eq!(progress.unwrap().map(|progress| progress.done), Some(1));
        for (path, text, is_outdated) in [
            ("tasks/a/WP01.md", lane, false),
            ("tasks/a/WP01.md", "x", true),
            ("tasks/b/WP02.md", lane, true),
            ("status.json", status, true),
            ("spec.md", "x", false),
        ] {
            assert_eq!(state.is_outdated(&rel(path), hash(text)), is_outdated, "{path}: {text}");
        }
    }

    #[test]
    fn a_directory_that_does_not_exist_has_no_progress() {
        let layout = own_layout("[{from: checkboxes, files: 'a/b/**/*.md'}]");
        for files in [&[][..], &[("a", "a file")], &[("a/b", "a file")], &[("a/x.md", "- [ ] x")]] {
            let (progress, state) = read(&layout, files);
            assert_eq!(progress, Ok(None), "{files:?}");
            assert!(state.is_outdated(&rel("a/b/new.md"), Some(Digest::of(b"x"))), "{files:?}");
        }
    }

    #[test]
    fn progress_is_counted_in_a_bounded_number_of_files_and_bytes() {
        let layout = own_layout("[{from: checkboxes, files: '*.md'}]");
        let large = "- [ ] x\n".repeat((MAX_FILE_BYTES / 8) as usize - 1);
        let names: Vec<String> = (0..9).map(|number| format!("{number}.md")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*large)).collect();
        let error = read(&layout, &files).0.unwrap_err();
        assert_eq!(error, "the files with progress have more than 32 MiB");
        let names: Vec<String> =
            (0..=MAX_MATCHES + 1).map(|number| format!("{number}.md")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
        assert_eq!(read(&layout, &files).0.unwrap_err(), "more than 4096 files match `*.md`");
    }
}
