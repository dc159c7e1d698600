//! Finds the project and the features that a path on the command line selects
//! (`docs/specification.md#locating`).

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::discover;
use super::feature_dir::FeatureDir;
use super::layouts::{KnownLayouts, RootLayouts};
use super::project_config::{self, CONFIG_FILE};
use super::settings::ProjectSettings;
use crate::core::layout::recognition::marker_texts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::root_dir::RootDir;

/// Number of levels below a path where roots are looked for.
const MAX_LEVELS_BELOW: usize = 4;
/// Most directories that are examined for that.
const MAX_EXAMINED_DIRS: usize = 20_000;

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
    /// The path is in no project.
    #[error(
        "cannot find the project of {path}: neither it nor a directory above it has one of {markers}; \
         use `--feature` if it is a feature by itself",
        path = path.display()
    )]
    NotRecognised {
        /// The directory.
        path: PathBuf,
        /// The markers that were looked for.
        markers: String,
    },
    /// The name of a directory that is to be a feature by itself is not a slug.
    #[error(
        "{path} cannot be a feature: `{name}` is not a valid feature name",
        path = path.display()
    )]
    NotAFeature {
        /// The directory.
        path: PathBuf,
        /// Its name.
        name: String,
    },
}

/// Whether a directory that nothing recognises is a feature by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoneFeature {
    /// It is.
    Accept,
    /// It is not.
    Refuse,
}

/// How certain it is that a directory is a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootKind {
    Strong,
    /// By a weak marker, which counts only where there is no other root.
    Weak,
}

/// Finds projects by the markers of their layouts, and by the configuration.
pub struct Locator<'a> {
    /// Returns the user's settings of a root.
    settings_of: &'a dyn Fn(&Path) -> ProjectSettings,
    /// Directory of the user's own layouts.
    user_layouts: Option<&'a Path>,
    /// The embedded layouts and those of the user.
    of_user: OnceCell<KnownLayouts>,
}

impl<'a> Locator<'a> {
    /// Creates a locator. `settings_of` returns the user's settings of a root; `user_layouts` is the
    /// directory of the user's own layouts.
    #[must_use]
    pub fn new(
        settings_of: &'a dyn Fn(&Path) -> ProjectSettings,
        user_layouts: Option<&'a Path>,
    ) -> Self {
        Self { settings_of, user_layouts, of_user: OnceCell::new() }
    }

