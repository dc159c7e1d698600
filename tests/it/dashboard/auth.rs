//! The dashboard's listener: which credentials, host names and origins it accepts, and that a rejected
//! request reveals and changes nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

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

/// What a browser has after it followed a one-time URL, as headers.
struct Session {
    cookie: String,
    key: String,
}

/// A response of the dashboard.
#[derive(Debug)]
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

    /// Follows the one-time URL.
    fn enter(&self) -> Session {
        let line = format!("GET /{}", self.one_time_path);
        let headers = [self.host_header(), "User-Agent: test\u{202e}".to_owned()];
        let response = self.send(&line, &headers.each_ref().map(String::as_str));
        assert_eq!(response.status, 200, "{response:?}");
        let cookie = response.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        let (cookie, _) = cookie.unwrap().split_once(';').unwrap();
        let (_, key) = response.body.split_once("dossierd-session\" content=\"").unwrap();
        let (key, _) = key.split_once('"').unwrap();
        assert_eq!(key.len(), 64);
        Session { cookie: format!("Cookie: {cookie}"), key: format!("X-Dossierd-Session: {key}") }
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    fn get_status(&self, headers: &[&str]) -> DashboardResponse {
        let host = self.host_header();
        self.send("GET /api/status", &[&[host.as_str()][..], headers].concat())
    }

    /// Returns true if these credentials open no data.
    fn rejects(&self, headers: &[&str]) -> bool {
        let response = self.get_status(headers);
        response.status == 401 && !response.body.contains(FEATURE)
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
    // As an older version left it.
    let former = project.state_dir().join("dashboard.json");
    fs::create_dir_all(project.state_dir()).unwrap();
    fs::set_permissions(project.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&former, "{}").unwrap();
    let daemon = project.start_daemon();
    wait_for("the former file to be removed", || (!former.exists()).then_some(()));
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": false}));
    let dashboard = open(&daemon);
    assert!(dashboard.host.starts_with("127.0.0.1:"), "{}", dashboard.host);
    let again = open(&daemon);
    assert_eq!((&again.host, &again.token), (&dashboard.host, &dashboard.token));
    assert_ne!(again.one_time_path, dashboard.one_time_path);
    let session = again.enter();
    assert_eq!(daemon.request("DELETE", "/api/dashboard", "").json(), json!({"closed": true}));
    wait_for("the listener to be closed", || {
        TcpStream::connect(&dashboard.host).is_err().then_some(())
    });
    let new = open(&daemon);
    assert_ne!(new.token, dashboard.token, "closing invalidates the token");
    assert!(new.rejects(&[&session.cookie, &session.key]), "and every session");
    let stored = fs::read_dir(project.state_dir()).unwrap();
    for entry in stored.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let content = fs::read(&entry).unwrap();
        let has = |secret: &str| content.windows(64).any(|part| part == secret.as_bytes());
        assert!(!has(&new.token), "{}: nothing that opens the page is stored", entry.display());
    }
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
    let clears = "clear-site-data: \"storage\", \"cache\"\r\n";
    for method in ["HEAD", "POST"] {
        let line = format!("{method} /{}", dashboard.one_time_path);
        let response = dashboard.send(&line, &[&host]);
        assert_eq!(response.status, 401);
        assert!(response.head.contains(clears), "{response:?}");
    }
    let DashboardResponse { status, head, body } = dashboard.send(&first, &[&host]);
    assert_eq!(status, 200);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "path=/; httponly; samesite=strict");
    let (name, value) = value.split_once('=').unwrap();
    assert_eq!(name, format!("dossierd-{}", dashboard.port()));
    assert!(value.len() == 64 && value != dashboard.token, "the token is for programs only");
    assert!(head.contains(clears), "{head}");
    for secret in [&dashboard.token, &dashboard.one_time_path, value] {
        assert!(!body.contains(secret), "{body}");
    }
    let DashboardResponse { status, head, .. } = dashboard.send(&first, &[&host]);
    assert_eq!(status, 401, "the token is valid once");
    assert!(!head.contains("set-cookie") && head.contains(clears), "{head}");
    let cookie = format!("Cookie: {name}={value}");
    let again = dashboard.send(&first, &[&host, &cookie]);
    assert_eq!(again.status, 200, "a browser with a cookie gets to the page");
    assert!(again.head.contains("refresh: 0; url=/"), "{again:?}");
    assert!(!again.head.contains("set-cookie") && !again.head.contains("clear-site-data"));
    let DashboardResponse { status, body, .. } = dashboard.send("GET /", &[&host, &cookie]);
    assert_eq!(status, 200);
    assert!(body.contains("/assets/app.js"), "{body}");
    daemon.stop();
}

