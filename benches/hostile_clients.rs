//! What 2,000 hostile clients of each kind, and of all kinds at once, cost the daemon and others: additional
//! memory, and the response time of requests on new connections, against that without them. They are a process of
//! their own, as those of a program that has gone wrong.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::live_daemon::{Daemon, number_after};
use super::project::promise;
use super::{promise_time, time_requests};

/// Number of clients at the same time.
const CLIENTS: usize = 2_000;
/// Maximum additional memory with them, in MiB.
const MAX_MORE_MIB: f64 = 64.0;
/// Maximum p99 of the requests of others: the larger one of this, and this many times that without them.
const MAX_P99: Duration = Duration::from_millis(5);
const MAX_P99_RATIO: u32 = 5;
/// Number of files whose changes make events, snapshots and pages of a megabyte.
const FILES: usize = 5_000;
/// Sizes in bytes of contents: as text, and rendered as a tree of elements.
const TEXT_BYTES: usize = 5_000_000;
const RENDERED_BYTES: usize = 100_000;

/// The argument with which the benchmark is started as the process of the hostile clients.
pub(crate) const AS_CLIENTS: &str = "as-hostile-clients";

/// A hostile client: what it connects to, and what it sends before it neither reads nor writes any more.
struct Kind {
    name: &'static str,
    is_loopback: bool,
    request: String,
}

/// What the process of the hostile clients does, as JSON on its standard input.
#[derive(serde::Serialize, serde::Deserialize)]
struct Attack {
    socket: PathBuf,
    /// Address of the dashboard.
    address: String,
    /// What the clients send in turn, and whether on loopback.
    requests: Vec<(bool, String)>,
}

/// The process of the hostile clients; they leave when it is dropped.
struct Attackers(Child);

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Attackers {
    /// Starts the process. Returns it with the number of clients that are connected.
    fn start(attack: &Attack) -> anyhow::Result<(Self, usize)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(AS_CLIENTS).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Self(command.spawn()?);
        let mut stdin = child.0.stdin.take().context("no standard input")?;
        serde_json::to_writer(&mut stdin, attack)?;
        drop(stdin);
        let mut line = String::new();
        BufReader::new(child.0.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        let clients = line.trim().parse().context("the clients failed")?;
        Ok((child, clients))
    }
}

/// A connection of a hostile client.
enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Connects the clients, reports how many are connected, and stays.
pub(crate) fn run_as_clients() -> anyhow::Result<()> {
    let attack: Attack = serde_json::from_reader(std::io::stdin())?;
    // Those that find no place are closed by the daemon, or wait in the backlog.
    let requests = attack.requests.iter().cycle().take(CLIENTS);
    let clients: Vec<Connection> = requests.filter_map(|one| attack.connect(one).ok()).collect();
    println!("{}", clients.len());
    std::io::stdout().flush()?;
    loop {
        thread::park();
    }
}

impl Attack {
    /// Connects a client and sends its request.
    fn connect(&self, (is_loopback, request): &(bool, String)) -> anyhow::Result<Connection> {
        let mut connection = if *is_loopback {
            // The backlog of a listener whose slots are taken may be full.
            let limit = Duration::from_millis(5);
            let stream = TcpStream::connect_timeout(&self.address.parse()?, limit)?;
            stream.set_nonblocking(true)?;
            Connection::Tcp(stream)
        } else {
            Connection::Unix(UnixStream::connect(&self.socket)?)
        };
        let stream: &mut dyn Write = match &mut connection {
            Connection::Unix(stream) => stream,
            Connection::Tcp(stream) => stream,
        };
        stream.write_all(request.as_bytes())?;
        Ok(connection)
    }
}

/// Measures each kind and all together. Each time the daemon is another one, with the same journal.
pub(crate) fn run(daemon: Daemon, root: &Path, slug: &str, others: &str) -> anyhow::Result<()> {
    make_large_responses(&daemon, root, slug)?;
    let alone = time_requests(&daemon, others)?;
    println!("a request, alone                  {alone}");
    let target = Target {
        home: daemon.home.clone(),
        root,
        others,
        max_p99: MAX_P99.max(alone.quantile(0.99) * MAX_P99_RATIO),
    };
    let kinds = kinds(&daemon, slug)?;
    daemon.stop()?;
    for kind in &kinds {
        target.measure(kind.name, std::slice::from_ref(kind), false)?;
    }
    target.measure("of all kinds", &kinds, false)?;
    target.measure("of all kinds, and a flood", &kinds, true)
}

