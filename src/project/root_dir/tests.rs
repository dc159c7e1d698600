//! Reads and writes of `RootDir` stay below the directory.

use std::os::unix::fs::symlink;

use crate::project::root_dir::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

#[test]
fn read_refuses_links_and_large_files() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::fs::write(dir.path().join("real/file"), "12345").unwrap();
    symlink(outside.path(), dir.path().join("outside")).unwrap();
    symlink("real/file", dir.path().join("link")).unwrap();
    let root_dir = RootDir::open(dir.path()).unwrap();

    assert_eq!(root_dir.read(&path("real/file"), 5).unwrap(), Some(b"12345".to_vec()));
    assert_eq!(root_dir.read(&path("real/none"), 5).unwrap(), None);
    assert_eq!(root_dir.read(&path("none/file"), 5).unwrap(), None);
    assert!(matches!(root_dir.read(&path("real/file"), 4), Err(ReadError::TooLarge(4))));
    assert!(matches!(root_dir.read(&path("link"), 9), Err(ReadError::Symlink)));
    assert!(matches!(root_dir.read(&path("real"), 9), Err(ReadError::NotRegularFile)));
    assert!(root_dir.read(&path("outside/secret"), 9).is_err());
    assert!(matches!(root_dir.list(Some(&path("outside"))), Err(ReadError::Symlink)));
    assert!(root_dir.list(Some(&path("none"))).unwrap().is_empty());
}

#[test]
fn closed_root_reopens_only_as_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "1").unwrap();
    let root_dir = RootDir::open(&root).unwrap();
    root_dir.close_fd();
    assert_eq!(root_dir.read(&path("file"), 9).unwrap(), Some(b"1".to_vec()));
    std::fs::rename(&root, dir.path().join("moved")).unwrap();
    assert_eq!(
        root_dir.read(&path("file"), 9).unwrap(),
        Some(b"1".to_vec()),
        "while the descriptor is open"
    );
    root_dir.close_fd();
    assert!(root_dir.open_dir(None).is_err());
    std::fs::create_dir(&root).unwrap();
    assert!(root_dir.open_dir(None).is_err(), "a different directory at the path");
}

#[test]
fn replace_leaves_only_the_complete_file() {
    let dir = tempfile::tempdir().unwrap();
    let root_dir = RootDir::open(dir.path()).unwrap();
    for content in ["one", "two"] {
        root_dir.replace(&path("a/b/file"), content.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a/b/file")).unwrap(), content);
    }
    assert_eq!(root_dir.list(Some(&path("a/b"))).unwrap().len(), 1);
    assert!(root_dir.remove(&path("a/b/file")).unwrap());
    assert!(!root_dir.remove(&path("a/b/file")).unwrap());

    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("outside")).unwrap();
    assert!(root_dir.replace(&path("outside/file"), b"x").is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn created_and_exchanged_files_lose_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root_dir = RootDir::open(dir.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    root_dir.create_file(&path("a/b/new"), b"1", 0o750).unwrap();
    let mode = std::fs::metadata(dir.path().join("a/b/new")).unwrap().permissions().mode();
    assert_eq!((read("a/b/new"), mode & 0o777), ("1".to_owned(), 0o750));
    let present = root_dir.create_file(&path("a/b/new"), b"2", 0).unwrap_err();
    assert_eq!(present.kind(), std::io::ErrorKind::AlreadyExists);

    assert!(root_dir.exchange_file(&path("a/b/new"), b"2", 0o640, |found| found == b"1").unwrap());
    assert!(!root_dir.exchange_file(&path("a/b/new"), b"3", 0, |found| found == b"1").unwrap());
    assert_eq!(read("a/b/new"), "2");
    symlink(outside.path(), dir.path().join("link")).unwrap();
    assert!(root_dir.create_file(&path("link/file"), b"x", 0).is_err());
    assert!(root_dir.exchange_file(&path("link"), b"x", 0, |_| true).is_err());
    assert!(root_dir.exchange_file(&path("a/b"), b"x", 0, |_| true).is_err());
    assert!(root_dir.exchange_file(&path("none"), b"x", 0, |_| true).is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(root_dir.list(Some(&path("a/b"))).unwrap().len(), 1, "no temporary file");
}

#[test]
fn content_that_is_written_during_an_exchange_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let root_dir = RootDir::open(dir.path()).unwrap();
    let at = |name: &str| dir.path().join(name);
    let contents = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut contents: Vec<_> =
            paths.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        contents.sort();
        contents
    };
    // While the file is examined it is saved again, as editors do.
    std::fs::write(at("file"), "first save").unwrap();
    let save_again = |_: &[u8]| {
        std::fs::write(at("new"), "second save").unwrap();
        std::fs::rename(at("new"), at("file")).unwrap();
        false
    };
    let error = root_dir.exchange_file(&path("file"), b"restored", 0, save_again).unwrap_err();
    assert!(error.to_string().contains("is kept as .dossierd-"), "{error}");
    assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "second save");
    assert_eq!(contents(), ["first save", "second save"]);

    // And it is removed.
    let remove = |_: &[u8]| {
        std::fs::remove_file(at("file")).unwrap();
        false
    };
    assert!(!root_dir.exchange_file(&path("file"), b"restored", 0, remove).unwrap());
    assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "second save");
    assert_eq!(contents(), ["first save", "second save"]);
}
