//! Which users may connect to the dashboard's port: only the daemon's, whatever the kernel shows.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::kernel::{can_run, is_root, sh, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, CommandOutput, FEATURE, NOBODY_UID, Project, not_run, run};

/// Has the kernel hide `/proc/net`, as `ProcSubset=pid` of a unit does.
const WITHOUT_PROC_NET: [&str; 6] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t proc -o subset=pid proc /proc && exec \"$@\"",
    "sh",
];

/// Opens the dashboard through the socket; returns its address, one-time URL and token.
fn open(daemon: &Daemon) -> [String; 3] {
    let response = daemon.request("POST", "/api/dashboard", "");
    assert_eq!(response.status, 200, "{response:?}");
    let opened: Value = response.json();
    ["address", "url", "token"].map(|name| opened[name].as_str().unwrap().to_owned())
}

/// Sends a request as a user; the last line of the output is the status.
fn curl(uid: u32, url: &str, token: Option<&str>) -> CommandOutput {
    let mut command = curl_command(uid);
    command.arg(url);
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    run(command, COMMAND_TIMEOUT)
}

fn curl_command(uid: u32) -> Command {
    let uid = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--", "curl", "-sS"]);
    command.args(["--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}"]);
    command
}

/// Returns true where this machine can run these tests.
fn is_supported() -> bool {
    is_root("connections of another user")
        && can_run("connections of another user", &["setpriv", "--reuid", "65534", "curl", "-V"])
}

#[test]
fn connection_of_another_user_is_refused_and_uses_up_no_ticket() {
    if !is_supported() {
        return;
    }
    let mut projects = vec![(Project::complete(), false)];
    if can_run("a daemon without `/proc/net`", &[&WITHOUT_PROC_NET[..], &["true"]].concat()) {
        projects.push((Project::complete(), true));
    }
    match TcpListener::bind("[::1]:0").and_then(|free| free.local_addr()) {
        Ok(free) => {
            let config = format!("http: {{listen: \"{free}\"}}\n");
            projects.push((Project::complete().config(&config), false));
        }
        Err(_) => not_run("connections of another user by IPv6"),
    }
    for (project, is_hidden) in projects {
        let command = project.daemon_command();
        let command = if is_hidden { wrap_command(&WITHOUT_PROC_NET, &command) } else { command };
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        let [address, url, token] = open(&daemon);
        let status = format!("{address}api/status");
        for (url, token) in [(&status, Some(token.as_str())), (&url, None), (&address, None)] {
            let refused = curl(NOBODY_UID, url, token);
            assert!(refused.code != 0, "{refused:?}");
            assert!(
                !refused.stdout.contains(FEATURE) && refused.stdout.ends_with("000"),
                "{refused:?}"
            );
        }
        let metrics = daemon.get("/metrics").body;
        assert!(metrics.contains("dossierd_connections_refused_total 3\n"), "{metrics}");
        let own = curl(0, &status, Some(&token));
        assert!(own.stdout.contains(FEATURE) && own.stdout.ends_with("\n200"), "{own:?}");
        assert!(curl(0, &url, None).stdout.ends_with("\n200"), "the ticket is still valid");
        daemon.stop();
    }
}

#[test]
fn root_is_refused_unless_the_configuration_admits_it() {
    if !is_supported() {
        return;
    }
    for (config, status) in
        [("http: {allow_root: false}\n", "000"), ("http: {allow_root: true}\n", "200")]
    {
        let project = Project::complete().config(config);
        let (root, home) = (project.root.to_str().unwrap(), project.home());
        let Some(command) = project.command_as_nobody(&["run", root]) else { return };
        std::fs::create_dir_all(project.runtime_dir()).unwrap();
        let owner = format!("{NOBODY_UID}:{NOBODY_UID}");
        sh(&["chown", "-R", &owner, root, home.to_str().unwrap()]);
        let daemon = project.spawn_daemon(command);
        // The daemon serves its own user only, at the socket as well.
        let request = |arguments: &[&str]| {
            let mut command = curl_command(NOBODY_UID);
            command.arg("--unix-socket").arg(project.socket()).args(arguments);
            run(command, COMMAND_TIMEOUT)
        };
        wait_for("readiness", || {
            request(&["http://localhost/healthz"]).stdout.ends_with("\n200").then_some(())
        });
        let opened = request(&["-X", "POST", "http://localhost/api/dashboard"]).stdout;
        let opened: Value = serde_json::from_str(opened.lines().next().unwrap()).unwrap();
        let token = opened["token"].as_str();
        let url = format!("{}api/status", opened["address"].as_str().unwrap());
        let of_root = curl(0, &url, token);
        assert!(of_root.stdout.ends_with(&format!("\n{status}")), "{config}: {of_root:?}");
        let own = curl(NOBODY_UID, &url, token);
        assert!(own.stdout.ends_with("\n200"), "{own:?}");
        daemon.stop();
    }
}
