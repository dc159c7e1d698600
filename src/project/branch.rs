//! Reads the checked-out branch from git's `HEAD` file, without running git
//! (`docs/specification.md#branch`).

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::core::path::escape_bytes;
use crate::project::root_dir::RootDir;

/// `target_branch` without a git repository.
const UNKNOWN_BRANCH: &str = "unknown";
/// `target_branch` of a detached `HEAD`.
const DETACHED_HEAD: &str = "HEAD";
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Returns the branch that `HEAD` in `git_dir` names.
pub(super) fn current_branch(root_dir: &RootDir, git_dir: Option<&Path>) -> String {
    let head = git_dir.and_then(|git_dir| {
        root_dir.read_outside(&git_dir.join("HEAD"), MAX_FILE_BYTES).ok().flatten()
    });
    match head {
        Some(head) => parse_head(&head),
        None => UNKNOWN_BRANCH.to_owned(),
    }
}

/// Returns the directory of `HEAD` for the nearest `.git` in `root` or above it; for a worktree,
/// the worktree's own directory.
pub(super) fn find_git_dir(root_dir: &RootDir, root: &Path) -> Option<PathBuf> {
    root.ancestors().find_map(|dir| resolve_git_dir(root_dir, &dir.join(".git")))
}

/// Returns the directory with that `.git`: the top of the work tree.
pub(super) fn find_work_tree<'a>(root_dir: &RootDir, root: &'a Path) -> Option<&'a Path> {
    root.ancestors().find(|dir| resolve_git_dir(root_dir, &dir.join(".git")).is_some())
}

/// Returns `dot_git` if it is a directory, or the directory that it names if it is the file of a
/// worktree or submodule.
fn resolve_git_dir(root_dir: &RootDir, dot_git: &Path) -> Option<PathBuf> {
    let metadata = std::fs::metadata(dot_git).ok()?;
    if metadata.is_dir() {
        return Some(dot_git.to_owned());
    }
    let text = root_dir.read_outside(dot_git, MAX_FILE_BYTES).ok()??;
    let target = text.strip_prefix(b"gitdir:")?.trim_ascii();
    Some(dot_git.parent()?.join(std::ffi::OsStr::from_bytes(target)))
}

fn parse_head(head: &[u8]) -> String {
    let Some(reference) = head.trim_ascii().strip_prefix(b"ref:") else {
        return DETACHED_HEAD.to_owned();
    };
    let reference = reference.trim_ascii_start();
    match reference.strip_prefix(b"refs/heads/").unwrap_or(reference) {
        // git writes this to `HEAD` of a repository with reftables, for programs that read the
        // file.
        b".invalid" | b"" => UNKNOWN_BRANCH.to_owned(),
        name => escape_bytes(name).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn head_file_names_the_branch() {
        for (head, branch) in [
            ("ref: refs/heads/main\n", "main"),
            ("ref: refs/heads/feature/x\n", "feature/x"),
            ("ref:refs/heads/a", "a"),
            ("4f0d2e5b8f3d\n", "HEAD"),
            ("ref: refs/heads/.invalid\n", "unknown"),
        ] {
            assert_eq!(parse_head(head.as_bytes()), branch);
        }
    }

    #[test]
    fn git_dir_is_found_in_ancestors_and_by_worktree_files() {
        let dir = tempfile::tempdir().unwrap();
        let root_dir = RootDir::open(dir.path()).unwrap();
        let branch_of =
            |root: &Path| current_branch(&root_dir, find_git_dir(&root_dir, root).as_deref());
        let root = dir.path().join("repo/sub");
        fs::create_dir_all(&root).unwrap();
        assert_eq!(branch_of(&root), "unknown");
        fs::create_dir(dir.path().join("repo/.git")).unwrap();
        fs::write(dir.path().join("repo/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(branch_of(&root), "main");
        fs::create_dir_all(dir.path().join("repo/.git/worktrees/w")).unwrap();
        fs::write(dir.path().join("repo/.git/worktrees/w/HEAD"), "ref: refs/heads/w\n").unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        fs::write(dir.path().join("tree/.git"), "gitdir: ../repo/.git/worktrees/w\n").unwrap();
        assert_eq!(branch_of(&dir.path().join("tree")), "w");
    }
}
