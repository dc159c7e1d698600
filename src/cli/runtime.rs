//! The runtime on which a client runs.

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

/// What a client needs to run.
pub(crate) fn new_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
