//! The dashboard's listener: which tokens, host names and origins it accepts, and that a rejected
//! request reveals and changes nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, write_file};

/// An open dashboard: its address and credentials.
struct Dashboard {
    host: String,
    /// Path of the URL that admits one browser.
    one_time_path: String,
    token: String,
}

/// Opens the dashboard.
fn open(daemon: &Daemon) -> Dashboard {
    let response = daemon.request("POST", "/api/dashboard", "");
    assert_eq!(response.status, 200, "{response:?}");
    let opened = response.json();
    let text = |field: &str| opened[field].as_str().unwrap().to_owned();
    let address = text("address");
    let host = address.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    Dashboard {
        one_time_path: text("url").strip_prefix(&address).unwrap().to_owned(),
        host,
        token: text("token"),
    }
}

/// A response of the dashboard.
struct DashboardResponse {
    status: u16,
    /// Status line and headers, in lower case.
    head: String,
    body: String,
}

impl Dashboard {
    fn port(&self) -> &str {
        self.host.rsplit_once(':').unwrap().1
    }

    fn cookie(&self) -> String {
        format!("Cookie: dossierd-{}={}", self.port(), self.token)
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    fn host_header(&self) -> String {
        format!("Host: {}", self.host)
    }

    /// Sends a request line and headers unchanged.
    fn send(&self, line: &str, headers: &[&str]) -> DashboardResponse {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) =
            response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response:?}"));
        let status = head[9..12].parse().unwrap();
        DashboardResponse { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

#[test]
fn listener_exists_only_between_open_and_close_requests() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let token_file = project.state_dir().join("dashboard.json");
    assert!(!token_file.exists(), "no dashboard was requested");
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": false}));
    let dashboard = open(&daemon);
    assert!(dashboard.host.starts_with("127.0.0.1:"), "{}", dashboard.host);
    let mode = fs::metadata(&token_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = open(&daemon);
    assert_eq!((&again.host, &again.token), (&dashboard.host, &dashboard.token));
    assert_ne!(again.one_time_path, dashboard.one_time_path);
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": true}));
    wait_for("the listener to be closed", || {
        TcpStream::connect(&dashboard.host).is_err().then_some(())
    });
    assert!(!token_file.exists());
    assert_ne!(open(&daemon).token, dashboard.token, "closing invalidates the token");
    daemon.stop();
}

#[test]
fn one_time_token_admits_one_browser_once() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let host = dashboard.host_header();
    let first = format!("GET /{}", dashboard.one_time_path);
    let prefetch = dashboard.send(&first, &[&host, "Sec-Purpose: prefetch"]);
    assert_eq!(prefetch.status, 401, "a prefetch does not use up the token");
    for method in ["HEAD", "POST"] {
        assert_eq!(
            dashboard.send(&format!("{method} /{}", dashboard.one_time_path), &[&host]).status,
            401
        );
    }
    let DashboardResponse { status, head, body } = dashboard.send(&first, &[&host]);
    assert_eq!(status, 200);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let expect = format!(
        "dossierd-{}={}; path=/; httponly; samesite=strict",
        dashboard.port(),
        dashboard.token
    );
    assert_eq!(cookie, expect);
    assert!(head.contains("refresh: 0; url=/"), "{head}");
    assert!(!body.contains(&dashboard.token) && !body.contains(&dashboard.one_time_path), "{body}");
    let DashboardResponse { status, head, .. } = dashboard.send(&first, &[&host]);
    assert_eq!(status, 401, "the token is valid once");
    assert!(!head.contains("set-cookie"), "{head}");
    assert_eq!(
        dashboard.send(&first, &[&host, &dashboard.cookie()]).status,
        200,
        "a browser with a cookie gets the page"
    );
    let DashboardResponse { status, body, .. } =
        dashboard.send("GET /", &[&host, &dashboard.cookie()]);
    assert_eq!(status, 200);
    assert!(body.contains("/assets/app.js"), "{body}");
    daemon.stop();
}

/// Returns headers with which every request is rejected, and the reason.
fn rejected_headers(dashboard: &Dashboard) -> Vec<(&'static str, Vec<String>)> {
    let (host, cookie, bearer, port) =
        (dashboard.host_header(), dashboard.cookie(), dashboard.bearer(), dashboard.port());
    let origin = format!("Origin: http://{}", dashboard.host);
    let host_header = |host: &str| format!("Host: {}", host.replace("PORT", port));
    let origin_header = |origin: &str| format!("Origin: {}", origin.replace("PORT", port));
    let mut rejected = Vec::new();
    let mut reject = |why: &'static str, headers: &[&str]| {
        rejected.push((why, headers.iter().map(|&header| header.to_owned()).collect()));
    };
    for name in [
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
            reject("another host name", &[&host_header(name), &origin, token]);
        }
    }
    reject("no host name", &[&origin, &cookie]);
    reject("two host names", &[&host, &host_header("evil.com"), &cookie]);
    reject("the host name twice", &[&host, &host, &cookie]);
    for page in [
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
            reject("another origin", &[&host, &origin_header(page), token]);
        }
    }
    reject("two origins", &[&host, &origin, &origin_header("http://evil.com"), &cookie]);
    for site in ["cross-site", "same-site"] {
        let site = format!("Sec-Fetch-Site: {site}");
        reject("another site", &[&host, &origin, &site, &cookie]);
    }
    let wrong = "0".repeat(64);
    for none in [
        String::new(),
        format!("Cookie: dossierd-{port}={wrong}"),
        format!("Cookie: dossierd-{port}="),
        format!("Cookie: dossierd-1={}", dashboard.token),
        format!("Cookie: dossierd-{port}={}x", dashboard.token),
        format!("Authorization: Bearer {wrong}"),
        format!("Authorization: Basic {}", dashboard.token),
        "Authorization: Bearer".to_owned(),
    ] {
        let mut headers = vec![host.as_str(), &origin];
        headers.extend(Some(none.as_str()).filter(|none| !none.is_empty()));
        reject("no valid token", &headers);
    }
    rejected
}

