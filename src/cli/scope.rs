//! What a command that asks the daemon means: a project by its root, a feature by its slug. Nothing
//! is scanned for that.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::args::ProjectArgs;
use crate::cli::local::target::{LocalTarget, is_path};
use crate::cli::user_dirs::user_dirs;
use crate::client;
use crate::config::LoadedConfig;
use crate::core::path::escape_bytes;
use crate::engine::survey::settings;
use crate::project::{FeatureDir, locate};
use crate::wire::status::{ProjectStatus, Status};

/// Where a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// Root of the project; `None` where the current directory is in none and none is named.
    pub(super) root: Option<PathBuf>,
    /// Slug of the feature that is meant.
    pub(super) feature: Option<String>,
}

impl Scope {
    /// What the arguments and the current directory mean.
    pub(super) fn resolve(feature: Option<&OsStr>, args: &ProjectArgs) -> anyhow::Result<Self> {
        let Some(name) = feature else {
            return Ok(Self { root: Self::resolve_root(args)?, feature: None });
        };
        if !is_path(name) {
            let slug = escape_bytes(name.as_bytes()).into_owned();
            return Ok(Self { root: Self::resolve_root(args)?, feature: Some(slug) });
        }
        let target = LocalTarget::from_feature_name_lenient(name, args)?;
        let feature = target.features.first().map(|feature| feature.slug.to_string());
        Ok(Self { root: Some(target.project.root), feature })
    }

    /// The project that is named, or that the current directory is in.
    fn resolve_root(args: &ProjectArgs) -> anyhow::Result<Option<PathBuf>> {
        if let Some(said) = &args.project {
            return Ok(Some(canonical_root(said)?));
        }
        // The daemon goes on while the configuration is broken, and says so; so does its client.
        let config =
            LoadedConfig::from_file(&user_dirs()?.config_file()).config.unwrap_or_default();
        let Ok(located) = locate(Path::new("."), |root| settings(&config, root)) else {
            return Ok(None);
        };
        match located.features.as_deref() {
            // A directory in no project could be a feature by itself; no one said so.
            Some([FeatureDir { path: None, .. }]) => Ok(None),
            _ => Ok(Some(located.root)),
        }
    }

    /// The root as the API writes it.
    pub(super) fn root_text(&self) -> Option<String> {
        self.root.as_deref().map(root_text)
    }

    /// A request about the place's project and feature, with every change that was made before.
    pub(super) fn request_path(&self, path: &str) -> client::RequestPath {
        client::RequestPath::new(path)
            .with_optional("feature", self.feature.as_deref())
            .with_optional("project", self.root_text().as_deref())
            .with_sync()
    }

    /// The place's project among those that the daemon watches.
    pub(super) fn find_project<'s, 'a>(
        &self,
        status: &'s Status<'a>,
    ) -> Option<&'s ProjectStatus<'a>> {
        let root = self.root_text()?;
        status.projects.iter().find(|project| project.root == root)
    }
}

/// The root that is named. One that is away for now is still watched, under the name it had.
pub(super) fn canonical_root(said: &Path) -> anyhow::Result<PathBuf> {
    let about = || said.display().to_string();
    match said.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let plain = std::path::absolute(said).with_context(about)?;
            Ok(plain.components().collect())
        }
        found => found.with_context(about),
    }
}

/// A root as the API writes it.
pub(super) fn root_text(root: &Path) -> String {
    escape_bytes(root.as_os_str().as_bytes()).into_owned()
}

/// The command that lets the daemon watch the project that is meant.
pub(crate) fn project_add_command(args: &ProjectArgs) -> String {
    let root = args.project.as_deref().unwrap_or(Path::new("."));
    format!("dossierd project add {}", escape_bytes(root.as_os_str().as_bytes()))
}
