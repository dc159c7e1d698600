//! The pager: when it gets the output, and what happens when it ends early or cannot start.

use crate::support::terminal::Terminal;
use crate::support::{COMMAND_TIMEOUT, Project, run};

/// Program that shows that it was used.
const MARKER: &str = "sed s/^/PAGED:/";

/// Creates a project whose feature has more artifacts than a terminal of 24 rows shows.
fn large_project() -> Project {
    let project = Project::complete();
    for number in 0..40 {
        project.write(&format!("kitty-specs/001-x/research/{number}.md"), "x\n");
        project.write(&format!("kitty-specs/1{number:02}-y/spec.md"), "x\n");
    }
    project
}

/// Runs a command on a terminal of 24 rows with this value of `DOSSIERD_PAGER`.
fn run_paged(project: &Project, pager: &str, arguments: &[&str]) -> Option<(i32, String)> {
    let mut command = project.terminal_command(120, arguments)?;
    command.env("DOSSIERD_PAGER", pager).env("PAGER", "sed s/^/GENERAL:/");
    let output = run(command, COMMAND_TIMEOUT);
    Some((output.code, anstream::adapter::strip_str(&output.stdout).to_string()))
}

#[test]
fn long_output_on_a_terminal_goes_through_the_pager_and_keeps_the_exit_code() {
    let project = large_project();
    project.run(&["baseline", "accept", "001-x"]).assert_success();
    project.write("kitty-specs/001-x/spec.md", "line\n".repeat(60));
    // Whether it is paged, and the exit code.
    for (arguments, is_paged, code) in [
        (&["artifacts", "001-x"][..], true, 0),
        (&["scan"], true, 0),
        (&["status"], true, 0),
        (&["check"], true, 12),
        (&["show", "001-x", "input.spec.main"], true, 0),
        (&["show", "001-x", "output.plan.main"], false, 0),
        (&["drift", "001-x"], false, 0),
        (&["artifacts", "001-x", "--no-pager"], false, 0),
        (&["--no-pager", "scan"], false, 0),
        (&["artifacts", "001-x", "-q"], false, 0),
        (&["artifacts", "001-x", "--json"], false, 0),
        (&["scan", "--json"], false, 0),
        (&["check", "--format", "text", "-o", "out.txt"], false, 12),
        (&["completions", "bash"], false, 0),
        (&["--help"], false, 0),
        (&["artifacts", "001-x", "|", "tail"], false, 0),
    ] {
        let Some((exit, text)) = run_paged(&project, MARKER, arguments) else { return };
        assert_eq!(text.contains("PAGED:"), is_paged, "{arguments:?}: {text}");
        if !arguments.contains(&"|") {
            assert_eq!(exit, code, "{arguments:?}: {text}");
        }
        assert!(!text.contains("GENERAL:"), "{text}");
    }
}

#[test]
fn variables_select_and_disable_the_pager() {
    let project = large_project();
    let arguments = ["artifacts", "001-x"];
    for (pager, expected) in
        [("", ""), ("cat", ""), (" sed  s/^/ONE:/ ", "ONE:"), ("A=1 sed \"s/^/TWO $A:/\"", "TWO :")]
    {
        let Some((code, text)) = run_paged(&project, pager, &arguments) else { return };
        assert_eq!(code, 0, "{pager}: {text}");
        assert!(text.contains(&format!("{expected}KEY")), "{pager}: {text}");
        assert_eq!(text.contains(":KEY"), !expected.is_empty(), "{pager}: {text}");
    }
    let mut command = project.terminal_command(120, &arguments).unwrap();
    command.env("PAGER", MARKER);
    assert!(run(command, COMMAND_TIMEOUT).stdout.contains("PAGED:"));
    // A terminal without abilities.
    let mut command = project.terminal_command(120, &arguments).unwrap();
    command.env("PAGER", MARKER).env("TERM", "dumb");
    assert!(!run(command, COMMAND_TIMEOUT).stdout.contains("PAGED:"));
}

#[test]
fn a_pager_that_cannot_start_or_ends_early_is_no_failure() {
    let project = large_project();
    let Some((code, text)) = run_paged(&project, "no-such-pager -x", &["check"]) else { return };
    assert_eq!(code, 10, "{text}");
    assert!(text.contains("warning: cannot start the pager `no-such-pager -x`; set"), "{text}");
    assert!(text.contains("139-y: incomplete") && text.contains("41 checked:"), "{text}");
    let (code, text) = run_paged(&project, "true", &["check"]).unwrap();
    assert_eq!((code, text.as_str()), (10, ""));
    let (code, text) = run_paged(&project, "sh -c 'head -n 2; exit 3'", &["check"]).unwrap();
    assert_eq!((code, text.lines().count()), (10, 2), "{text}");
}

/// Warnings are part of what is read, in their place.
#[test]
fn what_goes_to_standard_error_of_the_terminal_is_in_the_pager() {
    let project = large_project().file("kitty-specs/001-x/meta.json", "{");
    let Some((code, text)) = run_paged(&project, MARKER, &["scan"]) else { return };
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("PAGED:error: ") && text.contains("meta.json:1:1"), "{text}");
    let table = text.find("139-y").unwrap();
    assert!(table < text.find("PAGED:error: ").unwrap(), "{text}");
}

#[test]
fn less_shows_the_output_and_leaves_the_terminal_to_the_shell() {
    let project = large_project();
    let Some(terminal) = Terminal::open(&project) else { return };
    let program = env!("CARGO_BIN_EXE_dossierd");
    terminal.enter(&format!("{program} check; echo EXIT=$?"));
    let first = terminal.wait("001-x");
    assert!(first.trim_end().ends_with(':'), "the prompt of less: {first}");
    assert!(!first.contains("EXIT="), "{first}");
    // Ctrl-C is for less, which stays.
    terminal.keys(&["C-c"]);
    terminal.keys(&["G"]);
    terminal.wait("41 checked: ");
    terminal.keys(&["q"]);
    terminal.wait("EXIT=10");
    terminal.enter("clear");
    terminal.wait_without("EXIT=10");
    // What fits is printed, and less is not started.
    terminal.enter(&format!("{program} drift 001-x; echo EXIT=$?"));
    terminal.wait_all(&["001-x: no baseline", "EXIT=0"]);
}
