//! Keeps the daemon's heap small.
//!
//! The C library gives nearly every thread a heap of its own, and none of them gives room back that
//! another could use: after a burst of changes the daemon would keep half as much again as it holds.
//! Two heaps cost no time that can be measured, one does. The library reads such settings only when a
//! program begins, so the daemon begins once more with them: the same process, with the same
//! descriptors, a few milliseconds later.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Settings of the GNU C library, see mallopt(3); others do not know them. The second is the default,
/// which stays as it is only when it is said.
const MALLOC_SETTINGS: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Begins again with the settings that are not made. Comes back if all are, or if that fails: the
/// daemon works as well, in more room.
pub(crate) fn reexec_with_malloc_settings() {
    let missing = MALLOC_SETTINGS.into_iter().filter(|(name, _)| env::var_os(name).is_none());
    let mut missing = missing.peekable();
    if !cfg!(target_env = "gnu") || missing.peek().is_none() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next())
        // Else a loader was started, with this program as its argument.
        && program.file_name() == Path::new(&name).file_name()
    {
        let _ = Command::new(program).arg0(name).args(arguments).envs(missing).exec();
    }
}
