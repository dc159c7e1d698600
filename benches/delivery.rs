//! Throughput of the journal and of delivery to a webhook, and the cost of a receiver that hangs:
//! `cargo bench --bench delivery`.
//!
//! Each figure is compared with a known one of the same run: SHA-256 of as many texts, plain HTTP
//! requests of the same size over as many connections, a daemon without a webhook. A broken promise
//! does not fail the run, because a slow machine breaks it too.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod hanging_receiver;
mod live_daemon;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dossierd::config::Config;
use dossierd::core::artifact::{ArtifactClass, RequiredStatus};
use dossierd::core::digest::Digest;
use dossierd::core::event::{ArtifactIndexed, Change, Payload};
use dossierd::core::path::{FeatureSlug, RelPath};
use dossierd::delivery::Delivery;
use dossierd::engine::command::Command;
use dossierd::engine::runtime::{EngineConfig, EngineHandle, start};
use dossierd::store::{EventOrigin, FeatureChange, Store};

/// Number of events.
const COUNT: u64 = 50_000;
/// Number of connections of the plain client, as many as delivery uses.
const CONNECTIONS: usize = 8;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn main() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();

    let journal = bench_journal(&dir.path().join("journal"), COUNT);
    let hashes = bench_hashes();
    println!("SHA-256 of texts of 700 bytes, one core: {hashes:.0} a second");
    println!("events into the journal, durable, 100 in a commit: {journal:.0} a second");
    println!("  ratio {:.2}; promise 20,000: {}", journal / hashes, met(journal, 20_000.0));

    let plain = bench_plain_requests();
    println!("plain HTTP requests, {CONNECTIONS} connections: {plain:.0} a second");
    for (name, features, more) in [
        ("single events, 100 features", 100, ""),
        ("single events, one feature", 1, ""),
        ("batches of 100, 100 features", 100, "batch: 100, "),
        ("compressed batches of 100, 100 features", 100, "batch: 100, gzip: true, "),
    ] {
        let rate = bench_webhook(&dir.path().join(name), &secret, features, more);
        println!("events through the webhook, {name}: {rate:.0} a second");
        println!("  ratio {:.2}; promise 5,000: {}", rate / plain, met(rate, 5_000.0));
    }
    hanging_receiver::run(&dir.path().join("hanging"), &secret).unwrap();
}

fn met(rate: f64, promise: f64) -> &'static str {
    if rate >= promise { "met" } else { "NOT MET" }
}

fn rate(count: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}

/// Returns the rate of SHA-256 of texts with the size of an event.
fn bench_hashes() -> f64 {
    let text = vec![b'x'; 700];
    let start = Instant::now();
    for _ in 0..200_000 {
        std::hint::black_box(Digest::of(std::hint::black_box(&text)));
    }
    rate(200_000, start.elapsed())
}

/// Returns the rate of events into a new journal, 100 in a commit, with a barrier for every
/// thousand.
fn bench_journal(dir: &Path, count: u64) -> f64 {
    let mut store = Store::open(dir, "boot").unwrap().store;
    let start = Instant::now();
    for first in (0..count).step_by(100) {
        store.commit(changes(first..first + 100, 100), SystemTime::now().into()).unwrap();
        if first.is_multiple_of(1_000) {
            store.barrier().unwrap();
        }
    }
    store.barrier().unwrap();
    let rate = rate(count, start.elapsed());
    store.close().unwrap();
    rate
}

/// Returns the rate of events through the webhook, from the start until the cursor is at the last
/// event.
fn bench_webhook(state: &Path, secret: &Path, features: u64, more: &str) -> f64 {
    let mut store = Store::open(state, "boot").unwrap().store;
    for first in (0..COUNT).step_by(1_000) {
        let at = SystemTime::now().into();
        store.commit(changes(first..first + 1_000, features), at).unwrap();
    }
    store.close().unwrap();
    let (address, requests) = start_server();
    let secret = secret.display();
    let text = format!("webhook: {{url: 'http://{address}/', {more}secret_file: {secret}}}");
    let config = Config::parse(text.as_bytes()).unwrap();
    let webhook = config.webhook.clone();
    let running = start(EngineConfig::new(config, state.to_owned())).unwrap();
    let EngineHandle { inbox, views, journal, thread, .. } = running;
    let start = Instant::now();
    let mut delivery = Delivery::start(webhook, Arc::clone(&inbox), Arc::clone(&views), journal);
    let is_done = || views.sinks().list().iter().any(|sink| sink.cursor == COUNT);
    while !is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let rate = rate(COUNT, start.elapsed());
    // All events were delivered, and none was dropped.
    let sink = views.sinks().list().remove(0);
    assert_eq!((sink.delivered, sink.dropped, sink.dead_letters), (COUNT, 0, 0));
    let minimum = if more.contains("batch") { COUNT / 100 } else { COUNT };
    assert!(requests.load(Ordering::Relaxed) >= minimum);
    delivery.stop();
    inbox.command(Command::Stop).unwrap();
    thread.join().unwrap().unwrap();
    rate
}

/// Returns the rate of as many requests by a plain client.
fn bench_plain_requests() -> f64 {
    let (address, _) = start_server();
    let body = vec![b'x'; 1_100];
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
                let request = [head.as_bytes(), &body].concat();
                let mut response = [0; RESPONSE.len()];
                for _ in 0..COUNT / CONNECTIONS as u64 {
                    stream.write_all(&request).unwrap();
                    stream.read_exact(&mut response).unwrap();
                }
            });
        }
    });
    rate(COUNT, start.elapsed())
}

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Starts a server that accepts every request; returns its address and the number of requests.
fn start_server() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&counted);
            std::thread::spawn(move || serve(stream, &count));
        }
    });
    (address, count)
}

fn serve(stream: TcpStream, count: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = text.trim_end().parse().unwrap();
            }
        }
        body.resize(length, 0);
        if reader.read_exact(&mut body).is_err() || reader.get_mut().write_all(RESPONSE).is_err() {
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns changes that each add an artifact to one of `features` features.
fn changes(numbers: std::ops::Range<u64>, features: u64) -> Vec<FeatureChange> {
    let origin = Arc::new(EventOrigin {
        project: "project".to_owned(),
        root_id: "0123456789abcdef".to_owned(),
        project_uuid: "6ba7b811-9dad-11d1-80b4-00c04fd430c8".to_owned(),
        node_id: "0123456789ab".to_owned(),
    });
    let change = |number: u64| {
        let slug = format!("{:03}-feature", number % features);
        let slug = FeatureSlug::new(slug.as_bytes()).unwrap();
        let path = format!("tasks/WP{number:06}.md");
        let indexed = ArtifactIndexed {
            feature_slug: slug.clone(),
            artifact_key: format!("output.{}", path.replace('/', ".")),
            artifact_class: ArtifactClass::Output,
            relative_path: RelPath::new(path.as_bytes()).unwrap(),
            content_hash_sha256: Digest::of(path.as_bytes()),
            size_bytes: 2_000,
            wp_id: Some(format!("WP{number:06}")),
            step_id: Some("implement".to_owned()),
            required_status: RequiredStatus::Optional,
            change: Change::Added,
            previous_artifact_key: None,
        };
        let events = vec![Payload::ArtifactIndexed(indexed)];
        FeatureChange { events, ..FeatureChange::new(Arc::clone(&origin), slug) }
    };
    numbers.map(change).collect()
}
