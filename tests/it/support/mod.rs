//! Test support: projects in temporary directories, the binary run in its own environment with a
//! timeout, and an independent computation of the expected hashes.

pub(crate) mod client;
pub(crate) mod emitted_events;
pub(crate) mod fake_server;
pub(crate) mod fuse;
pub(crate) mod http;
pub(crate) mod invariants;
pub(crate) mod kernel;
pub(crate) mod process;
#[path = "../../../src/core/event_schema/validate.rs"]
pub(crate) mod schema;
pub(crate) mod systemd;
pub(crate) mod terminal;
pub(crate) mod wait;

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

/// Maximum duration of a command; after it the command is killed and the test fails.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// User id that is not root and owns no file.
pub(crate) const NOBODY_UID: u32 = 65534;

/// Reports that something was not tested, and why.
pub(crate) fn not_run(why: &str) {
    // Directly to the descriptor: the harness captures `eprintln!` and drops it if the test passes.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

/// Returns the root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the directory of the example project.
pub(crate) fn bakery_dir() -> PathBuf {
    repository().join("examples/bakery")
}

/// A project in a temporary directory, with an empty home directory next to it.
pub(crate) struct Project {
    base: TempDir,
    pub(crate) root: PathBuf,
    vars: Vec<(OsString, OsString)>,
}

impl Drop for Project {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            emitted_events::assert_stored_events_valid(&self.state_dir());
        }
    }
}

/// Slug of the feature that most tests use.
pub(crate) const FEATURE: &str = "001-x";

impl Project {
    /// Creates an empty directory.
    pub(crate) fn empty() -> Self {
        let base = TempDir::with_prefix("dossierd-").unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = base.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        fs::create_dir(base.path().join("home")).unwrap();
        Self { base, root, vars: Vec::new() }
    }

    /// Creates a project without features, whose identity does not depend on the machine.
    pub(crate) fn new() -> Self {
        Self::empty().file(
            ".kittify/config.yaml",
            "project: {uuid: 11111111-2222-4333-8444-555555555555, node_id: abcdef123456}\n",
        )
    }

    /// Creates a project with one feature that is complete at every step of `software-dev`.
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

    /// Creates a copy of the directory `from`.
    pub(crate) fn copy_of(from: &Path) -> Self {
        let project = Self::empty();
        copy_dir(from, &project.root);
        project
    }

