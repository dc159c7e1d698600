//! The worktrees of a git repository, read from git's directory without running git
//! (`docs/specification.md#worktrees`).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::core::path::RelPath;
use crate::project::root_dir::RootDir;

/// Directory in git's directory with one for each worktree.
const WORKTREES_DIR: &str = "worktrees";
/// File in it that names the `.git` of the worktree.
const GITDIR_FILE: &str = "gitdir";
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Largest number of worktrees that are followed, in the order of their names.
pub(super) const MAX_WORKTREES: usize = 16;
/// Largest number of worktrees whose directories are read; further ones are not followed.
const MAX_READ: usize = 64;

/// A worktree, as the main work tree names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worktree {
    /// The same directory as the root of the project. It may not exist, or be something else.
    pub root: PathBuf,
    /// git's directory of the worktree.
    pub git_dir: PathBuf,
}

/// The worktrees of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worktrees {
    /// Those that are followed, by root.
    pub followed: Vec<Worktree>,
    /// Number of further ones.
    pub omitted: usize,
}

/// Returns the worktrees of the repository whose main work tree has `root`, and git's directory `git_dir`;
/// none if that is the directory of a worktree. Those whose top directory is not one that `is_followed`
/// are left out.
///
/// # Errors
/// If git's directory cannot be read: it is not known which exist.
pub(super) fn find(
    root_dir: &RootDir,
    root: &Path,
    git_dir: &Path,
    is_followed: impl Fn(&Path) -> bool,
) -> io::Result<Worktrees> {
    let below = git_dir.parent().and_then(|top| root.strip_prefix(top).ok());
    let Some(below) = below.filter(|_| git_dir.ends_with(".git")) else {
        return Ok(Worktrees::default());
    };
    let mut names = names(git_dir)?;
    let mut omitted = names.len().saturating_sub(MAX_READ);
    names.truncate(MAX_READ);
    let mut followed = Vec::new();
    for name in names {
        let dir = git_dir.join(WORKTREES_DIR).join(name);
        // One that is being made has none yet.
        let Ok(Some(text)) = root_dir.read_outside(&dir.join(GITDIR_FILE), MAX_FILE_BYTES) else {
            continue;
        };
        let dot_git = without_parents(&dir.join(OsStr::from_bytes(text.trim_ascii())));
        let top = dot_git.parent().filter(|top| dot_git.ends_with(".git") && is_followed(top));
        if followed.len() == MAX_WORKTREES {
            omitted += usize::from(top.is_some());
        } else if let Some(top) = top {
            // `join` with nothing would add a slash.
            let root = if below.as_os_str().is_empty() { top.to_owned() } else { top.join(below) };
            followed.push(Worktree { root, git_dir: dir });
        }
    }
    followed.sort_unstable();
    Ok(Worktrees { followed, omitted })
}

/// Returns a path without `..`. Resolving links would access the worktree, whose file system may not respond.
fn without_parents(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            component => normal.push(component),
        }
    }
    normal
}

/// Returns true if git has a worktree in a directory of this name, whether it exists or not.
pub(super) fn is_registered(git_dir: &Path, name: &OsStr) -> bool {
    git_dir.join(WORKTREES_DIR).join(name).join(GITDIR_FILE).symlink_metadata().is_ok()
}

/// Returns the directories where changes show that worktrees were made, moved or removed.
pub(super) fn watched_dirs(git_dir: &Path) -> Vec<PathBuf> {
    let parent = git_dir.join(WORKTREES_DIR);
    let names = names(git_dir).unwrap_or_default();
    let dirs = names.into_iter().take(MAX_READ).map(|name| parent.join(name));
    let exists = parent.is_dir();
    dirs.chain(exists.then(|| parent.clone())).collect()
}

