//! Asks git which files it ignores, which commit is checked out, and what changed since another one.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Options of git that keep the configuration of a repository from running programs.
const SAFE_OPTIONS: [&str; 2] = ["-c", "core.fsmonitor=false"];

/// Returns which of the files and directories `dirs`, below `start`, git ignores; none without git, or
/// outside of a work tree.
#[must_use]
pub fn ignored_by_git(start: &Path, dirs: &[PathBuf]) -> HashSet<PathBuf> {
    if dirs.is_empty() || !start.ancestors().any(|dir| dir.join(".git").exists()) {
        return HashSet::new();
    }
    ask(start, dirs).unwrap_or_default()
}

/// Returns the commit that is checked out; `None` without git, or before the first commit.
pub(super) fn head_commit(root: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.args(SAFE_OPTIONS)
        .arg("-C")
        .arg(root)
        .args(["rev-parse", "--verify", "HEAD"])
        .stderr(Stdio::null());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Why the changes cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git cannot be run.
    #[error("cannot run git: {0}")]
    NotRun(#[source] std::io::Error),
    /// The directory is in no work tree, or the revision is none.
    #[error("cannot find the changes since `{revision}` in {}: {message}", root.display())]
    Failed {
        /// The revision.
        revision: String,
        /// Where git was run.
        root: PathBuf,
        /// What git reported.
        message: String,
    },
}

/// Returns the absolute paths of the files at and below `root` that were added, changed or deleted since
/// `revision`, committed or not; files that git ignores are none. Of a branch that has diverged only the
/// changes since the common commit count.
///
/// # Errors
/// [`GitError`].
pub fn changed_since(root: &Path, revision: &str) -> Result<BTreeSet<PathBuf>, GitError> {
    let run = |arguments: &[&str]| -> Result<Vec<u8>, GitError> {
        let mut git = Command::new("git");
        git.args(SAFE_OPTIONS).arg("-C").arg(root).args(arguments);
        // Reading must not write the index.
        let output = git.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).output();
        let output = output.map_err(GitError::NotRun)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim().strip_prefix("fatal: ").unwrap_or(message.trim()).to_owned();
        Err(GitError::Failed { revision: revision.to_owned(), root: root.to_owned(), message })
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let commit = format!("{revision}^{{commit}}");
    let commit = text(&run(&["rev-parse", "--verify", "--end-of-options", &commit])?);
    // In a shallow clone there may be no common commit.
    let base = run(&["merge-base", &commit, "HEAD"]).map_or(commit, |base| text(&base));
    let top = run(&["rev-parse", "--show-toplevel"])?;
    let top = PathBuf::from(OsStr::from_bytes(top.strip_suffix(b"\n").unwrap_or(&top)));
    let options = ["diff", "--name-only", "--no-relative", "--no-renames", "--no-ext-diff", "-z"];
    let changed = run(&[&options[..], &[base.as_str(), "--", "."]].concat())?;
    let list = ["ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", "."];
    let untracked = run(&list)?;
    let names = changed.split(|byte| *byte == 0).chain(untracked.split(|byte| *byte == 0));
    let names = names.filter(|name| !name.is_empty());
    Ok(names.map(|name| top.join(OsStr::from_bytes(name))).collect())
}

fn ask(start: &Path, dirs: &[PathBuf]) -> Option<HashSet<PathBuf>> {
    let mut git = Command::new("git");
    git.args(SAFE_OPTIONS).arg("-C").arg(start).args(["check-ignore", "-z", "--stdin"]);
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    let input: Vec<u8> =
        dirs.iter().flat_map(|dir| [dir.as_os_str().as_bytes(), b"\0"].concat()).collect();
    // On a thread of its own, since git may write before it has read everything.
    let writer = std::thread::Builder::new().name("check-ignore".to_owned());
    let writer = writer.spawn(move || stdin.write_all(&input)).ok()?;
    let output = child.wait_with_output().ok()?;
    let _ = writer.join();
    let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Some(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
}