    /// Adds a file below the root.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(path, text);
        self
    }

    /// Adds a file to the feature.
    pub(crate) fn artifact(self, path: impl AsRef<OsStr>, text: impl AsRef<[u8]>) -> Self {
        let path = self.feature_dir().join(path.as_ref());
        write_file(&path, text.as_ref());
        self
    }

    /// Writes the configuration; `ROOT` in it is replaced by the root.
    pub(crate) fn config(self, text: &str) -> Self {
        let text = text.replace("ROOT", self.root.to_str().unwrap());
        write_file(&self.config_file(), text.as_bytes());
        self
    }

    /// Sets an environment variable for all commands.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.vars.push((name.into(), value.as_ref().into()));
        self
    }

    /// Makes a thread of the daemon hang while `file` exists and names it, the engine if it is empty.
    #[track_caller]
    pub(crate) fn hang_file(self, file: &Path) -> Self {
        self.env(hang_variable(), file)
    }

    /// Returns the path of `config.yaml`.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.home().join(".config/dossierd/config.yaml")
    }

    /// Returns the home directory.
    pub(crate) fn home(&self) -> PathBuf {
        self.base.path().join("home")
    }

    /// Writes a file below the root.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        write_file(&self.root.join(path), text.as_ref());
    }

    /// Returns the directory of [`FEATURE`].
    pub(crate) fn feature_dir(&self) -> PathBuf {
        self.root.join("kitty-specs").join(FEATURE)
    }

    /// Returns the path of its baseline.
    pub(crate) fn baseline_file(&self) -> PathBuf {
        self.root.join(format!(".kittify/dossiers/{FEATURE}/parity-baseline.json"))
    }

    /// Returns its baseline.
    pub(crate) fn baseline(&self) -> Value {
        serde_json::from_slice(&fs::read(self.baseline_file()).unwrap()).unwrap()
    }

    /// Returns the command with these arguments, to be run in the root.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_dossierd")), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env_clear().env("HOME", self.home());
        command
            .env("TZ", "UTC")
            .env("LOGNAME", "tester")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the binary in the root, as if no daemon ran.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = self.command(arguments);
        command.env("DOSSIERD_SOCKET", self.home().join("none.sock"));
        run(command, COMMAND_TIMEOUT)
    }

    /// Runs the binary as a user who is not root; returns `None` and reports it where that is
    /// impossible.
    pub(crate) fn run_as_nobody(&self, arguments: &[&str]) -> Option<CommandOutput> {
        Some(run(self.command_as_nobody(arguments)?, COMMAND_TIMEOUT))
    }

    /// Returns the command for a user who is not root; `None`, which is reported, where that is
    /// impossible.
    pub(crate) fn command_as_nobody(&self, arguments: &[&str]) -> Option<Command> {
        if !rustix::process::geteuid().is_root() {
            return Some(self.command(arguments));
        }
        // Other users may not be able to enter the target directory, so the program is copied.
        let program = self.base.path().join("dossierd");
        if !program.exists() {
            copy_program(&program);
        }
        let id = NOBODY_UID.to_string();
        let mut as_nobody = vec!["--reuid", &id, "--regid", &id, "--clear-groups", "--"];
        as_nobody.push(program.to_str().unwrap());
        as_nobody.extend(arguments);
        let mut trial = self.command_of(Path::new("setpriv"), &as_nobody[..7]);
        if !trial.arg("--version").output().is_ok_and(|output| output.status.success()) {
            not_run("access by a user who is not root (no working `setpriv`)");
            return None;
        }
        Some(self.command_of(Path::new("setpriv"), &as_nobody))
    }

    /// Returns the snapshots that `scan --json` prints, also if a `meta.json` is invalid.
    pub(crate) fn snapshots(&self) -> Vec<Value> {
        let run = self.run(&["scan", "--json"]);
        let is_meta_invalid = run.code == 78 && run.stderr.contains("/meta.json:");
        assert!(run.code == 0 || is_meta_invalid, "{run:?}");
        run.lines()
    }

    /// Returns the snapshot of the only feature.
    pub(crate) fn snapshot(&self) -> Value {
        let mut snapshots = self.snapshots();
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        snapshots.remove(0)
    }

    /// Replaces the temporary directories in `text`, which differ between runs.
    pub(crate) fn redact_paths(&self, text: &str) -> String {
        text.replace(self.root.to_str().unwrap(), "ROOT")
            .replace(self.home().to_str().unwrap(), "HOME")
    }
}

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandOutput {
    /// Returns standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns standard output as one JSON value for each line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Checks the exit code, that standard error contains `message`, and that no error message
    /// repeats a cause.
    #[track_caller]
    pub(crate) fn assert_failure(&self, code: i32, message: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(message), "`{message}` is not in:\n{}", self.stderr);
        for line in self.stderr.lines() {
            let parts: Vec<&str> = line.split(": ").collect();
            let is_repeated = parts.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!is_repeated, "a cause is repeated: {line}");
        }
    }

    /// Checks that the exit code is 0.
    #[track_caller]
    pub(crate) fn assert_success(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs `command`; kills it and fails if it has not exited after `timeout`.
#[track_caller]
pub(crate) fn run(mut command: Command, timeout: Duration) -> CommandOutput {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{what}: {error}"));
    let id = i32::try_from(child.id()).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(timeout) else {
        if let Some(id) = rustix::process::Pid::from_raw(id) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        panic!("{what} did not exit within {timeout:?}");
    };
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    CommandOutput {
        code: output.status.code().unwrap_or_else(|| panic!("{what}: {}", output.status)),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs git in a directory, without the configuration of this user.
#[track_caller]
pub(crate) fn git(dir: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(dir).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
    for setting in ["user.name=a", "user.email=a@example.org", "init.defaultBranch=main"] {
        git.args(["-c", setting]);
    }
    let output = git.args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Copies the binary to `path`.
pub(crate) fn copy_program(path: &Path) {
    // By another process: a child that another test forks at the same time would inherit a
    // descriptor that is open for writing, and `execve` of the copy would fail with ETXTBSY.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_dossierd")).arg(path).status();
    assert!(copied.unwrap().success());
}

/// Returns `command` with another program, in the same directory and environment.
pub(crate) fn with_program(program: &Path, command: &Command) -> Command {
    let mut changed = Command::new(program);
    changed.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).env_clear();
    changed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    changed
}

/// Writes a file and creates its parent directories.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Copies a directory of regular files and directories.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            // Not `fs::copy`, which copies the mode: the original may be read-only.
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Returns path, modification time and content of everything below a directory, sorted.
pub(crate) fn read_tree(dir: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.push((path.clone(), metadata.modified().unwrap(), content));
        if metadata.is_dir() {
            all.extend(read_tree(&path));
        }
    }
    all.sort();
    all
}

/// Extensions of files that must be valid UTF-8, see `docs/specification.md#text-types`.
const TEXT_EXTENSIONS: &str =
    "md markdown txt json jsonl yaml yml csv tsv toml xml html log py sh rs js ts ini cfg";

/// Returns path and bytes of each file that is a present artifact by
/// `docs/specification.md#artifacts`: no component begins with a dot, and text files are valid
/// UTF-8.
pub(crate) fn present_files(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_text = |path: &[u8]| {
        let extension = Path::new(OsStr::from_bytes(path)).extension();
        extension
            .is_some_and(|it| TEXT_EXTENSIONS.split(' ').any(|text| it.eq_ignore_ascii_case(text)))
    };
    let is_valid =
        |(path, bytes): &(Vec<u8>, Vec<u8>)| !is_text(path) || str::from_utf8(bytes).is_ok();
    files(dir).into_iter().filter(is_valid).collect()
}

/// Returns path and bytes of each file of which no component begins with a dot, sorted.
fn files(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    fn collect(dir: &Path, prefix: &[u8], all: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
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
    collect(dir, b"", &mut all);
    all.sort();
    all
}

/// Returns the parity hash and the tree hash of a directory, computed from their definitions in
/// `docs/specification.md#parity-hash` and `docs/specification.md#tree-hash` without dossierd's
/// code.
pub(crate) fn expected_hashes(dir: &Path) -> (String, String) {
    let hashed: Vec<(Vec<u8>, String)> =
        present_files(dir).into_iter().map(|(path, bytes)| (path, sha256(&bytes))).collect();
    let mut sorted: Vec<&str> = hashed.iter().map(|(_, hash)| hash.as_str()).collect();
    sorted.sort_unstable();
    let tree: Vec<u8> = hashed
        .iter()
        .flat_map(|(path, hash)| [path, &b"\0"[..], hash.as_bytes(), b"\n"].concat())
        .collect();
    (sha256(sorted.concat().as_bytes()), sha256(&tree))
}

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the artifact of a snapshot with that path.
#[track_caller]
pub(crate) fn find_artifact<'v>(snapshot: &'v Value, path: &str) -> &'v Value {
    let list = snapshot["artifact_summaries"].as_array().unwrap();
    let found = list.iter().find(|artifact| artifact["relative_path"] == path);
    found.unwrap_or_else(|| panic!("no `{path}` in {snapshot:#}"))
}

/// Returns the strings of a JSON list.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Returns the environment variable with the path of a file whose existence makes the engine hang.
///
/// # Panics
/// The test fails if the program is a release build, which has no failure injection.
#[track_caller]
pub(crate) fn hang_variable() -> &'static str {
    assert_failure_injection();
    "DOSSIERD_TEST_HANG"
}

/// Returns the environment variable with the name of a thread that panics.
///
/// # Panics
/// As [`hang_variable`].
#[track_caller]
pub(crate) fn panic_variable() -> &'static str {
    assert_failure_injection();
    "DOSSIERD_TEST_PANIC"
}

#[track_caller]
fn assert_failure_injection() {
    let has_failure_injection = cfg!(debug_assertions);
    assert!(
        has_failure_injection,
        "release builds have no failure injection; run this test without `--release`"
    );
}
