//! The number of the last event, in a small file next to the store. A store that is put back from a copy has
//! a lower one, also if it is copied into the same file, so that its numbers may have been assigned already.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Larger than any valid content.
const MAX_BYTES: u64 = 256;

/// Returns the number that was written last for an instance; `None` if there is none.
pub(super) fn read(store: &Path, instance: &str) -> Option<u64> {
    let path = path(store);
    let is_small =
        fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() < MAX_BYTES);
    let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten()?;
    let (of, seq) = text.trim_end().split_once(' ')?;
    (of == instance).then(|| seq.parse().ok()).flatten()
}

/// Writes the number, in place and with one call: the directory is watched for removals. It is not synced:
/// after a power cut the instance is another one anyway.
pub(super) fn write(store: &Path, instance: &str, seq: u64) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.custom_flags(flags);
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path(store))?;
    let text = format!("{instance} {seq:020}\n");
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

fn path(store: &Path) -> PathBuf {
    store.with_file_name("last-seq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_that_of_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        assert_eq!(read(&store, "i"), None);
        write(&store, "i", 7).unwrap();
        assert_eq!((read(&store, "i"), read(&store, "j")), (Some(7), None));
        for text in ["", "i", "i x", "i -1", &"i".repeat(1_000)] {
            fs::write(path(&store), text).unwrap();
            assert_eq!(read(&store, "i"), None, "{text}");
        }
    }
}
