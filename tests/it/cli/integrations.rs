//! The files in `integrations/` that are copied into prompts, status lines, agents, spec-kit and Prometheus: each is run or
//! read, and names only what exists.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use fancy_regex::Regex;
use serde_json::Value;

use crate::delivery::support::start_receiver;
use crate::support::{
    COMMAND_TIMEOUT, CommandOutput, FEATURE, Project, bakery_dir, not_run, repository, run,
    with_program,
};

fn integration(path: &str) -> PathBuf {
    repository().join("integrations").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(integration(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns a command that finds `dossierd` by its name and the daemon by its environment, in `dir`.
fn with_dossierd(project: &Project, program: &str, dir: &Path) -> Command {
    let bin = project.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    if !bin.join("dossierd").exists() {
        symlink(env!("CARGO_BIN_EXE_dossierd"), bin.join("dossierd")).unwrap();
    }
    let mut command = with_program(Path::new(program), &project.client_command(&[]));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).current_dir(dir);
    command
}

/// Returns what the prompt of a shell shows in a directory; `None`, which is reported, without that shell.
#[track_caller]
fn prompt(project: &Project, shell: &str, dir: &Path) -> Option<String> {
    if Command::new(shell).args(["-c", "true"]).output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "no {shell}; CI requires it");
        not_run(&format!("the prompt of {shell}"));
        return None;
    }
    let file = match shell {
        "zsh" => "prompt/dossierd.zsh",
        "fish" => "prompt/dossierd_prompt.fish",
        _ => "prompt/dossierd.bash",
    };
    let mut command = with_dossierd(project, shell, dir);
    command.args(["-c", &format!(". '{}'; dossierd_prompt", integration(file).display())]);
    let output = run(command, COMMAND_TIMEOUT);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{shell}");
    Some(output.stdout)
}

const SHELLS: [&str; 4] = ["sh", "bash", "zsh", "fish"];

#[test]
fn prompts_show_the_state_unless_it_is_in_order_or_unknown() {
    let project = Project::copy_of(&bakery_dir());
    let below = project.root.join("kitty-specs/001-order-page");
    for shell in SHELLS {
        let Some(shown) = prompt(&project, shell, &below) else { continue };
        assert_eq!(shown, "", "{shell}: no daemon");
    }
    let daemon = project.start_daemon();
    for shell in SHELLS {
        let Some(shown) = prompt(&project, shell, &below) else { continue };
        assert_eq!(shown, "[project: 1 incomplete, 1 drifted of 4] ", "{shell}");
        assert_eq!(prompt(&project, shell, &project.home()).unwrap(), "", "{shell}: no project");
    }
    daemon.stop();
    let project = Project::complete();
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    for shell in SHELLS {
        let Some(shown) = prompt(&project, shell, &project.root) else { continue };
        assert_eq!(shown, "", "{shell}: in order");
    }
    daemon.stop();
}

#[test]
fn hostile_project_name_expands_nothing_in_a_prompt_or_status_line() {
    let outer = Project::empty();
    let root = outer.root.join("x$(id)`id`%F{red}#(id)\\u!!");
    fs::create_dir_all(root.join("kitty-specs/001-x")).unwrap();
    fs::create_dir(root.join(".kittify")).unwrap();
    fs::write(root.join("kitty-specs/001-x/meta.json"), "{\"mission\": \"software-dev\"}\n")
        .unwrap();
    let daemon = outer.start_daemon_over(&[&root]);
    for shell in SHELLS {
        let Some(shown) = prompt(&outer, shell, &root) else { continue };
        assert!(shown.contains("1 incomplete"), "{shell}: {shown}");
        if shell != "fish" {
            // Fish expands nothing in what a function prints.
            assert!(!shown.contains(['%', '\\', '$', '`', '!']), "{shell}: {shown}");
        }
    }
    let shown = tmux_line(&outer, &root).stdout;
    assert!(shown.contains("##(id)") && shown.ends_with("#[default]"), "{shown}");
    daemon.stop();
}

fn tmux_line(project: &Project, dir: &Path) -> CommandOutput {
    let program = integration("tmux/dossierd-status");
    let mut command = with_dossierd(project, program.to_str().unwrap(), &project.home());
    command.arg(dir);
    run(command, COMMAND_TIMEOUT)
}

#[test]
fn tmux_line_shows_the_state_and_nothing_without_a_daemon() {
    let project = Project::copy_of(&bakery_dir());
    let silent = tmux_line(&project, &project.root);
    assert_eq!((silent.code, silent.stdout.as_str()), (0, ""));
    let daemon = project.start_daemon();
    let shown = tmux_line(&project, &project.root);
    let expected = "#[fg=yellow]project: 1 incomplete, 1 drifted of 4#[default]";
    assert_eq!((shown.code, shown.stdout.as_str()), (0, expected));
    daemon.stop();
}

#[test]
fn starship_module_runs_only_where_there_is_something_to_show() {
    let project = Project::copy_of(&bakery_dir());
    let text = read("prompt/starship.toml");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.unwrap().trim_end_matches('"').to_owned()
    };
    let run_in_shell = |text: &str| {
        let mut command = with_dossierd(&project, "sh", &project.root);
        command.args(["-c", text]);
        run(command, COMMAND_TIMEOUT)
    };
    assert_eq!(run_in_shell(&value("when")).code, 1, "no daemon");
    let daemon = project.start_daemon();
    assert_eq!(run_in_shell(&value("when")).code, 0);
    assert_eq!(run_in_shell(&value("command")).stdout, "project: 1 incomplete, 1 drifted of 4\n");
    daemon.stop();
}

