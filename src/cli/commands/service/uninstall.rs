//! `dossierd service uninstall`: stops the service and removes its units. Keeps the index, the
//! journal and the configuration.

use std::fs;
use std::io::Write as _;

use anyhow::Context as _;

use crate::cli::args::ServiceUninstallArgs;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager_unless_dry_run, run_systemctl, user_unit_dir,
};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::user_dirs::user_dirs;
use crate::core::path::escape_unprintable;
use crate::daemon::systemd_units::{NAMESPACES_NAME, SERVICE_NAME, SOCKET_NAME};

pub(crate) fn run(args: &ServiceUninstallArgs) -> anyhow::Result<CommandExit> {
    check_user_manager_unless_dry_run(args.dry_run)?;
    let dirs = user_dirs()?;
    let mut out = output::stdout_human();
    let mut is_installed = false;
    for unit in [SOCKET_NAME, SERVICE_NAME] {
        let properties = UnitProperties::query_or_empty(unit, args.dry_run)?;
        let enabled = properties.get("UnitFileState") == "enabled";
        if !properties.is_loaded() || !(properties.is_active() || enabled) {
            continue;
        }
        is_installed = true;
        if args.dry_run {
            writeln!(out, "would run systemctl --user disable --now {unit}")?;
        } else {
            run_systemctl(&["disable", "--now", unit])?;
            writeln!(out, "stopped and disabled {unit}")?;
        }
    }
    let dir = user_unit_dir(&dirs);
    let mut removed = false;
    for name in [SOCKET_NAME, SERVICE_NAME, NAMESPACES_NAME] {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        is_installed = true;
        let shown = path.display().to_string();
        if args.dry_run {
            writeln!(out, "would remove {}", escape_unprintable(&shown))?;
            continue;
        }
        fs::remove_file(&path).with_context(|| format!("cannot remove {shown}"))?;
        removed = true;
        writeln!(out, "removed {}", escape_unprintable(&shown))?;
    }
    if removed {
        // Fails if the user's own drop-ins are left in it.
        let _ = fs::remove_dir(dir.join(NAMESPACES_NAME).with_file_name(""));
        run_systemctl(&["daemon-reload"])?;
        // systemd keeps listing a removed unit that had failed.
        let _ = run_systemctl(&["reset-failed", SERVICE_NAME, SOCKET_NAME]);
    }
    if let Some(runtime) = dirs.runtime_dir.as_ref().filter(|_| !args.dry_run) {
        let _ = fs::remove_dir(runtime.join("dossierd"));
    }
    if !is_installed {
        writeln!(out, "the service is not installed")?;
    }
    let state = dirs.state_dir.display().to_string();
    writeln!(
        out,
        "kept the index and journal in {}; delete them if you do not need them",
        escape_unprintable(&state)
    )?;
    out.flush()?;
    Ok(CommandExit::Success)
}
