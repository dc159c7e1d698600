//! Tests of the table by itself, and of shards with the real kernel.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::pool::{HintTimes, ShardLimits, ShardPool, Share};
use super::root_watcher::RootWatcher;
use super::table::{Forgotten, Request, ShardTable, UserId};
use crate::watch::{Hint, HintKind, HintSink, NotifyWatcher, WatchError, Watcher};

fn no_sink() -> HintSink {
    Arc::new(|_| {})
}

fn table(roots: &[&str]) -> ShardTable {
    let mut table = ShardTable::default();
    for (number, root) in (1..).zip(roots) {
        assert!(table.accepts(Path::new(root)), "{root}");
        table.join(UserId(number), Path::new(root), no_sink());
    }
    table
}

#[test]
fn roots_that_contain_each_other_do_not_share() {
    let mut all = table(&["/a/b", "/a/c"]);
    for root in ["/a", "/a/b", "/a/b/d", "/"] {
        assert!(!all.accepts(Path::new(root)), "{root}");
    }
    assert!(all.accepts(Path::new("/a/bc")));
    all.begin_leave(UserId(1));
    assert!(all.accepts(Path::new("/a/b")), "one that leaves does not count");
    for number in 3..18 {
        all.join(UserId(number), Path::new(&format!("/{number}")), no_sink());
    }
    assert!(!all.accepts(Path::new("/z")), "16 at most");
}

#[test]
fn watch_of_several_roots_is_renewed_once_after_its_directory_was_removed() {
    let (dir, one, two) = (Path::new("/git"), UserId(1), UserId(2));
    let mut all = table(&["/a", "/b"]);
    let request =
        |table: &mut ShardTable, id, was_watched| table.request(id, dir, Some((1, 1)), was_watched);
    assert_eq!(request(&mut all, one, false), Request::Watch);
    assert_eq!(request(&mut all, two, false), Request::Watch, "it is watched already");
    assert_eq!(all.others(one, dir).len(), 1);
    // The directory was removed and created again: both find that out, in any order.
    assert_eq!(all.forget(one, Path::new("/"), None).watches, 1);
    assert_eq!(request(&mut all, one, false), Request::Renew);
    assert_eq!(all.forget(two, dir, Some((1, 2))).watches, 1);
    assert_eq!(request(&mut all, two, false), Request::Watch, "it was renewed after the removal");
    // The same, of a root that does not forget it.
    assert_eq!(request(&mut all, two, true), Request::Renew);
    assert_eq!(request(&mut all, one, true), Request::Watch);
    assert_eq!(request(&mut all, one, true), Request::Renew);
    // The root that has renewed it leaves.
    all.begin_leave(one);
    assert_eq!(request(&mut all, two, true), Request::Renew, "nobody else would renew it");
    assert_eq!(all.finish_leave(one), Vec::<PathBuf>::new());
    all.begin_leave(two);
    assert_eq!(all.finish_leave(two), [PathBuf::from("/git")]);
    assert_eq!(all.watches(), 0);
}

#[test]
fn late_report_of_a_removal_keeps_the_watch_of_the_new_directory() {
    let (dir, one) = (Path::new("/a/d"), UserId(1));
    let mut all = table(&["/a"]);
    assert_eq!(all.request(one, dir, Some((1, 2)), false), Request::Watch);
    assert_eq!(all.forget(one, dir, Some((1, 2))).watches, 0);
    assert_eq!(all.receivers(dir).len(), 1);
    // But its inode number may be that of the former one, so its watch is renewed when it is wanted.
    assert_eq!(all.request(one, dir, Some((1, 2)), false), Request::Renew);
}

