//! The `dossierd` command. All of it is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dossierd::cli::main()
}