/// Returns true for a path on which the list of worktrees depends.
#[must_use]
pub fn is_worktree_path(path: &Path) -> bool {
    let parent = path.parent();
    let is_in_it = |dir: Option<&Path>| dir.is_some_and(|dir| dir.ends_with(WORKTREES_DIR));
    path.ends_with(WORKTREES_DIR)
        || is_in_it(parent)
        || path.ends_with(GITDIR_FILE) && is_in_it(parent.and_then(Path::parent))
}

/// Returns true for the file below the root that names a worktree.
pub(super) fn is_gitdir_file(path: &RelPath) -> bool {
    path.file_name() == GITDIR_FILE.as_bytes() && is_metadata(path)
}

/// Returns true for such a path below the root.
pub(super) fn is_metadata(path: &RelPath) -> bool {
    let path = path.as_bytes().strip_prefix(b".git/").unwrap_or_default();
    path.starts_with(WORKTREES_DIR.as_bytes())
        && is_worktree_path(Path::new(OsStr::from_bytes(path)))
}

/// Returns the names of the worktrees, sorted.
fn names(git_dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = match std::fs::read_dir(git_dir.join(WORKTREES_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn worktrees_have_the_same_directory_as_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let git_dir = top.join("main/.git");
        let root_of = |path: &str| {
            fs::create_dir_all(top.join(path)).unwrap();
            RootDir::open(&top.join(path)).unwrap()
        };
        let found = |path: &str, git_dir: &Path| {
            find(&root_of(path), &top.join(path), git_dir, |_| true).unwrap()
        };
        assert_eq!(found("main", &git_dir), Worktrees::default(), "a repository without worktrees");
        for (name, target) in [
            ("b", format!("{}/one/.git\n", top.display())),
            ("a", "../../../../two/.git\n".to_owned()),
            ("broken", "/nowhere\n".to_owned()),
        ] {
            let admin = git_dir.join("worktrees").join(name);
            fs::create_dir_all(&admin).unwrap();
            fs::write(admin.join("gitdir"), target).unwrap();
        }
        fs::create_dir_all(git_dir.join("worktrees/new")).unwrap();
        let worktrees = found("main", &git_dir);
        let worktree = |root: &str, name: &str| Worktree {
            root: top.join(root),
            git_dir: git_dir.join("worktrees").join(name),
        };
        assert_eq!(worktrees.followed, [worktree("one", "b"), worktree("two", "a")]);
        let below = found("main/apps/web", &git_dir).followed;
        assert_eq!(below[1], worktree("two/apps/web", "a"));
        let of_worktree = found("one", &git_dir.join("worktrees/b"));
        assert_eq!(of_worktree, Worktrees::default(), "a worktree has none");
        let not_one = |dir: &Path| dir != top.join("one");
        let found_others = find(&root_of("main"), &top.join("main"), &git_dir, not_one).unwrap();
        assert_eq!(found_others.followed, [worktree("two", "a")]);
        for number in 0..MAX_WORKTREES {
            let admin = git_dir.join(format!("worktrees/c{number:02}"));
            fs::create_dir_all(&admin).unwrap();
            fs::write(admin.join("gitdir"), format!("{}/c{number}/.git", top.display())).unwrap();
        }
        let all = found("main", &git_dir);
        assert_eq!((all.followed.len(), all.omitted), (MAX_WORKTREES, 2));
        for number in 0..MAX_READ {
            fs::create_dir_all(git_dir.join(format!("worktrees/d{number}"))).unwrap();
        }
        assert_eq!(found("main", &git_dir).omitted, 2 + 20);
    }

    #[test]
    fn paths_of_worktrees_are_metadata() {
        for (path, expected) in [
            (".git/worktrees", true),
            (".git/worktrees/a", true),
            (".git/worktrees/a/gitdir", true),
            (".git/worktrees/a/index.lock", false),
            (".git/worktrees/a/logs/HEAD", false),
            (".git/HEAD", false),
            ("worktrees/a", false),
        ] {
            assert_eq!(is_metadata(&RelPath::new(path.as_bytes()).unwrap()), expected, "{path}");
        }
    }
}
