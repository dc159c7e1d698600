//! Loads the layouts and finds those that apply to a root (`docs/specification.md#layouts`).
//!
//! Layers are merged by name: `.dossierd/layouts/` of the project, then those of the user, then the
//! embedded ones. An invalid file is reported; the last valid layout of that name is used, or else
//! one of a lower layer.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::FileType;

use super::feature_patterns::FeaturePatterns;
use super::project_config::{CONFIG_FILE, ProjectFile};
use super::settings::{ConfiguredFeatures, ProjectSettings};
use crate::core::churn::ChurnRules;
use crate::core::diagnostics::FileError;
use crate::core::layout::feature_rules::{FoundRules, SearchRule, search_rules, variable_path};
use crate::core::layout::recognition::{AppliedLayout, RootListing, find_path, recognise};
use crate::core::layout::state_document::StateDocument;
use crate::core::layout::{
    DocumentSet, Layout, MarkerKind, SPEC_KITTY, Variable, embedded_layouts, parse_layout,
};
use crate::core::manifest::MissionType;
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::pattern::{Pattern, PatternSet};
use crate::project::root_dir::{ReadError, RootDir};

/// Directory of a project's own layouts.
pub(super) const PROJECT_LAYOUTS_DIR: &str = ".dossierd/layouts";
/// Name of the file of a layout, in its directory.
pub(super) const LAYOUT_FILE: &str = "layout.yaml";
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most layouts of one layer.
const MAX_OWN_LAYOUTS: usize = 64;

/// Where the file of a layout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutSource {
    /// In the program.
    Embedded,
    /// In the user's configuration.
    User,
    /// In the project.
    Project,
}

impl fmt::Display for LayoutSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Embedded => "embedded",
            Self::User => "user",
            Self::Project => "project",
        })
    }
}

/// All layouts that a root may have.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownLayouts {
    pub(super) layouts: Vec<Arc<Layout>>,
    /// Names of the layouts that are invalid in a layer, and used as they were or from a lower one.
    invalid: Vec<String>,
    errors: Vec<FileError>,
    /// Of the layouts that are not embedded.
    sources: BTreeMap<String, LayoutSource>,
    /// Compiled from the layouts when they are first asked for.
    churn: OnceLock<BTreeMap<String, Arc<ChurnRules>>>,
}

/// The layouts that apply to a root, and what follows from them.
#[derive(Debug, Clone, Default)]
pub(super) struct RootLayouts {
    pub(super) known: KnownLayouts,
    pub(super) applied: Vec<AppliedLayout>,
    /// Which directories are features.
    pub(super) rules: Vec<SearchRule>,
    /// The documents of each layout that has some.
    pub(super) documents: Vec<(FeatureSlug, Arc<DocumentSet>)>,
    /// The variables that files of the root set, by the names of the layouts.
    values: BTreeMap<String, BTreeMap<String, String>>,
    /// Files that cannot be used.
    pub(super) errors: Vec<FileError>,
    /// Patterns of the files of missions that are in no known directory.
    pub(super) mission_files: Vec<Pattern>,
    patterns: OnceLock<Arc<FeaturePatterns>>,
    watched: OnceLock<Arc<LayoutPaths>>,
}

impl RootListing for RootDir {
    fn kind(&self, path: &RelPath) -> Option<MarkerKind> {
        match self.file_type(path).ok()? {
            FileType::Directory => Some(MarkerKind::Dir),
            FileType::RegularFile => Some(MarkerKind::File),
            _ => None,
        }
    }

    fn entries(&self, dir: Option<&RelPath>) -> Vec<(Vec<u8>, MarkerKind)> {
        let entries = self.list(dir).unwrap_or_default().into_iter();
        let kinds = entries.filter_map(|entry| match entry.kind {
            FileType::Directory => Some((entry.name, MarkerKind::Dir)),
            FileType::RegularFile => Some((entry.name, MarkerKind::File)),
            _ => None,
        });
        kinds.collect()
    }
}

impl KnownLayouts {
    /// Loads the layouts of all layers; `user_dir` is the directory of the user's own ones.
    pub(super) fn load(root_dir: &RootDir, user_dir: Option<&Path>) -> Self {
        let mut known = Self::of_user(root_dir, user_dir);
        known.load_project_layer(root_dir);
        known
    }

    /// Returns the embedded layouts and the user's own ones.
    pub(super) fn of_user(root_dir: &RootDir, user_dir: Option<&Path>) -> Self {
        let mut known = Self { layouts: embedded_layouts().to_vec(), ..Self::default() };
        known.load_user_layer(root_dir, user_dir);
        known
    }

