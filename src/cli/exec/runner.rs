//! Runs commands on threads of its own, in the order that the queue decides.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::cli::exec::job::ExecJob;
use crate::cli::exec::queue::{ExecQueue, MAX_RUNNING, MAX_WAITING};
use crate::cli::exec::running;
use crate::cli::render::output;
use crate::core::sync::lock;

/// Time after which a command is ended.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);
/// Time that a command has to end after it was asked to; then it is killed.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// Number of skipped events after which they are reported again.
const SKIPS_PER_REPORT: u64 = 1_000;

/// Where the standard output of commands goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum CommandOutput {
    /// To standard output.
    Stdout,
    /// To standard error, because standard output is JSON.
    Stderr,
}

/// Runs a command for each event.
pub(in crate::cli) struct CommandRunner {
    shared: Arc<SharedQueue>,
    workers: Vec<JoinHandle<()>>,
}

struct SharedQueue {
    command: OsString,
    output: CommandOutput,
    state: Mutex<RunnerState>,
    changed: Condvar,
}

#[derive(Default)]
struct RunnerState {
    queue: ExecQueue,
    is_closed: bool,
    /// Events that were skipped since that was last reported.
    skipped: u64,
}

impl CommandRunner {
    /// Starts the threads that run `command`.
    pub(in crate::cli) fn start(command: OsString, output: CommandOutput) -> io::Result<Self> {
        let shared =
            SharedQueue { command, output, state: Mutex::default(), changed: Condvar::new() };
        let mut runner = Self { shared: Arc::new(shared), workers: Vec::new() };
        for number in 1..=MAX_RUNNING {
            let shared = Arc::clone(&runner.shared);
            let worker = thread::Builder::new().name(format!("exec-{number}"));
            runner.workers.push(worker.spawn(move || shared.work())?);
        }
        Ok(runner)
    }

    /// Adds an event. If too many wait, the oldest is skipped, which is reported.
    pub(in crate::cli) fn push(&self, job: ExecJob) {
        let mut state = lock(&self.shared.state);
        if state.queue.push(job).is_some() {
            if state.skipped == 0 {
                output::warn(&format!(
                    "{MAX_WAITING} events wait for the command of `--exec`; the oldest are skipped"
                ));
            }
            state.skipped += 1;
            if state.skipped.is_multiple_of(SKIPS_PER_REPORT) {
                output::warn(&format!("{} events were skipped until now", state.skipped));
            }
        }
        self.shared.changed.notify_all();
    }

    /// Adds an event as soon as none has to be skipped for it.
    pub(in crate::cli) fn push_when_possible(&self, job: ExecJob) {
        let mut state = lock(&self.shared.state);
        while state.queue.is_full() {
            state = self.shared.wait(state);
        }
        state.queue.push(job);
        self.shared.changed.notify_all();
    }

    /// Waits until the commands of all events have ended.
    pub(in crate::cli) fn finish(mut self) {
        let mut state = lock(&self.shared.state);
        while !state.queue.is_idle() {
            state = self.shared.wait(state);
        }
        state.is_closed = true;
        drop(state);
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Drop for CommandRunner {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            running::terminate_running();
        }
    }
}

