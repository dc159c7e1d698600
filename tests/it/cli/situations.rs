//! Situations of use: the exact output and exit code of the program where something is missing, wrong or unusual.
//!
//! Each snapshot is read as a newcomer would: does it name the thing, the place, and what to do?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::client::redact_times;
use crate::support::{COMMAND_TIMEOUT, CommandOutput, Project, bakery_dir, run};

/// Outputs of several commands, in the form of a snapshot.
struct Situation {
    project: Project,
    text: String,
}

impl Situation {
    fn new(project: Project) -> Self {
        Self { project, text: String::new() }
    }

    /// Runs a command without a daemon.
    fn run(&mut self, arguments: &[&str]) -> &mut Self {
        self.run_with(arguments, |_| ())
    }

    /// Runs a command that `change` may change.
    fn run_with(&mut self, arguments: &[&str], change: impl Fn(&mut Command)) -> &mut Self {
        let mut command = self.project.client_command(arguments);
        change(&mut command);
        let output = run(command, COMMAND_TIMEOUT);
        self.record(&arguments.join(" "), &output)
    }

    fn record(&mut self, title: &str, output: &CommandOutput) -> &mut Self {
        let redact = |text: &str| {
            let text = redact_times(&self.project.redact_paths(text));
            let lines = text.lines().map(|line| {
                // A process number and the version of the daemon differ.
                let line = line.replace(env!("CARGO_PKG_VERSION"), "VERSION");
                format!("{}\n", line.trim_end())
            });
            lines.collect::<String>()
        };
        let CommandOutput { code, stdout, stderr } = output;
        self.text.push_str(&format!("$ dossierd {title}\n"));
        self.text.push_str(&redact(stdout));
        for line in redact(stderr).lines() {
            self.text.push_str(&format!("  stderr: {line}\n"));
        }
        self.text.push_str(&format!("  exit code {code}\n\n"));
        self
    }
}

/// Creates a project of 412 features, of which the last is incomplete.
fn large_project() -> Project {
    let project = Project::new();
    for number in 1..=412 {
        let dir = format!("kitty-specs/{number:03}-feature-of-the-year-{}", number * 7);
        project.write(&format!("{dir}/spec.md"), "# Spec\n");
        project.write(&format!("{dir}/plan.md"), "# Plan\n");
        if number < 412 {
            project.write(&format!("{dir}/tasks.md"), "# Tasks\n");
            project.write(&format!("{dir}/tasks/WP01.md"), "x\n");
        }
    }
    project
}

#[test]
fn wrong_arguments() {
    let mut situation = Situation::new(Project::copy_of(&bakery_dir()));
    situation
        .run(&["chek"])
        .run(&["status", "--problem"])
        .run(&["status", "001-order-pgae"])
        .run(&["status", "00"])
        .run(&["drift", "0"])
        .run(&["show", "001-order-page", "input.spec.man"])
        .run(&["show", "001-order-page", "nope"])
        .run(&["artifacts", "001", "--step", "nope"])
        .run(&["artifacts", "001", "--wp", "WP99"])
        .run(&["artifacts", "001", "--class", "outptu"])
        .run(&["baseline", "accept"])
        .run(&["baseline", "accept", "001"])
        .run(&["baseline", "accept", "order"])
        .run(&["baseline", "accept", "002-loyalty-card", "--tree", "b62800f3f244"])
        .run(&["diff", "003", "--from", "yesterday"])
        .run(&["log", "001", "--since", "soon"])
        .run(&["check", "--format", "xml"])
        .run(&["check", "--changed-since", "v99"])
        .run(&["completions", "tcsh"]);
    insta::assert_snapshot!(situation.text);
}

#[test]
fn wrong_directories() {
    let project = Project::copy_of(&bakery_dir());
    fs::create_dir(project.home().join("empty")).unwrap();
    let empty = project.home().join("empty");
    let mut situation = Situation::new(project);
    for arguments in
        [&["check"][..], &["scan"], &["status"], &["artifacts"], &["status", "001"], &["init"]]
    {
        situation.run_with(arguments, |command| {
            command.current_dir(&empty);
        });
    }
    situation
        .run(&["check", "nowhere"])
        .run(&["check", "README.md"])
        .run(&["-C", "nowhere", "status"])
        .run(&["status", "-p", "nowhere"])
        .run(&["status", "-p", "kitty-specs/001-order-page"])
        .run(&["project", "add", "nowhere"])
        .run(&["project", "remove", "."])
        .run(&["check", "kitty-specs/001-order-page/spec.md"]);
    insta::assert_snapshot!(situation.text);
}

