//! The dashboard's listener: who is let in, under which name, on behalf of which page; and that
//! whoever is not learns nothing and changes nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{FEATURE, Project};

/// Where the dashboard is, and what lets in.
struct Door {
    host: String,
    ticket: String,
    token: String,
}

fn open(daemon: &Daemon) -> Door {
    let answer = daemon.request("POST", "/api/dashboard", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let opened = answer.json();
    let text = |field: &str| opened[field].as_str().unwrap().to_owned();
    let address = text("address");
    let host = address.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    Door {
        ticket: text("url").strip_prefix(&address).unwrap().to_owned(),
        host,
        token: text("token"),
    }
}

/// An answer: its status, its head in lower case, its body.
struct Heard(u16, String, String);

impl Door {
    fn port(&self) -> &str {
        self.host.rsplit_once(':').unwrap().1
    }

    fn cookie(&self) -> String {
        format!("Cookie: dossierd-{}={}", self.port(), self.token)
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    fn own(&self) -> String {
        format!("Host: {}", self.host)
    }

    /// Sends those lines as they are.
    fn say(&self, line: &str, headers: &[&str]) -> Heard {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head[9..12].parse().unwrap();
        Heard(status, head.to_lowercase(), body.to_owned())
    }
}

#[test]
fn it_is_closed_until_it_is_asked_for_and_closed_again() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let kept = project.state_dir().join("dashboard.json");
    assert!(!kept.exists(), "nothing was asked for");
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": false}));
    let door = open(&daemon);
    assert!(door.host.starts_with("127.0.0.1:"), "{}", door.host);
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = open(&daemon);
    assert_eq!((&again.host, &again.token), (&door.host, &door.token));
    assert_ne!(again.ticket, door.ticket);
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": true}));
    wait_for("the end of the listener", || TcpStream::connect(&door.host).is_err().then_some(()));
    assert!(!kept.exists());
    assert_ne!(open(&daemon).token, door.token, "who was let in is not any more");
    daemon.stop();
}

#[test]
fn a_ticket_lets_one_browser_in_once() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let door = open(&daemon);
    let host = door.own();
    let first = format!("GET /{}", door.ticket);
    let ahead = door.say(&first, &[&host, "Sec-Purpose: prefetch"]);
    assert_eq!(ahead.0, 401, "a browser that looks ahead does not use it up");
    for method in ["HEAD", "POST"] {
        assert_eq!(door.say(&format!("{method} /{}", door.ticket), &[&host]).0, 401);
    }
    let Heard(status, head, body) = door.say(&first, &[&host]);
    assert_eq!(status, 200);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let expect =
        format!("dossierd-{}={}; path=/; httponly; samesite=strict", door.port(), door.token);
    assert_eq!(cookie, expect);
    assert!(head.contains("refresh: 0; url=/"), "{head}");
    assert!(!body.contains(&door.token) && !body.contains(&door.ticket), "{body}");
    let Heard(status, head, _) = door.say(&first, &[&host]);
    assert_eq!(status, 401, "once");
    assert!(!head.contains("set-cookie"), "{head}");
    assert_eq!(door.say(&first, &[&host, &door.cookie()]).0, 200, "who is in goes on to the page");
    let Heard(status, _, body) = door.say("GET /", &[&host, &door.cookie()]);
    assert_eq!(status, 200);
    assert!(body.contains("/assets/app.js"), "{body}");
    daemon.stop();
}

