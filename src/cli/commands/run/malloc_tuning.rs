//! Executes `run` again with glibc malloc settings that keep the daemon's heap small.
//!
//! glibc creates up to eight malloc arenas per CPU, and memory that is free in one arena is neither
//! used by others nor returned: after a burst of changes the daemon would hold half as much memory
//! again as it uses. Two arenas cost no measurable time, one does. glibc reads these settings only
//! when a program starts, so the process executes itself: same process ID, same descriptors, a few
//! milliseconds later. `dossierd run --help` documents it.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Environment variables that glibc reads, see mallopt(3). The trim threshold is the default value;
/// setting it disables its dynamic adjustment.
const MALLOC_SETTINGS: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Executes this program again with the variables that are not set. Returns if all are set or the
/// execution fails; the daemon then only uses more memory.
pub(crate) fn reexec_with_malloc_settings() {
    let missing = MALLOC_SETTINGS.into_iter().filter(|(name, _)| env::var_os(name).is_none());
    let mut missing = missing.peekable();
    if !cfg!(target_env = "gnu") || missing.peek().is_none() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next())
        // Otherwise the process is a loader that runs this program as its argument.
        && program.file_name() == Path::new(&name).file_name()
    {
        let _ = Command::new(program).arg0(name).args(arguments).envs(missing).exec();
    }
}