#[test]
fn no_daemon() {
    let mut situation = Situation::new(Project::copy_of(&bakery_dir()));
    for arguments in [
        &["status", "001-order-page"][..],
        &["status", "--short"],
        &["events"],
        &["verify"],
        &["rescan"],
        &["stop"],
        &["dashboard"],
        &["delivery", "list"],
        &["project", "list"],
        &["project", "add", "."],
        &["project", "add", "."],
        &["project", "remove", "."],
        &["project", "remove", "."],
        &["history", "status"],
        &["log", "001-order-page"],
        &["restore", "002-loyalty-card", "plan.md"],
        &["top"],
    ] {
        situation.run(arguments);
    }
    insta::assert_snapshot!(situation.text);
}

#[test]
fn a_daemon_that_does_not_know_the_name() {
    let project = Project::copy_of(&bakery_dir());
    let daemon = project.start_daemon();
    daemon.wait_until_ready();
    let mut situation = Situation::new(project);
    situation
        .run(&["status", "no-such-feature"])
        .run(&["status", "001-order-pgae"])
        .run(&["artifacts", "no-such-feature"])
        .run(&["baseline", "accept", "no-such-feature"])
        .run(&["verify", "no-such-feature"])
        .run(&["events", "no-such-feature"])
        .run(&["show", "001-order-page", "input.spec.man"])
        .run(&["artifacts", "001-order-page", "--step", "nope"])
        .run(&["project", "add", "."])
        .run(&["project", "remove", "."])
        .run(&["drift", "003-delivery-slots"])
        .run(&["status", "003-delivery-slots"])
        .run(&["status", "003-delivery-slots", "-p", "kitty-specs"]);
    drop(daemon);
    insta::assert_snapshot!(situation.text);
}

#[test]
fn broken_files() {
    let mut situation = Situation::new(
        Project::copy_of(&bakery_dir())
            .file("kitty-specs/001-order-page/meta.json", "{\"mission\": \"software-dev\",\n}")
            .file("kitty-specs/004-supplier-survey/meta.json", "{\"mission\": \"researches\"}"),
    );
    situation.run(&["check"]).run(&["status", "001-order-page"]).run(&["drift", "004"]);
    insta::assert_snapshot!("broken_meta_json", situation.text);

    let manifest = ".kittify/missions/software-dev/expected-artifacts.yaml";
    let mut situation = Situation::new(
        Project::copy_of(&bakery_dir()).file(manifest, "mission_type: software-dev\nrequired: 7\n"),
    );
    situation.run(&["check"]).run(&["scan"]).run(&["artifacts", "002-loyalty-card"]);
    insta::assert_snapshot!("broken_manifest", situation.text);

    let mut situation = Situation::new(
        Project::copy_of(&bakery_dir()).config("project: []\nlimits: {entries: x}\n"),
    );
    situation.run(&["check"]).run(&["status"]).run(&["config", "check"]);
    insta::assert_snapshot!("broken_configuration", situation.text);

    let baseline = ".kittify/dossiers/003-delivery-slots/parity-baseline.json";
    let mut situation =
        Situation::new(Project::copy_of(&bakery_dir()).file(baseline, "{\"a\": 1}"));
    situation.run(&["check"]).run(&["status", "003"]).run(&["drift", "003"]);
    situation.run(&["baseline", "accept", "--all"]);
    insta::assert_snapshot!("broken_baseline", situation.text);
}

#[test]
fn a_baseline_of_another_branch() {
    let project = Project::complete();
    project.run(&["baseline", "accept", "001-x"]).assert_success();
    project.write(
        "kitty-specs/001-x/meta.json",
        "{\"mission\": \"software-dev\", \"target_branch\": \"dev\"}",
    );
    let mut situation = Situation::new(project);
    situation
        .run(&["check"])
        .run(&["drift", "001-x"])
        .run(&["status", "001-x"])
        .run(&["baseline", "show", "001-x"]);
    insta::assert_snapshot!(situation.text);
}

