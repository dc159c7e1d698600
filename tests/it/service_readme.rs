//! The README's section on the service, followed word for word by someone who has nothing yet.

use std::fs;

use super::support::manager::Manager;
use super::support::{Project, bakery, copy, not_run, repository};

/// The indented blocks of the section, line by line.
fn blocks() -> Vec<Vec<String>> {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n### service: from login on\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let mut blocks = vec![Vec::new()];
    for line in section.lines() {
        match line.strip_prefix("    ") {
            Some(line) => blocks.last_mut().unwrap().push(line.to_owned()),
            None => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[test]
fn what_the_readme_says_of_the_service_is_what_happens() {
    let project = Project::bare();
    copy(&bakery(), &project.home().join("some/project"));
    let Some(mut manager) = Manager::start(&project) else {
        return;
    };
    let [install, said, commands] = blocks().try_into().unwrap();
    assert_eq!(install, ["cd ~/some/project", "dossierd service install"]);
    // Whether someone lingers is the machine's business.
    manager
        .sh("mkdir ~/bin && printf '#!/bin/sh\\necho no\\n' >~/bin/loginctl && chmod +x ~/bin/*");
    let shown = manager.sh(&format!("PATH=~/bin:$PATH; {}", install.join(" && ")));
    let shown = shown.replace(project.home().to_str().unwrap(), "~");
    assert_eq!(shown.lines().collect::<Vec<_>>(), said);
    for line in commands {
        let command = line.split("  #").next().unwrap().trim();
        if command.starts_with("journalctl") && !manager.journal().contains("dossierd") {
            not_run("what the README says of the journal: there is no journal");
            continue;
        }
        let shown = manager.sh(command);
        match command {
            "systemctl --user status dossierd" => assert!(shown.contains("Status: \"watching 4")),
            "dossierd service status" => assert!(shown.contains("watching 4 features"), "{shown}"),
            "dossierd service uninstall" => assert!(shown.contains("stay"), "{shown}"),
            _ => {}
        }
    }
    assert_eq!(manager.property("LoadState"), "not-found");
}
