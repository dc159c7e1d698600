//! `dossierd service uninstall`: stops the service and takes away what `install` put in place. What
//! was indexed, and the configuration, stay.

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
    let folders = user_dirs()?;
    let mut to = output::stdout_human();
    let mut said = false;
    for unit in [SOCKET_NAME, SERVICE_NAME] {
        let properties = UnitProperties::query_or_empty(unit, args.dry_run)?;
        let enabled = properties.get("UnitFileState") == "enabled";
        if !properties.is_loaded() || !(properties.is_active() || enabled) {
            continue;
        }
        said = true;
        if args.dry_run {
            writeln!(to, "would run systemctl --user disable --now {unit}")?;
        } else {
            run_systemctl(&["disable", "--now", unit])?;
            writeln!(to, "stopped and disabled {unit}")?;
        }
    }
    let folder = user_unit_dir(&folders);
    let mut removed = false;
    for name in [SOCKET_NAME, SERVICE_NAME, NAMESPACES_NAME] {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        said = true;
        let shown = path.display().to_string();
        if args.dry_run {
            writeln!(to, "would remove {}", escape_unprintable(&shown))?;
            continue;
        }
        fs::remove_file(&path).with_context(|| shown.clone())?;
        removed = true;
        writeln!(to, "removed {}", escape_unprintable(&shown))?;
    }
    if removed {
        // Only where it is empty: drop-ins of others stay.
        let _ = fs::remove_dir(folder.join(NAMESPACES_NAME).with_file_name(""));
        run_systemctl(&["daemon-reload"])?;
        // A failure that is remembered would show a unit that is not there.
        let _ = run_systemctl(&["reset-failed", SERVICE_NAME, SOCKET_NAME]);
    }
    if let Some(runtime) = folders.runtime_dir.as_ref().filter(|_| !args.dry_run) {
        let _ = fs::remove_dir(runtime.join("dossierd"));
    }
    if !said {
        writeln!(to, "the service is not installed")?;
    }
    let state = folders.state_dir.display().to_string();
    writeln!(
        to,
        "the index and journal in {} stay; remove them yourself",
        escape_unprintable(&state)
    )?;
    to.flush()?;
    Ok(CommandExit::Success)
}
