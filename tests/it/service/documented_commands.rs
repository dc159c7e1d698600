//! The section on the service in docs/operations.md, followed literally on a machine without one.

use std::fs;

use crate::support::systemd::UserManager;
use crate::support::{Project, bakery_dir, copy_dir, not_run, repository};

/// Returns the fenced code blocks of the section, line by line.
fn blocks() -> Vec<Vec<String>> {
    let guide = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let (_, section) = guide.split_once("\n## The systemd user service\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut is_inside = false;
    for line in section.lines() {
        if line.starts_with("```") {
            is_inside = !is_inside;
            if is_inside {
                blocks.push(Vec::new());
            }
        } else if is_inside {
            blocks.last_mut().unwrap().push(line.to_owned());
        }
    }
    blocks
}

#[test]
fn documented_commands_of_the_service_work_as_described() {
    let project = Project::empty();
    copy_dir(&bakery_dir(), &project.home().join("some/project"));
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let [install, output, commands] = blocks().try_into().unwrap();
    assert_eq!(install, ["cd ~/some/project", "dossierd service install"]);
    // A fake `loginctl`, because lingering depends on the machine.
    manager
        .sh("mkdir ~/bin && printf '#!/bin/sh\\necho no\\n' >~/bin/loginctl && chmod +x ~/bin/*");
    let shown = manager.sh(&format!("PATH=~/bin:$PATH; {}", install.join(" && ")));
    let shown = shown.replace(project.home().to_str().unwrap(), "~");
    assert_eq!(shown.lines().collect::<Vec<_>>(), output);
    for line in commands {
        let command = line.split("  #").next().unwrap().trim();
        if command.starts_with("journalctl") && !manager.journal().contains("dossierd") {
            not_run("the guide's journalctl command: there is no journal");
            continue;
        }
        let shown = manager.sh(command);
        match command {
            "systemctl --user status dossierd" => assert!(shown.contains("Status: \"watching 4")),
            "dossierd service status" => assert!(shown.contains("watching 4 features"), "{shown}"),
            "dossierd service uninstall" => assert!(shown.contains("kept the index"), "{shown}"),
            _ => {}
        }
    }
    assert_eq!(manager.property("LoadState"), "not-found");
}
