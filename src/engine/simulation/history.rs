//! What happens in a simulated history: operations on the disk and on the schedule.

use std::fmt;
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
    pub(super) steps: Vec<Step>,
}

impl fmt::Display for History {
    /// Prints a history as an expression, to be kept in `regressions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "History {{ is_second_silent: {}, steps: vec![", self.is_second_silent)?;
        for Step(op, then) in &self.steps {
            writeln!(f, "    Step({op:?}, {then:?}),")?;
        }
        write!(f, "] }}")
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
pub(super) fn history(steps: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = History> {
    let silent = prop::bool::weighted(0.2);
    (silent, prop::collection::vec(step(), steps))
        .prop_map(|(is_second_silent, steps)| History { is_second_silent, steps })
}

fn step() -> impl Strategy<Value = Step> {
    (op(), then()).prop_map(|(op, then)| Step(op, then))
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        8 => Just(Then::Run(0)),
        4 => (1_u64..20).prop_map(Then::Run),
        5 => (20_u64..70).prop_map(Then::Run),
        4 => (70_u64..200).prop_map(Then::Run),
        2 => (200_u64..2_600).prop_map(Then::Run),
        5 => Just(Then::Wait),
    ]
}

fn at() -> impl Strategy<Value = At> {
    let project = prop_oneof![4 => Just(0), 1 => Just(1)];
    let path = prop_oneof![
        6 => 0..4_usize,
        4 => 4..PATHS.len(),
    ];
    (project, path).prop_map(|(project, path)| At(project, path))
}

fn project() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => Just(1)]
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![Just(Size::Small), Just(Size::Large)];
    let close = prop_oneof![2 => Just(Close::Yes), 1 => Just(Close::No)];
    let disk = prop_oneof![
        10 => (at(), size, close).prop_map(|(at, size, close)| Op::Write(at, size, close)),
        2 => at().prop_map(Op::WriteKeepingTime),
        2 => at().prop_map(Op::Close),
        3 => at().prop_map(Op::Replace),
        2 => at().prop_map(Op::Symlink),
        2 => at().prop_map(Op::CreateDir),
        8 => at().prop_map(Op::Remove),
        5 => (at(), 0..PATHS.len()).prop_map(|(at, to)| Op::Rename(at, to)),
        2 => at().prop_map(Op::Deny),
        2 => at().prop_map(Op::Allow),
    ];
    let faults = prop_oneof![
        3 => project().prop_map(Op::LockGit),
        3 => project().prop_map(Op::UnlockGit),
        1 => project().prop_map(Op::Mount),
        2 => project().prop_map(Op::Unmount),
        1 => project().prop_map(Op::MoveRoot),
        2 => project().prop_map(Op::ReturnRoot),
        1 => (-40_i64..40).prop_map(Op::SetClock),
        1 => (2..6_usize).prop_map(Op::LimitWatches),
        1 => Just(Op::UnlimitWatches),
        1 => Just(Op::BreakStore),
        2 => Just(Op::RepairStore),
        1 => Just(Op::Crash),
        1 => Just(Op::CrashAtCommit(Written::Yes)),
        1 => Just(Op::CrashAtCommit(Written::No)),
    ];
    let schedule = prop_oneof![
        2 => project().prop_map(Op::Overflow),
        2 => Just(Op::HoldEvents),
        3 => Just(Op::ReleaseEvents),
        2 => Just(Op::HoldEffects),
        2 => Just(Op::ReleaseEffects),
        6 => (0..6_usize).prop_map(Op::StepEffect),
        5 => (0..6_usize).prop_map(Op::DeliverResult),
        1 => (0..6_usize).prop_map(Op::TimeOutEffect),
        1 => (0..6_usize).prop_map(Op::FailEffect),
        4 => project().prop_map(Op::Sync),
        1 => project().prop_map(Op::Rescan),
    ];
    prop_oneof![
        1 => Just(Op::Pass),
        30 => disk,
        8 => faults,
        16 => schedule,
    ]
}
