//! Completions, in the shells themselves: a line is typed in a terminal and the tabulator is pressed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::terminal::Terminal;
use crate::support::{Project, bakery_dir, not_run, write_file};

/// Shells, with the commands that start them without the user's files and load the script.
const SHELLS: [(&str, &[&str]); 3] = [
    ("bash", &["bash --noprofile --norc", "source <(dossierd completions bash)"]),
    (
        "zsh",
        &[
            "zsh -f",
            "autoload -Uz compinit; compinit -D; dossierd completions zsh > $HOME/_d; source $HOME/_d",
        ],
    ),
    ("fish", &["fish --no-config", "dossierd completions fish | source"]),
];

/// Returns a project with the program in the search path.
fn project(from: &Path) -> Project {
    let program = Path::new(env!("CARGO_BIN_EXE_dossierd"));
    let dir = program.parent().unwrap().to_str().unwrap();
    let path = std::env::var("PATH").unwrap();
    Project::copy_of(from).env("PATH", format!("{dir}:{path}"))
}

/// Calls `test` with a terminal in which each of the shells has loaded its script.
fn in_each_shell(project: &Project, test: impl Fn(&str, &Terminal)) {
    for (shell, lines) in SHELLS {
        if Command::new(shell).arg("--version").output().is_err() {
            let why = format!("completions (no `{shell}`)");
            assert!(std::env::var_os("CI").is_none(), "{why}; CI requires it");
            not_run(&why);
            continue;
        }
        let Some(terminal) = Terminal::open(project) else { return };
        terminal.tmux(&["resize-window", "-x", "150", "-y", "24"]);
        for line in lines {
            terminal.enter(line);
        }
        terminal.enter("echo loaded | tr a-z A-Z");
        terminal.wait("LOADED");
        test(shell, &terminal);
    }
}

/// Types a line, presses the tabulator, and waits for the completed line. Then the line is removed.
#[track_caller]
fn assert_completed(terminal: &Terminal, line: &str, completed: &str) {
    terminal.tmux(&["send-keys", "-l", line]);
    terminal.wait(line);
    terminal.keys(&["Tab"]);
    terminal.wait(completed);
    terminal.keys(&["C-u"]);
    terminal.keys(&["C-l"]);
    terminal.wait_without(completed);
}

#[test]
fn features_keys_and_projects_are_completed_without_a_daemon() {
    let project = project(&bakery_dir());
    let config = format!("projects:\n  - path: {}\n", project.root.display());
    write_file(&project.config_file(), config.as_bytes());
    let root = project.root.to_str().unwrap();
    in_each_shell(&project, |_, terminal| {
        for (line, completed) in [
            ("dossierd status 002", "dossierd status 002-loyalty-card "),
            ("dossierd -q st --sort name 002", "name 002-loyalty-card "),
            ("dossierd baseline accept 001-order-page 002", "001-order-page 002-loyalty-card "),
            ("dossierd show 001 input.spec", "show 001 input.spec.main "),
            ("dossierd diff 001-order-page spe", "diff 001-order-page spec.md "),
            ("dossierd project remove /", &format!("project remove {root}")),
            ("dossierd -p /", &format!("dossierd -p {root}")),
            ("dossierd status --project=/", &format!("--project={root}")),
            // What the generated script knows.
            ("dossierd baseli", "dossierd baseline "),
            ("dossierd status --prob", "dossierd status --problems "),
        ] {
            assert_completed(terminal, line, completed.trim_end());
        }
    });
    assert!(!project.socket().exists(), "a daemon was started");
}

#[test]
fn a_running_daemon_is_asked_for_the_projects_and_features() {
    let project = project(&bakery_dir());
    let daemon = project.start_daemon();
    let root = project.root.to_str().unwrap();
    in_each_shell(&project, |_, terminal| {
        // In a directory of no project all features of the daemon are known.
        terminal.enter("cd /");
        assert_completed(terminal, "dossierd status 002", "dossierd status 002-loyalty-card");
        assert_completed(terminal, "dossierd drift -p /", &format!("drift -p {root}"));
        assert_completed(
            terminal,
            &format!("dossierd -C {root} show 001 input.spec"),
            "show 001 input.spec.main",
        );
    });
    drop(daemon);
}

/// A daemon that does not answer delays a completion, and is not waited for.
#[test]
fn completion_continues_without_a_daemon_that_is_stopped() {
    let project = project(&bakery_dir());
    let daemon = project.start_daemon();
    daemon.wait_until_ready();
    let pid = daemon.pid();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let run = project.run_client(&["complete-word", "fish", "dossierd", "status", "00"]);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("002-loyalty-card\t"), "{run:?}");
}

#[test]
fn names_are_inserted_as_text_whatever_they_contain() {
    const NAME: &str = "009-a b;touch $(touch pwned)`touch pwned`'\"*{x,y}&|<>!#~$HOME";
    let project = project(&bakery_dir());
    project.write(&format!("kitty-specs/{NAME}/spec.md"), "# Spec\n");
    // These cannot be typed, and a line feed would make two candidates of one.
    for name in ["008-a\nb", "008-\x1b]0;x\x07", "-x"] {
        project.write(&format!("kitty-specs/{name}/spec.md"), "# Spec\n");
    }
    in_each_shell(&project, |shell, terminal| {
        for begin in ["dossierd status 009", "dossierd status '009", "dossierd status \"009"] {
            if shell != "bash" && begin.contains(['\'', '"']) {
                // These shells quote by themselves.
                continue;
            }
            terminal.tmux(&["send-keys", "-l", begin]);
            terminal.keys(&["Tab"]);
            terminal.wait("HOME");
            terminal.keys(&["Enter"]);
            terminal.wait_all(&["1 of 4 required present", "last scan"]);
            terminal.enter("clear");
            terminal.wait_without("last scan");
        }
        terminal.tmux(&["send-keys", "-l", "dossierd status 008"]);
        terminal.keys(&["Tab"]);
        terminal.enter("");
        terminal.enter("echo done | tr a-z A-Z");
        terminal.wait("DONE");
    });
    for dir in [project.root.clone(), project.home()] {
        assert!(!dir.join("pwned").exists(), "a name was executed");
    }
}

#[test]
fn the_command_that_completes_is_silent_when_there_is_nothing() {
    let project = Project::complete();
    for words in [
        &[][..],
        &["dossierd"],
        &["dossierd", ""],
        &["dossierd", "status", "--sort", ""],
        &["dossierd", "show", "nope", ""],
        &["dossierd", "-C", "/nowhere", "status", ""],
        &["dossierd", "-p", "/nowhere", "status", ""],
        &["--", "--", "\u{1b}", "--socket"],
    ] {
        for shell in ["bash", "zsh", "fish"] {
            let run = project.run(&[&["complete-word", shell], words].concat());
            assert_eq!((run.code, run.stdout + &run.stderr), (1, String::new()), "{words:?}");
        }
    }
    fs::remove_dir_all(project.home()).unwrap();
    let run = project.run(&["complete-word", "zsh", "dossierd", "show", "1", ""]);
    assert!(run.stdout.contains("output.plan.main\tplan.md\n"), "{run:?}");
}