/// What is attacked.
struct Target<'a> {
    home: PathBuf,
    root: &'a Path,
    /// The request of others.
    others: &'a str,
    max_p99: Duration,
}

impl Target<'_> {
    /// Measures clients of some kinds. With a flood, another user connects all the time.
    fn measure(&self, name: &str, kinds: &[Kind], with_flood: bool) -> anyhow::Result<()> {
        let (daemon, _) = Daemon::start(&self.home, self.root)?;
        let dashboard = Dashboard::open(&daemon)?;
        let flood = if with_flood { Flood::start(&dashboard.address)? } else { None };
        if with_flood && flood.is_none() {
            println!("NOT RUN: connections of another user (needs root, `setpriv` and `bash`)");
            return daemon.stop();
        }
        time_requests(&daemon, self.others)?;
        let before = daemon.mib()?;
        reset_peak(&daemon)?;
        let attack = dashboard.attack(kinds, &daemon);
        let (attackers, clients) = Attackers::start(&attack)?;
        let times = time_requests(&daemon, self.others)?;
        println!("with {clients} {name:<28} {times}");
        promise_time("p99", times.quantile(0.99), self.max_p99);
        let more = peak_mib(&daemon)? - before;
        let ratio = more / MAX_MORE_MIB;
        promise(
            &format!("{more:.1} MiB more, at most {MAX_MORE_MIB} ({ratio:.2} of it)"),
            more <= MAX_MORE_MIB,
        );
        drop((attackers, flood));
        daemon.stop()
    }
}

/// In a request these are replaced by the dashboard's address and token.
const ADDRESS: &str = "ADDRESS";
const TOKEN: &str = "TOKEN";

fn kinds(daemon: &Daemon, slug: &str) -> anyhow::Result<Vec<Kind>> {
    let (text, rendered) = (key_of(daemon, slug, "large.txt")?, key_of(daemon, slug, "many.json")?);
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {ADDRESS}\r\n{headers}\r\n")
    };
    let json = "Accept: application/json\r\n";
    let unix = |name, request| Kind { name, is_loopback: false, request };
    let tcp = |name, request| Kind { name, is_loopback: true, request };
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let stranger = format!("Authorization: Bearer {}\r\n", "0".repeat(64));
    let pipelined = get("/api/status", "").repeat(50);
    let artifact = format!("/api/dossier/artifacts/{text}?feature={slug}");
    let tree = format!("/api/dossier/artifacts/{rendered}?feature={slug}&render=true");
    let export = format!("/api/dossier/snapshots/export?feature={slug}");
    let post = |target: &str, length: usize| {
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
    };
    let body = post(&format!("/api/dossier/baseline?feature={slug}"), 60_000) + "{";
    Ok(vec![
        unix("idle connections", String::new()),
        unix("half request heads", "GET /api/ev".to_owned()),
        unix("half request bodies", body),
        unix("rescans", post("/api/rescan", 0)),
        unix("unread pipelines", pipelined),
        unix("unread streams", get("/api/events?since=start", "")),
        unix("unread gaps", get("/api/events?since=other:5", "")),
        unix("unread pages", get("/api/events?since=start&limit=1000", json)),
        unix("unread exports", get(&export, json)),
        unix("unread texts", get(&artifact, json)),
        unix("unread trees", get(&tree, json)),
        unix("requests about other paths", get("/api/status?project=/proc/1/cwd/x", "")),
        tcp("idle on loopback", String::new()),
        tcp("half heads on loopback", "GET /api/ev".to_owned()),
        tcp("wrong tokens on loopback", get("/api/status", &stranger)),
        tcp("streams on loopback", get("/api/events?since=start", &bearer)),
        tcp("trees on loopback", get(&tree, &bearer)),
    ])
}

/// An open dashboard.
struct Dashboard {
    address: String,
    token: String,
}