impl SharedQueue {
    fn wait<'a>(&self, state: MutexGuard<'a, RunnerState>) -> MutexGuard<'a, RunnerState> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs commands until the queue is closed.
    fn work(&self) {
        let mut state = lock(&self.state);
        while !state.is_closed {
            let Some(job) = state.queue.start_next() else {
                state = self.wait(state);
                continue;
            };
            let skipped =
                if state.queue.has_drained() { std::mem::take(&mut state.skipped) } else { 0 };
            drop(state);
            if skipped > 0 {
                output::warn(&format!("{skipped} events were skipped, and their commands not run"));
            }
            // One place in the queue is free.
            self.changed.notify_all();
            self.run(&job);
            state = lock(&self.state);
            state.queue.finish(&job.feature);
            self.changed.notify_all();
        }
    }

    fn run(&self, job: &ExecJob) {
        let problem = match self.run_command(job, COMMAND_TIMEOUT) {
            Ok(ExecOutcome::Exited(status)) if status.success() => return,
            Ok(ExecOutcome::Exited(status)) => format!("failed: {status}"),
            Ok(ExecOutcome::TimedOut) => {
                format!("was ended after {} s", COMMAND_TIMEOUT.as_secs())
            }
            Err(error) => format!("could not be run: {error}"),
        };
        output::warn(&format!("the command for event {} of {} {problem}", job.seq, job.feature.1));
    }

    fn run_command(&self, job: &ExecJob, limit: Duration) -> io::Result<ExecOutcome> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command);
        command.envs(job.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(input_file(&job.input)?);
        if self.output == CommandOutput::Stderr {
            command.stdout(io::stderr());
        }
        // A group of its own, so that what it starts is ended with it. What it leaves in the background when
        // it exits runs on.
        command.process_group(0);
        let mut child = running::spawn(&mut command)?;
        let group = Pid::from_child(&child);
        let waited = wait_until_exit(&child, limit);
        if !matches!(waited, Ok(true)) {
            let _ = kill_process_group(group, Signal::TERM);
            // The shell ends at once, but what it runs may need the time.
            thread::sleep(TERMINATION_GRACE);
            let _ = kill_process_group(group, Signal::KILL);
        }
        running::forget(group);
        let status = child.wait()?;
        Ok(if waited? { ExecOutcome::Exited(status) } else { ExecOutcome::TimedOut })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ExecOutcome {
    Exited(ExitStatus),
    TimedOut,
}

/// Returns a file with the input, of which the command may read as much as it wants; a pipe would block
/// the writer.
fn input_file(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("event", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// Waits until the process has ended, without collecting its status; returns false after `limit`.
fn wait_until_exit(child: &Child, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let exit = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&exit, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(command: &str) -> SharedQueue {
        SharedQueue {
            command: command.into(),
            output: CommandOutput::Stderr,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn job() -> ExecJob {
        ExecJob {
            feature: ("r".to_owned(), "f".to_owned()),
            seq: 1,
            variables: std::array::from_fn(|_| ("DOSSIERD_EVENT_SEQ", "1".to_owned())),
            input: vec![b'x'; 1 << 20],
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        // Neither ends when it is asked to.
        let command = format!(
            "trap '' TERM; (trap '' TERM; echo $$ > {0}; while :; do sleep 1; done) & while :; do sleep \
             1; done",
            pids.display()
        );
        let begin = Instant::now();
        let outcome = shared(&command).run_command(&job(), Duration::from_millis(300)).unwrap();
        assert_eq!(outcome, ExecOutcome::TimedOut);
        assert!(begin.elapsed() >= TERMINATION_GRACE, "it is asked first");
        let group: i32 = std::fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
        let group = Pid::from_raw(group).unwrap();
        // Killed processes whose parent has ended are collected by init.
        let deadline = Instant::now() + Duration::from_secs(20);
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < deadline, "a child still runs");
            thread::yield_now();
        }
    }

    #[test]
    fn what_a_shell_runs_has_time_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let done = dir.path().join("done");
        // The shell ends when it is asked to, before the other program has.
        let command = format!(
            "sh -c 'trap \"echo done > {}; exit\" TERM; while :; do sleep 0.1; done' & wait",
            done.display()
        );
        let outcome = shared(&command).run_command(&job(), Duration::from_millis(300)).unwrap();
        assert_eq!(outcome, ExecOutcome::TimedOut);
        assert_eq!(std::fs::read_to_string(done).unwrap(), "done\n");
    }

    #[test]
    fn a_command_may_ignore_its_input_and_its_status_is_returned() {
        let status = |command: &str| match shared(command).run_command(&job(), COMMAND_TIMEOUT) {
            Ok(ExecOutcome::Exited(status)) => status.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!(status("exit 0"), Some(0));
        assert_eq!(status("exit 3"), Some(3));
        assert_eq!(status("test $(wc -c) = 1048576"), Some(0), "all of the input arrives");
        assert_eq!(status("test \"$DOSSIERD_EVENT_SEQ\" = 1"), Some(0));
    }
}
