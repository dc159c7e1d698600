//! `dossierd top` in a real terminal: keys, the screen, and what is left of it at the end.

use std::fs;
use std::process::Command;

use crate::support::process::Daemon;
use crate::support::terminal::Terminal;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, bakery_dir};

/// `top` in a terminal.
trait TopTerminal {
    fn start_top(&self, arguments: &str);
    fn assert_restored(&self, project: &Project, code: u8);
    fn top_pid(&self) -> String;
}

impl TopTerminal for Terminal {
    fn start_top(&self, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_dossierd");
        self.enter("stty -g > $HOME/before");
        self.enter(&format!("{program} top {arguments}; echo EXIT=$?; stty -g > $HOME/after"));
        self.wait_all(&["FEATURE", "live"]);
    }

    /// Checks that the program ended with this code and left the terminal as it was.
    #[track_caller]
    fn assert_restored(&self, project: &Project, code: u8) {
        self.wait(&format!("EXIT={code}"));
        let mode = |name| fs::read_to_string(project.home().join(name)).unwrap_or_default();
        wait_for("the terminal's mode", || (!mode("after").is_empty()).then_some(()));
        assert_eq!(mode("before"), mode("after"), "the mode of the terminal");
        let flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        assert_eq!(self.tmux(&["display", "-p", flags]).trim(), "0 1 0");
    }

