//! The shards of the daemon, and which one a root joins.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::table::{ShardTable, UserId};
use crate::core::sync::lock;
use crate::watch::{Hint, HintKind, HintSink, NotifyWatcher, WatchError, Watcher};

/// How long a root that was noisy has an instance of its own.
pub(super) const NOISY_TIME: Duration = Duration::from_hours(1);
/// Maximum number of watches of a shard.
const MAX_WATCHES: usize = 16_000;
/// Number of instances up to which each root has one of its own: then nothing that happens in one
/// delays another.
const UNSHARED_INSTANCES: usize = 8;
/// Part of the user's instances that is used at most.
const INSTANCES_DIVISOR: usize = 4;
/// Of these, the ones that are not used for roots: for the directories above them and for the
/// configuration.
const OTHER_INSTANCES: usize = 2;
/// Number of instances of a user if the kernel's limit cannot be read: its default.
const DEFAULT_USER_INSTANCES: usize = 128;
/// The thread that reads the events of a root that has caused an overflow takes a break after so much time
/// without a pause between them: a program that changes files as fast as it can must not take a processor
/// for that as well.
const MAX_BUSY_TIME: Duration = Duration::from_millis(10);
const BREAK: Duration = Duration::from_millis(10);
/// Time over which the hints of each root are counted, to find the noisiest.
const HINT_COUNT_TIME: Duration = Duration::from_secs(10);

/// Whether a root may share an inotify instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// With others.
    Shared,
    /// Its file system may hang, or is changed by other machines.
    Own,
}

/// How many instances there may be, and which roots share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLimits {
    /// Maximum number of instances.
    pub max_instances: usize,
    /// Number of instances up to which no root shares one, but half of the maximum at most.
    pub unshared_instances: usize,
    /// Number of watches above which a root does not share.
    pub max_shared_watches: usize,
    /// Number of directories that are removed within an hour above which a root does not share.
    pub max_removed_dirs: usize,
}

/// The inotify instances of the watched roots, and their use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchUsage {
    /// Number of instances.
    pub instances: usize,
    /// Maximum number of instances.
    pub max_instances: usize,
    /// Number of instances that several roots use.
    pub shared_instances: usize,
    /// Number of watched directories.
    pub watches: usize,
}

/// Creates a watcher that sends its hints to a sink.
type MakeWatcher = dyn Fn(HintSink) -> Result<Box<dyn Watcher>, WatchError> + Send + Sync;

/// The shards. Clones share them.
#[derive(Clone)]
pub struct ShardPool(Arc<Shared>);

struct Shared {
    make: Box<MakeWatcher>,
    max_instances: Box<dyn Fn() -> usize + Send + Sync>,
    limits: ShardLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shards: Vec<Weak<Shard>>,
    last_user: u64,
    /// Roots that do not share.
    noisy: HashMap<PathBuf, Noise>,
}

/// Why a root does not share.
#[derive(Clone, Copy)]
struct Noise {
    until: Instant,
    /// It caused an overflow.
    has_overflowed: bool,
}

/// An inotify instance and its users.
pub(super) struct Shard {
    pub(super) watcher: Box<dyn Watcher>,
    pub(super) table: Arc<Mutex<ShardTable>>,
    /// Other roots may join.
    is_open: AtomicBool,
}

impl fmt::Debug for ShardPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShardPool").field(&self.usage()).finish()
    }
}

impl ShardPool {
    /// Creates a pool of inotify instances, as many as the kernel's limit at the time allows.
    #[must_use]
    pub fn inotify() -> Self {
        let make = |sink| Ok(Box::new(NotifyWatcher::new(sink)?) as Box<dyn Watcher>);
        let limits = ShardLimits {
            max_instances: 0,
            unshared_instances: UNSHARED_INSTANCES,
            max_shared_watches: 4_000,
            max_removed_dirs: 1_000,
        };
        Self::with_max_instances(make, max_instances_of_user, limits)
    }

    /// Creates a pool of the watchers that `make` creates.
    pub fn new(
        make: impl Fn(HintSink) -> Result<Box<dyn Watcher>, WatchError> + Send + Sync + 'static,
        limits: ShardLimits,
    ) -> Self {
        Self::with_max_instances(make, move || limits.max_instances, limits)
    }

    fn with_max_instances(
        make: impl Fn(HintSink) -> Result<Box<dyn Watcher>, WatchError> + Send + Sync + 'static,
        max_instances: impl Fn() -> usize + Send + Sync + 'static,
        limits: ShardLimits,
    ) -> Self {
        let (make, max_instances) = (Box::new(make), Box::new(max_instances));
        Self(Arc::new(Shared { make, max_instances, limits, state: Mutex::default() }))
    }

