//! The artifacts that arguments name: a key, a path in the feature, or a path as the shell completes it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::cli::args::FeatureArgs;
use crate::cli::local::target::LocalTarget;
use crate::core::path::escape_bytes;

/// Returns the names with paths relative to the current directory, and absolute ones, replaced by paths in
/// the feature. Any other name stays: a key, or a path in the feature.
pub(crate) fn resolve_artifact_names(names: &[String], args: &FeatureArgs) -> Vec<String> {
    let Ok(current) = std::env::current_dir() else { return names.to_vec() };
    // Found only if a name may be such a path.
    let mut feature = None;
    let mut resolve = |name: &String| {
        if !may_be_path(name, &current) {
            return name.clone();
        }
        let feature = feature.get_or_insert_with(|| feature_path(args));
        let resolved = feature.as_ref().and_then(|feature| below_feature(name, &current, feature));
        resolved.unwrap_or_else(|| name.clone())
    };
    names.iter().map(&mut resolve).collect()
}

fn feature_path(args: &FeatureArgs) -> Option<PathBuf> {
    let target = LocalTarget::from_feature_name_lenient(&args.feature, &args.project);
    let target = match target {
        Ok(target) => target,
        Err(_) => LocalTarget::from_gone_feature(&args.feature, &args.project).ok()??,
    };
    let path = target.project.feature_path(target.features.first()?);
    Some(path)
}

fn may_be_path(name: &str, current: &Path) -> bool {
    name.contains('/') || current.join(name).symlink_metadata().is_ok()
}

/// Returns the path in the feature, as text; `None` if the name is none that is relative to the current
/// directory, or absolute.
fn below_feature(name: &str, current: &Path, feature: &Path) -> Option<String> {
    let absolute = without_parents(&current.join(name))?;
    let below = absolute.strip_prefix(feature).ok()?;
    let is_plain = !name.starts_with(['/', '.']);
    if is_plain && current != feature && current.starts_with(feature) {
        // In a directory of the feature a path in the feature comes first.
        let is_in_feature = feature.join(name).symlink_metadata().is_ok();
        if is_in_feature || absolute.symlink_metadata().is_err() {
            return None;
        }
    }
    let text = escape_bytes(below.as_os_str().as_bytes()).into_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns an absolute path without `.` and `..`, and with the links resolved above its last component.
fn without_parents(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    let (parent, name) = (plain.parent()?, plain.file_name()?);
    Some(parent.canonicalize().map_or_else(|_| plain.clone(), |parent| parent.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_in_the_feature_or_relative_to_the_current_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let feature = root.join("specs/001-a");
        std::fs::create_dir_all(feature.join("tasks")).unwrap();
        std::fs::write(feature.join("tasks/WP01.md"), "").unwrap();
        std::fs::write(feature.join("tasks/spec.md"), "").unwrap();
        std::fs::write(feature.join("spec.md"), "").unwrap();
        std::os::unix::fs::symlink(&root, root.join("link")).unwrap();
        for (name, current, expected) in [
            ("specs/001-a/spec.md", "", Some("spec.md")),
            ("specs/001-a/deleted.md", "", Some("deleted.md")),
            ("./specs/001-a/tasks/WP01.md", "", Some("tasks/WP01.md")),
            ("link/specs/001-a/spec.md", "", Some("spec.md")),
            ("tasks/WP01.md", "", None),
            ("specs/001-b/spec.md", "", None),
            ("specs/001-a", "", None),
            ("001-a/spec.md", "specs", Some("spec.md")),
            ("./spec.md", "specs/001-a", Some("spec.md")),
            ("tasks/WP01.md", "specs/001-a", Some("tasks/WP01.md")),
            ("../001-b/spec.md", "specs/001-a", None),
            ("WP01.md", "specs/001-a/tasks", Some("tasks/WP01.md")),
            ("spec.md", "specs/001-a/tasks", None),
            ("./spec.md", "specs/001-a/tasks", Some("tasks/spec.md")),
            ("../spec.md", "specs/001-a/tasks", Some("spec.md")),
            ("tasks/WP01.md", "specs/001-a/tasks", None),
            ("/etc/passwd", "", None),
        ] {
            let current = if current.is_empty() { root.clone() } else { root.join(current) };
            let found = below_feature(name, &current, &feature);
            assert_eq!(found.as_deref(), expected, "{name} in {}", current.display());
        }
        let absolute = feature.join("spec.md").to_str().unwrap().to_owned();
        assert_eq!(below_feature(&absolute, &root, &feature).as_deref(), Some("spec.md"));
    }
}