#[test]
fn cookie_alone_opens_no_data() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let Session { cookie, key } = dashboard.enter();
    let bearer = cookie.split_once('=').unwrap().1;
    let bearer = format!("Authorization: Bearer {bearer}");
    let wrong = format!("X-Dossierd-Session: {}", "0".repeat(64));
    for headers in
        [vec![&cookie], vec![&cookie, &wrong], vec![&key], vec![&bearer], vec![&bearer, &key]]
    {
        let headers: Vec<&str> = headers.into_iter().map(String::as_str).collect();
        assert!(dashboard.rejects(&headers), "{headers:?}");
    }
    let response = dashboard.get_status(&[&cookie, &key]);
    assert_eq!(response.status, 200, "{response:?}");
    // The page keeps what it stores after its session has ended.
    assert!(!dashboard.get_status(&[&cookie]).head.contains("clear-site-data"));
    daemon.stop();
}

#[test]
fn sessions_are_listed_and_revoked_with_their_streams() {
    let project = Project::complete();
    let runtime = project.runtime_dir();
    let project = project.env("XDG_RUNTIME_DIR", runtime);
    let daemon = project.start_daemon();
    let list = || project.run_client(&["dashboard", "--sessions"]).assert_success();
    assert!(list().stderr.contains("the dashboard is closed"));
    let (one, other) = (open(&daemon), open(&daemon));
    assert!(list().stderr.contains("no browser has a session"));
    let (session, kept) = (one.enter(), other.enter());
    let listed = list();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
    assert!(listed.stdout.contains("test\\u{202e}"), "{listed:?}");
    let json = project.run_client(&["dashboard", "--sessions", "--json"]).assert_success().json();
    assert_eq!(json["peer_check"], "sock_diag");
    for secret in [&session.cookie, &session.key, &kept.cookie, &kept.key, &one.token] {
        let value = secret.rsplit([' ', '=']).next().unwrap();
        assert!(!json.to_string().contains(value), "the list opens nothing: {json:#}");
    }
    let id = json["sessions"][0]["id"].as_str().unwrap();
    let mut stream = TcpStream::connect(&one.host).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let Session { cookie, key } = &session;
    let host = one.host_header();
    write!(stream, "GET /api/events HTTP/1.1\r\n{host}\r\n{cookie}\r\n{key}\r\n\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let revoked = project.run_client(&["dashboard", "--revoke", id]).assert_success();
    assert!(revoked.stderr.contains(&format!("the session {id} has ended")), "{revoked:?}");
    let mut rest = String::new();
    // The stream ends; the connection may stay open for other requests.
    while !rest.ends_with("\r\n0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        rest.push(char::from(byte[0]));
    }
    assert!(one.rejects(&[&session.cookie, &session.key]));
    assert_eq!(other.get_status(&[&kept.cookie, &kept.key]).status, 200, "another one continues");
    project.run_client(&["dashboard", "--revoke", id]).assert_failure(1, "no session");
    daemon.stop();
}

/// Returns headers with which every request is rejected, and the reason.
fn rejected_headers(dashboard: &Dashboard) -> Vec<(&'static str, Vec<String>)> {
    let (host, bearer, port) = (dashboard.host_header(), dashboard.bearer(), dashboard.port());
    let Session { cookie, key } = dashboard.enter();
    let cookie = format!("{cookie}\r\n{key}");
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
        let own = "Sec-Fetch-Site: same-origin";
        reject("two sites", &[&host, &origin, own, &site, &cookie]);
    }
    let wrong = "0".repeat(64);
    for none in [
        String::new(),
        format!("Cookie: dossierd-{port}={wrong}"),
        format!("Cookie: dossierd-{port}="),
        cookie.replace(&format!("dossierd-{port}="), "dossierd-1="),
        cookie.replace("\r\n", "x\r\n"),
        format!("Cookie: dossierd-{port}={}\r\n{key}", dashboard.token),
        key.clone(),
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
fn request_with_ambiguous_framing_gets_one_answer() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let accept = format!("/api/dossier/baseline?feature={FEATURE}");
    // What a proxy might take for a second request, which has no credentials.
    let second = format!("POST {accept} HTTP/1.1\r\n{}\r\n\r\n", dashboard.host_header());
    let length = format!("Content-Length: {}", second.len());
    let chunks = format!("0\r\n\r\n{second}");
    let chunks_length = format!("Content-Length: {}", chunks.len());
    for (framing, body) in [
        (vec!["Content-Length: 0", &*length], &second),
        (vec!["Content-Length: 0, 1"], &second),
        (vec!["Content-Length: +1"], &second),
        (vec!["Content-Length : 0"], &second),
        (vec!["Transfer-Encoding: chunked", &*chunks_length], &chunks),
        (vec!["Transfer-Encoding: xchunked"], &chunks),
        (vec!["Transfer-Encoding: chunked, identity"], &chunks),
        (vec!["Transfer-Encoding:\x0bchunked"], &chunks),
        (vec!["X: y\r\n Content-Length: 0"], &second),
    ] {
        let mut stream = TcpStream::connect(&dashboard.host).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let (host, bearer) = (dashboard.host_header(), dashboard.bearer());
        let headers = [&[host.as_str(), &bearer, "Connection: close"], &framing[..]].concat();
        let head = headers.join("\r\n");
        // The daemon may close the connection before it has read everything.
        let _ = write!(stream, "POST /api/rescan HTTP/1.1\r\n{head}\r\n\r\n{body}");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing:?}: {answer}");
    }
    assert!(!project.baseline_file().exists());
    daemon.stop();
}