#[test]
fn no_home_and_no_runtime_directory() {
    let project = Project::copy_of(&bakery_dir());
    let mut situation = Situation::new(project);
    for name in ["HOME", "XDG_RUNTIME_DIR"] {
        situation.text.push_str(&format!("without {name}\n"));
        situation.run_with(&["check"], |command| {
            command.env_remove(name);
        });
    }
    situation.text.push_str("with HOME=relative\n");
    situation.run_with(&["status", "--short"], |command| {
        command.env("HOME", "relative").env_remove("XDG_RUNTIME_DIR");
    });
    situation.text.push_str("with DOSSIERD_SOCKET=\n");
    situation.run_with(&["events"], |command| {
        command.env("DOSSIERD_SOCKET", "");
    });
    insta::assert_snapshot!(situation.text);
}

#[test]
fn empty_projects() {
    let mut situation = Situation::new(Project::new());
    situation.run(&["check"]).run(&["check", "--strict"]).run(&["scan"]).run(&["status"]);
    situation.run(&["check", "--strict", "--format", "junit"]);
    insta::assert_snapshot!(situation.text);
}

#[test]
fn directories_that_may_not_be_read() {
    let project = Project::copy_of(&bakery_dir());
    fs::create_dir_all(project.home().join("run")).unwrap();
    let closed = |path: &str, mode| {
        fs::set_permissions(project.root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut outputs = Vec::new();
    for path in ["kitty-specs/001-order-page/tasks", "kitty-specs/001-order-page", "kitty-specs"] {
        closed(path, 0o000);
        for arguments in [&["check"][..], &["scan"], &["check", "--format", "junit"]] {
            outputs.push((path, arguments.join(" "), project.run_as_nobody(arguments)));
        }
        closed(path, 0o755);
    }
    let mut situation = Situation::new(project);
    for (path, title, output) in outputs {
        let Some(output) = output else { return };
        situation.text.push_str(&format!("with {path} closed\n"));
        situation.record(&title, &output);
    }
    insta::assert_snapshot!(situation.text);
}

#[test]
fn narrow_terminals() {
    let project = Project::copy_of(&bakery_dir());
    let mut situation = Situation::new(project);
    for columns in [80, 40] {
        for arguments in [
            &["status"][..],
            &["scan"],
            &["artifacts", "002-loyalty-card"],
            &["drift", "003-delivery-slots"],
        ] {
            let words = [arguments, &["--color", "never"]].concat();
            let Some(output) = situation.project.run_on_terminal(columns, &words) else { return };
            situation.text.push_str(&format!("on {columns} columns\n"));
            situation.record(&arguments.join(" "), &output);
        }
    }
    let (wide, narrow) = situation.text.split_once("on 40 columns").unwrap();
    for (text, columns) in [(wide, 80), (narrow, 40)] {
        // The rows of tables.
        for line in text.lines().filter(|line| line.contains("drifted (error)  ")) {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
    insta::assert_snapshot!(situation.text);
}

#[test]
fn four_hundred_features() {
    let mut situation = Situation::new(large_project());
    let shown = |arguments: &[&str], situation: &mut Situation| {
        let mut output = run(situation.project.client_command(arguments), COMMAND_TIMEOUT);
        let lines: Vec<&str> = output.stdout.lines().collect();
        let more = lines.len().saturating_sub(4);
        let kept = lines.iter().take(4).map(|line| format!("{line}\n")).collect::<String>();
        output.stdout = if more > 0 { format!("{kept}({more} lines more)\n") } else { kept };
        situation.record(&arguments.join(" "), &output);
    };
    for arguments in [
        &["status"][..],
        &["status", "--problems"],
        &["status", "412"],
        &["status", "feature"],
        &["status", "413"],
        &["check", "--quiet"],
        &["artifacts"],
    ] {
        shown(arguments, &mut situation);
    }
    insta::assert_snapshot!(situation.text);
}