#[test]
fn directory_that_is_hidden_and_not_removed_is_unwatched() {
    let (dir, below, one) = (Path::new("/a/d"), Path::new("/a/d/e"), UserId(1));
    let watched = || {
        let mut table = table(&["/a"]);
        for (path, inode) in [(dir, 2), (below, 3)] {
            assert_eq!(table.request(one, path, Some((1, inode)), false), Request::Watch);
        }
        table.on_watched([dir, below].into_iter());
        table
    };
    let left = |watches| Forgotten { watches, is_any_left: true };
    let mut hidden = watched();
    assert_eq!(hidden.forget(one, dir, None), left(2));
    assert_eq!(hidden.take_left(), [dir, below]);
    assert!(hidden.take_left().is_empty());

    let mut wanted_again = watched();
    assert_eq!(wanted_again.forget(one, dir, None), left(2));
    assert_eq!(wanted_again.request(one, dir, Some((2, 2)), false), Request::Renew);
    assert_eq!(wanted_again.take_left(), [below]);

    let mut removed_later = watched();
    assert_eq!(removed_later.forget(one, dir, None), left(2));
    removed_later.on_removed(dir);
    assert!(removed_later.take_left().is_empty());

    let mut removed = watched();
    removed.on_removed(below);
    removed.on_removed(dir);
    assert_eq!(removed.forget(one, dir, None), Forgotten { watches: 2, is_any_left: false });
    assert_eq!(removed.request(one, dir, Some((1, 4)), false), Request::Watch);
    // The removal of the former directory is reported while the new one is being watched.
    removed.on_removed(dir);
    removed.on_watched([dir].into_iter());
    assert_eq!(removed.forget(one, dir, None), left(1));
}

#[test]
fn directory_at_two_paths_is_watched_for_one_root() {
    let (one, two) = (UserId(1), UserId(2));
    let mut all = table(&["/a", "/b"]);
    let (first, second) = (Path::new("/a/x"), Path::new("/b/x"));
    assert_eq!(all.request(one, first, Some((1, 7)), false), Request::Watch);
    assert_eq!(all.request(two, second, Some((1, 7)), false), Request::OtherPath);
    assert_eq!(all.request(two, second, Some((2, 7)), false), Request::Watch);
    all.withdraw(one, first);
    assert_eq!(all.request(two, Path::new("/b/y"), Some((1, 7)), false), Request::Watch);
    assert_eq!(all.watches_of(two), 2);
}

#[test]
fn receivers_are_those_that_watch_a_path_or_its_parent() {
    let mut all = table(&["/a", "/b"]);
    all.request(UserId(1), Path::new("/a"), None, false);
    all.request(UserId(1), Path::new("/git"), None, false);
    all.request(UserId(2), Path::new("/git"), None, false);
    for (path, count) in [("/a", 1), ("/a/x", 1), ("/a/x/y", 0), ("/git/HEAD", 2), ("/", 0)] {
        assert_eq!(all.receivers(Path::new(path)).len(), count, "{path}");
    }
    assert_eq!(all.noisiest_root(), Some(PathBuf::from("/a")));
}

#[test]
fn directory_with_two_paths_has_events_at_both() {
    let mut all = table(&["/a"]);
    let mut request = |dir: &str, identity| {
        assert_eq!(
            all.request(UserId(1), Path::new(dir), identity, false),
            Request::Watch,
            "{dir}"
        );
    };
    request("/a/x", Some((1, 1)));
    request("/a/y", Some((1, 1)));
    request("/a/z", Some((1, 2)));
    request("/a/u", None);
    let others = |all: &ShardTable, path: &str| all.other_paths(Path::new(path));
    for (path, expected) in [("/a/x/f", "/a/y/f"), ("/a/y/f", "/a/x/f"), ("/a/x", "/a/y")] {
        assert_eq!(others(&all, path), [PathBuf::from(expected)]);
    }
    for path in ["/a/z/f", "/a/u/f", "/a/x/f/g", "/"] {
        assert!(others(&all, path).is_empty(), "{path}");
    }
    all.withdraw(UserId(1), Path::new("/a/x"));
    assert!(others(&all, "/a/y/f").is_empty());
}

/// A root in a shard of the real kernel.
struct Root {
    path: PathBuf,
    watcher: RootWatcher,
    hints: mpsc::Receiver<Hint>,
}

impl Root {
    fn join(pool: &ShardPool, parent: &Path, name: &str, share: Share) -> Result<Self, WatchError> {
        let path = parent.join(name);
        fs::create_dir_all(&path).unwrap();
        let (send, hints) = mpsc::channel();
        let sink: HintSink = Arc::new(move |hint| drop(send.send(hint)));
        let mut watcher = RootWatcher::join(pool, &path, share, sink)?;
        watcher.watch(&path, false)?;
        Ok(Self { path, watcher, hints })
    }

