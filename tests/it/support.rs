//! Projects in temporary directories, the binary run in an environment of its own and with a deadline,
//! and the hashes of a directory as a second, simpler program computes them.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod emitted;
pub(crate) mod kernel;
pub(crate) mod manager;
#[path = "../../src/core/event_schema/validate.rs"]
pub(crate) mod schema;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// No command of these tests may take longer; what blocks fails by this.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A user who is not root and owns nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Says aloud that a test proves nothing here.
pub(crate) fn not_run(why: &str) {
    // Straight to the descriptor: what goes through `eprintln!` is kept back when a test passes.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example project.
pub(crate) fn bakery() -> PathBuf {
    repository().join("examples/bakery")
}

/// A project of its own in a temporary directory, and a home beside it that holds nothing.
pub(crate) struct Project {
    base: TempDir,
    pub(crate) root: PathBuf,
    vars: Vec<(OsString, OsString)>,
}

impl Drop for Project {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            emitted::hold_store(&self.state());
        }
    }
}

/// The feature in which most tests work.
pub(crate) const FEATURE: &str = "001-x";

impl Project {
    /// An empty directory.
    pub(crate) fn bare() -> Self {
        let base = TempDir::with_prefix("dossierd-").unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = base.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        fs::create_dir(base.path().join("home")).unwrap();
        Self { base, root, vars: Vec::new() }
    }

    /// A project whose identity does not depend on the machine, without features.
    pub(crate) fn new() -> Self {
        Self::bare().file(
            ".kittify/config.yaml",
            "project: {uuid: 11111111-2222-4333-8444-555555555555, node_id: abcdef123456}\n",
        )
    }

    /// A project with one feature that is complete at every step of `software-dev`.
    pub(crate) fn complete() -> Self {
        let project = Self::new();
        for (name, text) in [
            ("spec.md", "# Spec\n"),
            ("plan.md", "# Plan\n"),
            ("tasks.md", "# Tasks\n"),
            ("tasks/WP01.md", "---\nwork_package_id: WP01\nlane: planned\n---\nDo it.\n"),
            ("meta.json", "{\"mission\": \"software-dev\", \"target_branch\": \"main\"}\n"),
        ] {
            project.write(&format!("kitty-specs/{FEATURE}/{name}"), text);
        }
        project
    }

    /// A copy of the directory at `from`.
    pub(crate) fn copy_of(from: &Path) -> Self {
        let project = Self::bare();
        copy(from, &project.root);
        project
    }

    /// With that file below the root.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(path, text);
        self
    }

    /// With that file in the feature.
    pub(crate) fn artifact(self, path: impl AsRef<OsStr>, text: impl AsRef<[u8]>) -> Self {
        let path = self.feature().join(path.as_ref());
        write(&path, text.as_ref());
        self
    }

    /// With that configuration; `ROOT` in it is the root.
    pub(crate) fn config(self, text: &str) -> Self {
        let text = text.replace("ROOT", self.root.to_str().unwrap());
        write(&self.config_file(), text.as_bytes());
        self
    }

    /// With that environment variable.
    pub(crate) fn var(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.vars.push((name.into(), value.as_ref().into()));
        self
    }

    /// Makes the daemon's engine hang while `file` exists.
    #[track_caller]
    pub(crate) fn hang_file(self, file: &Path) -> Self {
        self.var(hang_variable(), file)
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.home().join(".config/dossierd/config.yaml")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.base.path().join("home")
    }

    /// Writes a file below the root.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.root.join(path), text.as_ref());
    }

    /// Where [`FEATURE`] lies.
    pub(crate) fn feature(&self) -> PathBuf {
        self.root.join("kitty-specs").join(FEATURE)
    }

    /// Where its baseline lies.
    pub(crate) fn baseline_file(&self) -> PathBuf {
        self.root.join(format!(".kittify/dossiers/{FEATURE}/parity-baseline.json"))
    }

    /// Its baseline.
    pub(crate) fn baseline(&self) -> Value {
        serde_json::from_slice(&fs::read(self.baseline_file()).unwrap()).unwrap()
    }

    /// The command with these arguments, to be run in the root.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_dossierd")), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env_clear().env("HOME", self.home());
        command.env("LOGNAME", "tester").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the binary in the root.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(self.command(arguments), DEADLINE)
    }

    /// Runs it as a user who is not root; `None`, said aloud, where that cannot be done.
    pub(crate) fn run_as_nobody(&self, arguments: &[&str]) -> Option<Run> {
        Some(run(self.command_as_nobody(arguments)?, DEADLINE))
    }

    /// The command for a user who is not root; `None`, said aloud, where that cannot be had.
    pub(crate) fn command_as_nobody(&self, arguments: &[&str]) -> Option<Command> {
        if !rustix::process::geteuid().is_root() {
            return Some(self.command(arguments));
        }
        // The build's own directory may be closed to others.
        let program = self.base.path().join("dossierd");
        if !program.exists() {
            // By another process: a descriptor open for writing here would be inherited by
            // whatever another test starts just then, and the copy be busy.
            let copied =
                Command::new("cp").arg(env!("CARGO_BIN_EXE_dossierd")).arg(&program).status();
            assert!(copied.unwrap().success());
        }
        let id = NOBODY.to_string();
        let mut as_nobody = vec!["--reuid", &id, "--regid", &id, "--clear-groups", "--"];
        as_nobody.push(program.to_str().unwrap());
        as_nobody.extend(arguments);
        let mut trial = self.command_of(Path::new("setpriv"), &as_nobody[..7]);
        if !trial.arg("--version").output().is_ok_and(|output| output.status.success()) {
            not_run("what a user who is not root cannot read (no working `setpriv`)");
            return None;
        }
        Some(self.command_of(Path::new("setpriv"), &as_nobody))
    }

    /// The snapshots that `scan --json` prints.
    pub(crate) fn snapshots(&self) -> Vec<Value> {
        let run = self.run(&["scan", "--json"]);
        assert_eq!(run.code, 0, "{run:?}");
        run.lines()
    }

    /// The snapshot of the only feature.
    pub(crate) fn snapshot(&self) -> Value {
        let mut snapshots = self.snapshots();
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        snapshots.remove(0)
    }

    /// `text` without what differs from run to run: the directory's name.
    pub(crate) fn stable(&self, text: &str) -> String {
        text.replace(self.root.to_str().unwrap(), "ROOT")
            .replace(self.home().to_str().unwrap(), "HOME")
    }
}