#[test]
fn authorised_request_gets_security_headers_and_changes_need_an_origin() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let (host, bearer) = (dashboard.host_header(), dashboard.bearer());
    let Session { cookie, key } = dashboard.enter();
    let cookie = format!("{cookie}\r\n{key}");
    let localhost = format!("Host: LocalHost:{}", dashboard.port());
    let lower_case = bearer.replace("Bearer", "bearer");
    let origin = format!("Origin: http://{}", dashboard.host);
    // A request that changes something needs the cookie and the own origin, or the bearer token.
    let accept = format!("POST /api/dossier/baseline?feature={FEATURE}");
    assert_eq!(dashboard.send(&accept, &[&host, &cookie]).status, 403);
    assert!(!project.baseline_file().exists());
    for headers in [
        vec![host.as_str(), &cookie],
        vec![&host, &bearer],
        vec![&host, &lower_case],
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
    for request in [
        "GET /api/dashboard",
        "POST /api/dashboard",
        "DELETE /api/dashboard",
        "DELETE /api/dashboard/sessions/x",
    ] {
        let DashboardResponse { status, body, .. } =
            dashboard.send(request, &[&dashboard.host_header(), &dashboard.bearer()]);
        assert_eq!(status, 404, "{request}: {body}");
    }
    assert_eq!(daemon.get("/").status, 404, "the Unix socket does not serve the page");
    daemon.stop();
}

#[test]
fn restart_ends_token_and_sessions_and_another_process_at_the_port_gains_nothing() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    let Session { cookie, key } = dashboard.enter();
    assert_eq!(dashboard.get_status(&[&cookie, &key]).status, 200);
    daemon.stop();
    // Another process has the port: the open page sends it all that it has.
    let squatter = TcpListener::bind(&dashboard.host).unwrap();
    let daemon = project.start_daemon();
    drop(squatter);
    let new = open(&daemon);
    assert_ne!(new.host, dashboard.host, "the page has another origin");
    assert_ne!(new.token, dashboard.token);
    let cookie = cookie.replace(&format!("-{}=", dashboard.port()), &format!("-{}=", new.port()));
    assert!(new.rejects(&[&cookie, &key]) && new.rejects(&[&dashboard.bearer()]));
    let used = new.send(&format!("GET /{}", dashboard.one_time_path), &[&new.host_header()]);
    assert_eq!(used.status, 401, "one-time tokens end with the process");
    daemon.stop();
    // Also where nobody had the port, as far as the daemon knows.
    let daemon = project.start_daemon();
    assert!(TcpStream::connect(&new.host).is_err(), "it is opened on request");
    assert_ne!(open(&daemon).token, new.token);
    daemon.stop();
}

#[test]
fn configured_port_that_another_process_had_gets_a_new_token_and_no_session() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let project = Project::complete().config(&format!("http: {{listen: \"{listen}\"}}\n"));
    let daemon = project.start_daemon();
    let dashboard = open(&daemon);
    assert_eq!(dashboard.host, listen.to_string());
    let Session { cookie, key } = dashboard.enter();
    daemon.stop();
    let squatter = TcpListener::bind(listen).unwrap();
    let daemon = project.start_daemon();
    let refused = daemon.request("POST", "/api/dashboard", "");
    refused.assert_problem(503, "unavailable");
    drop(squatter);
    let new = open(&daemon);
    assert_eq!(new.host, dashboard.host);
    assert_ne!(new.token, dashboard.token);
    assert!(new.rejects(&[&cookie, &key]) && new.rejects(&[&dashboard.bearer()]));
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
    // One that was opened on request stays open over changes of other settings.
    let requested = open(&daemon);
    write_file(&project.config_file(), b"http: {listen: off}\nlog: debug\n");
    wait_for("the reload", || {
        (daemon.log().matches("configuration reloaded").count() >= 3).then_some(())
    });
    assert_eq!(open(&daemon).token, requested.token);
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
    // It reads the file that it is given, as a browser would.
    let copy = project.home().join("redirect file.html");
    let script = format!(
        "#!/bin/sh\necho \"$1\" > '{}'\ncp -p \"${{1#file://}}\" '{}'\n",
        opened_url.display(),
        copy.display()
    );
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut with_browser = project.command(&["dashboard"]);
    with_browser.env("BROWSER", &browser);
    let run = crate::support::run(with_browser, COMMAND_TIMEOUT).assert_success();
    assert!(run.stdout.is_empty() && run.stderr.contains("opened in the browser"), "{run:?}");
    let opened_url = fs::read_to_string(opened_url).unwrap();
    assert!(opened_url.starts_with("file:///") && !opened_url.contains("/open/"), "{opened_url}");
    let page = fs::read_to_string(&copy).unwrap();
    assert!(
        page.contains("content=\"0; url=http://127.0.0.1:") && page.contains("/open/"),
        "{page}"
    );
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "every user sees the arguments of a process, not this file");
    let closed = project.run_client(&["dashboard", "--close", "--json"]).assert_success().json();
    assert_eq!(closed, json!({"closed": true}));
    daemon.stop();
}
