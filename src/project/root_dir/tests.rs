//! Reads and writes stay beneath their directory.

use std::os::unix::fs::symlink;

use crate::project::root_dir::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

#[test]
fn reads_stay_beneath_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::fs::write(dir.path().join("real/file"), "12345").unwrap();
    symlink(outside.path(), dir.path().join("away")).unwrap();
    symlink("real/file", dir.path().join("link")).unwrap();
    let folder = RootDir::open(dir.path()).unwrap();

    assert_eq!(folder.read(&path("real/file"), 5).unwrap(), Some(b"12345".to_vec()));
    assert_eq!(folder.read(&path("real/none"), 5).unwrap(), None);
    assert_eq!(folder.read(&path("none/file"), 5).unwrap(), None);
    assert!(matches!(folder.read(&path("real/file"), 4), Err(ReadError::TooLarge(4))));
    assert!(matches!(folder.read(&path("link"), 9), Err(ReadError::Symlink)));
    assert!(matches!(folder.read(&path("real"), 9), Err(ReadError::NotRegularFile)));
    assert!(folder.read(&path("away/secret"), 9).is_err());
    assert!(matches!(folder.list(Some(&path("away"))), Err(ReadError::Symlink)));
    assert!(folder.list(Some(&path("none"))).unwrap().is_empty());
}

#[test]
fn what_was_released_is_the_same_folder_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "1").unwrap();
    let folder = RootDir::open(&root).unwrap();
    folder.close_fd();
    assert_eq!(folder.read(&path("file"), 9).unwrap(), Some(b"1".to_vec()));
    std::fs::rename(&root, dir.path().join("moved")).unwrap();
    assert_eq!(folder.read(&path("file"), 9).unwrap(), Some(b"1".to_vec()), "while held");
    folder.close_fd();
    assert!(folder.open_dir(None).is_err());
    std::fs::create_dir(&root).unwrap();
    assert!(folder.open_dir(None).is_err(), "another folder is there now");
}

#[test]
fn writes_replace_whole_files_and_leave_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RootDir::open(dir.path()).unwrap();
    for content in ["one", "two"] {
        folder.replace(&path("a/b/file"), content.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a/b/file")).unwrap(), content);
    }
    assert_eq!(folder.list(Some(&path("a/b"))).unwrap().len(), 1);
    assert!(folder.remove(&path("a/b/file")).unwrap());
    assert!(!folder.remove(&path("a/b/file")).unwrap());

    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("away")).unwrap();
    assert!(folder.replace(&path("away/file"), b"x").is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}
