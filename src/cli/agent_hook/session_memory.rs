//! What is remembered between the hooks of one session: a small file for each, which only the user can read.
//!
//! Losing it loses nothing but the comparison with earlier hooks.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::core::digest::Digest;
use crate::ownership::{ensure_private_dir, private_open_options, read_private_file};

/// Maximum size of the file of a session; a larger one is ignored.
const MAX_BYTES: u64 = 1 << 20;
/// Maximum number of changed features that are remembered; further ones are forgotten.
const MAX_FEATURES: usize = 1_000;
/// Age after which the file of a session is removed.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);
/// Number of digits of the hash of the session's identity that name its file.
const NAME_DIGITS: usize = 32;
const SUFFIX: &str = ".json";

/// What is remembered of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionMemory {
    /// Cursor of the last event that was evaluated for the agent.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// Root of the project that the cursor is about.
    #[serde(default)]
    pub(crate) root: String,
    /// Features that changed since the session began.
    #[serde(default)]
    changed_features: BTreeSet<String>,
    /// The state in which the agent was refused to stop.
    #[serde(default)]
    pub(crate) refused_state: Option<String>,
}

impl SessionMemory {
    /// Returns the memory of a session that begins at `cursor`.
    pub(crate) fn starting_at(cursor: &str, root: &str) -> Self {
        Self { cursor: Some(cursor.to_owned()), root: root.to_owned(), ..Self::default() }
    }

    /// Adds features that changed.
    pub(crate) fn add_changed(&mut self, features: BTreeSet<String>) {
        self.changed_features.extend(features);
        while self.changed_features.len() > MAX_FEATURES {
            self.changed_features.pop_first();
        }
    }

    /// Returns true if the feature changed since the session began.
    pub(crate) fn has_changed(&self, feature: &str) -> bool {
        self.changed_features.contains(feature)
    }
}

/// The files of all sessions.
#[derive(Debug)]
pub(crate) struct SessionStore {
    dir: PathBuf,
}

impl SessionStore {
    /// Opens the directory, which is created.
    pub(crate) fn open(dir: PathBuf) -> anyhow::Result<Self> {
        ensure_private_dir(&dir)?;
        Ok(Self { dir })
    }

    /// Returns the memory of a session; nothing if there is none that can be read.
    pub(crate) fn load(&self, session: &str) -> SessionMemory {
        let bytes = read_private_file(&self.file(session), MAX_BYTES).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Replaces the memory of a session.
    pub(crate) fn save(&self, session: &str, memory: &SessionMemory) -> anyhow::Result<()> {
        let file = self.file(session);
        // Hooks of parallel tools write at the same time.
        let new = file.with_extension(format!("{}.new", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut opened =
                private_open_options().create(true).truncate(true).write(true).open(&new)?;
            opened.write_all(&serde_json::to_vec(memory)?)?;
            fs::rename(&new, &file)
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }

    /// Removes the files of sessions that were not used for a long time.
    pub(crate) fn remove_old(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let is_old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if is_session_file(&entry.path()) && is_old().is_some_and(|age| age > MAX_AGE) {
                // Another hook may have removed it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Returns the file of a session. Its identity comes from the agent and can be any text.
    fn file(&self, session: &str) -> PathBuf {
        let digest = Digest::of(session.as_bytes()).to_string();
        self.dir.join(format!("{}{SUFFIX}", &digest[..NAME_DIGITS]))
    }
}

/// Returns true for the names of our files: the directory may contain others.
fn is_session_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (stem, rest) = name.split_once('.').unwrap_or((name, ""));
    stem.len() == NAME_DIGITS
        && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (rest == "json"
            || Path::new(rest).extension().is_some_and(|extension| extension == "new"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn memory_is_kept_for_each_session_and_removed_when_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let store = SessionStore::open(dir.path().join("sessions")).unwrap();
        let hostile = "../../etc/\u{0}passwd\n";
        let mut memory = SessionMemory::starting_at("i:7", "/p");
        memory.add_changed(["001-x".to_owned()].into());
        assert_eq!(store.load(hostile), SessionMemory::default());
        store.save(hostile, &memory).unwrap();
        assert_eq!(store.load(hostile), memory);
        assert!(memory.has_changed("001-x") && !memory.has_changed("002-y"));
        assert_eq!(store.load("another"), SessionMemory::default());

        fs::write(store.dir.join("notes.json"), "kept").unwrap();
        let old = SystemTime::now() - MAX_AGE - Duration::from_secs(1);
        for entry in fs::read_dir(&store.dir).unwrap() {
            File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
        store.save("another", &memory).unwrap();
        store.remove_old();
        assert_eq!(store.load(hostile), SessionMemory::default());
        assert_eq!(store.load("another"), memory);
        assert!(store.dir.join("notes.json").exists());
    }

    #[test]
    fn invalid_file_of_a_session_is_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let store = SessionStore::open(dir.path().join("sessions")).unwrap();
        fs::write(store.file("s"), "{").unwrap();
        assert_eq!(store.load("s"), SessionMemory::default());
    }

    #[test]
    fn number_of_features_is_bounded() {
        let mut memory = SessionMemory::default();
        memory.add_changed((0..2 * MAX_FEATURES).map(|number| number.to_string()).collect());
        assert_eq!(memory.changed_features.len(), MAX_FEATURES);
    }
}
