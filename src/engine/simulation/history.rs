//! What happens in a simulated history: operations on the disk and on the schedule.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::core::path::FeatureSlug;

/// Number of projects.
pub(super) const PROJECTS: usize = 2;

/// Paths below a root, by number.
pub(super) const PATHS: [&str; 15] = [
    "kitty-specs/a/spec.md",
    "kitty-specs/a/plan.md",
    "kitty-specs/a/d",
    "kitty-specs/a/d/x",
    "kitty-specs/a/meta.json",
    "kitty-specs/a/d/e",
    "kitty-specs/a/d/e/y",
    "kitty-specs/a/tasks/WP01.md",
    "kitty-specs/a",
    "kitty-specs/b",
    "kitty-specs/b/spec.md",
    "kitty-specs/b/d",
    "kitty-specs/b/d/x",
    "kitty-specs",
    "kitty-specs/a/tasks",
];

/// A path of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(pub(super) usize, pub(super) usize);

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// Nothing but time.
    Pass,
    /// Write a file; without a close, more may follow.
    Write(At, Size, Close),
    /// Write a file and set its modification time back.
    WriteKeepingTime(At),
    Close(At),
    /// Rename a new file to it.
    Replace(At),
    Symlink(At),
    CreateDir(At),
    Remove(At),
    Rename(At, usize),
    Deny(At),
    Allow(At),
    LockGit(usize),
    UnlockGit(usize),
    /// Hide the root below an empty file system.
    Mount(usize),
    Unmount(usize),
    /// Hide a directory below the root, or that of a file, below an empty file system.
    MountBelow(At),
    UnmountBelow(usize),
    MoveRoot(usize),
    ReturnRoot(usize),
    /// Set the wall clock by this many seconds.
    SetClock(i64),
    LimitWatches(usize),
    UnlimitWatches,
    /// Lose the queued events.
    Overflow(usize),
    /// Let events wait in the kernel's queue.
    HoldEvents,
    ReleaseEvents,
    /// Let effects wait, and step and deliver them one by one.
    HoldEffects,
    ReleaseEffects,
    StepEffect(usize),
    DeliverResult(usize),
    TimeOutEffect(usize),
    FailEffect(usize),
    BreakStore,
    RepairStore,
    Crash,
    /// Crash at the next commit, before or after it is written.
    CrashAtCommit(Written),
    /// Request a synchronised answer.
    Sync(usize),
    Rescan(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    No,
}

/// Whether the engine runs after an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It does, and this many milliseconds pass.
    Run(u64),
    /// The next operation comes first.
    Wait,
}

/// An operation and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step(pub(super) Op, pub(super) Then);

/// A simulated history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    /// The file system of the second project delivers no events.
    pub(super) is_second_silent: bool,
    /// The projects share an inotify instance.
    pub(super) shares_instance: bool,
    pub(super) steps: Vec<Step>,
}

impl History {
    /// Creates a history of projects with inotify instances of their own, which deliver events.
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Self { is_second_silent: false, shares_instance: false, steps }
    }
}

impl fmt::Display for History {
    /// Prints a history as an expression, to be kept in `regressions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_second_silent, shares_instance, .. } = self;
        writeln!(
            f,
            "History {{ is_second_silent: {is_second_silent}, shares_instance: {shares_instance}, \
             steps: vec!["
        )?;
        for Step(op, then) in &self.steps {
            writeln!(f, "    Step({op:?}, {then:?}),")?;
        }
        write!(f, "] }}")
    }
}

impl Op {
    /// Returns operations that need fewer others before them, the simplest first.
    pub(super) fn simpler(&self) -> Vec<Self> {
        match self {
            Self::StepEffect(number) => (0..*number).map(Self::StepEffect).collect(),
            Self::DeliverResult(number) => (0..*number).map(Self::DeliverResult).collect(),
            Self::TimeOutEffect(number) => (0..*number).map(Self::TimeOutEffect).collect(),
            Self::FailEffect(number) => (0..*number).map(Self::FailEffect).collect(),
            _ => Vec::new(),
        }
    }
}

impl Then {
    /// Returns what is simpler, the simplest first.
    pub(super) fn simpler(self) -> Vec<Self> {
        match self {
            Self::Run(0) => Vec::new(),
            Self::Run(ms) => vec![Self::Run(0), Self::Run(ms / 2)],
            Self::Wait => vec![Self::Run(0)],
        }
    }

    /// Returns what takes as long as this and `next` together.
    pub(super) fn followed_by(self, next: Self) -> Self {
        match (self, next) {
            (Self::Run(ms), Self::Run(more)) => Self::Run(ms + more),
            (Self::Run(ms), Self::Wait) | (Self::Wait, Self::Run(ms)) => Self::Run(ms),
            (Self::Wait, Self::Wait) => Self::Wait,
        }
    }
}

pub(super) fn slug(name: &str) -> FeatureSlug {
    FeatureSlug::new(name.as_bytes()).expect("a valid slug")
}