    /// Returns the first of the entries of a layer, in order; reports it if there are more than are
    /// used.
    fn first_entries<T: Ord>(&mut self, layer: &str, mut entries: Vec<T>) -> Vec<T> {
        entries.sort_unstable();
        if entries.len() > MAX_OWN_LAYOUTS {
            entries.truncate(MAX_OWN_LAYOUTS);
            let message = format!("more than {MAX_OWN_LAYOUTS} layouts; the others are not used");
            self.errors.push(FileError::without_position(layer, message));
        }
        entries
    }

    fn load_user_layer(&mut self, root_dir: &RootDir, user_dir: Option<&Path>) {
        let Some(user_dir) = user_dir else {
            return;
        };
        let shown = escape_bytes(user_dir.as_os_str().as_bytes()).into_owned();
        for name in self.first_entries(&shown, root_dir.list_outside(user_dir)) {
            let name = OsStr::from_bytes(&name).to_owned();
            let path = user_dir.join(&name).join(LAYOUT_FILE);
            let shown = escape_bytes(path.as_os_str().as_bytes()).into_owned();
            match root_dir.read_outside(&path, MAX_FILE_BYTES) {
                // The entry is a file.
                Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotADirectory => {}
                bytes => {
                    let bytes = bytes.map_err(|error| error.to_string());
                    self.add(&name, LayoutSource::User, &shown, bytes);
                }
            }
        }
    }

    pub(super) fn load_project_layer(&mut self, root_dir: &RootDir) {
        let Ok(dir) = RelPath::new(PROJECT_LAYOUTS_DIR.as_bytes()) else {
            return;
        };
        let entries = root_dir.list(Some(&dir)).unwrap_or_default().into_iter();
        let dirs = entries.filter(|entry| entry.kind == FileType::Directory);
        let names = dirs.map(|entry| entry.name).collect();
        for name in self.first_entries(PROJECT_LAYOUTS_DIR, names) {
            let Ok(path) = dir.join(&name).and_then(|dir| dir.join(LAYOUT_FILE.as_bytes())) else {
                continue;
            };
            let bytes = root_dir.read(&path, MAX_FILE_BYTES).map_err(|error| error.to_string());
            self.add(OsStr::from_bytes(&name), LayoutSource::Project, &path.text(), bytes);
        }
    }

    /// Adds the layout in the directory `name`, or replaces the one of a lower layer.
    fn add(
        &mut self,
        name: &OsStr,
        source: LayoutSource,
        file: &str,
        bytes: Result<Option<Vec<u8>>, String>,
    ) {
        let name = name.to_string_lossy().into_owned();
        let parsed = match bytes {
            Ok(None) => return,
            Ok(Some(bytes)) => parse_layout(&bytes).map_err(|error| FileError::new(file, error)),
            Err(error) => Err(FileError::without_position(file, error)),
        };
        let parsed = parsed.and_then(|layout| {
            if layout.name == name {
                return Ok(layout);
            }
            let message = format!("`name` is `{}`, but the directory is `{name}`", layout.name);
            Err(FileError::without_position(file, message))
        });
        match parsed {
            Ok(layout) => {
                self.sources.insert(layout.name.clone(), source);
                self.replace(Arc::new(layout));
            }
            Err(error) => {
                self.errors.push(error);
                self.invalid.push(name);
            }
        }
    }

    fn replace(&mut self, layout: Arc<Layout>) {
        self.churn.take();
        match self.layouts.iter_mut().find(|known| known.name == layout.name) {
            Some(known) => *known = layout,
            None => self.layouts.push(layout),
        }
    }

    /// Uses the layouts that are invalid now as they were in `previous`.
    pub(super) fn inherit_last_valid(&mut self, previous: &Self) {
        for name in std::mem::take(&mut self.invalid) {
            let last = previous.layouts.iter().find(|layout| layout.name == name);
            if let Some(layout) = last {
                self.replace(Arc::clone(layout));
            }
            self.invalid.push(name);
        }
    }

    /// Returns where the file of a layout is.
    pub(super) fn source(&self, name: &str) -> LayoutSource {
        self.sources.get(name).copied().unwrap_or(LayoutSource::Embedded)
    }

    /// Returns the path of the file of a layout, as it is shown.
    fn shown_file(&self, name: &str) -> String {
        match self.source(name) {
            LayoutSource::Project => format!("{PROJECT_LAYOUTS_DIR}/{name}/{LAYOUT_FILE}"),
            LayoutSource::User | LayoutSource::Embedded => format!("layouts/{name}/{LAYOUT_FILE}"),
        }
    }