    /// Returns the shard that `root` joins, and its number there. It watches nothing yet.
    ///
    /// # Errors
    /// [`WatchError::InstanceLimit`] if as many instances are used as are allowed; those of the
    /// watcher.
    pub(super) fn assign(
        &self,
        root: &Path,
        share: Share,
        sink: HintSink,
    ) -> Result<(Arc<Shard>, UserId), WatchError> {
        let mut state = lock(&self.0.state);
        state.noisy.retain(|_, noise| noise.until > Instant::now());
        let is_open = share == Share::Shared && !state.noisy.contains_key(root);
        state.shards.retain(|one| one.strong_count() > 0);
        let (instances, max_instances) = (state.shards.len(), (self.0.max_instances)());
        let unshared_instances = self.0.limits.unshared_instances.min(max_instances / 2);
        let existing = if is_open && instances >= unshared_instances {
            self.smallest_for(root, &state)
        } else {
            None
        };
        let joined = match existing {
            Some(existing) => existing,
            None if instances < max_instances => {
                let takes_breaks = state.noisy.get(root).is_some_and(|noise| noise.has_overflowed);
                let new = Arc::new(self.new_shard(is_open, takes_breaks)?);
                state.shards.push(Arc::downgrade(&new));
                new
            }
            None => return Err(WatchError::InstanceLimit),
        };
        state.last_user += 1;
        let id = UserId(state.last_user);
        lock(&joined.table).join(id, root, sink);
        Ok((joined, id))
    }

    pub(super) fn limits(&self) -> &ShardLimits {
        &self.0.limits
    }

    /// Returns the present use of instances.
    #[must_use]
    pub fn usage(&self) -> WatchUsage {
        let max_instances = (self.0.max_instances)();
        let mut usage = WatchUsage { max_instances, ..WatchUsage::default() };
        let state = lock(&self.0.state);
        for shard in state.shards.iter().filter_map(Weak::upgrade) {
            let table = lock(&shard.table);
            usage.instances += 1;
            usage.shared_instances += usize::from(table.roots() > 1);
            usage.watches += table.watches();
        }
        usage
    }

    /// Returns the shard with the fewest watches of those that `root` may join.
    fn smallest_for(&self, root: &Path, state: &State) -> Option<Arc<Shard>> {
        let open = state.shards.iter().filter_map(Weak::upgrade).filter(|one| one.is_open());
        let accepting = open.filter_map(|one| {
            let table = lock(&one.table);
            let watches = table.watches();
            let has_room = watches + self.0.limits.max_shared_watches <= MAX_WATCHES;
            let accepts = has_room && table.accepts(root);
            drop(table);
            accepts.then_some((watches, one))
        });
        accepting.min_by_key(|(watches, _)| *watches).map(|(_, one)| one)
    }

    fn new_shard(&self, is_open: bool, takes_breaks: bool) -> Result<Shard, WatchError> {
        let table = Arc::new(Mutex::new(ShardTable::default()));
        let hints = HintRouter {
            table: Arc::clone(&table),
            pool: Arc::downgrade(&self.0),
            times: Mutex::new(HintTimes::new(Instant::now())),
            takes_breaks,
        };
        let watcher = (self.0.make)(Arc::new(move |hint| hints.pass_on(hint)))?;
        Ok(Shard { watcher, table, is_open: AtomicBool::new(is_open) })
    }

    /// Lets no other root join a shard that has a single one. Returns false if it has more.
    pub(super) fn close_if_alone(&self, shard: &Shard) -> bool {
        let _state = lock(&self.0.state);
        let is_alone = lock(&shard.table).roots() == 1;
        if is_alone {
            shard.is_open.store(false, Ordering::Relaxed);
        }
        is_alone
    }

    /// Has `root` use an instance of its own from the next time on that it joins.
    pub(super) fn mark_noisy(&self, root: &Path) {
        self.0.mark_noisy(root, false);
    }

    /// Lets a user leave its shard. Hints about what has happened until now still reach it, unless some are lost
    /// anyway.
    pub(super) fn leave(&self, shard: &Arc<Shard>, id: UserId) {
        let state = lock(&self.0.state);
        let mut table = lock(&shard.table);
        table.begin_leave(id);
        if Arc::strong_count(shard) == 1 {
            table.end();
        }
        if table.is_retired() {
            // What is queued may last as long as programs write.
            table.finish_leave(id);
            return;
        }
        drop(table);
        drop(state);
        let table = Arc::clone(&shard.table);
        shard.watcher.leave(Box::new(move || lock(&table).finish_leave(id)));
    }
}

