//! The async runtime of clients.

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

/// Creates a runtime that runs on the calling thread.
pub(crate) fn new_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot create the async runtime")
}