    /// Returns the process ID of `top`.
    fn top_pid(&self) -> String {
        let shell = self.tmux(&["display", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        wait_for("the process", || {
            let children = fs::read_to_string(&children).unwrap();
            children.split_whitespace().next().map(str::to_owned)
        })
    }
}

/// Returns the screen without what differs between runs: ages and events.
fn redacted(screen: &str) -> String {
    let lines = screen.lines().take_while(|line| !line.starts_with("events ")).map(|line| {
        let is_age = |word: &&str| {
            let number = word.trim_end_matches(['s', 'm', 'h', 'd']);
            number.len() + 1 == word.len() && number.parse::<u32>().is_ok()
        };
        match line.split_whitespace().next_back().filter(is_age) {
            Some(age) => line.trim_end_matches(age).trim_end().to_owned() + "  AGE",
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn started(project: &Project) -> Option<(Terminal, Daemon)> {
    let terminal = Terminal::open(project)?;
    let daemon = project.start_daemon();
    Some((terminal, daemon))
}

#[test]
fn top_shows_filters_and_sorts_features_and_leaves_the_terminal_as_it_was() {
    let project = Project::copy_of(&bakery_dir());
    let Some((terminal, _daemon)) = started(&project) else { return };
    terminal.start_top("");
    let list = terminal.wait_all(&["004-supplier", "> 002-loyalty-card", "sort:trouble"]);
    insta::assert_snapshot!("top_list", redacted(&list));
    terminal
        .keys(&["Down", "j", "k", "Up", "End", "Home", "G", "g", "NPage", "PPage", "Space", "g"]);
    terminal.wait("\n> 002");
    terminal.keys(&["s", "s", "s"]);
    terminal.wait_all(&["sort:name", "\n> 001"]);
    terminal.keys(&["/", "l", "o", "y", "x"]);
    terminal.wait("no feature matches");
    terminal.keys(&["BSpace", "Enter"]);
    terminal.wait_without("\n  001-order");
    terminal.keys(&["Escape"]);
    terminal.wait("\n  001-order");
    terminal.keys(&["Enter"]);
    insta::assert_snapshot!("top_feature", redacted(&terminal.wait_all(&["SIZE", "spec.md"])));
    terminal.keys(&["?"]);
    terminal.wait("move by a line");
    terminal.keys(&["?"]);
    terminal.wait_without("move by a line");
    terminal.keys(&["Escape"]);
    terminal.wait("sort:name");
    terminal.keys(&["C-l"]);
    project.write("kitty-specs/001-order-page/spec.md", "# Another\n");
    terminal.wait("modified     spec.md");
    terminal.keys(&["q"]);
    terminal.assert_restored(&project, 0);
}

#[test]
fn top_shows_contents_and_differences_accepts_and_restores() {
    let project = Project::complete();
    let Some((terminal, daemon)) = started(&project) else { return };
    terminal.start_top("--color=never");
    terminal.keys(&["a"]);
    terminal.wait("accept as baseline: 001-x");
    terminal.keys(&["n"]);
    terminal.wait("nothing was changed");
    terminal.keys(&["a", "y"]);
    terminal.wait_all(&["accepted", "in parity"]);
    wait_for("stored versions", || {
        daemon.get_json("/api/history")["versions"].as_u64().filter(|count| *count >= 4)
    });
    let spec = project.feature_dir().join("spec.md");
    fs::write(&spec, "# Spec\nsecond \x1b[2J line\n").unwrap();
    terminal.wait("drifted");
    wait_for("the stored change", || {
        daemon.get_json("/api/history")["versions"].as_u64().filter(|count| *count >= 5)
    });
    terminal.keys(&["d"]);
    terminal.wait_all(&["changed spec.md +1 -0", "+second \\u{1b}[2J line"]);
    // Together they would be Alt and Enter.
    terminal.keys(&["Escape"]);
    terminal.wait("sort:");
    terminal.keys(&["Enter"]);
    terminal.wait("changed (required)");
    terminal.keys(&["Home"]);
    terminal.wait("> ");
    terminal.keys(&["Enter"]);
    terminal.wait("001-x: ");
    terminal.keys(&["Escape"]);
    terminal.wait("PATH");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    terminal.wait_all(&["deleted_after_scan", "> "]);
    terminal.keys(&["Home", "r"]);
    terminal.wait("restore the last version: plan.md?");
    terminal.keys(&["y"]);
    terminal.wait("restored plan.md");
    assert_eq!(fs::read_to_string(project.feature_dir().join("plan.md")).unwrap(), "# Plan\n");
    terminal.wait_without("deleted_after_scan");
    terminal.keys(&["C-c"]);
    terminal.assert_restored(&project, 0);
    let overview = daemon.overview(FEATURE);
    assert_eq!(overview["drift"]["state"], "drifted", "{overview}");
}

#[test]
fn top_refuses_a_state_that_changed_after_the_question() {
    let project = Project::complete();
    let Some((terminal, daemon)) = started(&project) else { return };
    terminal.start_top("");
    terminal.keys(&["a"]);
    terminal.wait("accept as baseline: 001-x");
    let before = daemon.overview(FEATURE)["tree_hash_sha256"].clone();
    fs::write(project.feature_dir().join("spec.md"), "# Changed\n").unwrap();
    wait_for("the change", || {
        (daemon.overview(FEATURE)["tree_hash_sha256"] != before).then_some(())
    });
    terminal.keys(&["y"]);
    terminal.wait("refused: ");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "no_baseline");
    terminal.keys(&["q"]);
    terminal.assert_restored(&project, 0);
}

#[test]
fn top_follows_the_size_of_the_terminal_and_a_restart_of_the_daemon() {
    let project = Project::copy_of(&bakery_dir());
    let Some((terminal, daemon)) = started(&project) else { return };
    terminal.start_top("--mouse");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "12"]);
    let narrow = terminal.wait("? help  q quit  Enter open\n");
    insta::assert_snapshot!("top_narrow", redacted(&narrow));
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.wait("a accept");
    daemon.stop();
    terminal.wait_all(&["NOT LIVE", "waiting for the daemon", "> 002-loyalty-card"]);
    terminal.keys(&["a"]);
    terminal.wait("refused: the daemon does not run");
    project.write("kitty-specs/001-order-page/spec.md", "# Meanwhile\n");
    let daemon = project.start_daemon();
    terminal.wait_without("NOT LIVE");
    terminal.wait("modified     spec.md");
    terminal.keys(&["q"]);
    terminal.assert_restored(&project, 0);
    drop(daemon);
}

#[test]
fn top_restores_the_terminal_after_signals_and_continues_after_a_stop() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let project = Project::complete();
        let Some((terminal, _daemon)) = started(&project) else { return };
        terminal.start_top("--mouse");
        let pid = terminal.top_pid();
        if signal == "TERM" {
            terminal.keys(&["C-z"]);
            terminal.wait("Stopped");
            assert_eq!(terminal.tmux(&["display", "-p", "#{alternate_on}"]).trim(), "0");
            terminal.enter("fg; echo EXIT=$?; stty -g > $HOME/after");
            terminal.wait_all(&["FEATURE", "001-x", "live", "q quit"]);
            let _ = fs::remove_file(project.home().join("after"));
        }
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        terminal.assert_restored(&project, code);
    }
}

#[test]
fn top_without_a_terminal_names_the_commands_that_need_none() {
    let run = Project::complete().env("TERM", "xterm").run(&["top"]);
    run.assert_failure(1, "run `dossierd status` to print the state");
}