pub(super) fn root(project: usize) -> PathBuf {
    PathBuf::from(format!("/p{project}"))
}

impl At {
    pub(super) fn path(self) -> PathBuf {
        root(self.0).join(PATHS[self.1])
    }

    pub(super) fn sibling(self, path: usize) -> PathBuf {
        root(self.0).join(Path::new(PATHS[path]))
    }
}

/// Returns a strategy for histories of so many steps.
///
/// Each step is decoded from one number: strategies of strategies take longer than the simulation.
pub(super) fn history(steps: RangeInclusive<usize>) -> impl Strategy<Value = History> {
    let numbers = prop::collection::vec(any::<u64>(), steps);
    (prop::bool::weighted(0.2), any::<bool>(), numbers).prop_map(
        |(is_second_silent, shares_instance, numbers)| History {
            is_second_silent,
            shares_instance,
            steps: numbers.into_iter().map(step).collect(),
        },
    )
}

/// Choices that a random number makes.
struct Choices(u64);

impl Choices {
    /// Returns a number below `count`.
    fn below(&mut self, count: usize) -> usize {
        let count = count as u64;
        let choice = self.0 % count;
        self.0 /= count;
        usize::try_from(choice).unwrap_or_default()
    }

    /// Returns an index; each one is as likely as its weight.
    fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        let position = weights.iter().position(|weight| {
            let is_chosen = left < *weight;
            left = left.saturating_sub(*weight);
            is_chosen
        });
        position.unwrap_or_default()
    }

    fn between(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    fn project(&mut self) -> usize {
        self.weighted(&[4, 1])
    }

    fn at(&mut self) -> At {
        let project = self.project();
        let path = if self.below(10) < 6 { self.below(4) } else { self.between(4..PATHS.len()) };
        At(project, path)
    }

    fn written(&mut self) -> Written {
        if self.below(2) == 0 { Written::Yes } else { Written::No }
    }

    fn then(&mut self) -> Then {
        let range = match self.weighted(&[8, 4, 5, 4, 2, 5]) {
            0 => return Then::Run(0),
            1 => 1..20,
            2 => 20..70,
            3 => 70..200,
            4 => 200..2_600,
            _ => return Then::Wait,
        };
        Then::Run(self.between(range) as u64)
    }

    fn disk_operation(&mut self) -> Op {
        let kind = self.weighted(&[10, 2, 2, 3, 2, 2, 8, 5, 2, 2]);
        let at = self.at();
        match kind {
            0 => {
                let size = if self.below(2) == 0 { Size::Small } else { Size::Large };
                let close = if self.below(3) < 2 { Close::Yes } else { Close::No };
                Op::Write(at, size, close)
            }
            1 => Op::WriteKeepingTime(at),
            2 => Op::Close(at),
            3 => Op::Replace(at),
            4 => Op::Symlink(at),
            5 => Op::CreateDir(at),
            6 => Op::Remove(at),
            7 => Op::Rename(at, self.below(PATHS.len())),
            8 => Op::Deny(at),
            _ => Op::Allow(at),
        }
    }

    fn fault(&mut self) -> Op {
        match self.weighted(&[3, 3, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 2, 2, 3]) {
            0 => Op::LockGit(self.project()),
            1 => Op::UnlockGit(self.project()),
            2 => Op::Mount(self.project()),
            3 => Op::Unmount(self.project()),
            4 => Op::MoveRoot(self.project()),
            5 => Op::ReturnRoot(self.project()),
            6 => Op::SetClock(i64::try_from(self.below(80)).unwrap_or_default() - 40),
            7 => Op::LimitWatches(self.between(2..6)),
            8 => Op::UnlimitWatches,
            9 => Op::BreakStore,
            10 => Op::RepairStore,
            11 => Op::Crash,
            12 => Op::CrashAtCommit(self.written()),
            13 => Op::MountBelow(self.at()),
            _ => Op::UnmountBelow(self.project()),
        }
    }

    fn scheduling(&mut self) -> Op {
        match self.weighted(&[2, 2, 3, 2, 2, 6, 5, 1, 1, 4, 1]) {
            0 => Op::Overflow(self.project()),
            1 => Op::HoldEvents,
            2 => Op::ReleaseEvents,
            3 => Op::HoldEffects,
            4 => Op::ReleaseEffects,
            5 => Op::StepEffect(self.below(6)),
            6 => Op::DeliverResult(self.below(6)),
            7 => Op::TimeOutEffect(self.below(6)),
            8 => Op::FailEffect(self.below(6)),
            9 => Op::Sync(self.project()),
            _ => Op::Rescan(self.project()),
        }
    }
}

fn step(number: u64) -> Step {
    let mut choices = Choices(number);
    let op = match choices.weighted(&[1, 30, 8, 16]) {
        0 => Op::Pass,
        1 => choices.disk_operation(),
        2 => choices.fault(),
        _ => choices.scheduling(),
    };
    Step(op, choices.then())
}
