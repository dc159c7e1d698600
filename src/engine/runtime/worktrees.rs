//! Which roots are worktrees of watched projects. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::project::Worktree;

/// What a worktree belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorktreeOf {
    /// Identity of the main root.
    pub(super) main: Arc<str>,
    /// git's directory of the worktree, in that of the main one.
    pub(super) git_dir: PathBuf,
}

/// The worktrees of a watched project; `None` while it is not known which there are.
pub(super) type ProjectWorktrees<'a> = (&'a str, Option<&'a [Worktree]>);

/// Returns the worktrees of `projects`, which have the identities of their roots, by root. Where it is not known
/// which there are, as while a project is starting or its root is away, those `before` remain.
pub(super) fn find_worktrees<'a>(
    projects: impl Iterator<Item = ProjectWorktrees<'a>>,
    before: &BTreeMap<PathBuf, WorktreeOf>,
) -> BTreeMap<PathBuf, WorktreeOf> {
    let mut found = BTreeMap::new();
    for (root_id, worktrees) in projects {
        match worktrees {
            Some(worktrees) => {
                let main: Arc<str> = root_id.into();
                found.extend(worktrees.iter().map(|one| {
                    let git_dir = one.git_dir.clone();
                    (one.root.clone(), WorktreeOf { main: Arc::clone(&main), git_dir })
                }));
            }
            None => {
                let of_it = before.iter().filter(|(_, of)| *of.main == *root_id);
                found.extend(of_it.map(|(root, of)| (root.clone(), of.clone())));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worktrees_remain_while_it_is_not_known_which_there_are() {
        let worktree = |name: &str| Worktree {
            root: PathBuf::from(format!("/{name}")),
            git_dir: PathBuf::from(format!("/main/.git/worktrees/{name}")),
        };
        let (one, both) = ([worktree("a")], [worktree("a"), worktree("b")]);
        let names = |projects: &[ProjectWorktrees<'_>], before: &BTreeMap<_, _>| -> Vec<String> {
            let found = find_worktrees(projects.iter().copied(), before);
            found.iter().map(|(root, of)| format!("{} {}", root.display(), of.main)).collect()
        };
        let before = find_worktrees([("m", Some(&both[..]))].into_iter(), &BTreeMap::new());
        for (projects, expected) in [
            // A project that is restarting, with its worktrees or without.
            (&[("m", None)][..], &["/a m", "/b m"][..]),
            (&[("m", None), ("w", None)], &["/a m", "/b m"]),
            (&[("m", Some(&one[..])), ("w", Some(&[]))], &["/a m"]),
            (&[("m", Some(&[]))], &[]),
            // Its main project is not watched any more.
            (&[("other", None)], &[]),
            (&[], &[]),
        ] {
            assert_eq!(names(projects, &before), expected, "{projects:?}");
        }
    }
}
