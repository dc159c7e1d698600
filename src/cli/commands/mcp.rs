//! `dossierd mcp`: serves an agent on standard input and output.

use crate::cli::args::McpArgs;
use crate::cli::exit::CommandExit;
use crate::cli::mcp::{WriteAccess, serve};
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;

pub(crate) fn run(args: &McpArgs) -> anyhow::Result<CommandExit> {
    // Clients show standard error as a log of errors; each scan would add the same note.
    output::set_quiet();
    let access = if args.allow_writes { WriteAccess::Allow } else { WriteAccess::Refuse };
    let runtime = new_runtime()?;
    let served = runtime.block_on(serve(args.socket.clone(), access));
    // A read of standard input cannot be cancelled, and must not be waited for.
    runtime.shutdown_background();
    served.map(|()| CommandExit::Success)
}
