//! The least that a program does for an edit: a thread reads the kernel's event, another one reads the file,
//! hashes it, commits the hash to SQLite, and writes it to a socket. How long that takes on a machine is
//! what a figure of the daemon is compared with.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};

/// A running reference program, on threads of the benchmark.
pub(crate) struct Reference {
    file: PathBuf,
    socket: UnixStream,
    _watcher: RecommendedWatcher,
}

impl Reference {
    /// Starts it in an existing, empty directory.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        let (dir_of_file, file) = (dir.join("watched"), dir.join("watched/file.md"));
        fs::create_dir(&dir_of_file)?;
        let connection = rusqlite::Connection::open(dir.join("store.sqlite3"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE event(seq INTEGER PRIMARY KEY, hash TEXT NOT NULL)",
        )?;
        let (sender, events) = mpsc::channel();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
                if event.is_ok_and(|event| event.kind == closed) {
                    let _ = sender.send(());
                }
            })?;
        watcher.watch(&dir_of_file, RecursiveMode::NonRecursive)?;
        let (mut writer, socket) = UnixStream::pair()?;
        let path = file.clone();
        std::thread::spawn(move || -> anyhow::Result<()> {
            while events.recv().is_ok() {
                let hash: [u8; 32] = Sha256::digest(fs::read(&path)?).into();
                connection.execute("INSERT INTO event(hash) VALUES (hex(?1))", [&hash[..]])?;
                writer.write_all(&hash)?;
            }
            Ok(())
        });
        Ok(Self { file, socket, _watcher: watcher })
    }

    /// Writes the file; returns the time until its hash arrived.
    pub(crate) fn edit(&mut self, number: usize) -> anyhow::Result<Duration> {
        let content = format!("# Edit {number} {:?}\n", Instant::now());
        let expected: [u8; 32] = Sha256::digest(&content).into();
        let mut file = fs::File::create(&self.file)?;
        file.write_all(content.as_bytes())?;
        let closed = Instant::now();
        drop(file);
        let mut hash = [0; 32];
        self.socket.read_exact(&mut hash)?;
        ensure!(hash == expected, "another hash arrived");
        Ok(closed.elapsed())
    }
}