    /// Returns the layout of a name.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Layout>> {
        self.layouts.iter().find(|layout| layout.name == name)
    }

    /// Returns what is bookkeeping by a layout; nothing by one that is not among them.
    pub(super) fn churn_rules(&self, layout: &Layout) -> Arc<ChurnRules> {
        let compile = || {
            let compiled = self
                .layouts
                .iter()
                .map(|layout| (layout.name.clone(), Arc::new(ChurnRules::new(&layout.churn))));
            compiled.collect()
        };
        self.churn.get_or_init(compile).get(&layout.name).cloned().unwrap_or_default()
    }

    /// Returns the layout that has a mission.
    fn of_mission(&self, mission: &MissionType) -> Option<&Arc<Layout>> {
        let exact = self.find(mission.as_str());
        exact.or_else(|| self.layouts.iter().find(|layout| layout.has_mission(mission)))
    }
}

impl RootLayouts {
    /// Finds the layouts of a root, and which directories are features there.
    pub(super) fn find(
        root_dir: &RootDir,
        known: KnownLayouts,
        settings: &ProjectSettings,
        file: &ProjectFile,
    ) -> Self {
        let mut errors = known.errors.clone();
        for name in file.layouts.iter().flatten() {
            if known.find(name).is_none() {
                let known: Vec<&str> = known.layouts.iter().map(|one| one.name.as_str()).collect();
                let hint = crate::core::suggest::nearest(name, known)
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                let message = format!("layouts: unknown layout `{name}`{hint}");
                errors.push(FileError::without_position(CONFIG_FILE, message));
            }
        }
        let applied = recognise(&known.layouts, file.layouts.as_deref(), root_dir);
        let mut values = BTreeMap::new();
        for AppliedLayout { layout, .. } in &applied {
            let mut own = BTreeMap::new();
            for (name, variable) in &layout.variables {
                match read_variable(root_dir, variable) {
                    Ok(Some(value)) => drop(own.insert(name.clone(), value)),
                    Ok(None) => {}
                    Err(error) => errors.push(error),
                }
            }
            values.insert(layout.name.clone(), own);
        }
        let FoundRules { rules: of_layouts, documents, problems } = search_rules(&applied, &values);
        errors.extend(problems.into_iter().map(|(layout, problem)| {
            FileError::without_position(known.shown_file(&layout.name), problem)
        }));
        let configured = settings.features.as_ref().or(file.features.as_ref());
        let rules = match configured {
            None => of_layouts,
            Some(features) => {
                let of_mission = |one: &ConfiguredFeatures| {
                    let mission = one.mission.as_ref().or(settings.mission.as_ref())?;
                    known.of_mission(mission).cloned()
                };
                let of_rule = |pattern: &Pattern| {
                    let path = pattern.path();
                    let rule = of_layouts.iter().find(|rule| rule.include.path() == path)?;
                    rule.layout.clone()
                };
                let mut rules: Vec<SearchRule> = Vec::new();
                for one in features {
                    for include in &one.include {
                        let layout = of_mission(one).or_else(|| of_rule(include));
                        let (include, mission) = (include.clone(), one.mission.clone());
                        match SearchRule::configured(include, &one.exclude, mission, layout) {
                            Ok(rule) => rules.push(rule),
                            Err(error) => {
                                let problem = format!("features: {error}");
                                errors.push(FileError::without_position(CONFIG_FILE, problem));
                            }
                        }
                    }
                }
                // Only layouts that are named find more.
                if file.layouts.is_some() {
                    rules.extend(of_layouts);
                }
                rules
            }
        };
        let replaces = configured.is_some() && file.layouts.is_none();
        let documents = if replaces { Vec::new() } else { documents };
        Self { known, applied, rules, documents, values, errors, ..Self::default() }
    }

    /// Returns the value of a variable of a layout, as far as a file of the root sets it.
    pub(super) fn value(&self, layout: &str, variable: &str) -> Option<&str> {
        self.values.get(layout)?.get(variable).map(String::as_str)
    }

    /// Returns true if spec-kitty is among the layouts, or none is.
    pub(super) fn has_spec_kitty(&self) -> bool {
        self.applied.is_empty() || self.applied.iter().any(|one| one.layout.name == SPEC_KITTY)
    }

    /// Returns the rule for the feature at a path: the first one whose conditions hold, or else, for
    /// one that is gone or lost what it needs, the first one that matches.
    pub(super) fn rule_for(&self, root_dir: &RootDir, path: &RelPath) -> Option<&SearchRule> {
        let matching = || self.rules.iter().filter(|rule| rule.is_match(path));
        let mut several = matching();
        let first = several.next()?;
        if several.next().is_none() {
            return Some(first);
        }
        matching().find(|rule| rule.is_satisfied(path, root_dir)).or(Some(first))
    }