    /// Creates a file, and waits until its hint has arrived.
    fn expect_hint_of_new_file(&self, name: &str) {
        let path = self.path.join(name);
        fs::write(&path, "x").unwrap();
        while !matches!(self.next(), Hint::At(at, _) if at == path) {}
    }

    fn next(&self) -> Hint {
        self.hints.recv_timeout(Duration::from_secs(10)).expect("a hint within 10 s")
    }
}

fn pool(max_instances: usize) -> ShardPool {
    let make = |sink| Ok(Box::new(NotifyWatcher::new(sink)?) as Box<dyn Watcher>);
    let limits = ShardLimits {
        max_instances,
        unshared_instances: 1,
        max_shared_watches: 3,
        max_removed_dirs: 3,
    };
    ShardPool::new(make, limits)
}

#[test]
fn roots_share_an_instance_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().canonicalize().unwrap();
    let pool = pool(2);
    let one = Root::join(&pool, &parent, "one", Share::Shared).unwrap();
    let two = Root::join(&pool, &parent, "two", Share::Shared).unwrap();
    let usage = pool.usage();
    assert_eq!((usage.instances, usage.shared_instances, usage.watches), (1, 1, 2));
    let remote = Root::join(&pool, &parent, "remote", Share::Own).unwrap();
    assert_eq!(pool.usage().instances, 2);
    let refused = Root::join(&pool, &parent, "other", Share::Own).err();
    assert!(matches!(refused, Some(WatchError::InstanceLimit)), "{refused:?}");
    one.expect_hint_of_new_file("file");
    remote.expect_hint_of_new_file("file");
    two.expect_hint_of_new_file("file");
    assert!(
        one.hints
            .try_iter()
            .all(|hint| matches!(hint, Hint::At(at, _) if at.starts_with(&one.path)))
    );
    let path = one.path.clone();
    drop((one, remote));
    // The calls of a shard are made one after the other, so the first root has left by then.
    let again = Root::join(&pool, &parent, "again", Share::Shared).unwrap();
    fs::write(path.join("unwatched"), "x").unwrap();
    again.expect_hint_of_new_file("file");
    assert_eq!((pool.usage().instances, pool.usage().watches), (1, 2));
    drop((two, again));
    assert_eq!(pool.usage().instances, 0);
}

#[test]
fn large_root_moves_to_an_instance_of_its_own_without_losing_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().canonicalize().unwrap();
    let pool = pool(2);
    let one = Root::join(&pool, &parent, "one", Share::Shared).unwrap();
    let mut two = Root::join(&pool, &parent, "two", Share::Shared).unwrap();
    let created = two.path.join("before");
    fs::write(&created, "x").unwrap();
    let dirs = ["a", "b", "c", "d"].map(|name| two.path.join(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    assert!(two.watcher.watch_all(dirs.to_vec()).is_empty());
    let usage = pool.usage();
    assert_eq!((usage.instances, usage.shared_instances), (2, 0));
    while !matches!(two.next(), Hint::At(at, _) if at == created) {}
    two.expect_hint_of_new_file("d/file");
    one.expect_hint_of_new_file("file");
    assert!(!two.hints.try_iter().any(|hint| hint == Hint::Overflow));
}

#[test]
fn roots_of_a_shard_that_is_given_up_move_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().canonicalize().unwrap();
    let pool = pool(2);
    let one = Root::join(&pool, &parent, "one", Share::Shared).unwrap();
    let two = Root::join(&pool, &parent, "two", Share::Shared).unwrap();
    two.expect_hint_of_new_file("file");
    let _: Vec<Hint> = two.hints.try_iter().collect();
    let Root { watcher, hints, .. } = two;
    watcher.give_up();
    // Ends when the root has left.
    let hints: Vec<Hint> = hints.iter().collect();
    // It had more hints than the other.
    assert!(hints.contains(&Hint::Overflow), "{hints:?}");
    assert_eq!(one.next(), Hint::OverflowByOthers);
    let new = Root::join(&pool, &parent, "two", Share::Shared).unwrap();
    new.expect_hint_of_new_file("again");
    assert_eq!(pool.usage().instances, 2);
}

