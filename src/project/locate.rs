//! Finds the project and the features that a path on the command line selects
//! (`docs/specification.md#locating`).

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::discover;
use super::feature_dir::FeatureDir;
use super::settings::ProjectSettings;
use crate::core::path::FeatureSlug;
use crate::project::root_dir::RootDir;

/// The project and the features that a path selects.
#[derive(Debug, PartialEq, Eq)]
pub struct Located {
    /// Canonical root of the project.
    pub root: PathBuf,
    /// The selected features; `None` selects the whole project.
    pub features: Option<Vec<FeatureDir>>,
}

/// Why no project is found for a path.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The path cannot be accessed.
    #[error("cannot access {path}", path = path.display())]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path is not in a project, and the name of its directory is not a slug.
    #[error(
        "cannot find the project of {path}: no directory upwards has `.kittify` or features, and \
         `{name}` is not a valid feature name; use letters, digits, `.`, `_` and `-`",
        path = path.display()
    )]
    NotAFeature {
        /// The directory.
        path: PathBuf,
        /// Its name.
        name: String,
    },
}

/// Finds the project of `path`: the nearest directory upwards with `.kittify`, or else with
/// features. Without either, the directory of `path` is a standalone feature.
///
/// A `.kittify` directory is ignored if it is inside a feature of an outer project, since features
/// of real projects contain one; if it has no features while a directory below it, on the way to
/// `path`, has some; or if it contains only the baseline of a standalone feature.
///
/// # Errors
/// [`LocateError`].
pub fn locate(
    path: &Path,
    settings_of: impl Fn(&Path) -> ProjectSettings,
) -> Result<Located, LocateError> {
    let unreachable = |source| LocateError::Unreachable { path: path.to_owned(), source };
    let mut start = path.canonicalize().map_err(unreachable)?;
    if !start.is_dir() {
        start.pop();
    }
    let features_of = |root: &Path| {
        let patterns = settings_of(root).feature_patterns();
        let found =
            RootDir::open(root).ok().map(|root_dir| discover::discover(&root_dir, &patterns));
        found.and_then(Result::ok).map(|found| found.features).unwrap_or_default()
    };
    let has_kittify_dir = |dir: &&Path| dir.join(".kittify").is_dir();
    let is_in_feature_of = |dir: &Path, root: &Path| {
        let features = features_of(root);
        features.iter().any(|feature| dir.starts_with(feature.absolute_path(root)))
    };
    let nearest = start.ancestors().find(has_kittify_dir);
    let root = match nearest {
        // A `.kittify` directory in a feature does not make the feature a project.
        Some(nearest) => nearest.ancestors().skip(1).find(|outer| is_in_feature_of(nearest, outer)),
        None => None,
    };
    // A `.kittify` directory without features, for example in a home directory, does not hide a
    // project below it.
    let below_nearest = || start.ancestors().take_while(|dir| Some(*dir) != nearest);
    let root = root
        .or_else(|| nearest.filter(|nearest| !features_of(nearest).is_empty()))
        .or_else(|| below_nearest().find(|root| !features_of(root).is_empty()));
    if let Some(root) = root {
        let features = selected_features(&start, root, features_of(root));
        return Ok(Located { root: root.to_owned(), features });
    }
    let standalone = |root: &Path, slug| Located {
        root: root.to_owned(),
        features: Some(vec![FeatureDir { slug, path: None }]),
    };
    let name_of = |dir: &Path| dir.file_name().unwrap_or_default().as_bytes().to_owned();
    if let Some(root) = nearest {
        let slug =
            FeatureSlug::new(&name_of(root)).filter(|slug| has_only_dossiers_dir(root, slug));
        return Ok(match slug {
            Some(slug) => standalone(root, slug),
            None => Located { root: root.to_owned(), features: None },
        });
    }
    let slug = FeatureSlug::new(&name_of(&start)).ok_or_else(|| LocateError::NotAFeature {
        path: start.clone(),
        name: String::from_utf8_lossy(&name_of(&start)).into_owned(),
    })?;
    Ok(standalone(&start, slug))
}

/// Returns true if `.kittify` in `root` was created by accepting a baseline of a standalone
/// feature: the directory remains a standalone feature.
fn has_only_dossiers_dir(root: &Path, slug: &FeatureSlug) -> bool {
    let kittify = root.join(".kittify");
    let has_only_dossiers = std::fs::read_dir(&kittify).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "dossiers"))
    });
    has_only_dossiers && kittify.join("dossiers").join(slug.as_str()).is_dir()
}

/// Returns the features that contain `start` or are below it; `None`, for all features, if there
/// are none.
fn selected_features(
    start: &Path,
    root: &Path,
    features: Vec<FeatureDir>,
) -> Option<Vec<FeatureDir>> {
    if start == root {
        return None;
    }
    let selected: Vec<FeatureDir> = features
        .into_iter()
        .filter(|feature| {
            let dir = feature.absolute_path(root);
            start.starts_with(&dir) || dir.starts_with(start)
        })
        .collect();
    (!selected.is_empty()).then_some(selected)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn located(path: &Path) -> (PathBuf, Option<Vec<String>>) {
        let found = locate(path, |_| ProjectSettings::default()).unwrap();
        let slugs =
            |features: Vec<FeatureDir>| features.into_iter().map(|f| f.slug.to_string()).collect();
        (found.root, found.features.map(slugs))
    }

    #[test]
    fn locate_finds_the_project_and_selects_its_features() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for dir in [
            "p/.kittify",
            "p/src",
            "p/kitty-specs/001-a/tasks",
            "p/kitty-specs/002-b/.kittify",
            "bare/kitty-specs/003-c",
            "empty/.kittify",
            "empty/src",
            "lone-feature/tasks",
            "p/sub/.kittify",
            "empty/proj/kitty-specs/004-d",
            "accepted/.kittify/dossiers/accepted",
            "accepted/tasks",
            "other/.kittify/dossiers/001-a",
            "no name",
        ] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        fs::write(base.join("p/kitty-specs/001-a/spec.md"), "").unwrap();
        for (path, root, slugs) in [
            ("p", "p", None),
            ("p/src", "p", None),
            ("p/kitty-specs", "p", Some("001-a 002-b")),
            ("p/kitty-specs/001-a", "p", Some("001-a")),
            ("p/kitty-specs/001-a/tasks", "p", Some("001-a")),
            ("p/kitty-specs/001-a/spec.md", "p", Some("001-a")),
            ("p/kitty-specs/002-b", "p", Some("002-b")),
            ("p/kitty-specs/../src/.", "p", None),
            ("bare", "bare", None),
            ("bare/kitty-specs/003-c", "bare", Some("003-c")),
            ("p/sub", "p/sub", None),
            ("empty/proj", "empty/proj", None),
            ("empty", "empty", None),
            ("empty/src", "empty", None),
            ("lone-feature", "lone-feature", Some("lone-feature")),
            ("accepted", "accepted", Some("accepted")),
            ("accepted/tasks", "accepted", Some("accepted")),
            ("other", "other", None),
        ] {
            let slugs =
                slugs.map(|text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(located(&base.join(path)), (base.join(root), slugs), "{path}");
        }
        let invalid_name =
            locate(&base.join("no name"), |_| ProjectSettings::default()).unwrap_err();
        assert!(invalid_name.to_string().contains("`no name` is not a valid feature name"));
        let missing = locate(&base.join("nowhere"), |_| ProjectSettings::default()).unwrap_err();
        assert!(missing.to_string().ends_with("/nowhere"));
        let cause = std::error::Error::source(&missing).unwrap();
        assert!(cause.to_string().starts_with("No such file"));
    }
}