    /// Returns the patterns of the directories that are features.
    pub(super) fn patterns(&self) -> &Arc<FeaturePatterns> {
        let make = || Arc::new(FeaturePatterns::new(self.rules.iter().map(|rule| &rule.include)));
        self.patterns.get_or_init(make)
    }

    /// Returns the files, and directories, outside of features on which the layouts of a root depend.
    pub(super) fn watched_paths(&self) -> &Arc<LayoutPaths> {
        self.watched.get_or_init(|| Arc::new(self.make_watched_paths()))
    }

    fn make_watched_paths(&self) -> LayoutPaths {
        let layouts = &self.known.layouts;
        let markers = layouts.iter().flat_map(|layout| &layout.markers);
        let (files, dirs): (Vec<_>, Vec<_>) =
            markers.partition(|marker| marker.kind == MarkerKind::File);
        let applied = self.applied.iter().flat_map(|one| one.layout.variables.values());
        let variables = applied.flat_map(|variable| &variable.file);
        let conditions: Vec<Pattern> = self.rules.iter().flat_map(SearchRule::conditions).collect();
        let documents = || self.documents.iter().flat_map(|(_, set)| set.patterns());
        let literal = documents().filter(|one| one.is_literal());
        let files = files.iter().map(|one| &one.path).chain(variables).chain(&conditions);
        let files: Vec<&Pattern> = files.chain(literal).chain(&self.mission_files).collect();
        let mut above: Vec<Pattern> = dirs.iter().map(|one| one.path.clone()).collect();
        // The directories where documents begin, and those above.
        let bases = self.documents.iter().flat_map(|(_, set)| set.bases());
        for base in bases.filter_map(|base| Pattern::new(&base.text()).ok()) {
            above.extend(base.dirs_above());
            above.push(base);
        }
        for pattern in files.iter().copied().chain(dirs.iter().map(|one| &one.path)) {
            above.extend(pattern.dirs_above());
        }
        // Each pattern is valid, and `find` reports if they are too large together.
        LayoutPaths {
            files: PatternSet::new(files.iter().copied()).unwrap_or_default(),
            dirs: PatternSet::new(&above).unwrap_or_default(),
            file_patterns: files.into_iter().cloned().collect(),
            dir_patterns: above,
        }
    }
}

/// Paths outside of features on which the layouts of a root depend.
#[derive(Debug, Clone, Default)]
pub struct LayoutPaths {
    files: PatternSet,
    dirs: PatternSet,
    file_patterns: Vec<Pattern>,
    dir_patterns: Vec<Pattern>,
}

impl PartialEq for LayoutPaths {
    fn eq(&self, other: &Self) -> bool {
        self.file_patterns == other.file_patterns && self.dir_patterns == other.dir_patterns
    }
}

impl Eq for LayoutPaths {}

impl LayoutPaths {
    /// Returns true if layouts depend on a file at this path.
    #[must_use]
    pub fn has_file(&self, path: &RelPath) -> bool {
        self.files.is_match(path)
    }

    /// Returns true if layouts depend on a directory at this path.
    #[must_use]
    pub fn has_dir(&self, path: &RelPath) -> bool {
        self.dirs.is_match(path)
    }

    /// Returns those patterns of files of which the directories are not known by name.
    pub(super) fn wildcard_files(&self) -> impl Iterator<Item = &Pattern> {
        self.file_patterns.iter().filter(|one| !one.is_literal())
    }

    /// Returns the literal ones of the directories.
    pub(super) fn literal_dirs(&self) -> impl Iterator<Item = &RelPath> {
        self.dir_patterns.iter().filter(|one| one.is_literal()).map(Pattern::path)
    }
}

/// Returns the value of a variable in its files; `None` without the file or the field.
fn read_variable(root_dir: &RootDir, variable: &Variable) -> Result<Option<String>, FileError> {
    for pattern in &variable.file {
        let Some(path) = find_path(pattern, Some(MarkerKind::File), root_dir) else {
            continue;
        };
        let shown = path.text().into_owned();
        let error = |message: String| FileError::without_position(shown.as_str(), message);
        let bytes =
            root_dir.read(&path, MAX_FILE_BYTES).map_err(|cause| error(cause.to_string()))?;
        let document = StateDocument::parse(&path, &bytes.unwrap_or_default())
            .map_err(|cause| FileError::new(shown.as_str(), cause))?;
        if let Some(text) = document.find_text(variable.field.as_deref()) {
            let outside = || error(format!("`{text}` is not a directory below the root"));
            return variable_path(&text).ok_or_else(outside).map(Some);
        }
    }
    Ok(None)
}
