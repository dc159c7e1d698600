//! Reads what the layout of a feature takes from its files: mission, step and progress
//! (`docs/specification.md#layouts`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::feature_dir::FeatureDir;
use crate::core::digest::Digest;
use crate::core::layout::state_document::StateDocument;
use crate::core::layout::{FieldCondition, Layout, ProgressOrigin, ProgressRule, StepOrigin};
use crate::core::manifest::{InvalidMissionType, MissionType};
use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet};
use crate::core::task_progress::{ItemRules, Relation, TaskProgress, count_boxes};
use crate::core::yaml::ParseError;
use crate::project::root_dir::{ReadError, RootDir};

/// Maximum size of a state file, and of a file in which progress is counted.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most files that a pattern of progress may match, and directories that are listed for it.
const MAX_MATCHES: usize = 4096;

/// The files of a feature that are metadata, and the content that was read.
#[derive(Debug, Clone, Default)]
pub struct StateFiles {
    patterns: PatternSet,
    hashes: BTreeMap<RelPath, Digest>,
}

impl StateFiles {
    /// Returns true if metadata of the feature depends on the file at a path.
    #[must_use]
    pub fn contains(&self, path: &RelPath) -> bool {
        self.patterns.is_match(path)
    }

    /// Returns true if a file has other content than when the metadata was read.
    #[must_use]
    pub fn is_outdated(&self, path: &RelPath, hash: Option<Digest>) -> bool {
        self.contains(path) && self.hashes.get(path) != hash.as_ref()
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
    documents: RefCell<BTreeMap<RelPath, Document>>,
    hashes: RefCell<BTreeMap<RelPath, Digest>>,
}

impl<'a> FeatureFiles<'a> {
    pub(super) fn new(root_dir: &'a RootDir, feature: &'a FeatureDir) -> Self {
        let (documents, hashes) = (RefCell::default(), RefCell::default());
        Self { root_dir, feature, documents, hashes }
    }

    /// Returns the mission of the feature by the rules of its layout; `None` if none applies.
    pub(super) fn mission(&self, layout: &Layout) -> Result<Option<MissionType>, Rc<StateError>> {
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

    /// Counts the progress of the feature: the first rule of which a file exists counts. That of
    /// relations is counted from the names of files, elsewhere.
    pub(super) fn progress(&self, layout: &Layout) -> Result<Option<TaskProgress>, String> {
        for rule in &layout.progress {
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
            let Some(bytes) = bytes else {
                return Ok(None);
            };
            return match std::str::from_utf8(&bytes) {
                Ok(text) => Ok(Some(count_boxes(text, rule.fences))),
                Err(error) => {
                    let at = error.valid_up_to();
                    Err(format!("{}: invalid UTF-8 at byte {at}", path.text()))
                }
            };
        }
        let document = self.document(path).map_err(|error| error.to_string())?;
        let Some(document) = document else {
            return Ok(None);
        };
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

    /// Returns which files are metadata, and what was read of them.
    pub(super) fn state_files(self, layout: &Layout) -> StateFiles {
        let missions = layout.missions.iter().filter_map(|rule| Some(&rule.when.as_ref()?.file));
        let states = layout.step.iter().filter(|rule| rule.source == StepOrigin::State);
        let states = states.filter_map(|rule| rule.file.as_ref());
        let progress = layout.progress.iter();
        let progress = progress.filter(|rule| rule.from != ProgressOrigin::Relation);
        let progress = progress.flat_map(|rule| &rule.files);
        let patterns = missions.chain(states).chain(progress).chain(&layout.state_files);
        StateFiles {
            patterns: PatternSet::new(patterns).unwrap_or_default(),
            hashes: self.hashes.into_inner(),
        }
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
        let document = bytes.map(|bytes| StateDocument::parse(path, &bytes)).transpose();
        let document = document.map_err(|error| Rc::new(StateError::Parse(shown(), error)))?;
        Ok(document.map(Rc::new))
    }

    fn read(&self, path: &RelPath) -> Result<Option<Vec<u8>>, ReadError> {
        let Ok(full) = self.feature.join(path.as_bytes()) else {
            return Ok(None);
        };
        let bytes = match self.root_dir.read(&full, MAX_FILE_BYTES) {
            // A file is where a directory was expected.
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotADirectory => None,
            result => result?,
        };
        if let Some(bytes) = &bytes {
            self.hashes.borrow_mut().insert(path.clone(), Digest::of(bytes));
        }
        Ok(bytes)
    }

    /// Adds the files that a pattern may match: a literal one itself.
    fn expand(&self, pattern: &Pattern, paths: &mut Vec<RelPath>) -> Result<(), String> {
        if pattern.is_literal() {
            paths.push(pattern.path().clone());
            return Ok(());
        }
        let set = PatternSet::new([pattern]).map_err(|error| error.to_string())?;
        let above = pattern.dirs_above();
        let above = PatternSet::new(&above).map_err(|error| error.to_string())?;
        let literal = pattern.literal_components();
        let components: Vec<&str> = pattern.as_str().split('/').collect();
        let start = components[..literal.min(components.len() - 1)].join("/");
        let mut dirs = vec![RelPath::new(start.as_bytes()).ok()];
        let mut listed = 0;
        while let Some(dir) = dirs.pop() {
            listed += 1;
            if listed > MAX_MATCHES || paths.len() > MAX_MATCHES {
                return Err(format!("more than {MAX_MATCHES} files match `{pattern}`"));
            }
            let below = dir.as_ref().map_or_else(
                || Ok(self.feature.path.clone()),
                |dir| self.feature.join(dir.as_bytes()).map(Some),
            );
            let below = below.map_err(|error| error.to_string())?;
            // What cannot be listed is unreadable as an artifact, too.
            for entry in self.root_dir.list(below.as_ref()).unwrap_or_default() {
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

/// Returns the patterns of files in which the marks of boxes are bookkeeping.
pub(super) fn box_churn(layout: &Layout) -> Vec<Pattern> {
    let rules = layout.churn.iter().filter(|rule| rule.checkboxes);
    rules.flat_map(|rule| rule.files.iter().cloned()).collect()
}

/// Returns the relation between files of the progress of a layout.
pub(super) fn relation(layout: &Layout) -> Option<Relation> {
    let rules = layout.progress.iter().filter(|rule| rule.from == ProgressOrigin::Relation);
    rules.into_iter().find_map(|rule| {
        let partner = Pattern::new(rule.field.as_deref()?).ok()?;
        Some(Relation { files: rule.files.first()?.clone(), partner })
    })
}