    /// Finds the project of `path`: the nearest directory upwards that is a root. Only where there is
    /// none, or one without features, a directory with a weak marker is one.
    ///
    /// A root that is inside a feature of an outer one is ignored, since features of real projects
    /// contain markers.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn locate(&self, path: &Path, lone: LoneFeature) -> Result<Located, LocateError> {
        let start = start_of(path)?;
        let kinds: Vec<(&Path, Option<RootKind>)> =
            start.ancestors().map(|dir| (dir, self.root_kind(dir))).collect();
        let nearest = |wanted: RootKind| {
            kinds.iter().find(|(_, kind)| *kind == Some(wanted)).map(|(dir, _)| *dir)
        };
        let (strong, weak) = (nearest(RootKind::Strong), nearest(RootKind::Weak));
        let root = match (strong, weak) {
            (Some(strong), weak) => {
                let mut outer = strong.ancestors().skip(1);
                let containing = outer.find(|outer| {
                    let is_root = kinds.contains(&(*outer, Some(RootKind::Strong)));
                    is_root && self.is_in_feature_of(strong, outer)
                });
                // A root without features, for example a home directory, hides no project below it.
                let below = weak.filter(|weak| weak.starts_with(strong) && *weak != strong);
                let below = below.filter(|_| self.features_of(strong).is_empty());
                Some(containing.or(below).unwrap_or(strong))
            }
            (None, weak) => weak,
        };
        if let Some(root) = root {
            let features = selected_features(&start, root, self.features_of(root));
            return Ok(Located { root: root.to_owned(), features });
        }
        match lone {
            LoneFeature::Accept => lone_feature(&start),
            LoneFeature::Refuse => {
                Err(LocateError::NotRecognised { markers: self.markers(&start), path: start })
            }
        }
    }

    /// Finds the projects of `path`: that of [`Self::locate`], or else the roots below it, in order.
    /// `is_ignored` returns which of some directories git ignores.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn locate_all(
        &self,
        path: &Path,
        lone: LoneFeature,
        is_ignored: &dyn Fn(&Path, &[PathBuf]) -> HashSet<PathBuf>,
    ) -> Result<Vec<Located>, LocateError> {
        let error = match self.locate(path, LoneFeature::Refuse) {
            Ok(located) => return Ok(vec![located]),
            Err(error @ LocateError::NotRecognised { .. }) => error,
            Err(error) => return Err(error),
        };
        if lone == LoneFeature::Accept {
            return self.locate(path, lone).map(|located| vec![located]);
        }
        let roots = self.roots_below(&start_of(path)?, is_ignored);
        if roots.is_empty() {
            return Err(error);
        }
        Ok(roots.into_iter().map(|root| Located { root, features: None }).collect())
    }

    /// Returns the roots below a directory that is in none. Hidden directories are not entered, nor
    /// are roots.
    fn roots_below(
        &self,
        start: &Path,
        is_ignored: &dyn Fn(&Path, &[PathBuf]) -> HashSet<PathBuf>,
    ) -> BTreeSet<PathBuf> {
        let (mut roots, mut weak) = (BTreeSet::new(), BTreeSet::new());
        let (mut level, mut left) = (vec![start.to_owned()], MAX_EXAMINED_DIRS);
        for _ in 0..MAX_LEVELS_BELOW {
            let mut below = Vec::new();
            for dir in &level {
                let entries = RootDir::open(dir).ok().and_then(|root| root.list(None).ok());
                for entry in entries.into_iter().flatten() {
                    let is_hidden = entry.name.starts_with(b".");
                    if entry.kind == FileType::Directory && !is_hidden {
                        below.push(dir.join(std::ffi::OsStr::from_bytes(&entry.name)));
                    }
                }
                if below.len() >= left {
                    break;
                }
            }
            below.truncate(left);
            left -= below.len();
            let ignored = is_ignored(start, &below);
            below.retain(|dir| !ignored.contains(dir));
            level.clear();
            for dir in below {
                match self.root_kind(&dir) {
                    Some(RootKind::Strong) => drop(roots.insert(dir)),
                    Some(RootKind::Weak) => drop(weak.insert(dir)),
                    None => level.push(dir),
                }
            }
        }
        if roots.is_empty() { weak } else { roots }
    }

    /// Returns whether a directory is a root, by itself.
    fn root_kind(&self, dir: &Path) -> Option<RootKind> {
        if (self.settings_of)(dir).is_configured || dir.join(CONFIG_FILE).is_file() {
            return Some(RootKind::Strong);
        }
        let found = self.layouts_of(dir)?;
        let first = found.applied.first()?;
        Some(if first.is_weak { RootKind::Weak } else { RootKind::Strong })
    }

    fn layouts_of(&self, root: &Path) -> Option<RootLayouts> {
        let root_dir = RootDir::open(root).ok()?;
        let mut known = self.of_user(&root_dir).clone();
        known.load_project_layer(&root_dir);
        let file = project_config::read(&root_dir).ok().flatten().unwrap_or_default();
        Some(RootLayouts::find(&root_dir, known, &(self.settings_of)(root), &file))
    }

    fn of_user(&self, root_dir: &RootDir) -> &KnownLayouts {
        self.of_user.get_or_init(|| KnownLayouts::of_user(root_dir, self.user_layouts))
    }

    fn features_of(&self, root: &Path) -> Vec<FeatureDir> {
        let found = RootDir::open(root).ok().zip(self.layouts_of(root));
        let found = found.map(|(root_dir, layouts)| {
            discover::discover(&root_dir, &layouts.rules, &layouts.documents)
        });
        found.and_then(Result::ok).map(|found| found.features).unwrap_or_default()
    }

    fn is_in_feature_of(&self, dir: &Path, root: &Path) -> bool {
        let features = self.features_of(root);
        let mut features = features.iter().filter(|feature| !feature.is_documents());
        features.any(|feature| dir.starts_with(feature.absolute_path(root)))
    }

    fn markers(&self, start: &Path) -> String {
        let root_dir = RootDir::open(start);
        let texts = root_dir.map(|root_dir| marker_texts(&self.of_user(&root_dir).layouts));
        let mut texts = texts.unwrap_or_default();
        texts.push(CONFIG_FILE.to_owned());
        texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the canonical directory of a path.
fn start_of(path: &Path) -> Result<PathBuf, LocateError> {
    let unreachable = |source| LocateError::Unreachable { path: path.to_owned(), source };
    let mut start = path.canonicalize().map_err(unreachable)?;
    if !start.is_dir() {
        start.pop();
    }
    Ok(start)
}

/// Returns a directory as a feature by itself, or one above it that was accepted as one before.
fn lone_feature(start: &Path) -> Result<Located, LocateError> {
    let slug_of = |dir: &Path| FeatureSlug::new(dir.file_name().unwrap_or_default().as_bytes());
    let has_baseline = |dir: &&Path| slug_of(dir).is_some_and(|slug| has_dossier(dir, &slug));
    let root = start.ancestors().find(has_baseline).unwrap_or(start);
    let slug = slug_of(root).ok_or_else(|| LocateError::NotAFeature {
        path: root.to_owned(),
        name: root.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    })?;
    Ok(Located { root: root.to_owned(), features: Some(vec![FeatureDir::new(slug, None)]) })
}

/// Returns true if a directory has a dossier of itself: a baseline of it was accepted.
fn has_dossier(root: &Path, slug: &FeatureSlug) -> bool {
    root.join(".kittify/dossiers").join(slug.file_name()).is_dir()
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
            if let Some(documents) = &feature.documents {
                let below = start.strip_prefix(root).ok();
                let below = below.and_then(|below| RelPath::new(below.as_os_str().as_bytes()).ok());
                return below.is_some_and(|below| {
                    documents.may_be_below(&below) || documents.has_file(&below)
                });
            }
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

    fn locator() -> Locator<'static> {
        Locator::new(&|_| ProjectSettings::default(), None)
    }

    fn slugs(features: Option<Vec<FeatureDir>>) -> Option<String> {
        let slugs = features?.into_iter().map(|feature| feature.slug.to_string());
        Some(slugs.collect::<Vec<_>>().join(" "))
    }

    /// Creates files, and directories whose path ends with `/`.
    fn create(base: &Path, paths: &[&str]) {
        for path in paths {
            let full = base.join(path);
            fs::create_dir_all(if path.ends_with('/') { &full } else { full.parent().unwrap() })
                .unwrap();
            if !path.ends_with('/') {
                fs::write(full, "").unwrap();
            }
        }
    }

    #[test]
    fn locate_finds_the_project_and_selects_its_features() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let files = [
            "p/.kittify/",
            "p/src/",
            "p/kitty-specs/001-a/tasks/",
            "p/kitty-specs/001-a/spec.md",
            "p/kitty-specs/002-b/.kittify/",
            "bare/kitty-specs/003-c/",
            "empty/.kittify/",
            "empty/src/",
            "p/sub/.kittify/",
            "empty/proj/kitty-specs/004-d/",
            "home/.kittify/",
            "home/weak/specs/001-x/spec.md",
            "open/openspec/config.yaml",
            "open/openspec/specs/auth/spec.md",
            "open/openspec/changes/add-x/proposal.md",
            "kiro/.kiro/specs/\u{fc}ber uns/tasks.md",
            "team/.dossierd/config.yaml",
            "team/src/",
        ];
        create(&base, &files);
        for (path, root, selected) in [
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
            ("home/weak/specs", "home/weak", Some("001-x")),
            ("open/openspec", "open", Some("add-x project")),
            ("open/openspec/specs/auth", "open", Some("project")),
            ("kiro/.kiro/specs/\u{fc}ber uns", "kiro", Some("\u{fc}ber uns")),
            ("team/src", "team", None),
        ] {
            let found = locator().locate(&base.join(path), LoneFeature::Refuse).unwrap();
            let selected = selected.map(str::to_owned);
            assert_eq!((found.root, slugs(found.features)), (base.join(root), selected), "{path}");
        }
        let missing = locator().locate(&base.join("nowhere"), LoneFeature::Refuse).unwrap_err();
        assert!(missing.to_string().ends_with("/nowhere"));
        let cause = std::error::Error::source(&missing).unwrap();
        assert!(cause.to_string().starts_with("No such file"));
    }

    #[test]
    fn a_directory_that_nothing_recognises_is_a_feature_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let files =
            ["lone feature/tasks/", "accepted/.kittify/dossiers/accepted/", "accepted/tasks/"];
        create(&base, &files);
        for (path, root) in [
            ("lone feature", "lone feature"),
            ("lone feature/tasks", "lone feature/tasks"),
            ("accepted", "accepted"),
            ("accepted/tasks", "accepted"),
        ] {
            let refused = locator().locate(&base.join(path), LoneFeature::Refuse).unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("`.kittify`, `kitty-specs`, `.specify`, "), "{text}");
            assert!(text.contains("`.dossierd/config.yaml`; use `--feature`"), "{text}");
            let found = locator().locate(&base.join(path), LoneFeature::Accept).unwrap();
            let name = root.rsplit('/').next().map(str::to_owned);
            assert_eq!((found.root, slugs(found.features)), (base.join(root), name), "{path}");
        }
    }

    #[test]
    fn roots_below_a_directory_are_found_where_it_is_in_none() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let files = [
            "mono/apps/desktop/openspec/config.yaml",
            "mono/apps/desktop/nested/.specify/x",
            "mono/libs/a/.specify/x",
            "mono/.hidden/.specify/x",
            "mono/ignored/.specify/x",
            "mono/1/2/3/.kiro/specs/",
            "mono/1/2/3/4/5/.kiro/specs/",
            "mono/weak/specs/1/spec.md",
            "weak/x/specs/1/spec.md",
        ];
        create(&base, &files);
        let is_ignored = |_: &Path, dirs: &[PathBuf]| {
            dirs.iter().filter(|dir| dir.ends_with("ignored")).cloned().collect()
        };
        let roots = |path: &str| {
            let found = locator().locate_all(&base.join(path), LoneFeature::Refuse, &is_ignored);
            let below = |one: Located| one.root.strip_prefix(&base).unwrap().display().to_string();
            found.map(|found| found.into_iter().map(below).collect::<Vec<_>>()).ok()
        };
        let all = ["mono/1/2/3", "mono/apps/desktop", "mono/libs/a"].map(str::to_owned);
        assert_eq!(roots("mono").as_deref(), Some(&all[..]));
        assert_eq!(
            roots("mono/apps/desktop/nested"),
            Some(vec!["mono/apps/desktop/nested".into()])
        );
        assert_eq!(roots("weak"), Some(vec!["weak/x".to_owned()]));
        assert_eq!(roots("mono/.hidden/.specify"), Some(vec!["mono/.hidden".to_owned()]));
        assert_eq!(roots("mono/1/2/3/4/5"), Some(vec!["mono/1/2/3/4/5".to_owned()]));
        fs::create_dir(base.join("mono/nothing")).unwrap();
        assert_eq!(roots("mono/nothing"), None);
    }
}
