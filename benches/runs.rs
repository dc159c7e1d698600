//! Measured runs of commands, in turn so that other load affects all of them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wait4::{ResourceUsage, Wait4 as _};

/// Number of runs of each command.
pub(crate) const RUNS: usize = 15;

/// Runs each measurement once to warm up, then all alternately, `runs_each` times.
pub(crate) fn alternate<T, const N: usize>(
    runs_each: usize,
    measurements: [&dyn Fn() -> anyhow::Result<T>; N],
) -> anyhow::Result<[Vec<T>; N]> {
    for measure in measurements {
        measure()?;
    }
    let mut runs: [Vec<T>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..runs_each {
        for (measure, runs) in measurements.iter().zip(&mut runs) {
            runs.push(measure()?);
        }
    }
    Ok(runs)
}

/// One run of a command.
pub(crate) struct Run {
    pub(crate) wall: Duration,
    pub(crate) usage: ResourceUsage,
}

impl Run {
    /// Runs a command, which must succeed; its output is discarded.
    pub(crate) fn of(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let exit = command.spawn().with_context(|| format!("{command:?}"))?.wait4()?;
        let wall = start.elapsed();
        if !exit.status.success() {
            bail!("{command:?} exited with {}", exit.status);
        }
        Ok(Self { wall, usage: exit.rusage })
    }
}

/// Returns the processor time, of the program and of the kernel.
pub(crate) fn cpu(usage: &ResourceUsage) -> Duration {
    usage.utime + usage.stime
}