impl Dashboard {
    fn open(daemon: &Daemon) -> anyhow::Result<Self> {
        let opened: serde_json::Value = serde_json::from_str(&post(daemon, "/api/dashboard")?)?;
        let text = |name: &str| opened[name].as_str().map(str::to_owned).context("not opened");
        let address = text("address")?;
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Self { address, token: text("token")? })
    }

    fn attack(&self, kinds: &[Kind], daemon: &Daemon) -> Attack {
        let request = |kind: &Kind| {
            let request = kind.request.replace(ADDRESS, &self.address).replace(TOKEN, &self.token);
            (kind.is_loopback, request)
        };
        let requests = kinds.iter().map(request).collect();
        Attack { socket: daemon.socket.clone(), address: self.address.clone(), requests }
    }
}

/// Writes files whose events, snapshots and contents are large.
fn make_large_responses(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let dir = root.join("kitty-specs").join(slug).join("research");
    fs::create_dir_all(dir.join("drift"))?;
    fs::write(dir.join("large.txt"), "x".repeat(TEXT_BYTES - 1_000_000))?;
    fs::write(dir.join("many.json"), format!("[{}1]", "1,".repeat(RENDERED_BYTES / 2)))?;
    let write = |text: &str| -> anyhow::Result<()> {
        for number in 0..FILES {
            fs::write(dir.join(format!("drift/{number}-with-a-long-name.md")), text)?;
        }
        daemon.get("/api/status?sync=true")?;
        Ok(())
    };
    write("one\n")?;
    // Refused while the disk is still compared, after so many changes.
    let accept = format!("/api/dossier/baseline?feature={slug}");
    let deadline = Instant::now() + Duration::from_mins(2);
    while let Err(error) = post(daemon, &accept) {
        ensure!(Instant::now() < deadline, error);
        thread::sleep(Duration::from_secs(1));
    }
    write("two\n")?;
    // Each of these is followed by an event that lists all differences.
    for number in 0..20 {
        fs::write(dir.join(format!("drift/other-{number}.md")), "x")?;
        daemon.get(&format!("/api/dossier/drift?feature={slug}&sync=true"))?;
    }
    Ok(())
}

/// Returns the key of the artifact with this file name.
fn key_of(daemon: &Daemon, slug: &str, name: &str) -> anyhow::Result<String> {
    let list = daemon.get(&format!("/api/dossier/artifacts?feature={slug}&sync=true"))?;
    let artifacts = list["artifacts"].as_array().context("no artifacts")?;
    let artifact = artifacts.iter().find(|artifact| {
        artifact["relative_path"].as_str().is_some_and(|path| path.ends_with(name))
    });
    let key = artifact.and_then(|artifact| artifact["artifact_key"].as_str());
    Ok(key.with_context(|| format!("no artifact {name}"))?.to_owned())
}

/// Sends a request that must succeed; returns its body.
fn post(daemon: &Daemon, target: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(&daemon.socket)?;
    let head = "Host: x\r\nContent-Length: 0\r\nConnection: close";
    write!(stream, "POST {target} HTTP/1.1\r\n{head}\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    ensure!(response.starts_with("HTTP/1.1 200"), "{target}: {response}");
    Ok(response.split_once("\r\n\r\n").context("no body")?.1.to_owned())
}

/// A process that opens and closes connections as fast as it can; killed when dropped.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Flood {
    /// Starts it as another user, on the dashboard's port; `None` if that is not possible.
    fn start(address: &str) -> anyhow::Result<Option<Self>> {
        let command = |script: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.args(["bash", "-c", script]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if !command("true").status().is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let address = address.replace(':', "/");
        let script = format!("while :; do exec 3<>/dev/tcp/{address}; exec 3>&-; done");
        Ok(Some(Self(command(&script).spawn()?)))
    }
}

/// Has the kernel forget the peak of the daemon's memory (`clear_refs` in `man 5 proc_pid_clear_refs`).
fn reset_peak(daemon: &Daemon) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{}/clear_refs", daemon.pid), "5")?)
}

/// Returns the peak of the resident memory since then, in MiB.
fn peak_mib(daemon: &Daemon) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid))?;
    Ok(number_after(&status, "VmHWM:").context("no VmHWM")? as f64 / 1024.0)
}
