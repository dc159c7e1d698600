//! A terminal: tmux shows what is on the screen and sends the keys.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::wait::wait_for;
use super::{Project, not_run, with_program};

/// Number of terminals that were opened.
static TERMINALS: AtomicU32 = AtomicU32::new(0);

/// A shell in a terminal of its own.
pub(crate) struct Terminal {
    socket: PathBuf,
    environment: Command,
}

impl Terminal {
    /// Starts a shell in a terminal with 80 columns and 24 rows; `None` without tmux, which is reported.
    pub(crate) fn open(project: &Project) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            let why = "a test in a terminal (no `tmux`)";
            assert!(std::env::var_os("CI").is_none(), "{why}; CI requires it");
            not_run(why);
            return None;
        }
        let mut environment = project.client_command(&[]);
        environment.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        // Not that of an earlier terminal of the project, whose server may still be ending.
        let number = TERMINALS.fetch_add(1, Ordering::Relaxed);
        let socket = project.home().join(format!("tmux-{number}.sock"));
        let terminal = Self { socket, environment };
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "sh"]);
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
        terminal.enter("echo ready | tr a-z A-Z");
        terminal.wait("READY");
        Some(terminal)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = with_program(Path::new("tmux"), &self.environment);
        command.arg("-S").arg(&self.socket).args(["-f", "/dev/null", "-u"]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a command line.
    pub(crate) fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, in the names of tmux.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen contains all of these texts.
    #[track_caller]
    pub(crate) fn wait_all(&self, texts: &[&str]) -> String {
        let mut last = String::new();
        wait_for(&format!("{texts:?} on the screen"), || {
            last = self.screen();
            if texts.iter().all(|text| last.contains(text)) { Some(last.clone()) } else { None }
        })
    }

    #[track_caller]
    pub(crate) fn wait(&self, text: &str) -> String {
        self.wait_all(&[text])
    }

    /// Waits until the screen no longer contains a text.
    #[track_caller]
    pub(crate) fn wait_without(&self, text: &str) -> String {
        wait_for(&format!("no `{text}` on the screen"), || {
            Some(self.screen()).filter(|screen| !screen.contains(text))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = with_program(Path::new("tmux"), &self.environment);
        let _ = command.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
