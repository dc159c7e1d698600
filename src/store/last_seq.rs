//! The number of the last event, in a small file next to the store. A store that is put back from a copy has
//! a lower one, also if it is copied into the same file, so that its numbers may have been assigned already.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::ownership::{check_private_file, private_open_options, read_private_file};

/// Larger than any valid content.
const MAX_BYTES: u64 = 256;

/// Returns the number that was written last for an instance; `None` if there is none.
pub(super) fn read(store: &Path, instance: &str) -> Option<u64> {
    let bytes = read_private_file(&path(store), MAX_BYTES).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (of, seq) = text.trim_end().split_once(' ')?;
    (of == instance).then(|| seq.parse().ok()).flatten()
}

/// Writes the number, in place and with one call: the directory is watched for removals. It is not synced:
/// after a power cut the instance is another one anyway.
pub(super) fn write(store: &Path, instance: &str, seq: u64) -> io::Result<()> {
    let mut options = private_open_options();
    let file = options.write(true).create(true).truncate(false).open(path(store))?;
    check_private_file(&file)?;
    let text = format!("{instance} {seq:020}\n");
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

fn path(store: &Path) -> PathBuf {
    store.with_file_name("last-seq")
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn number_is_that_of_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        assert_eq!(read(&store, "i"), None);
        write(&store, "i", 7).unwrap();
        assert_eq!((read(&store, "i"), read(&store, "j")), (Some(7), None));
        for text in ["", "i", "i x", "i -1", &"i".repeat(1_000)] {
            std::fs::write(path(&store), text).unwrap();
            assert_eq!(read(&store, "i"), None, "{text}");
        }
    }

    #[test]
    fn planted_file_is_neither_read_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        write(&store, "i", 7).unwrap();
        let planted = std::fs::read(path(&store)).unwrap();
        // As another user could leave it, and a link to such a file.
        std::fs::set_permissions(path(&store), Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read(&store, "i"), None);
        assert!(write(&store, "i", 8).is_err());
        std::fs::rename(path(&store), dir.path().join("planted")).unwrap();
        std::os::unix::fs::symlink("planted", path(&store)).unwrap();
        assert_eq!(read(&store, "i"), None);
        assert!(write(&store, "i", 8).is_err());
        assert_eq!(std::fs::read(dir.path().join("planted")).unwrap(), planted);
    }
}
