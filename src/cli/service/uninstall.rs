//! `dossierd service uninstall`: stops the service and takes away what `install` put in place. What
//! was indexed, and the configuration, stay.

use std::fs;
use std::io::Write as _;

use anyhow::Context as _;

use super::manager::{Properties, reachable_unless_dry, systemctl, unit_folder};
use crate::cli::args::ServiceUninstallArgs;
use crate::cli::exit::Exit;
use crate::cli::{link, out};
use crate::core::path::printable;
use crate::service::units::{NAMESPACES_NAME, SERVICE_NAME, SOCKET_NAME};

pub(super) fn run(args: &ServiceUninstallArgs) -> anyhow::Result<Exit> {
    reachable_unless_dry(args.dry_run)?;
    let folders = link::folders()?;
    let mut to = out::people();
    let mut said = false;
    for unit in [SOCKET_NAME, SERVICE_NAME] {
        let properties = Properties::as_far_as_known(unit, args.dry_run)?;
        let enabled = properties.get("UnitFileState") == "enabled";
        if !properties.is_loaded() || !(properties.is_active() || enabled) {
            continue;
        }
        said = true;
        if args.dry_run {
            writeln!(to, "would run systemctl --user disable --now {unit}")?;
        } else {
            systemctl(&["disable", "--now", unit])?;
            writeln!(to, "stopped and disabled {unit}")?;
        }
    }
    let folder = unit_folder(&folders);
    let mut removed = false;
    for name in [SOCKET_NAME, SERVICE_NAME, NAMESPACES_NAME] {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        said = true;
        let shown = path.display().to_string();
        if args.dry_run {
            writeln!(to, "would remove {}", printable(&shown))?;
            continue;
        }
        fs::remove_file(&path).with_context(|| shown.clone())?;
        removed = true;
        writeln!(to, "removed {}", printable(&shown))?;
    }
    if removed {
        // Only where it is empty: drop-ins of others stay.
        let _ = fs::remove_dir(folder.join(NAMESPACES_NAME).with_file_name(""));
        systemctl(&["daemon-reload"])?;
        // A failure that is remembered would show a unit that is not there.
        let _ = systemctl(&["reset-failed", SERVICE_NAME, SOCKET_NAME]);
    }
    if let Some(runtime) = folders.runtime.as_ref().filter(|_| !args.dry_run) {
        let _ = fs::remove_dir(runtime.join("dossierd"));
    }
    if !said {
        writeln!(to, "the service is not installed")?;
    }
    let state = folders.state.display().to_string();
    writeln!(to, "the index and journal in {} stay; remove them yourself", printable(&state))?;
    to.flush()?;
    Ok(Exit::Done)
}
