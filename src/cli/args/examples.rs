//! Examples of each command, for `--help` and the manual pages.

use clap::Command;

/// An example: the arguments after `dossierd`, and what they do.
pub(super) type Example = (&'static str, &'static str);

/// Examples by command; the words of a subcommand are separated by a space.
pub(super) const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("check", "report what is missing or drifted here, by the exit code"),
            ("watch", "follow changes of this project; starts the daemon if none runs"),
            ("status --problems", "show what is wrong in all watched projects"),
        ],
    ),
    ("run", &[("run ~/some/project", "watch a project until Ctrl-C")]),
    (
        "status",
        &[
            ("status", "show all features"),
            ("status 001-order-page", "show one feature in detail"),
            ("status --short", "print one line for a prompt"),
        ],
    ),
    (
        "watch",
        &[
            ("watch", "follow all features of this project"),
            ("watch 001-order-page --exec 'jq -r .event_type'", "run a command for each event"),
        ],
    ),
    (
        "events",
        &[
            ("events", "print the journal of this project"),
            (
                "events 001-order-page --type artifact_missing",
                "print what was deleted in a feature",
            ),
            ("events --follow --since now --json", "print new events only, one object a line"),
        ],
    ),
    (
        "verify",
        &[("verify", "compare this project"), ("verify 001-order-page", "compare one feature")],
    ),
    ("rescan", &[("rescan", "have this project compared with the disk")]),
    ("project", &[("project add ~/some/project", "watch a project"), ("project list", "list all")]),
    ("project add", &[("project add ~/some/project", "watch a project from now on")]),
    ("project remove", &[("project remove ~/some/project", "watch it no longer; its files stay")]),
    ("project list", &[("project list --json", "list the projects as JSON")]),
    (
        "dashboard",
        &[
            ("dashboard", "open the page in a browser"),
            ("dashboard --no-open", "print its URL, which admits one browser once"),
        ],
    ),
    ("stop", &[("stop", "stop the daemon and wait until it has ended")]),
    (
        "scan",
        &[
            ("scan", "scan the project of this directory"),
            ("scan --json examples/bakery", "print the snapshot of each feature"),
        ],
    ),
    (
        "check",
        &[
            ("check", "check the project of this directory"),
            (
                "check --strict --format sarif -o check.sarif",
                "write the findings for code scanning",
            ),
            ("check --changed-since main", "check what changed since the branch began"),
        ],
    ),
    (
        "artifacts",
        &[
            ("artifacts 002-loyalty-card --missing", "list what the feature still needs"),
            ("artifacts . --ignored", "list what is ignored in the feature of this directory"),
        ],
    ),
    (
        "show",
        &[
            ("show 001-order-page input.spec.main", "print an artifact"),
            ("show 001-order-page spec.md --raw | wc -w", "pass its content on"),
            ("show 001-order-page spec.md --at baseline", "print what was accepted"),
        ],
    ),
    ("drift", &[("drift 003-delivery-slots", "list the differences from the baseline")]),
    (
        "diff",
        &[
            ("diff 001-order-page", "compare the baseline with the present files"),
            ("diff 001-order-page spec.md --from 2h", "show what changed within two hours"),
        ],
    ),
    ("log", &[("log 001-order-page spec.md", "list the versions of a file")]),
    (
        "restore",
        &[
            ("restore 001-order-page --deleted --dry-run", "show what would be restored"),
            ("restore 001-order-page --deleted", "bring all deleted files back"),
            (
                "restore 001-order-page spec.md --from @17 --force",
                "replace a file by an older version",
            ),
        ],
    ),
    (
        "history",
        &[("history status", "show what is stored"), ("history purge", "remove all versions")],
    ),
    ("history status", &[("history status", "show size, backlog, and what was not stored")]),
    ("history purge", &[("history purge 001-order-page", "remove the versions of a feature")]),
    ("report", &[("report 001-order-page -o report.html", "write a page to attach to a review")]),
    (
        "baseline",
        &[
            ("baseline accept 001-order-page", "accept the present state"),
            ("baseline log 001-order-page", "list the baselines that were replaced"),
        ],
    ),
    (
        "baseline accept",
        &[
            ("baseline accept 001-order-page", "accept the present state of a feature"),
            ("baseline accept --all", "accept all features"),
            ("baseline accept 001-order-page --shared", "accept for the team; commit the file"),
            ("baseline accept --undo 001-order-page", "put the replaced baseline back"),
        ],
    ),
    ("baseline show", &[("baseline show 001-order-page", "show what was accepted")]),
    ("baseline log", &[("baseline log 001-order-page", "list the baselines that were replaced")]),
    ("baseline clear", &[("baseline clear 001-order-page", "remove the baseline that counts")]),
    (
        "service",
        &[("service install", "start the daemon at login"), ("service status", "show its state")],
    ),
    ("service install", &[("service install", "install the systemd user units and start them")]),
    ("service uninstall", &[("service uninstall", "stop the service and remove its units")]),
    ("service status", &[("service status", "show whether the service runs")]),
    (
        "config",
        &[
            ("config check", "report errors with line and column"),
            ("config show", "print all keys"),
        ],
    ),
    ("config show", &[("config show", "print the configuration with all defaults")]),
    ("config check", &[("config check", "report errors with line and column")]),
    ("config path", &[("config path", "print where the configuration is")]),
    ("config init", &[("config init", "write an example with all keys")]),
    (
        "init",
        &[
            ("init", "write .dossierd/config.yaml with what was recognised"),
            ("init --layout spec-kit --shared", "name the layout; the team shares baselines"),
        ],
    ),
    ("layouts", &[("layouts", "list the layouts, and which apply here")]),
    ("doctor", &[("doctor", "find problems"), ("doctor --json", "print the findings as JSON")]),
    ("delivery", &[("delivery list", "show the webhook and its dead letters")]),
    ("delivery list", &[("delivery list", "show the webhook and its dead letters")]),
    ("delivery retry", &[("delivery retry --all", "send all dead letters again")]),
    ("delivery drop", &[("delivery drop --all", "delete all dead letters")]),
    (
        "top",
        &[("top", "show this project on the whole screen"), ("top --mouse", "also with the mouse")],
    ),
    ("mcp", &[("mcp", "serve an agent"), ("mcp --allow-writes", "also let it accept and restore")]),
    (
        "completions",
        &[("completions bash >> ~/.bash_completion", "install the completions of bash")],
    ),
    (
        "man",
        &[
            ("man | man -l -", "read the manual page"),
            ("man --dir ~/.local/share/man/man1", "install all pages"),
        ],
    ),
];

/// Returns the examples of a command, by its words without `dossierd`.
pub(in crate::cli) fn examples_of(words: &str) -> &'static [Example] {
    let found = EXAMPLES.iter().find(|(command, _)| *command == words);
    found.map_or(&[], |(_, examples)| examples)
}

/// Adds the examples to the help of a command and of its subcommands.
pub(super) fn with_examples(command: Command) -> Command {
    add_examples(command, "")
}

fn add_examples(command: Command, words: &str) -> Command {
    let examples = examples_of(words);
    let command =
        if examples.is_empty() { command } else { command.after_long_help(help_text(examples)) };
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.iter().fold(command, |command, name| {
        let words = format!("{words} {name}");
        command.mut_subcommand(name, |sub| add_examples(sub, words.trim_start()))
    })
}

fn help_text(examples: &[Example]) -> String {
    let lines =
        examples.iter().map(|(arguments, what)| format!("\n  dossierd {arguments}\n      {what}"));
    format!("Examples:{}", lines.collect::<String>())
}