#[test]
fn reader_takes_breaks_only_while_events_do_not_pause() {
    let ms = Duration::from_millis;
    let start = Instant::now();
    // When hints arrive, in milliseconds; whether the last one is followed by a break.
    for (hints, is_due) in [
        (vec![0], false),
        (vec![0, 5, 10], false),
        (vec![0, 5, 11], true),
        (vec![0, 5, 10, 21], false),
        (vec![0, 9, 11, 22, 30], false),
        (vec![0, 9, 11, 22, 30, 33], true),
    ] {
        let mut times = HintTimes::new(start);
        let due = hints.iter().map(|at| times.is_break_due(start + ms(*at)));
        assert_eq!(due.last(), Some(is_due), "{hints:?}");
    }
}

/// The kernel's default of `fs.inotify.max_queued_events`.
const MAX_QUEUED_EVENTS: usize = 16_384;

/// A new instance replaces one that lost events, maybe many times while a program writes: if they remained until it
/// pauses, they would take a processor, and all instances of the user.
#[test]
fn instance_that_lost_events_ends_while_a_program_writes_as_fast_as_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let files = ["a.md", "b.md"].map(|name| root.join(name));
    let (written, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let pool = pool(8);
    // The second time, its reader takes breaks, because the root caused an overflow.
    let lose_events = || {
        let (send, hints) = mpsc::channel();
        let (resume, paused) = mpsc::channel::<()>();
        let paused = Mutex::new(paused);
        // The first hint waits until the kernel's queue is full.
        let sink: HintSink = Arc::new(move |hint| {
            let _ = paused.lock().unwrap().recv();
            let _ = send.send(hint);
        });
        let mut watcher = RootWatcher::join(&pool, &root, Share::Shared, sink).unwrap();
        watcher.watch(&root, false).unwrap();
        let before = written.load(Ordering::Relaxed);
        while written.load(Ordering::Relaxed) < before + MAX_QUEUED_EVENTS {
            std::thread::yield_now();
        }
        drop(resume);
        let next =
            || hints.recv_timeout(Duration::from_secs(30)).expect("the overflow within 30 s");
        while next() != Hint::Overflow {}
        drop(watcher);
        let begun = Instant::now();
        while hints.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Disconnected) {
            assert!(begun.elapsed() < Duration::from_secs(30), "its loop runs on");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Two events about one file would be merged by the kernel.
            for path in files.iter().cycle() {
                let mut options = OpenOptions::new();
                let mut file = options.create(true).truncate(false).write(true).open(path).unwrap();
                file.write_all(b"x").unwrap();
                written.fetch_add(1, Ordering::Relaxed);
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let lost = catch_unwind(AssertUnwindSafe(|| {
            lose_events();
            lose_events();
        }));
        is_done.store(true, Ordering::Relaxed);
        lost.unwrap();
    });
}

#[test]
fn nothing_is_watched_through_a_link_below_the_root() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("real/below")).unwrap();
    std::os::unix::fs::symlink("real", root.join("link")).unwrap();
    let (send, hints) = mpsc::channel();
    let sink: HintSink = Arc::new(move |hint| send.send(hint).unwrap());
    let mut watcher = RootWatcher::join(&pool(4), &root, Share::Shared, sink).unwrap();
    let (real, by_link) = (root.join("real/below"), root.join("link/below"));
    watcher.watch(&real, false).unwrap();
    let refused = watcher.watch_all(vec![by_link.clone()]);
    assert!(matches!(&*refused, [one] if matches!(one.error, WatchError::NotFound(_))));
    assert!(matches!(watcher.watch(&by_link, true), Err(WatchError::NotFound(_))));
    fs::create_dir(real.join("new")).unwrap();
    let next = || hints.recv_timeout(Duration::from_secs(30)).expect("a hint within 30 s");
    assert_eq!(next(), Hint::At(real.join("new"), HintKind::DirCreated));
}
