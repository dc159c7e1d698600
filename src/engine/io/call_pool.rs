//! Threads for calls that can block: everything that touches a project's file system.
//!
//! Calls wait in fair queues, one for each [`Lane`] and project. Threads are started when calls wait
//! and end when there is nothing to do. Each step of a call has a time limit
//! ([`progress`](crate::core::progress)). A call that exceeds it is written off: its result counts no
//! more, its thread is replaced, and the project that it belongs to does not respond. The thread
//! ends when the call returns, if ever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use tracing::warn;

use super::fair_queue::FairQueue;
use crate::core::progress::{self, CallProgress};
use crate::core::sync::lock;
use crate::engine::ids::ProjectId;
use crate::engine::reconcile::effect::EffectId;

/// Interval at which the calls that are running are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A call that runs for longer than this may be blocked, so that another thread is started.
const BLOCKED_AFTER: Duration = Duration::from_millis(20);
/// Time after which a thread that has nothing to do ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a thread that was woken ahead of a call looks for it before it waits again.
const AHEAD: Duration = Duration::from_micros(150);
/// Maximum number of threads that are written off. Beyond it their calls are still abandoned, and the
/// threads count as those of the lane.
const MAX_WRITTEN_OFF: usize = 32;
/// Maximum number of threads of a lane, blocked ones included.
const MAX_LANE_THREADS: usize = 32;
/// Pause after the system refused a thread.
const SPAWN_RETRY: Duration = Duration::from_secs(1);

/// A kind of calls with threads of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Lane {
    /// The effects of a project, one after the other.
    Project,
    /// Checks of files that are read in a moment.
    SmallFile,
    /// Checks of larger files.
    LargeFile,
    /// Files that are read only to verify what is known.
    Verify,
    /// Writing snapshot files, one after the other.
    Snapshot,
    /// Contents and baselines for clients.
    Client,
}

impl Lane {
    const ALL: [Self; 6] = [
        Self::Project,
        Self::SmallFile,
        Self::LargeFile,
        Self::Verify,
        Self::Snapshot,
        Self::Client,
    ];

    fn limits(self, cores: usize) -> LaneLimits {
        let (name, threads, per_project, nice) = match self {
            Self::Project => ("project", cores.max(4), 1, 0),
            Self::SmallFile => ("hash", cores, cores, 0),
            Self::LargeFile => ("hash-large", cores, cores, 10),
            Self::Verify => ("verify", 1, 1, 19),
            Self::Snapshot => ("snapshot", 1, 1, 5),
            Self::Client => ("client", cores, 1, 5),
        };
        LaneLimits { name, threads, per_project, nice }
    }
}

#[derive(Debug, Clone, Copy)]
struct LaneLimits {
    name: &'static str,
    /// Number of threads that run calls at the same time, not counting those that may be blocked.
    threads: usize,
    /// Number of calls of one project that run at the same time.
    per_project: usize,
    /// Priority of the threads, as in `nice(1)`.
    nice: i32,
}

/// A call; it reports its own result. The buffer is that of the thread, used again by later calls.
pub(in crate::engine) type Call = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// A call that exceeded its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Overdue {
    pub(in crate::engine) lane: Lane,
    pub(in crate::engine) project: ProjectId,
    /// The effect that the call executes, if it is one that completes.
    pub(in crate::engine) effect: Option<EffectId>,
}

/// Handle of the lanes.
#[derive(Debug, Clone)]
pub(in crate::engine) struct CallPool {
    lanes: Arc<BTreeMap<Lane, LaneThreads>>,
    /// Calls wait for the end of [`CallPool::submit_together`].
    is_collecting: Arc<AtomicBool>,
    /// Number of threads that are written off and have not ended.
    written_off: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct LaneThreads {
    limits: LaneLimits,
    state: Mutex<LaneState>,
    wake: Condvar,
    /// A call ended.
    done: Condvar,
}

struct LaneState {
    queue: FairQueue<(Option<EffectId>, Call)>,
    running: BTreeMap<u64, Running>,
    next_call: u64,
    /// Number of threads, without those that are written off.
    threads: usize,
    idle: usize,
    is_stopped: bool,
    /// Until when no thread is started, because the system refused one.
    spawn_at: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    project: ProjectId,
    effect: Option<EffectId>,
    since: Instant,
    progress: Arc<CallProgress>,
    /// The number of steps at the last check, and when that was first seen.
    steps: u64,
    steps_seen_at: Instant,
    checked_at: Instant,
    /// It was reported as overdue and its thread could not be written off.
    is_reported: bool,
}

impl std::fmt::Debug for LaneState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { running, threads, idle, .. } = self;
        write!(f, "{threads} threads, {idle} idle, running {running:?}")
    }
}