/// Returns the names of metrics in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:dossierd|process)_[a-z_]+\b").unwrap();
    name.find_iter(text).map(|found| found.unwrap().as_str().to_owned()).collect()
}

/// Collects the values of `expr` in JSON.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn alerts_and_board_use_only_metrics_and_labels_that_the_daemon_has() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    let served = daemon.get("/metrics").body;
    let existing: BTreeSet<String> = served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let rules: serde_yaml::Value = serde_yaml::from_str(&read("prometheus/alerts.yml")).unwrap();
    let rules = serde_json::to_value(&rules["groups"][0]["rules"]).unwrap();
    let board: Value = serde_json::from_str(&read("prometheus/dashboard.json")).unwrap();
    let (mut of_rules, mut of_board) = (Vec::new(), Vec::new());
    expressions(&rules, &mut of_rules);
    expressions(&board, &mut of_board);
    assert!(of_rules.len() > 8 && of_board.len() > 15, "{of_rules:?} {of_board:?}");
    let all = [of_rules, of_board].concat().join("\n");
    let unknown: Vec<String> = metric_names(&all).difference(&existing).cloned().collect();
    assert_eq!(unknown, [] as [String; 0]);
    let matchers = Regex::new(r#"([a-z_]+)="([^"]+)""#).unwrap();
    for found in matchers.captures_iter(&all) {
        let matcher = found.unwrap().get(0).unwrap().as_str().to_owned();
        assert!(served.contains(&matcher), "{matcher}");
    }
    let labels = Regex::new(r"\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}").unwrap();
    for found in labels.captures_iter(&format!("{}{}", read("prometheus/alerts.yml"), board)) {
        let label = found.unwrap().get(1).unwrap().as_str().to_owned();
        // Prometheus adds the instance.
        assert!(label == "instance" || served.contains(&format!("{label}=\"")), "{label}");
    }
    daemon.stop();
}

#[test]
fn alert_rules_are_valid() {
    let mut command = Command::new("promtool");
    command.args(["check", "rules"]).arg(integration("prometheus/alerts.yml"));
    match command.output() {
        // Debian's package brings 100 MB; CI does not install it.
        Err(_) => not_run("the alert rules in promtool (no `promtool`)"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
}

#[test]
fn files_for_agents_run_the_mcp_server() {
    for (file, pointer) in [
        ("cursor.json", "/mcpServers/dossierd"),
        ("gemini.json", "/mcpServers/dossierd"),
        ("opencode.json", "/mcp/dossierd"),
        ("vscode.json", "/servers/dossierd"),
    ] {
        let parsed: Value = serde_json::from_str(&read(&format!("agents/{file}"))).unwrap();
        let entry = parsed.pointer(pointer).unwrap_or_else(|| panic!("{file}: no {pointer}"));
        let words = match &entry["command"] {
            Value::Array(words) => words.clone(),
            program => [std::slice::from_ref(program), entry["args"].as_array().unwrap()].concat(),
        };
        assert_eq!(words, ["dossierd", "mcp"], "{file}");
    }
    let codex = read("agents/codex.toml");
    assert!(codex.contains("command = \"dossierd\"\nargs = [\"mcp\"]"), "{codex}");
}

#[test]
fn spec_kit_extension_follows_the_schema_and_names_files_that_exist() {
    let text = read("spec-kit/extension.yml");
    let extension: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let extension = serde_json::to_value(extension).unwrap();
    // https://github.github.io/spec-kit/extensions/api.html, schema 1.0.
    assert_eq!(extension["schema_version"], "1.0");
    assert_eq!(extension["extension"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(extension["extension"]["description"].as_str().unwrap().len() < 200);
    let name = Regex::new(r"^speckit\.dossierd\.[a-z0-9-]+$").unwrap();
    let commands = extension["provides"]["commands"].as_array().unwrap();
    let names: Vec<&str> = commands.iter().map(|one| one["name"].as_str().unwrap()).collect();
    for (command, found) in commands.iter().zip(&names) {
        assert!(name.is_match(found).unwrap(), "{found}");
        let file = read(&format!("spec-kit/{}", command["file"].as_str().unwrap()));
        let front_matter = file.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
        let front_matter: serde_yaml::Value = serde_yaml::from_str(front_matter).unwrap();
        assert_eq!(
            front_matter["description"].as_str(),
            command["description"].as_str(),
            "{found}"
        );
    }
    for (event, hook) in extension["hooks"].as_object().unwrap() {
        assert!(event.starts_with("after_"), "{event}");
        assert!(names.contains(&hook["command"].as_str().unwrap()), "{hook}");
    }
}

/// Returns the files below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn commands_that_integrations_name_exist() {
    let project = Project::complete();
    let command = Regex::new(r"(?:`|^|\()dossierd ((?:[a-z]+[ `)]){1,2})").unwrap();
    let mut checked = BTreeSet::new();
    for file in files_below(&integration("")) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for line in text.lines() {
            for found in command.captures_iter(line) {
                let words = found.unwrap().get(1).unwrap().as_str().replace(['`', ')'], " ");
                let first = words.split(' ').next().unwrap().to_owned();
                if checked.insert(first.clone()) {
                    let help = project.run(&[&first, "--help"]);
                    assert_eq!(help.code, 0, "{}: dossierd {first}", file.display());
                }
            }
        }
    }
    assert!(checked.len() > 8, "{checked:?}");
}