impl Shared {
    fn mark_noisy(&self, root: &Path, has_overflowed: bool) {
        let roots = &mut lock(&self.state).noisy;
        let has_overflowed =
            has_overflowed || roots.get(root).is_some_and(|known| known.has_overflowed);
        let noise = Noise { until: Instant::now() + NOISY_TIME, has_overflowed };
        roots.insert(root.to_owned(), noise);
    }
}

impl Shard {
    /// Returns true if other roots may join.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Has all users move to other shards: this one has lost events or does not respond.
    pub(super) fn retire(&self) {
        retire(&self.table);
    }
}

/// Reports lost events to all users, to those with the most hints last. Returns the root with the most
/// hints, and `None` if the shard was retired before.
fn retire(table: &Mutex<ShardTable>) -> Option<PathBuf> {
    let mut table = lock(table);
    if !table.retire() {
        return None;
    }
    let (mut sinks, noisiest) = (table.all_sinks(), table.noisiest_root());
    drop(table);
    let last = sinks.pop();
    for sink in sinks {
        sink(Hint::OverflowByOthers);
    }
    if let Some(last) = last {
        last(Hint::Overflow);
    }
    noisiest
}

/// Passes the hints of a shard on.
struct HintRouter {
    table: Arc<Mutex<ShardTable>>,
    pool: Weak<Shared>,
    times: Mutex<HintTimes>,
    /// Its root caused an overflow: the next one costs others less than the events before it.
    takes_breaks: bool,
}

pub(super) struct HintTimes {
    /// Since when the hints of each root are counted.
    counted_since: Instant,
    /// Since when hints have arrived without a break.
    busy_since: Instant,
    last: Instant,
}

impl HintTimes {
    pub(super) fn new(now: Instant) -> Self {
        Self { counted_since: now, busy_since: now, last: now }
    }

    /// Records a hint. Returns true if it is time for a break.
    pub(super) fn is_break_due(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last) > BREAK {
            self.busy_since = now;
        }
        self.last = now;
        now.duration_since(self.busy_since) > MAX_BUSY_TIME
    }
}

impl HintRouter {
    fn pass_on(&self, hint: Hint) {
        match hint {
            Hint::At(path, kind) => {
                let now = Instant::now();
                let mut table = lock(&self.table);
                let mut times = lock(&self.times);
                // One that its root leaves reads on until its queue is empty.
                let takes_breaks = self.takes_breaks && table.roots() > 0;
                let is_break_due = takes_breaks && times.is_break_due(now);
                if now.duration_since(times.counted_since) > HINT_COUNT_TIME {
                    times.counted_since = now;
                    table.forget_hint_counts();
                }
                if kind == HintKind::Removed {
                    table.on_removed(&path);
                }
                let paths = table.other_paths(&path);
                let others: Vec<_> =
                    paths.into_iter().map(|path| (table.receivers(&path), path)).collect();
                let mut sinks = table.receivers(&path);
                drop((times, table));
                if is_break_due {
                    // Meanwhile the kernel queues events, and merges those that repeat.
                    std::thread::sleep(BREAK);
                }
                let last = sinks.pop();
                for sink in sinks {
                    sink(Hint::At(path.clone(), kind));
                }
                if let Some(last) = last {
                    last(Hint::At(path, kind));
                }
                for (sinks, path) in others {
                    for sink in sinks {
                        sink(Hint::At(path.clone(), kind));
                    }
                }
            }
            Hint::Overflow | Hint::OverflowByOthers => {
                if let (Some(root), Some(pool)) = (retire(&self.table), self.pool.upgrade()) {
                    pool.mark_noisy(&root, true);
                }
            }
            Hint::Failed(error) => {
                let sinks = lock(&self.table).all_sinks();
                for sink in sinks {
                    sink(Hint::Failed(error.clone()));
                }
            }
        }
    }
}

/// Returns the part of the kernel's limit of a user's instances that is used for roots.
fn max_instances_of_user() -> usize {
    let read = |file| fs::read_to_string(file).ok()?.trim().parse::<usize>().ok();
    let files = ["/proc/sys/fs/inotify/max_user_instances", "/proc/sys/user/max_inotify_instances"];
    let user = files.into_iter().filter_map(read).min().unwrap_or(DEFAULT_USER_INSTANCES);
    (user / INSTANCES_DIVISOR).saturating_sub(OTHER_INSTANCES).max(1)
}
