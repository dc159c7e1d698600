//! Failure injection for end-to-end tests: makes a thread hang or panic.
//!
//! It is compiled only with debug assertions, so a release build neither reads the environment
//! variables nor contains their names. It injects no other failure.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// Environment variable with the path of a file; while it exists, the thread that it names hangs, the engine if it
/// is empty.
const HANG_VARIABLE: &str = "DOSSIERD_TEST_HANG";

/// How often a hanging thread checks whether the file still exists.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

static HANG_FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os(HANG_VARIABLE).map(PathBuf::from));

/// Blocks while the file that the variable names exists and names this thread.
pub(crate) fn hang_while_requested() {
    let thread = std::thread::current();
    let names_this = |content: String| match content.trim() {
        "" => thread.name() == Some("engine"),
        name => thread.name() == Some(name),
    };
    let read = |file: &PathBuf| std::fs::read_to_string(file).ok();
    while HANG_FILE.as_ref().and_then(read).is_some_and(names_this) {
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Environment variable with the name of a thread that panics.
const PANIC_VARIABLE: &str = "DOSSIERD_TEST_PANIC";

static PANIC_THREAD: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var(PANIC_VARIABLE).ok());

/// Panics if the variable names this thread.
pub(super) fn panic_if_requested() {
    let thread = std::thread::current();
    let is_named = PANIC_THREAD.as_deref().is_some_and(|name| thread.name() == Some(name));
    assert!(!is_named, "requested by {PANIC_VARIABLE}");
}
