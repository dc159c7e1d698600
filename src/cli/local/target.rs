//! Opens the selected project and its features for a one-time scan.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

use crate::cli::args::{FeatureArgs, ProjectArgs};
use crate::cli::exit::CommandExit;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::render::progress::ProgressSpinner;
use crate::cli::render::{labels, output};
use crate::cli::user_dirs::user_dirs;
use crate::config::{Config, LoadedConfig};
use crate::core::artifact::ArtifactRef;
use crate::core::content::StaticHash;
use crate::core::diagnostics::SkippedDir;
use crate::core::feature::Feature;
use crate::core::feature_name::similar_feature;
use crate::core::path::{RelPath, escape_bytes, escape_unprintable};
use crate::core::pattern::Pattern;
use crate::core::provenance::FileOrigins;
use crate::engine::oneshot::{
    IgnoredFile, OneShotOptions, list_ignored, missing_feature, scan_features,
};
use crate::engine::read_model::content;
use crate::engine::settings::{limits, settings};
use crate::history::ContentReader;
use crate::project::{
    FeatureDir, LocateError, Located, Locator, LoneFeature, Machine, Project, ignored_by_git,
};
use crate::scan::{ScanLimits, UnreadableDir};
use crate::wire::artifacts::MAX_CONTENT_BYTES;

/// True if it was noted why a scan is made.
static IS_SCAN_NOTED: AtomicBool = AtomicBool::new(false);

/// Notes that a project is scanned because the daemon that runs does not watch it.
pub(crate) fn note_not_watched() {
    IS_SCAN_NOTED.store(true, Ordering::Relaxed);
    output::note(
        "the daemon does not watch this project, so this is the result of a one-time scan; run `dossierd project \
         add` to have it watched",
    );
}

/// Notes that a feature was scanned because no daemon watches it, unless that was noted.
pub(crate) fn note_one_time_scan() {
    if !IS_SCAN_NOTED.swap(true, Ordering::Relaxed) {
        output::note("result of a one-time scan, not from the daemon");
    }
}

/// An open project and the selected features.
pub(crate) struct LocalTarget {
    pub(crate) project: Project,
    pub(crate) features: Vec<FeatureDir>,
    /// Directories that match a feature pattern and cannot be features.
    pub(crate) skipped: Vec<SkippedDir>,
    /// Directories on the way to features that may not be read.
    pub(crate) unreadable: Vec<RelPath>,
    /// Why the features could not be discovered.
    pub(crate) discovery_error: Option<String>,
    /// Whether all features of the project are selected.
    selects_all: bool,
    /// False if the path is in no project, and its directory was opened instead.
    pub(crate) is_recognised: bool,
    /// Root of the project that contains a root without features.
    pub(crate) outer_root: Option<PathBuf>,
    limits: ScanLimits,
}

impl LocalTarget {
    /// Opens what `path` selects: all features of a project, or those that contain the path; or, if
    /// the path is in no project, the projects below it.
    pub(crate) fn all_from_path(path: &Path, lone: LoneFeature) -> anyhow::Result<Vec<Self>> {
        let setup = LocalSetup::read()?;
        let found =
            setup.with_locator(|locator| locator.locate_all(path, lone, &ignored_by_git))?;
        found.into_iter().map(|located| Self::from_located(setup.clone(), located, path)).collect()
    }

