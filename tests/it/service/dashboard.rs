//! The dashboard of the service: what systemd keeps over a restart, and who may connect when the unit or
//! the kernel hides it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::process::Daemon;
use crate::support::systemd::UserManager;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{FEATURE, Project};

/// A browser: where the page is, and the headers of its requests.
struct Browser {
    host: String,
    headers: String,
    token: String,
}

impl Browser {
    /// Opens the dashboard and follows its one-time URL.
    fn enter(daemon: &Daemon) -> Self {
        let response = daemon.request("POST", "/api/dashboard", "");
        assert_eq!(response.status, 200, "{response:?}");
        let opened = response.json();
        let text = |name: &str| opened[name].as_str().unwrap().to_owned();
        let host = text("address").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let (_, path) =
            text("url").split_once(&host).map(|(a, b)| (a.len(), b.to_owned())).unwrap();
        let mut browser = Self { headers: format!("Host: {host}\r\n"), host, token: text("token") };
        let page = browser.get(&path);
        let (_, cookie) = page.split_once("set-cookie: ").unwrap();
        let (_, key) = page.split_once("dossierd-session\" content=\"").unwrap();
        let (cookie, key) = (cookie.split(';').next().unwrap(), key.split('"').next().unwrap());
        browser.headers += &format!("Cookie: {cookie}\r\nX-Dossierd-Session: {key}\r\n");
        browser
    }

    fn get(&self, target: &str) -> String {
        self.send(&format!("GET {target}"), &self.headers)
    }

    fn send(&self, line: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

#[test]
fn sessions_continue_over_a_restart_of_the_service() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    manager.sh("dossierd service install");
    let daemon = project.service_daemon();
    let browser = Browser::enter(&daemon);
    let status = |response: &str| -> Value {
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{response}");
        serde_json::from_str(body).unwrap()
    };
    let before = status(&browser.get("/api/status"));
    // A restart, and one after a crash. A request in between waits for the next daemon.
    for (number, restart) in [
        "systemctl --user restart dossierd.service",
        "systemctl --user kill --signal=KILL dossierd.service",
    ]
    .into_iter()
    .enumerate()
    {
        let pid = manager.property("MainPID");
        let name = format!("meanwhile-{number}.md");
        project.write(&format!("kitty-specs/{FEATURE}/{name}"), "# Meanwhile\n");
        manager.sh(restart);
        status(&browser.get("/api/status"));
        wait_for("another daemon", || (manager.property("MainPID") != pid).then_some(()));
        daemon.wait_until_ready();
        assert_eq!(status(&browser.get("/api/status"))["instance"], before["instance"]);
        let cursor = format!("{}:{}", before["instance"], before["seq"]).replace('"', "");
        let headers = format!("{}Accept: application/json\r\n", browser.headers);
        wait_for("the change, after the cursor of the page", || {
            let page = browser.send(&format!("GET /api/events?since={cursor}"), &headers);
            assert!(status(&page)["gap"] != true, "{page}");
            page.contains(&name).then_some(())
        });
        let bearer =
            format!("Host: {}\r\nAuthorization: Bearer {}\r\n", browser.host, browser.token);
        status(&browser.send("GET /api/status", &bearer));
    }
    let sessions = daemon.get_json("/api/dashboard");
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions:#}");
    // Closed, or stopped: systemd keeps nothing.
    let stored = "NFileDescriptorStore";
    assert_eq!(manager.property(stored), "2");
    daemon.request("DELETE", "/api/dashboard", "");
    manager.wait_for_property(stored, |number| number == "0");
    let browser = Browser::enter(&daemon);
    manager.wait_for_property(stored, |number| number == "2");
    manager.sh("systemctl --user stop dossierd.socket dossierd.service");
    assert!(TcpStream::connect(&browser.host).is_err(), "the port is free");
    manager.sh("systemctl --user start dossierd.service");
    assert_eq!(daemon.get_json("/api/dashboard")["address"], Value::Null);
}

#[test]
fn connections_are_checked_without_netlink_and_refused_without_any_check() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    manager.sh("dossierd service install");
    let daemon = project.service_daemon();
    let doctor = |manager: &mut UserManager| {
        let (_, output) = manager.shell("dossierd doctor --json");
        let findings: Vec<Value> = serde_json::from_str(&output).unwrap();
        findings.into_iter().find(|finding| finding["check"] == "dashboard").unwrap()
    };
    assert_eq!(doctor(&mut manager)["level"], "ok");
    // As the unit of an older version, and as a drop-in that hides the tables as well.
    let drop_in = |manager: &mut UserManager, lines: &str| {
        let dir = "~/.config/systemd/user/dossierd.service.d";
        manager.sh(&format!("mkdir -p {dir} && printf '{lines}' > {dir}/test.conf"));
        manager.sh("systemctl --user daemon-reload && systemctl --user restart dossierd.service");
    };
    let families = "[Service]\\nRestrictAddressFamilies=\\n\
                    RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\\n";
    drop_in(&mut manager, families);
    let finding = doctor(&mut manager);
    assert_eq!(finding["level"], "warning", "{finding:#}");
    assert_eq!(daemon.get_json("/api/dashboard")["peer_check"], "proc_net");
    let browser = Browser::enter(&daemon);
    assert!(browser.get("/api/status").contains(FEATURE), "the tables are read instead");
    // They are read only for a request that opens data.
    let refused = |count: u32| {
        daemon.get("/metrics").body.contains(&format!("connections_refused_total {count}\n"))
    };
    let curl = "setpriv --reuid 65534 --regid 65534 --clear-groups curl -si -w '%{http_code}\\n'";
    let cookie = browser.headers.lines().find(|line| line.starts_with("Cookie: ")).unwrap();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for (header, path, expected) in [
        (bearer(&"0".repeat(64)), "/api/status", "401"),
        (cookie.to_owned(), "/api/status", "401"),
        (cookie.to_owned(), "/", "200"),
        (bearer(&browser.token), "/api/status", "403"),
    ] {
        assert!(refused(0));
        let url = format!("http://{}{path}", browser.host);
        let (_, answer) = manager.shell(&format!("{curl} -H '{header}' {url}"));
        assert!(answer.trim_end().ends_with(expected), "{answer}");
        assert!(!answer.contains(FEATURE));
        let is_closed = answer.to_ascii_lowercase().contains("connection: close");
        assert_eq!(is_closed, expected == "403", "{answer}");
    }
    // Nor can another user fill the disk with the log.
    let again = format!("{curl} -H '{}' http://{}/", bearer(&browser.token), browser.host);
    manager.shell(&format!("for i in 1 2 3; do {again}; done"));
    assert!(refused(4));
    let journal = manager.journal();
    assert!(journal.matches("refused a connection of another user").count() < 2, "{journal}");
    drop_in(&mut manager, &format!("{families}ProcSubset=pid\\n"));
    let refused = daemon.request("POST", "/api/dashboard", "");
    let problem = refused.assert_problem(503, "unavailable");
    assert_eq!(problem["hint_code"], "peer_check");
    assert_eq!(doctor(&mut manager)["level"], "error");
}
