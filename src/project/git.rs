//! Asks git which files it ignores, and which commit is checked out.

use std::collections::HashSet;
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