/// What came of running the binary.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as one JSON value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Holds that it ended with `code` and said `said` on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(said), "`{said}` is not in:\n{}", self.stderr);
        for line in self.stderr.lines() {
            let parts: Vec<&str> = line.split(": ").collect();
            let twice = parts.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!twice, "a cause is said twice: {line}");
        }
    }

    /// Holds that it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs `command`, and kills it and fails when it has not ended by the deadline.
#[track_caller]
pub(crate) fn run(mut command: Command, deadline: Duration) -> Run {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{what}: {error}"));
    let id = i32::try_from(child.id()).unwrap();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(deadline) else {
        if let Some(id) = rustix::process::Pid::from_raw(id) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        panic!("{what} did not end within {deadline:?}");
    };
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is UTF-8");
    Run {
        code: output.status.code().unwrap_or_else(|| panic!("{what}: {}", output.status)),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Copies a directory's files and directories; links and special files have no business there.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Not `fs::copy`: the original may be read-only, and copies are there to be changed.
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Path, modification time and content of everything below a directory.
pub(crate) fn everything(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.push((path.clone(), metadata.modified().unwrap(), content));
        if metadata.is_dir() {
            all.extend(everything(&path));
        }
    }
    all.sort();
    all
}

/// Extensions whose files must be text (contract, section 2).
const TEXT: &str =
    "md markdown txt json jsonl yaml yml csv tsv toml xml html log py sh rs js ts ini cfg";

/// Path and bytes of each file that is present by the contract: no component begins with a dot,
/// and what should be text is.
pub(crate) fn present(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_text = |path: &[u8]| {
        let extension = Path::new(OsStr::from_bytes(path)).extension();
        extension.is_some_and(|it| TEXT.split(' ').any(|text| it.eq_ignore_ascii_case(text)))
    };
    let sound =
        |(path, bytes): &(Vec<u8>, Vec<u8>)| !is_text(path) || str::from_utf8(bytes).is_ok();
    files(folder).into_iter().filter(sound).collect()
}

fn files(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    fn collect(folder: &Path, prefix: &[u8], all: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let path = [prefix, name.as_bytes()].concat();
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &[&path[..], b"/"].concat(), all);
            } else {
                all.push((path, fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut all = Vec::new();
    collect(folder, b"", &mut all);
    all.sort();
    all
}

/// The seed's parity hash and the contract's tree hash of a directory, straight from
/// their definitions and by none of the program's code.
pub(crate) fn hashes(folder: &Path) -> (String, String) {
    let hashed: Vec<(Vec<u8>, String)> =
        present(folder).into_iter().map(|(path, bytes)| (path, sha256(&bytes))).collect();
    let mut sorted: Vec<&str> = hashed.iter().map(|(_, hash)| hash.as_str()).collect();
    sorted.sort_unstable();
    let tree: Vec<u8> = hashed
        .iter()
        .flat_map(|(path, hash)| [path, &b"\0"[..], hash.as_bytes(), b"\n"].concat())
        .collect();
    (sha256(sorted.concat().as_bytes()), sha256(&tree))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry of a snapshot or list with that path.
#[track_caller]
pub(crate) fn entry<'v>(snapshot: &'v Value, path: &str) -> &'v Value {
    let list = snapshot["artifact_summaries"].as_array().unwrap();
    let found = list.iter().find(|artifact| artifact["relative_path"] == path);
    found.unwrap_or_else(|| panic!("no `{path}` in {snapshot:#}"))
}

/// Texts of a JSON list.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Returns the environment variable with the path of a file whose existence makes the engine hang.
///
/// # Panics
/// The test fails if the program is a release build, which has no failure injection.
#[track_caller]
pub(crate) fn hang_variable() -> &'static str {
    assert!(
        cfg!(debug_assertions),
        "release builds have no failure injection; run this test without `--release`"
    );
    "DOSSIERD_TEST_HANG"
}