/// The matrix of faults.md: headers with which nothing is answered, and why.
fn foreign(door: &Door) -> Vec<(&'static str, Vec<String>)> {
    let (own, cookie, bearer, port) = (door.own(), door.cookie(), door.bearer(), door.port());
    let origin = format!("Origin: http://{}", door.host);
    let named = |host: &str| format!("Host: {}", host.replace("PORT", port));
    let from = |origin: &str| format!("Origin: {}", origin.replace("PORT", port));
    let mut refused = Vec::new();
    let mut deny = |why: &'static str, headers: &[&str]| {
        refused.push((why, headers.iter().map(|&header| header.to_owned()).collect()));
    };
    for host in [
        "evil.com",
        "evil.com:PORT",
        "127.evil.com:PORT",
        "127.0.0.1.evil.com:PORT",
        "127.0.0.1",
        "localhost",
        "[::1]:PORT",
        "127.0.0.2:PORT",
        "0.0.0.0:PORT",
        "127.1:PORT",
        "2130706433:PORT",
        "LOCALHOST:PORT",
        "127.0.0.1:1",
        "user@127.0.0.1:PORT",
        "127.0.0.1:PORT.",
        "",
    ] {
        for token in [&cookie, &bearer] {
            deny("a foreign name", &[&named(host), &origin, token]);
        }
    }
    deny("no name", &[&origin, &cookie]);
    deny("two names", &[&own, &named("evil.com"), &cookie]);
    deny("its name twice", &[&own, &own, &cookie]);
    for foreign in [
        "null",
        "http://evil.com",
        "https://127.0.0.1:PORT",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost",
        "http://127.0.0.1:PORT.evil.com",
        "http://evil.com:PORT",
        "",
        "http://127.0.0.1:PORT/",
        "file://",
        "chrome-extension://abc",
    ] {
        for token in [&cookie, &bearer] {
            deny("a foreign page", &[&own, &from(foreign), token]);
        }
    }
    deny("two pages", &[&own, &origin, &from("http://evil.com"), &cookie]);
    for site in ["cross-site", "same-site"] {
        let site = format!("Sec-Fetch-Site: {site}");
        deny("another site", &[&own, &origin, &site, &cookie]);
    }
    let wrong = "0".repeat(64);
    for none in [
        String::new(),
        format!("Cookie: dossierd-{port}={wrong}"),
        format!("Cookie: dossierd-{port}="),
        format!("Cookie: dossierd-1={}", door.token),
        format!("Cookie: dossierd-{port}={}x", door.token),
        format!("Authorization: Bearer {wrong}"),
        format!("Authorization: Basic {}", door.token),
        "Authorization: Bearer".to_owned(),
    ] {
        let mut headers = vec![own.as_str(), &origin];
        headers.extend(Some(none.as_str()).filter(|none| !none.is_empty()));
        deny("no token", &headers);
    }
    refused
}

#[test]
fn who_is_not_let_in_learns_nothing_and_changes_nothing() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let door = open(&daemon);
    let feature = format!("?feature={FEATURE}");
    let requests = [
        "GET /".to_owned(),
        "GET /assets/app.js".to_owned(),
        "GET /healthz".to_owned(),
        "GET /metrics".to_owned(),
        "GET /api/status".to_owned(),
        "GET /api/nothing".to_owned(),
        format!("GET /api/dossier/artifacts/input.spec.main{feature}"),
        "GET /api/events".to_owned(),
        format!("POST /api/dossier/baseline{feature}"),
        format!("DELETE /api/dossier/baseline{feature}"),
        "POST /api/rescan".to_owned(),
        "OPTIONS /api/status".to_owned(),
    ];
    for (why, headers) in &foreign(&door) {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        for request in &requests {
            let Heard(status, head, body) = door.say(request, &headers);
            // A request without a name, or with two, is none to HTTP itself.
            assert!(matches!(status, 400 | 401 | 403), "{why}: {request} {headers:?}: {status}");
            for secret in [FEATURE, &door.token, "Spec", "set-cookie", "access-control"] {
                assert!(!head.contains(secret) && !body.contains(secret), "{why}: {head}\n{body}");
            }
        }
    }
    assert!(!project.baseline_file().exists(), "nothing was changed");
    daemon.stop();
}

#[test]
fn who_is_let_in_is_answered_with_all_that_keeps_a_page_to_itself() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let door = open(&daemon);
    let (own, cookie, bearer) = (door.own(), door.cookie(), door.bearer());
    let localhost = format!("Host: localhost:{}", door.port());
    let origin = format!("Origin: http://{}", door.host);
    // A page of its own name may change things with the cookie; where no page is named, only the
    // header may.
    let accept = format!("POST /api/dossier/baseline?feature={FEATURE}");
    assert_eq!(door.say(&accept, &[&own, &cookie]).0, 403);
    assert!(!project.baseline_file().exists());
    for headers in [
        vec![own.as_str(), &cookie],
        vec![&own, &bearer],
        vec![&localhost, &cookie],
        vec![&own, &origin, &cookie, "Sec-Fetch-Site: same-origin"],
        vec![&own, &cookie, "Sec-Fetch-Site: none"],
    ] {
        let Heard(status, head, body) = door.say("GET /api/status", &headers);
        assert_eq!(status, 200, "{headers:?}");
        assert!(body.contains(FEATURE));
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{header} is not in {head}");
        }
        assert!(!head.contains("unsafe-"), "{head}");
    }
    assert_eq!(door.say("GET http://evil.com/api/status", &[&own, &cookie]).0, 403);
    assert_eq!(door.say(&accept, &[&own, &bearer]).0, 200);
    assert!(project.baseline_file().exists());
    daemon.stop();
}

