//! Whether anybody but the receiver notices that it hangs while 100,000 events wait for it. Two
//! daemons with the same journal, one of them with such a webhook, are edited in turn: how long an
//! edit takes to a subscriber of each, and what memory each has.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use dossierd::core::digest::Digest;
use dossierd::store::Store;

use super::live::{Daemon, Edits, Subscriber, ms};

const QUEUED: u64 = 100_000;
const EDITS: u32 = 1_000;
/// The rest between two edits.
const REST: Duration = Duration::from_millis(4);
/// Most that an edit may take longer; what two runs of the same differ by.
const MAX_RATIO: f64 = 1.25;
/// Most memory that a queue may cost, in MiB.
const MAX_MEMORY: f64 = 4.0;

struct Side {
    daemon: Daemon,
    subscriber: Subscriber,
    file: PathBuf,
    edits: Edits,
}

pub(crate) fn run(scratch: &Path, secret: &Path) -> anyhow::Result<()> {
    let address = hanging()?;
    let webhook = format!(
        "webhook: {{url: 'http://{address}/', secret_file: {}, batch: 100, timeout: 1s, \
         backoff: {{first_ms: 10, most_ms: 100}}}}\n",
        secret.display()
    );
    let mut sides =
        [Side::start(&scratch.join("without"), "")?, Side::start(&scratch.join("with"), &webhook)?];
    let waits = |side: &Side| -> anyhow::Result<u64> {
        let status = side.daemon.get("/api/status")?;
        Ok(status["delivery"][0]["lag"].as_u64().unwrap_or_default())
    };
    for number in 0..EDITS {
        // Each is the first as often as the other.
        let first = (number % 2) as usize;
        for place in [first, 1 - first] {
            std::thread::sleep(REST);
            sides[place].edit(number)?;
        }
    }
    ensure!(
        waits(&sides[1])? >= QUEUED && waits(&sides[0])? == 0,
        "the queue is where it should be"
    );
    let [without, with] = &sides;
    println!("an edit to its event, no webhook: {}", without.edits);
    println!("  with {QUEUED} events for a receiver that hangs: {}", with.edits);
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let (known, time) = (without.edits.quantile(part), with.edits.quantile(part));
        let ratio = time.as_secs_f64() / known.as_secs_f64();
        let promise = if ratio <= MAX_RATIO { "met" } else { "NOT MET" };
        let (time, known) = (ms(time), ms(known));
        println!("  {name} ratio {ratio:.2} ({time} of {known}); promise {MAX_RATIO}: {promise}");
    }
    let (known, memory) = (without.daemon.mib()?, with.daemon.mib()?);
    let more = memory - known;
    let promise = if more <= MAX_MEMORY { "met" } else { "NOT MET" };
    println!("memory, no webhook: {known:.1} MiB; with that queue: {memory:.1} MiB");
    println!("  {more:.1} MiB more; promise {MAX_MEMORY} MiB: {promise}");
    sides.into_iter().try_for_each(|side| side.daemon.stop())
}

impl Side {
    fn start(home: &Path, config: &str) -> anyhow::Result<Self> {
        let state = home.join("state/dossierd");
        let mut store = Store::open(&state, "boot")?.store;
        for first in (0..QUEUED).step_by(1_000) {
            let changes = super::changes(first..first + 1_000, 100);
            store.commit(changes, SystemTime::now().into())?;
        }
        store.close()?;
        fs::create_dir_all(home.join("config/dossierd"))?;
        fs::write(home.join("config/dossierd/config.yaml"), config)?;
        let root = home.join("project");
        let feature = root.join("kitty-specs/001-a");
        fs::create_dir_all(&feature)?;
        fs::create_dir_all(root.join(".kittify"))?;
        let file = feature.join("spec.md");
        fs::write(&file, "# Spec\n")?;
        let (daemon, _) = Daemon::start(home, &root)?;
        let subscriber = daemon.subscribe()?;
        Ok(Self { daemon, subscriber, file, edits: Edits::default() })
    }

    /// Writes the file anew; notes the time from just before it was closed to its event.
    fn edit(&mut self, number: u32) -> anyhow::Result<()> {
        let text = format!("# Edit {number}\n");
        let hash = Digest::of(text.as_bytes()).to_string();
        let mut file = File::create(&self.file)?;
        file.write_all(text.as_bytes())?;
        let closed = Instant::now();
        drop(file);
        loop {
            let event = self.subscriber.next().context("an event")?;
            if event["payload"]["content_hash_sha256"] == hash {
                self.edits.times.push(closed.elapsed());
                return Ok(());
            }
        }
    }
}

/// A receiver that takes every connection and never answers.
fn hanging() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    Ok(address)
}