impl CallPool {
    /// Creates the lanes, without a thread.
    pub(in crate::engine) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = Lane::ALL.map(|lane| {
            let limits = lane.limits(cores);
            let state = LaneState {
                queue: FairQueue::new(limits.per_project),
                running: BTreeMap::new(),
                next_call: 0,
                threads: 0,
                idle: 0,
                is_stopped: false,
                spawn_at: None,
            };
            (
                lane,
                LaneThreads {
                    limits,
                    state: Mutex::new(state),
                    wake: Condvar::new(),
                    done: Condvar::new(),
                },
            )
        });
        let lanes = Arc::new(BTreeMap::from(lanes));
        Self { lanes, is_collecting: Arc::default(), written_off: Arc::default() }
    }

    /// Queues a call of a project.
    pub(in crate::engine) fn submit(
        &self,
        lane: Lane,
        project: ProjectId,
        effect: Option<EffectId>,
        call: Call,
    ) {
        let Some(threads) = self.lanes.get(&lane) else {
            return;
        };
        let mut state = threads.lock();
        if state.is_stopped {
            return;
        }
        state.queue.push(project, (effect, call));
        if !self.is_collecting.load(Ordering::Relaxed) {
            self.serve(lane, threads, state, Instant::now());
        }
    }

    /// Wakes a thread for a call that is about to be submitted: by then it runs.
    pub(in crate::engine) fn wake_ahead(&self, lane: Lane) {
        if let Some(threads) = self.lanes.get(&lane)
            && threads.lock().idle > 0
        {
            threads.wake.notify_one();
        }
    }

    /// Returns true if a single call of a lane waits or is running.
    pub(in crate::engine) fn has_one_call(&self, lane: Lane) -> bool {
        self.lanes.get(&lane).is_some_and(|threads| {
            let state = threads.lock();
            state.running.len() + state.queue.startable() == 1
        })
    }

    /// Wakes threads for the calls that `submit` queues when it has ended: a thread that is woken for each of
    /// them would mostly have ended its call, and wait again, when the next one is queued.
    pub(in crate::engine) fn submit_together(&self, submit: impl FnOnce()) {
        self.is_collecting.store(true, Ordering::Relaxed);
        submit();
        self.is_collecting.store(false, Ordering::Relaxed);
        let now = Instant::now();
        for (lane, threads) in &*self.lanes {
            let waiting = threads.lock().queue.startable();
            for _ in 0..waiting.min(threads.limits.threads) {
                self.serve(*lane, threads, threads.lock(), now);
            }
        }
    }

    /// Wakes a thread, or starts one, if a call waits and too few threads run.
    fn serve(
        &self,
        lane: Lane,
        threads: &LaneThreads,
        mut state: MutexGuard<'_, LaneState>,
        now: Instant,
    ) {
        if state.queue.is_empty() || state.is_stopped {
            return;
        }
        if state.idle > 0 {
            drop(state);
            threads.wake.notify_one();
            return;
        }
        let is_refused = state.spawn_at.is_some_and(|at| at > now);
        if state.active(now) >= threads.limits.threads
            || state.threads >= MAX_LANE_THREADS
            || is_refused
        {
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = self.clone();
        let spawned =
            Builder::new().name(threads.limits.name.to_owned()).spawn(move || pool.work(lane));
        if let Err(error) = spawned {
            let mut state = threads.lock();
            state.threads -= 1;
            state.spawn_at = Some(now + SPAWN_RETRY);
            drop(state);
            warn!(%error, thread = threads.limits.name, "cannot start a thread; will retry");
        }
    }

    /// Drops the calls of a project that wait.
    pub(in crate::engine) fn clear(&self, project: ProjectId) {
        for lane in self.lanes.values() {
            lane.lock().queue.clear(project);
        }
    }

    /// Writes off the threads whose call exceeded its limit, and starts threads where all that
    /// there are may be blocked.
    pub(in crate::engine) fn supervise(&self, now: Instant) -> Vec<Overdue> {
        let mut overdue = Vec::new();
        for (lane, threads) in &*self.lanes {
            let mut state = threads.lock();
            let late: Vec<u64> = state
                .running
                .iter_mut()
                .filter(|(_, call)| !call.is_reported)
                .filter_map(|(number, call)| call.is_overdue(now).then_some(*number))
                .collect();
            for number in late {
                let may_write_off = self.written_off.load(Ordering::Relaxed) < MAX_WRITTEN_OFF;
                let Some(call) = state.running.get_mut(&number) else {
                    continue;
                };
                let (project, effect) = (call.project, call.effect);
                overdue.push(Overdue { lane: *lane, project, effect });
                if !may_write_off {
                    call.is_reported = true;
                    continue;
                }
                state.running.remove(&number);
                state.queue.finish(project);
                state.threads -= 1;
                self.written_off.fetch_add(1, Ordering::Relaxed);
            }
            self.serve(*lane, threads, state, now);
        }
        overdue
    }

    /// Returns when [`CallPool::supervise`] is due.
    pub(in crate::engine) fn next_check(&self) -> Option<Instant> {
        let lanes = self.lanes.values().filter_map(|threads| {
            let state = threads.lock();
            let calls = state.running.values().filter(|call| !call.is_reported);
            let check = calls.map(|call| call.checked_at + CHECK_INTERVAL).min();
            let is_waiting = !state.queue.is_empty() && state.idle == 0 && !state.is_stopped;
            let now = Instant::now();
            let blocked = state.running.values().map(|call| call.since + BLOCKED_AFTER);
            let blocked = blocked.filter(|at| is_waiting && *at > now).min();
            let spawn_at = state.spawn_at.filter(|at| is_waiting && *at > now);
            check.into_iter().chain(blocked).chain(spawn_at).min()
        });
        lanes.min()
    }

    /// Returns false while so many threads are written off that no call should be made that may
    /// hang.
    pub(in crate::engine) fn may_hang(&self) -> bool {
        self.written_off.load(Ordering::Relaxed) < MAX_WRITTEN_OFF
    }

    /// Waits until the calls of a lane are done, except those of projects that do not respond, for at
    /// most `limit`.
    pub(in crate::engine) fn finish(&self, lane: Lane, limit: Duration) {
        let Some(threads) = self.lanes.get(&lane) else {
            return;
        };
        let end = Instant::now() + limit;
        let mut state = threads.lock();
        while !(state.queue.is_empty() && state.running.is_empty()) {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return;
            };
            let waited = threads.done.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the calls of a lane are done, and returns how many have been started so far.
    #[cfg(test)]
    pub(in crate::engine) fn count_calls(&self, lane: Lane) -> u64 {
        self.finish(lane, Duration::from_secs(20));
        self.lanes[&lane].lock().next_call
    }

    /// Ends the threads after the calls that they run, and drops the others. Does not wait.
    pub(in crate::engine) fn stop(&self) {
        for threads in self.lanes.values() {
            let mut state = threads.lock();
            state.is_stopped = true;
            state.queue.clear_all();
            drop(state);
            threads.wake.notify_all();
        }
    }

    /// Runs calls until there is nothing to do for a while.
    fn work(&self, lane: Lane) {
        let Some(threads) = self.lanes.get(&lane) else {
            return;
        };
        if threads.limits.nice > 0 {
            // On Linux the priority belongs to the calling thread. Without it the thread only
            // competes with the others for the processor.
            let _ = setpriority_process(None, threads.limits.nice);
        }
        let progress = Arc::new(CallProgress::default());
        progress::set_current(Some(Arc::clone(&progress)));
        let mut buffer = Vec::new();
        while let Some((number, call)) = threads.take(&progress, &mut buffer) {
            #[cfg(debug_assertions)]
            crate::engine::failpoint::panic_if_requested();
            call(&mut buffer);
            let mut state = threads.lock();
            let Some(done) = state.running.remove(&number) else {
                self.written_off.fetch_sub(1, Ordering::Relaxed);
                return;
            };
            state.queue.finish(done.project);
            drop(state);
            threads.done.notify_all();
        }
    }
}

impl LaneThreads {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        lock(&self.state)
    }

    /// Waits for a call. Returns `None` if the thread is to end. Before it waits it frees the
    /// buffer, so that idle threads hold no memory.
    fn take(&self, progress: &Arc<CallProgress>, buffer: &mut Vec<u8>) -> Option<(u64, Call)> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                break;
            }
            if let Some((project, (effect, call))) = state.queue.pop() {
                let number = state.next_call;
                state.next_call += 1;
                progress.begin_step();
                state.running.insert(number, Running::start(project, effect, Arc::clone(progress)));
                return Some((number, call));
            }
            if state.threads > self.limits.threads {
                break;
            }
            *buffer = Vec::new();
            state.idle += 1;
            let waited = self.wake.wait_timeout(state, IDLE_TIMEOUT);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            let until = Instant::now() + AHEAD;
            while !timeout.timed_out()
                && state.queue.is_empty()
                && !state.is_stopped
                && Instant::now() < until
            {
                drop(state);
                std::thread::yield_now();
                state = self.lock();
            }
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        None
    }
}

