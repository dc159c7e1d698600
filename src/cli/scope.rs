//! The project and feature that the arguments select, for commands that query the daemon. Resolving
//! them scans nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::args::ProjectArgs;
use crate::cli::local::target::{LocalTarget, is_path, with_locator};
use crate::cli::user_dirs::user_dirs;
use crate::client;
use crate::config::LoadedConfig;
use crate::core::path::escape_bytes;
use crate::project::{LoneFeature, ignored_by_git};
use crate::wire::status::{ProjectStatus, Status};

/// A project by its root and a feature by its slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// Root of the project; `None` if none is named and the current directory is in none.
    pub(super) root: Option<PathBuf>,
    /// Slug of the feature; `None` if none is named.
    pub(super) feature: Option<String>,
}

impl Scope {
    /// Resolves the arguments, with the current directory as default.
    pub(super) fn resolve(feature: Option<&OsStr>, args: &ProjectArgs) -> anyhow::Result<Self> {
        let Some(name) = feature else {
            return Ok(Self { root: Self::resolve_root(args)?, feature: None });
        };
        if !is_path(name) {
            let slug = escape_bytes(name.as_bytes()).into_owned();
            return Ok(Self { root: Self::resolve_root(args)?, feature: Some(slug) });
        }
        let target = match LocalTarget::from_feature_name_lenient(name, args) {
            Ok(target) => target,
            // A feature that is gone has no path any more.
            Err(error) => match LocalTarget::from_gone_feature(name, args) {
                Ok(Some(target)) => target,
                _ => return Err(error),
            },
        };
        let feature = target.features.first().map(|feature| feature.slug.to_string());
        Ok(Self { root: Some(target.project.root), feature })
    }

    /// Returns the named project, or the one that contains the current directory.
    fn resolve_root(args: &ProjectArgs) -> anyhow::Result<Option<PathBuf>> {
        if let Some(root) = &args.project {
            return Ok(Some(canonical_root(root)?));
        }
        // The daemon keeps running with an invalid configuration and reports it. Its clients must
        // not fail either.
        let mut config =
            LoadedConfig::from_file(&user_dirs()?.config_file()).config.unwrap_or_default();
        config.resolve_projects(|path| path.canonicalize().ok());
        let located = with_locator(&config, &user_dirs()?.layouts_dir(), |locator| {
            locator.locate(Path::new("."), LoneFeature::Refuse)
        });
        Ok(located.ok().map(|located| located.root))
    }

    /// Returns the root in the form that the API uses.
    pub(super) fn root_text(&self) -> Option<String> {
        self.root.as_deref().map(root_text)
    }

    /// Creates a request for this project and feature with `sync=true`.
    pub(super) fn request_path(&self, path: &str) -> client::RequestPath {
        client::RequestPath::new(path)
            .with_optional("feature", self.feature.as_deref())
            .with_optional("project", self.root_text().as_deref())
            .with_sync()
    }

    /// Finds this project among those that the daemon watches.
    pub(super) fn find_project<'s, 'a>(
        &self,
        status: &'s Status<'a>,
    ) -> Option<&'s ProjectStatus<'a>> {
        let root = self.root_text()?;
        status.projects.iter().find(|project| project.root == root)
    }
}

/// Returns the projects below the current directory, if it is in none and none is named.
pub(crate) fn roots_below(args: &ProjectArgs) -> Vec<PathBuf> {
    let Ok(dirs) = user_dirs() else {
        return Vec::new();
    };
    if args.project.is_some() {
        return Vec::new();
    }
    let mut config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
    config.resolve_projects(|path| path.canonicalize().ok());
    let found = with_locator(&config, &dirs.layouts_dir(), |locator| {
        locator.locate_all(Path::new("."), LoneFeature::Refuse, &ignored_by_git)
    });
    found.unwrap_or_default().into_iter().map(|located| located.root).collect()
}

/// Returns the canonical path of a named root. A root that does not exist is made absolute only: the
/// daemon may still watch it under that path, for example while its disk is not mounted.
pub(super) fn canonical_root(root: &Path) -> anyhow::Result<PathBuf> {
    let context = || root.display().to_string();
    match root.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let absolute = std::path::absolute(root).with_context(context)?;
            Ok(absolute.components().collect())
        }
        result => result.with_context(context),
    }
}

/// Returns a root in the form that the API uses.
pub(super) fn root_text(root: &Path) -> String {
    escape_bytes(root.as_os_str().as_bytes()).into_owned()
}

/// Returns the command that adds the selected project to the daemon.
pub(crate) fn project_add_command(args: &ProjectArgs) -> String {
    let root = args.project.as_deref().unwrap_or(Path::new("."));
    format!("dossierd project add {}", escape_bytes(root.as_os_str().as_bytes()))
}
