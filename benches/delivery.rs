//! How fast events get into the journal and out of it to a webhook on this machine, and whether
//! anybody notices a receiver that hangs: `cargo bench --bench delivery`.
//!
//! Each figure stands beside something known, taken in the same run: SHA-256 of as many texts, plain
//! HTTP requests of the same size over as many kept connections, a daemon without a webhook. Prints
//! whether what is promised is met, and judges no machine by it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live;
mod still;

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
use dossierd::engine::inbox::Command;
use dossierd::engine::run::{Plan, Running, start};
use dossierd::store::{EventOrigin, FeatureChange, Store};

const COUNT: u64 = 50_000;
const CONNECTIONS: usize = 8;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn main() {
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();

    let into = journal(&folder.path().join("journal"), COUNT);
    let known = hashes();
    println!("SHA-256 of texts of 700 bytes, one core: {known:.0} a second");
    println!("events into the journal, committed by the hundred and durable: {into:.0} a second");
    println!("  ratio {:.2}; promise 20,000: {}", into / known, met(into, 20_000.0));

    let plain = plain();
    println!("plain HTTP requests, {CONNECTIONS} kept connections: {plain:.0} a second");
    for (name, features, more) in [
        ("each by itself, 100 features", 100, ""),
        ("each by itself, one feature", 1, ""),
        ("by the hundred, 100 features", 100, "batch: 100, "),
        ("by the hundred, packed, 100 features", 100, "batch: 100, gzip: true, "),
    ] {
        let rate = webhook(&folder.path().join(name), &secret, features, more);
        println!("events through the webhook, {name}: {rate:.0} a second");
        println!("  ratio {:.2}; promise 5,000: {}", rate / plain, met(rate, 5_000.0));
    }
    still::run(&folder.path().join("still"), &secret).unwrap();
}

fn met(rate: f64, promise: f64) -> &'static str {
    if rate >= promise { "met" } else { "NOT MET" }
}

fn rate(count: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}

fn hashes() -> f64 {
    let text = vec![b'x'; 700];
    let begin = Instant::now();
    for _ in 0..200_000 {
        std::hint::black_box(Digest::of(std::hint::black_box(&text)));
    }
    rate(200_000, begin.elapsed())
}

/// Events into a new journal, in commits of a hundred, with a barrier for every thousand.
fn journal(folder: &Path, count: u64) -> f64 {
    let mut store = Store::open(folder, "boot").unwrap().store;
    let begin = Instant::now();
    for first in (0..count).step_by(100) {
        store.commit(changes(first..first + 100, 100), SystemTime::now().into()).unwrap();
        if first.is_multiple_of(1_000) {
            store.barrier().unwrap();
        }
    }
    store.barrier().unwrap();
    let rate = rate(count, begin.elapsed());
    store.close().unwrap();
    rate
}

/// A journal's events through the webhook: from the start to the last one's cursor.
fn webhook(state: &Path, secret: &Path, features: u64, more: &str) -> f64 {
    let mut store = Store::open(state, "boot").unwrap().store;
    for first in (0..COUNT).step_by(1_000) {
        let at = SystemTime::now().into();
        store.commit(changes(first..first + 1_000, features), at).unwrap();
    }
    store.close().unwrap();
    let (address, requests) = server();
    let secret = secret.display();
    let text = format!("webhook: {{url: 'http://{address}/', {more}secret_file: {secret}}}");
    let config = Config::parse(text.as_bytes()).unwrap();
    let webhook = config.webhook.clone();
    let running = start(Plan::new(config, state.to_owned())).unwrap();
    let Running { inbox, views, journal, thread, .. } = running;
    let begin = Instant::now();
    let mut delivery = Delivery::start(webhook, Arc::clone(&inbox), Arc::clone(&views), journal);
    let done = || views.board().sinks().iter().any(|sink| sink.cursor == COUNT);
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let rate = rate(COUNT, begin.elapsed());
    // All of it came, and nothing was passed over.
    let sink = views.board().sinks().remove(0);
    assert_eq!((sink.delivered, sink.dropped, sink.dead_letters), (COUNT, 0, 0));
    let least = if more.contains("batch") { COUNT / 100 } else { COUNT };
    assert!(requests.load(Ordering::Relaxed) >= least);
    delivery.stop();
    inbox.command(Command::Stop).unwrap();
    thread.join().unwrap().unwrap();
    rate
}

/// The same number of requests as a plain client makes them.
fn plain() -> f64 {
    let (address, _) = server();
    let body = vec![b'x'; 1_100];
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
                let request = [head.as_bytes(), &body].concat();
                let mut answer = [0; ANSWER.len()];
                for _ in 0..COUNT / CONNECTIONS as u64 {
                    stream.write_all(&request).unwrap();
                    stream.read_exact(&mut answer).unwrap();
                }
            });
        }
    });
    rate(COUNT, begin.elapsed())
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Takes every request, and counts them.
fn server() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&counted);
            std::thread::spawn(move || take(stream, &count));
        }
    });
    (address, count)
}

fn take(stream: TcpStream, count: &AtomicU64) {
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
        if reader.read_exact(&mut body).is_err() || reader.get_mut().write_all(ANSWER).is_err() {
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

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