#[test]
fn the_dashboard_is_not_opened_from_within() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let door = open(&daemon);
    for method in ["POST", "DELETE"] {
        let Heard(status, _, body) =
            door.say(&format!("{method} /api/dashboard"), &[&door.own(), &door.bearer()]);
        assert_eq!(status, 404, "{body}");
    }
    assert_eq!(daemon.get("/").status, 404, "and the page is not at the socket");
    daemon.stop();
}

#[test]
fn after_a_restart_it_is_where_it_was() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let door = open(&daemon);
    daemon.stop();
    let daemon = project.start_daemon();
    let Heard(status, _, body) = door.say("GET /api/status", &[&door.own(), &door.cookie()]);
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["pid"], daemon.child_id());
    assert_eq!(door.say(&format!("GET /{}", door.ticket), &[&door.own()]).0, 401, "tickets end");
    daemon.stop();
    // Somebody else is there meanwhile, and may have been sent the cookie.
    let _other = TcpListener::bind(&door.host).unwrap();
    let daemon = project.start_daemon();
    let new = open(&daemon);
    assert_ne!((&new.host, &new.token), (&door.host, &door.token));
    assert_ne!(new.token, door.token);
    daemon.stop();
}

#[test]
fn the_configuration_opens_it_from_the_start() {
    // A port that is free now; another process may take it before the daemon does, then the next.
    for attempt in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let project = Project::complete().config(&format!("http: {{listen: \"{listen}\"}}\n"));
        let daemon = project.start_daemon();
        if daemon.log().contains("cannot open the dashboard") && attempt < 4 {
            daemon.stop();
            continue;
        }
        let stream = TcpStream::connect(listen);
        assert!(stream.is_ok(), "{}", daemon.log());
        assert_eq!(open(&daemon).host, listen.to_string());
        daemon.stop();
        return;
    }
}

#[test]
fn it_follows_the_configuration() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    crate::support::write_file(
        &project.config_file(),
        format!("http: {{listen: \"{listen}\"}}\n").as_bytes(),
    );
    wait_for("the listener", || TcpStream::connect(listen).is_ok().then_some(()));
    assert_eq!(open(&daemon).host, listen.to_string());
    crate::support::write_file(&project.config_file(), b"http: {listen: off}\n");
    wait_for("the end of the listener", || TcpStream::connect(listen).is_err().then_some(()));
    wait_for("the token to be forgotten", || {
        (!project.state_dir().join("dashboard.json").exists()).then_some(())
    });
    daemon.stop();
}

#[test]
fn another_address_is_refused_with_its_place() {
    let project = Project::complete().config("http:\n  listen: 0.0.0.0:7433\n");
    let run = project.run(&["run"]);
    run.assert_failure(78, "config.yaml:2:11: http.listen: the dashboard is for this machine only");
}

#[test]
fn the_command_prints_an_address_or_says_what_to_do() {
    let project = Project::complete();
    let runtime = project.runtime_dir();
    let project = project.env("XDG_RUNTIME_DIR", runtime);
    project.run(&["dashboard"]).assert_failure(3, "no daemon listens");
    let daemon = project.start_daemon();
    let run = project.run(&["dashboard", "--no-open"]).assert_success();
    assert!(
        run.stdout.starts_with("http://127.0.0.1:") && run.stdout.contains("/open/"),
        "{run:?}"
    );
    assert!(run.stderr.contains("once, within five minutes"), "{run:?}");
    // Where no browser is, the address is printed too; where one is, it gets the address.
    let bin = project.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let mut alone = project.command(&["dashboard"]);
    alone.env("PATH", &bin);
    let run = crate::support::run(alone, crate::support::COMMAND_TIMEOUT).assert_success();
    assert!(run.stdout.contains("/open/") && run.stderr.contains("no browser"), "{run:?}");
    let browser = bin.join("browser");
    let told = project.home().join("told");
    let script = format!("#!/bin/sh\necho \"$1\" > '{}'\n", told.display());
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut with = project.command(&["dashboard"]);
    with.env("BROWSER", &browser);
    let run = crate::support::run(with, crate::support::COMMAND_TIMEOUT).assert_success();
    assert!(run.stdout.is_empty() && run.stderr.contains("opened in the browser"), "{run:?}");
    assert!(fs::read_to_string(told).unwrap().contains("/open/"));
    let closed = project.run(&["dashboard", "--close", "--json"]).assert_success().json();
    assert_eq!(closed, json!({"closed": true}));
    daemon.stop();
}