#[test]
fn rejected_request_reveals_and_changes_nothing() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
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
    for (why, headers) in &rejected_headers(&dashboard) {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        for request in &requests {
            let DashboardResponse { status, head, body } = dashboard.send(request, &headers);
            // A request without a host name, or with two, is invalid HTTP.
            assert!(matches!(status, 400 | 401 | 403), "{why}: {request} {headers:?}: {status}");
            for secret in [FEATURE, &dashboard.token, "Spec", "set-cookie", "access-control"] {
                assert!(!head.contains(secret) && !body.contains(secret), "{why}: {head}\n{body}");
            }
        }
    }
    assert!(!project.baseline_file().exists(), "no baseline was accepted");
    daemon.stop();
}

#[test]
fn authorised_request_gets_security_headers_and_changes_need_an_origin() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let (host, cookie, bearer) = (dashboard.host_header(), dashboard.cookie(), dashboard.bearer());
    let localhost = format!("Host: localhost:{}", dashboard.port());
    let origin = format!("Origin: http://{}", dashboard.host);
    // A request that changes something needs the cookie and the own origin, or the bearer token.
    let accept = format!("POST /api/dossier/baseline?feature={FEATURE}");
    assert_eq!(dashboard.send(&accept, &[&host, &cookie]).status, 403);
    assert!(!project.baseline_file().exists());
    for headers in [
        vec![host.as_str(), &cookie],
        vec![&host, &bearer],
        vec![&localhost, &cookie],
        vec![&host, &origin, &cookie, "Sec-Fetch-Site: same-origin"],
        vec![&host, &cookie, "Sec-Fetch-Site: none"],
    ] {
        let DashboardResponse { status, head, body } = dashboard.send("GET /api/status", &headers);
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
    assert_eq!(dashboard.send("GET http://evil.com/api/status", &[&host, &cookie]).status, 403);
    assert_eq!(dashboard.send(&accept, &[&host, &bearer]).status, 200);
    assert!(project.baseline_file().exists());
    daemon.stop();
}