impl Running {
    fn start(project: ProjectId, effect: Option<EffectId>, progress: Arc<CallProgress>) -> Self {
        let (since, steps) = (Instant::now(), progress.state().0);
        let (steps_seen_at, checked_at) = (since, since);
        Self {
            project,
            effect,
            since,
            progress,
            steps,
            steps_seen_at,
            checked_at,
            is_reported: false,
        }
    }

    /// Returns true if the present step takes longer than it may.
    fn is_overdue(&mut self, now: Instant) -> bool {
        self.checked_at = now;
        let (steps, limit) = self.progress.state();
        if steps != self.steps {
            (self.steps, self.steps_seen_at) = (steps, now);
        }
        now.duration_since(self.steps_seen_at) >= limit
    }
}

impl LaneState {
    /// Number of threads that are not known to be blocked.
    fn active(&self, now: Instant) -> usize {
        let blocked = self.running.values();
        let blocked = blocked.filter(|call| now.duration_since(call.since) >= BLOCKED_AFTER);
        self.threads.saturating_sub(blocked.count())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn projects() -> [ProjectId; 2] {
        [ProjectId::FIRST, ProjectId::FIRST.next()]
    }

    /// Supervises until a condition is met.
    fn supervise_until(pool: &CallPool, mut is_met: impl FnMut(Vec<Overdue>) -> bool) {
        let end = Instant::now() + WAIT;
        while !is_met(pool.supervise(Instant::now())) {
            assert!(Instant::now() < end, "{pool:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn calls_of_one_project_run_one_after_the_other_in_the_lane_of_effects() {
        let pool = CallPool::new();
        let (send, results) = mpsc::channel();
        for number in 0..50 {
            let send = send.clone();
            let call = Box::new(move |_: &mut Vec<u8>| send.send(number).unwrap());
            pool.submit(Lane::Project, projects()[0], None, call);
        }
        let received: Vec<i32> =
            std::iter::from_fn(|| results.recv_timeout(WAIT).ok()).take(50).collect();
        assert_eq!(received, (0..50).collect::<Vec<_>>());
        pool.stop();
    }

    #[test]
    fn blocked_calls_of_one_project_do_not_delay_another_and_are_written_off() {
        let [hung, other] = projects();
        for lane in Lane::ALL {
            let pool = CallPool::new();
            let gate = Arc::new((Mutex::new(false), Condvar::new()));
            for _ in 0..100 {
                let gate = Arc::clone(&gate);
                let call = Box::new(move |_: &mut Vec<u8>| {
                    progress::begin_long_step(Duration::from_millis(50));
                    let open = gate.0.lock().unwrap();
                    drop(gate.1.wait_while(open, |open| !*open).unwrap());
                });
                pool.submit(lane, hung, None, call);
            }
            let (send, result) = mpsc::channel();
            pool.submit(lane, other, None, Box::new(move |_| send.send(()).unwrap()));
            let mut overdue = Vec::new();
            supervise_until(&pool, |late| {
                overdue.extend(late);
                result.try_recv().is_ok()
            });
            supervise_until(&pool, |late| {
                overdue.extend(late);
                !overdue.is_empty()
            });
            assert!(overdue.iter().all(|late| late.project == hung));
            pool.clear(hung);
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
            supervise_until(&pool, |_| pool.written_off.load(Ordering::Relaxed) == 0);
            pool.stop();
            supervise_until(&pool, |_| pool.lanes[&lane].lock().threads == 0);
        }
    }

    #[test]
    fn calls_that_are_submitted_together_start_together() {
        let pool = CallPool::new();
        let (send, result) = mpsc::channel();
        let (id, lane) = (projects()[0], Lane::SmallFile);
        pool.submit_together(|| {
            for lane in Lane::ALL {
                let send = send.clone();
                pool.submit(lane, id, None, Box::new(move |_| send.send(lane).unwrap()));
            }
            assert!(pool.lanes.values().all(|lane| lane.lock().threads == 0), "not yet");
        });
        let mut started: Vec<Lane> =
            Lane::ALL.iter().map(|_| result.recv_timeout(WAIT).unwrap()).collect();
        started.sort_unstable();
        assert_eq!(started, Lane::ALL);
        // A thread that was woken, and waits no more, takes the next call.
        pool.wake_ahead(Lane::SmallFile);
        pool.submit(Lane::SmallFile, id, None, Box::new(move |_| send.send(lane).unwrap()));
        assert_eq!(result.recv_timeout(WAIT).unwrap(), lane);
        pool.stop();
    }

    #[test]
    fn calls_that_get_ahead_are_not_overdue() {
        let pool = CallPool::new();
        let (send, result) = mpsc::channel();
        let call = Box::new(move |_: &mut Vec<u8>| {
            let end = Instant::now() + Duration::from_millis(300);
            while Instant::now() < end {
                progress::begin_long_step(Duration::from_secs(5));
            }
            send.send(()).unwrap();
        });
        pool.submit(Lane::SmallFile, projects()[0], None, call);
        supervise_until(&pool, |late| {
            assert_eq!(late, []);
            result.try_recv().is_ok()
        });
        pool.stop();
    }
}
