//! Cost of a webhook whose receiver hangs while 100,000 events wait for it. Two daemons have the
//! same journal, and one of them such a webhook; the latency of edits and the memory of both are
//! compared.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use dossierd::core::digest::Digest;
use dossierd::store::Store;

use super::live_daemon::{Daemon, Subscriber, Timings, ms, write_config};

/// Number of waiting events.
const QUEUED: u64 = 100_000;
/// Number of edits of each daemon.
const EDITS: u32 = 1_000;
/// Interval between two edits.
const EDIT_INTERVAL: Duration = Duration::from_millis(4);
/// Maximum ratio of the latencies, which is the variation between two equal runs.
const MAX_RATIO: f64 = 1.25;
/// Maximum additional memory, in MiB.
const MAX_MEMORY_MIB: f64 = 4.0;

/// One of the two daemons.
struct Side {
    daemon: Daemon,
    subscriber: Subscriber,
    file: PathBuf,
    edits: Timings,
}

/// Runs the comparison and prints the results.
pub(crate) fn run(scratch: &Path, secret: &Path) -> anyhow::Result<()> {
    let address = start_hanging_receiver()?;
    let webhook = format!(
        "webhook: {{url: 'http://{address}/', secret_file: {}, batch: 100, timeout: 1s, \
         backoff: {{first_ms: 10, most_ms: 100}}}}\n",
        secret.display()
    );
    let mut sides =
        [Side::start(&scratch.join("without"), "")?, Side::start(&scratch.join("with"), &webhook)?];
    let lag = |side: &Side| -> anyhow::Result<u64> {
        let status = side.daemon.get("/api/status")?;
        Ok(status["delivery"][0]["lag"].as_u64().unwrap_or_default())
    };
    for number in 0..EDITS {
        // Each daemon is the first equally often.
        let first = (number % 2) as usize;
        for index in [first, 1 - first] {
            std::thread::sleep(EDIT_INTERVAL);
            sides[index].edit(number)?;
        }
    }
    ensure!(
        lag(&sides[1])? >= QUEUED && lag(&sides[0])? == 0,
        "only the daemon with a webhook has waiting events"
    );
    let [without, with] = &sides;
    println!("latency of an edit without webhook: {}", without.edits);
    println!("  with {QUEUED} events for a receiver that hangs: {}", with.edits);
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let (baseline, time) = (without.edits.quantile(part), with.edits.quantile(part));
        let ratio = time.as_secs_f64() / baseline.as_secs_f64();
        let promise = if ratio <= MAX_RATIO { "met" } else { "NOT MET" };
        let (time, baseline) = (ms(time), ms(baseline));
        println!(
            "  {name} ratio {ratio:.2} ({time} of {baseline}); promise {MAX_RATIO}: {promise}"
        );
    }
    let (baseline, memory) = (without.daemon.mib()?, with.daemon.mib()?);
    let more = memory - baseline;
    let promise = if more <= MAX_MEMORY_MIB { "met" } else { "NOT MET" };
    println!("memory without webhook: {baseline:.1} MiB; with waiting events: {memory:.1} MiB");
    println!("  {more:.1} MiB more; promise {MAX_MEMORY_MIB} MiB: {promise}");
    sides.into_iter().try_for_each(|side| side.daemon.stop())
}

impl Side {
    /// Starts a daemon with a prepared journal.
    fn start(home: &Path, config: &str) -> anyhow::Result<Self> {
        let state = home.join("state/dossierd");
        let mut store = Store::open(&state, "boot")?.store;
        for first in (0..QUEUED).step_by(1_000) {
            let changes = super::changes(first..first + 1_000, 100);
            store.commit(changes, SystemTime::now().into())?;
        }
        store.close()?;
        write_config(home, config)?;
        let root = home.join("project");
        let feature = root.join("kitty-specs/001-a");
        fs::create_dir_all(&feature)?;
        fs::create_dir_all(root.join(".kittify"))?;
        let file = feature.join("spec.md");
        fs::write(&file, "# Spec\n")?;
        let (daemon, _) = Daemon::start(home, &root)?;
        let subscriber = daemon.subscribe()?;
        Ok(Self { daemon, subscriber, file, edits: Timings::default() })
    }

    /// Rewrites the file; records the time from just before it was closed to its event.
    fn edit(&mut self, number: u32) -> anyhow::Result<()> {
        let text = format!("# Edit {number}\n");
        let hash = Digest::of(text.as_bytes()).to_string();
        let mut file = File::create(&self.file)?;
        file.write_all(text.as_bytes())?;
        let closed = Instant::now();
        drop(file);
        loop {
            let event = self.subscriber.next().context("no event")?;
            if event["payload"]["content_hash_sha256"] == hash {
                self.edits.times.push(closed.elapsed());
                return Ok(());
            }
        }
    }
}

/// Starts a receiver that accepts connections and never responds.
fn start_hanging_receiver() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    Ok(address)
}