    /// Opens the project of `path`; if it is in none, its directory as one without layouts.
    pub(crate) fn for_layouts(path: &Path) -> anyhow::Result<Self> {
        let setup = LocalSetup::read()?;
        match setup.with_locator(|locator| locator.locate(path, LoneFeature::Refuse)) {
            Ok(located) => setup.open(&located.root),
            Err(LocateError::NotRecognised { path, .. }) => {
                Ok(Self { is_recognised: false, ..setup.open(&path)? })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the projects of `path` to configure them; if it is in none and `may_be_new`, its
    /// directory.
    pub(crate) fn all_for_init(path: &Path, may_be_new: bool) -> anyhow::Result<Vec<Self>> {
        let setup = LocalSetup::read()?;
        let located = setup
            .with_locator(|locator| locator.locate_all(path, LoneFeature::Refuse, &ignored_by_git));
        match located {
            Ok(found) => found.into_iter().map(|one| setup.clone().open(&one.root)).collect(),
            Err(LocateError::NotRecognised { path, .. }) if may_be_new => {
                Ok(vec![setup.open(&path)?])
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns why features could not be looked for everywhere.
    pub(crate) fn discovery_errors(&self) -> Vec<String> {
        match &self.discovery_error {
            Some(error) => vec![error.clone()],
            None => self.unreadable.iter().map(labels::unreadable_dir).collect(),
        }
    }

    /// Returns true if the project has nothing but documents.
    pub(crate) fn has_no_features(&self) -> bool {
        self.features.iter().all(FeatureDir::is_documents)
    }

    fn from_path_with(setup: LocalSetup, path: &Path, lone: LoneFeature) -> anyhow::Result<Self> {
        let located = setup.with_locator(|locator| locator.locate(path, lone))?;
        Self::from_located(setup, located, path)
    }

    fn from_located(setup: LocalSetup, located: Located, path: &Path) -> anyhow::Result<Self> {
        let mut target = setup.open(&located.root)?;
        match located.features {
            Some(features) => {
                target.selects_all = false;
                target.features = features;
                target.skipped.clear();
                target.unreadable.clear();
            }
            None => {
                target.reject_skipped_path(path)?;
                target.note_if_empty();
            }
        }
        Ok(target)
    }

    /// Opens the project that `args` or the current directory select, with all its features.
    pub(crate) fn from_project_args(args: &ProjectArgs) -> anyhow::Result<Self> {
        let target = Self::from_project_args_with(LocalSetup::read()?, args)?;
        if let Some(outer) = &target.outer_root {
            let (root, outer) = (target.display_root(), outer.display());
            output::note(&format!(
                "{root} is in the project {outer}; name that to see its features"
            ));
        }
        Ok(target)
    }

    /// Opens the project that `args` or the current directory select; if it is in none, those below it.
    pub(crate) fn all_from_project_args(args: &ProjectArgs) -> anyhow::Result<Vec<Self>> {
        let is_below = |error: &anyhow::Error| {
            let cause = error.downcast_ref::<LocateError>();
            matches!(cause, Some(LocateError::NotRecognised { .. }))
        };
        match Self::from_project_args(args) {
            Err(error) if is_below(&error) => {
                Self::all_from_path(Path::new("."), LoneFeature::Refuse)
            }
            found => found.map(|target| vec![target]),
        }
    }

    fn from_project_args_with(setup: LocalSetup, args: &ProjectArgs) -> anyhow::Result<Self> {
        let named_root = args.project.as_deref();
        let start = named_root.unwrap_or(Path::new("."));
        let located = setup.with_locator(|locator| locator.locate(start, args.lone.into()));
        let located = match located {
            Err(error @ LocateError::Unreachable { .. }) => return Err(error.into()),
            located => located,
        };
        if let Some(named_root) = named_root
            && !located
                .as_ref()
                .is_ok_and(|found| canonicalize(named_root).ok().as_ref() == Some(&found.root))
        {
            // A named root is used even inside another project.
            let target = setup.open(&canonicalize(named_root)?)?;
            let outer = located.ok().filter(|_| target.features.is_empty());
            return Ok(Self { outer_root: outer.map(|found| found.root), ..target });
        }
        let located = located?;
        let mut target = setup.open(&located.root)?;
        if let Some([FeatureDir { path: None, documents: None, .. }]) = located.features.as_deref()
        {
            target.features = located.features.unwrap_or_default();
        }
        Ok(target)
    }

    /// Opens one feature by slug or path.
    pub(crate) fn from_feature_args(args: &FeatureArgs) -> anyhow::Result<Self> {
        Self::from_feature_name(&args.feature, &args.project)
    }

    /// Opens one feature by slug or path.
    pub(crate) fn from_feature_name(name: &OsStr, project: &ProjectArgs) -> anyhow::Result<Self> {
        Self::from_feature_name_with(&LocalSetup::read()?, name, project)
    }

    /// Opens one feature like [`Self::from_feature_name`], but ignores an invalid configuration: for
    /// commands that query the daemon, which keeps running with one.
    pub(crate) fn from_feature_name_lenient(
        name: &OsStr,
        project: &ProjectArgs,
    ) -> anyhow::Result<Self> {
        let dirs = user_dirs()?;
        let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
        Self::from_feature_name_with(
            &LocalSetup { config, missions: dirs.missions_dir(), layouts: dirs.layouts_dir() },
            name,
            project,
        )
    }

    /// Opens a feature that has versions and no directory any more, by slug or path; `None` if there is none.
    /// An invalid configuration is ignored.
    pub(crate) fn from_gone_feature(
        name: &OsStr,
        project: &ProjectArgs,
    ) -> anyhow::Result<Option<Self>> {
        let dirs = user_dirs()?;
        let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
        let setup =
            LocalSetup { config, missions: dirs.missions_dir(), layouts: dirs.layouts_dir() };
        let path = is_path(name).then(|| std::path::absolute(name)).transpose()?;
        let mut target = match &path {
            Some(path) if project.project.is_none() => {
                let Some(existing) = path.ancestors().find(|above| above.is_dir()) else {
                    return Ok(None);
                };
                let located =
                    setup.with_locator(|locator| locator.locate(existing, LoneFeature::Refuse))?;
                setup.open(&located.root)?
            }
            _ => Self::from_project_args_with(setup, project)?,
        };
        let slugs = ContentReader::new(&dirs.state_dir).features(&target.project.root_id)?;
        let is_named = |dir: &FeatureDir| {
            dir.slug.as_str() == name
                || path.as_ref().is_some_and(|path| *path == target.project.feature_path(dir))
        };
        let mut gone = slugs.into_iter().map(|slug| target.project.expected_dir(slug));
        let Some(found) = gone.find(is_named) else { return Ok(None) };
        (target.features, target.selects_all) = (vec![found], false);
        Ok(Some(target))
    }

    /// Returns the state of the one selected feature, whose directory is gone.
    pub(crate) fn gone_one(&self) -> anyhow::Result<Feature> {
        note_one_time_scan();
        let dir = self.features.first().context("the feature was removed")?;
        output::warn(&format!("{}: was removed", dir.slug));
        Ok(missing_feature(&self.project, dir.slug.clone()))
    }

    /// Returns the slugs of the selected project; none if it cannot be read, or the directory is in none.
    pub(crate) fn slugs_lenient(project: &ProjectArgs) -> Vec<String> {
        let Ok(dirs) = user_dirs() else { return Vec::new() };
        let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
        let setup =
            LocalSetup { config, missions: dirs.missions_dir(), layouts: dirs.layouts_dir() };
        let target = Self::from_project_args_with(setup, project);
        let features = target.map(|target| target.features).unwrap_or_default();
        features.iter().map(|feature| feature.slug.to_string()).collect()
    }

    fn from_feature_name_with(
        setup: &LocalSetup,
        name: &OsStr,
        project: &ProjectArgs,
    ) -> anyhow::Result<Self> {
        let path = Path::new(name);
        let shown = path.display();
        // An argument with a slash may be a slug as well; one that begins with a dot is a path.
        let in_project = match Self::from_project_args_with(setup.clone(), project) {
            Ok(target) => Some(target),
            Err(error) if !is_path(name) && !path.is_dir() => return Err(error),
            Err(_) => None,
        };
        if let Some(mut target) = in_project.filter(|_| !is_only_path(name)) {
            if let Some(found) = target.features.iter().find(|dir| dir.slug.as_str() == name) {
                target.features = vec![found.clone()];
                return Ok(target);
            }
            if !is_path(name) && !path.is_dir() {
                let slugs = target.features.iter().map(|dir| dir.slug.as_str());
                let similar = similar_feature(&name.to_string_lossy(), slugs).map_or_else(
                    || target.describe_features(),
                    |similar| format!("did you mean {}?", escape_unprintable(similar)),
                );
                bail!("there is no feature `{shown}` in {}; {similar}", target.display_root());
            }
        }
        let target = Self::from_path_with(setup.clone(), path, project.lone.into())?;
        if let Some(root) = &project.project
            && canonicalize(root)? != target.project.root
        {
            bail!("{shown} is not in the project {}", root.display());
        }
        let path = canonicalize(path)?;
        match target.features.as_slice() {
            [one] if path.starts_with(target.project.feature_path(one)) => Ok(target),
            _ => bail!(
                "{shown} is not a feature of {}; {}",
                target.display_root(),
                target.describe_features()
            ),
        }
    }

    /// Scans the features once and shows the progress on a terminal.
    pub(crate) fn scan<T: Send>(
        &self,
        render: impl Fn(Feature) -> T + Sync,
        sink: impl FnMut(T),
    ) -> anyhow::Result<()> {
        self.scan_with(StaticHash::Skip, render, sink)
    }

    /// Scans like [`LocalTarget::scan`], with the hashes that a baseline needs.
    pub(crate) fn scan_for_baseline(&self, sink: impl FnMut(Feature)) -> anyhow::Result<()> {
        self.scan_with(StaticHash::Compute, |feature| feature, sink)
    }

    fn scan_with<T: Send>(
        &self,
        static_part: StaticHash,
        render: impl Fn(Feature) -> T + Sync,
        sink: impl FnMut(T),
    ) -> anyhow::Result<()> {
        let spinner = ProgressSpinner::start();
        let look = OneShotOptions { limits: self.limits, static_part, progress: &spinner.progress };
        Ok(scan_features(&self.project, &self.features, &look, render, sink)?)
    }

    /// Returns the features that have a shared baseline and no directory, if all features are selected.
    pub(crate) fn missing_features(&self) -> Vec<Feature> {
        if !self.selects_all || !self.unreadable.is_empty() || self.discovery_error.is_some() {
            return Vec::new();
        }
        let missing = self.project.missing_shared_features(self.features.iter());
        missing.into_iter().map(|slug| missing_feature(&self.project, slug)).collect()
    }

    /// Lists the files of the one selected feature that are ignored, and prints which directories cannot be
    /// read.
    pub(crate) fn list_ignored(&self) -> anyhow::Result<Vec<IgnoredFile>> {
        let feature = self.features.first().context("the feature was removed")?;
        let (files, unreadable) = list_ignored(&self.project, feature, &self.limits)?;
        for UnreadableDir { path, reason } in &unreadable {
            output::warn(&format!("cannot list {}: {reason}", path.text()));
        }
        Ok(files)
    }

    /// Scans the one selected feature and prints its warnings and that no daemon was queried.
    pub(crate) fn scan_one(&self) -> anyhow::Result<Feature> {
        note_one_time_scan();
        let mut scanned = None;
        self.scan(|feature| feature, |feature| scanned = Some(feature))?;
        let feature = scanned.context("the feature was removed during the scan")?;
        for warning in &feature_warnings(&feature) {
            output::warn(warning);
        }
        Ok(feature)
    }

    /// Returns the content that was hashed. `None` if the artifact is not present, too large, or
    /// has changed since.
    pub(crate) fn read_content(&self, artifact: &ArtifactRef) -> anyhow::Result<Option<Vec<u8>>> {
        let [feature] = self.features.as_slice() else {
            return Ok(None);
        };
        content(&self.project, feature, artifact, MAX_CONTENT_BYTES)
            .with_context(|| artifact.relative_path.text().to_string())
    }

    /// Returns what is known of where the files of the one selected feature come from.
    pub(crate) fn file_origins(&self, feature: &Feature) -> FileOrigins {
        let staged = match self.features.as_slice() {
            [dir] => self.project.staged_files(dir, feature.entries.iter()),
            _ => None,
        };
        let slug = &feature.dossier.context.feature_slug;
        let reader = user_dirs().map(|dirs| ContentReader::new(&dirs.state_dir)).ok();
        let restored = reader.and_then(|reader| reader.restored(&self.project.root_id, slug).ok());
        FileOrigins { staged, restored }
    }

    /// Returns problems with the project's files. Complete only after a scan, which reads manifests and
    /// the metadata of the features.
    pub(crate) fn diagnostics(&self) -> ProjectDiagnostics {
        let manifests = self.project.manifest_diagnostics();
        let errors = self.project.errors.iter().cloned().chain(manifests.errors);
        // A daemon continues with the last valid `meta.json`; here there is none.
        let errors = errors.chain(self.project.meta_errors()).collect();
        ProjectDiagnostics { errors, warnings: manifests.warnings }
    }

    /// Prints problems with the project's files and returns the exit code of a command that has
    /// printed its data.
    pub(crate) fn finish(&self) -> CommandExit {
        let findings = self.diagnostics();
        findings.print();
        findings.exit()
    }

    /// Fails for a path in a skipped directory, which must not select the whole project.
    fn reject_skipped_path(&self, path: &Path) -> anyhow::Result<()> {
        let path = canonicalize(path)?;
        let below = path.strip_prefix(&self.project.root).unwrap_or(&path);
        let below = escape_bytes(below.as_os_str().as_bytes()).into_owned() + "/";
        match self.skipped.iter().find(|skipped| below.starts_with(&format!("{}/", skipped.name))) {
            Some(skipped) => bail!("{} is not a feature: {}", skipped.name, skipped.reason),
            None => Ok(()),
        }
    }

    fn display_root(&self) -> std::path::Display<'_> {
        self.project.root.display()
    }

    fn describe_features(&self) -> String {
        let slugs: Vec<&str> = self.features.iter().map(|dir| dir.slug.as_str()).collect();
        match (slugs.as_slice(), &self.outer_root) {
            ([], Some(outer)) => {
                format!("it has no features, but is in the project {}; name that", outer.display())
            }
            ([], None) => "it has no features".to_owned(),
            (some, _) => format!("it has {}", labels::join_truncated(some)),
        }
    }

    fn note_if_empty(&self) {
        if self.has_no_features() && self.discovery_error.is_none() {
            let mut patterns: Vec<&str> =
                self.project.feature_patterns().map(Pattern::as_str).collect();
            patterns.dedup();
            output::note(&format!(
                "no feature directory matches {} in {}",
                patterns.join(", "),
                self.display_root()
            ));
        }
    }
}

/// Returns why a feature could not be read or evaluated completely, for standard error.
pub(crate) fn feature_warnings(feature: &Feature) -> Vec<String> {
    let slug = &feature.dossier.context.feature_slug;
    labels::unknown_reasons(feature).into_iter().map(|line| format!("{slug}: {line}")).collect()
}

/// Calls `find` with a locator for a configuration; `layouts` is the directory of the user's own ones.
pub(crate) fn with_locator<T>(
    config: &Config,
    layouts: &Path,
    find: impl FnOnce(&Locator<'_>) -> T,
) -> T {
    let settings_of = |root: &Path| settings(config, root);
    find(&Locator::new(&settings_of, Some(layouts)))
}

/// The user's configuration and directory of missions.
#[derive(Clone)]
struct LocalSetup {
    config: Config,
    missions: PathBuf,
    layouts: PathBuf,
}

impl LocalSetup {
    fn read() -> anyhow::Result<Self> {
        let dirs = user_dirs()?;
        let config = Config::load_resolved(&dirs.config_file())?;
        Ok(Self { config, missions: dirs.missions_dir(), layouts: dirs.layouts_dir() })
    }

    fn with_locator<T>(&self, find: impl FnOnce(&Locator<'_>) -> T) -> T {
        with_locator(&self.config, &self.layouts, find)
    }

    fn open(self, root: &Path) -> anyhow::Result<LocalTarget> {
        let settings = settings(&self.config, root);
        let project = Project::open(root, settings, &Machine::current(), Some(&self.missions))
            .with_context(|| format!("cannot open {}", root.display()))?;
        let mut unreadable_dirs = Vec::new();
        let (features, skipped, discovery_error) = match project.discover() {
            Ok(found) => {
                let is_nothing_seen = found.features.is_empty() && !found.unreadable.is_empty();
                let unreadable = found.unreadable.iter().next().filter(|_| is_nothing_seen);
                let error = unreadable
                    .map(|dir| format!("cannot discover features: {} cannot be read", dir.text()));
                unreadable_dirs = found.unreadable.into_iter().collect();
                (found.features, found.skipped, error)
            }
            Err(error) => {
                (Vec::new(), Vec::new(), Some(format!("cannot discover features: {error}")))
            }
        };
        let limits = limits(&self.config.limits);
        Ok(LocalTarget {
            project,
            features,
            skipped,
            unreadable: unreadable_dirs,
            discovery_error,
            selects_all: true,
            is_recognised: true,
            outer_root: None,
            limits,
        })
    }
}

fn canonicalize(root: &Path) -> anyhow::Result<PathBuf> {
    root.canonicalize().with_context(|| root.display().to_string())
}

/// Returns true if an argument can only be a path: it begins with `/`, or with a dot.
pub(crate) fn is_only_path(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"/") || name.starts_with(b".")
}

/// Returns true if an argument is a path to a feature and not a slug.
pub(crate) fn is_path(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/') || name == "." || name == ".."
}
