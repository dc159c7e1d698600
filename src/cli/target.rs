//! From what was written on the command line to an open project and its features.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::args::{FeatureArgs, ProjectArgs};
use super::exit::Exit;
use super::link::folders;
use super::out::{self, Ticker};
use super::words;
use crate::config::{Config, ConfigState};
use crate::core::content::StaticPart;
use crate::core::feature::Feature;
use crate::core::findings::{FileError, Skipped};
use crate::core::path::escape_bytes;
use crate::core::pattern::Pattern;
use crate::engine::survey::{Look, limits, settings, survey};
use crate::project::{FeatureDir, Machine, Project, locate};
use crate::scan::Limits;

/// A project, and which of its features are meant.
pub(super) struct Target {
    pub(super) project: Project,
    pub(super) features: Vec<FeatureDir>,
    pub(super) skipped: Vec<Skipped>,
    /// Why features could not be looked for.
    pub(super) undiscovered: Option<String>,
    limits: Limits,
}

/// What was found wrong with the files that steer a project.
pub(super) struct Findings {
    pub(super) errors: Vec<FileError>,
    pub(super) warnings: Vec<String>,
}

impl Target {
    /// What `path` means: all of a project, or some features of it.
    pub(super) fn of_path(path: &Path) -> anyhow::Result<Self> {
        Self::of_path_by(Setup::read()?, path)
    }

    fn of_path_by(setup: Setup, path: &Path) -> anyhow::Result<Self> {
        let located = locate(path, |root| settings(&setup.config, root))?;
        let mut target = setup.open(&located.root)?;
        match located.features {
            Some(features) => {
                target.features = features;
                target.skipped.clear();
            }
            None => {
                target.refuse_skipped(path)?;
                target.say_if_empty();
            }
        }
        Ok(target)
    }

    /// The features of the project that `args` or the current folder mean.
    pub(super) fn of_project(args: &ProjectArgs) -> anyhow::Result<Self> {
        Self::of_project_by(Setup::read()?, args)
    }

    fn of_project_by(setup: Setup, args: &ProjectArgs) -> anyhow::Result<Self> {
        let said = args.project.as_deref();
        let located = locate(said.unwrap_or(Path::new(".")), |root| settings(&setup.config, root))?;
        if let Some(said) = said
            && canonical(said)? != located.root
        {
            // A root that was named is meant, also where another project is found around it.
            return setup.open(&canonical(said)?);
        }
        let mut target = setup.open(&located.root)?;
        if let Some([FeatureDir { path: None, .. }]) = located.features.as_deref() {
            target.features = located.features.unwrap_or_default();
        }
        Ok(target)
    }

    /// One feature by slug or path.
    pub(super) fn of_feature(args: &FeatureArgs) -> anyhow::Result<Self> {
        Self::of_name(&args.feature, &args.project)
    }

    /// One feature by slug or path.
    pub(super) fn of_name(name: &OsStr, project: &ProjectArgs) -> anyhow::Result<Self> {
        Self::of_name_by(&Setup::read()?, name, project)
    }

    /// The same for who asks the daemon, which goes on while the configuration is broken.
    pub(super) fn watched(name: &OsStr, project: &ProjectArgs) -> anyhow::Result<Self> {
        let folders = folders()?;
        let config = ConfigState::read(&folders.config_file()).0.unwrap_or_default();
        Self::of_name_by(&Setup { config, missions: folders.missions() }, name, project)
    }

    fn of_name_by(setup: &Setup, name: &OsStr, project: &ProjectArgs) -> anyhow::Result<Self> {
        let path = Path::new(name);
        let shown = path.display();
        let is_path = name.as_bytes().contains(&b'/') || name == "." || name == "..";
        if !is_path {
            let mut target = Self::of_project_by(setup.clone(), project)?;
            if let Some(found) = target.features.iter().find(|dir| dir.slug.as_str() == name) {
                target.features = vec![found.clone()];
                return Ok(target);
            }
            if !path.is_dir() {
                bail!("there is no feature `{shown}` in {}; {}", target.root(), target.known());
            }
        }
        let target = Self::of_path_by(setup.clone(), path)?;
        if let Some(root) = &project.project
            && canonical(root)? != target.project.root
        {
            bail!("{shown} is not in the project {}", root.display());
        }
        let meant = canonical(path)?;
        match target.features.as_slice() {
            [one] if meant.starts_with(target.project.feature_path(one)) => Ok(target),
            _ => bail!("{shown} is no feature of {}; {}", target.root(), target.known()),
        }
    }

    /// Looks at the features once, showing how far it is.
    pub(super) fn survey<T: Send>(
        &self,
        render: impl Fn(Feature) -> T + Sync,
        sink: impl FnMut(T),
    ) -> anyhow::Result<()> {
        self.look(StaticPart::Skip, render, sink)
    }