#[test]
fn dashboard_listener_has_no_route_to_open_a_dashboard() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    for method in ["POST", "DELETE"] {
        let DashboardResponse { status, body, .. } = dashboard.send(
            &format!("{method} /api/dashboard"),
            &[&dashboard.host_header(), &dashboard.bearer()],
        );
        assert_eq!(status, 404, "{body}");
    }
    assert_eq!(daemon.get("/").status, 404, "the Unix socket does not serve the page");
    daemon.stop();
}

#[test]
fn restart_keeps_port_and_token_unless_the_port_is_taken() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    daemon.stop();
    let daemon = project.start_daemon();
    let DashboardResponse { status, body, .. } =
        dashboard.send("GET /api/status", &[&dashboard.host_header(), &dashboard.cookie()]);
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["pid"], daemon.child_id());
    assert_eq!(
        dashboard
            .send(&format!("GET /{}", dashboard.one_time_path), &[&dashboard.host_header()])
            .status,
        401,
        "one-time tokens end with the process"
    );
    daemon.stop();
    // Another process has the port, so browsers may have sent it the cookie.
    let _other = TcpListener::bind(&dashboard.host).unwrap();
    let daemon = project.start_daemon();
    let new = open(&daemon);
    assert_ne!((&new.host, &new.token), (&dashboard.host, &dashboard.token));
    assert_ne!(new.token, dashboard.token);
    daemon.stop();
}

#[test]
fn listener_is_opened_at_start_by_the_configuration() {
    // Another process may take the free port before the daemon does; then another one is tried.
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
fn listener_is_opened_and_closed_by_configuration_changes() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    write_file(&project.config_file(), format!("http: {{listen: \"{listen}\"}}\n").as_bytes());
    wait_for("the listener", || TcpStream::connect(listen).is_ok().then_some(()));
    assert_eq!(open(&daemon).host, listen.to_string());
    write_file(&project.config_file(), b"http: {listen: off}\n");
    wait_for("the listener to be closed", || TcpStream::connect(listen).is_err().then_some(()));
    wait_for("the token to be forgotten", || {
        (!project.state_dir().join("dashboard.json").exists()).then_some(())
    });
    daemon.stop();
}

#[test]
fn listen_address_other_than_loopback_is_rejected_with_its_location() {
    let project = Project::complete().config("http:\n  listen: 0.0.0.0:7433\n");
    let run = project.run(&["run"]);
    run.assert_failure(
        78,
        "config.yaml:2:11: http.listen: `0.0.0.0:7433` is not a loopback address",
    );
}

#[test]
fn dashboard_command_opens_a_browser_or_prints_the_url() {
    let project = Project::complete();
    let runtime = project.runtime_dir();
    let project = project.env("XDG_RUNTIME_DIR", runtime);
    project.run_client(&["dashboard"]).assert_failure(3, "no daemon listens");
    let daemon = project.start_daemon();
    let run = project.run_client(&["dashboard", "--no-open"]).assert_success();
    assert!(
        run.stdout.starts_with("http://127.0.0.1:") && run.stdout.contains("/open/"),
        "{run:?}"
    );
    assert!(run.stderr.contains("once, within five minutes"), "{run:?}");
    // Without a browser the URL is printed; otherwise the browser gets it.
    let bin = project.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let mut without_browser = project.command(&["dashboard"]);
    without_browser.env("PATH", &bin);
    let run = crate::support::run(without_browser, COMMAND_TIMEOUT).assert_success();
    assert!(
        run.stdout.contains("/open/") && run.stderr.contains("cannot start a browser"),
        "{run:?}"
    );
    let browser = bin.join("browser");
    let opened_url = project.home().join("opened-url");
    let script = format!("#!/bin/sh\necho \"$1\" > '{}'\n", opened_url.display());
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut with_browser = project.command(&["dashboard"]);
    with_browser.env("BROWSER", &browser);
    let run = crate::support::run(with_browser, COMMAND_TIMEOUT).assert_success();
    assert!(run.stdout.is_empty() && run.stderr.contains("opened in the browser"), "{run:?}");
    assert!(fs::read_to_string(opened_url).unwrap().contains("/open/"));
    let closed = project.run_client(&["dashboard", "--close", "--json"]).assert_success().json();
    assert_eq!(closed, json!({"closed": true}));
    daemon.stop();
}