    /// As [`Target::survey`], for making baselines of what is seen.
    pub(super) fn survey_to_accept(&self, sink: impl FnMut(Feature)) -> anyhow::Result<()> {
        self.look(StaticPart::Hash, |feature| feature, sink)
    }

    fn look<T: Send>(
        &self,
        static_part: StaticPart,
        render: impl Fn(Feature) -> T + Sync,
        sink: impl FnMut(T),
    ) -> anyhow::Result<()> {
        let ticker = Ticker::start();
        let look = Look { limits: self.limits, static_part, progress: &ticker.progress };
        survey(&self.project, &self.features, &look, render, sink)
            .map_err(anyhow::Error::msg)
            .context("cannot compile the `ignore` patterns")
    }

    /// Looks at the one feature meant, and says that no daemon was asked.
    pub(super) fn survey_one(&self) -> anyhow::Result<Feature> {
        out::note("no daemon is asked; scanned once");
        let mut seen = None;
        self.survey(|feature| feature, |feature| seen = Some(feature))?;
        let feature = seen.context("the feature went away")?;
        for warning in &warnings(&feature) {
            out::warn(warning);
        }
        Ok(feature)
    }

    /// What is wrong with the project's files, after its features were looked at.
    pub(super) fn findings(&self) -> Findings {
        let (manifests, warnings) = self.project.manifest_findings();
        let errors = self.project.errors.iter().cloned().chain(manifests).collect();
        Findings { errors, warnings }
    }

    /// Says what is wrong with the project's files, and with which code that ends a command that
    /// has printed its data.
    pub(super) fn end(&self) -> Exit {
        let findings = self.findings();
        findings.say();
        findings.exit()
    }

    /// Refuses a path in a folder that is skipped: all of the project is not what it means.
    fn refuse_skipped(&self, path: &Path) -> anyhow::Result<()> {
        let path = canonical(path)?;
        let below = path.strip_prefix(&self.project.root).unwrap_or(&path);
        let below = escape_bytes(below.as_os_str().as_bytes()).into_owned() + "/";
        match self.skipped.iter().find(|skipped| below.starts_with(&format!("{}/", skipped.name))) {
            Some(skipped) => bail!("{} is no feature: {}", skipped.name, skipped.reason),
            None => Ok(()),
        }
    }

    fn root(&self) -> std::path::Display<'_> {
        self.project.root.display()
    }

    fn known(&self) -> String {
        let slugs: Vec<&str> = self.features.iter().map(|dir| dir.slug.as_str()).collect();
        match slugs.as_slice() {
            [] => "it has no features".to_owned(),
            some => format!("it has {}", some.join(", ")),
        }
    }

    fn say_if_empty(&self) {
        if self.features.is_empty() && self.undiscovered.is_none() {
            let patterns = self.project.settings.feature_patterns();
            let patterns: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
            out::note(&format!(
                "no feature directory matches {} in {}",
                patterns.join(", "),
                self.root()
            ));
        }
    }
}

impl Findings {
    /// Says them on standard error.
    pub(super) fn say(&self) {
        for error in &self.errors {
            out::error(&error.to_string());
        }
        for warning in &self.warnings {
            out::warn(warning);
        }
    }

    /// With which code they end a command that has printed its data.
    pub(super) fn exit(&self) -> Exit {
        if self.errors.is_empty() { Exit::Done } else { Exit::BrokenFile }
    }
}

/// What keeps a feature from being seen or judged as it should be, for standard error.
pub(super) fn warnings(feature: &Feature) -> Vec<String> {
    let slug = &feature.dossier.terms.feature_slug;
    words::doubts(feature).into_iter().map(|line| format!("{slug}: {line}")).collect()
}

/// What every command starts from.
#[derive(Clone)]
struct Setup {
    config: Config,
    missions: PathBuf,
}

impl Setup {
    fn read() -> anyhow::Result<Self> {
        let folders = folders()?;
        Ok(Self { config: Config::load(&folders.config_file())?, missions: folders.missions() })
    }

    fn open(self, root: &Path) -> anyhow::Result<Target> {
        let said = settings(&self.config, root);
        let project = Project::open(root, said, &Machine::this(), Some(&self.missions))
            .with_context(|| format!("cannot open {}", root.display()))?;
        let (features, skipped, undiscovered) = match project.discover() {
            Ok((features, skipped)) => (features, skipped, None),
            Err(error) => {
                (Vec::new(), Vec::new(), Some(format!("cannot look for features: {error}")))
            }
        };
        let limits = limits(&self.config.limits);
        Ok(Target { project, features, skipped, undiscovered, limits })
    }
}

fn canonical(root: &Path) -> anyhow::Result<PathBuf> {
    root.canonicalize().with_context(|| root.display().to_string())
}
