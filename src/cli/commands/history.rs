//! `dossierd history status|purge`: the content store.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use owo_colors::OwoColorize as _;

use crate::cli::args::{HistoryArgs, HistoryCommand, HistoryPurgeArgs, ProjectArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output, time_text};
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::LoadedConfig;
use crate::core::identity::root_id;
use crate::core::path::{FeatureSlug, escape_unprintable};
use crate::core::quantity::format_size;
use crate::history::writer::WriterStatus;
use crate::history::{ContentReader, FILE_NAME, PurgeSelector, open_store};
use crate::project::Machine;
use crate::wire::history::{HistoryStatus, PurgeResponse};

pub(crate) fn run(args: &HistoryArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        HistoryCommand::Status(args) => {
            let status = match DaemonConnection::connect_if_running(&args.socket)? {
                Some(mut connection) => connection.get_json(&RequestPath::new("/api/history"))?,
                None => local_status()?,
            };
            if args.json {
                output::print_json(&status)?;
            } else {
                print(&status)?;
            }
            Ok(CommandExit::Success)
        }
        HistoryCommand::Purge(args) => purge(args),
    }
}

fn local_status() -> anyhow::Result<HistoryStatus> {
    let dirs = user_dirs()?;
    let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default().history;
    let counts = ContentReader::new(&dirs.state_dir).counts()?.unwrap_or_default();
    let writer = WriterStatus {
        is_enabled: config.is_enabled(),
        stored_seq: counts.stored_seq,
        max_bytes: config.max_bytes(),
        ..WriterStatus::default()
    };
    // What the daemon has not stored is known to it only.
    let path = dirs.state_dir.join(FILE_NAME);
    Ok(HistoryStatus::new(&writer, counts, &path, counts.stored_seq))
}

fn print(status: &HistoryStatus) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let time = |at: Option<crate::core::time::Timestamp>| {
        at.map_or_else(|| "-".to_owned(), time_text::recent)
    };
    let state = match (&status.error, status.enabled) {
        (_, false) => "off".to_owned(),
        (Some(error), true) => format!("failing: {error}"),
        (None, true) => "on".to_owned(),
    };
    let evicted = match status.evicted {
        0 => "none".to_owned(),
        count => format!(
            "{count} versions, {} of them named by a baseline, last {}",
            status.evicted_named,
            time(status.evicted_at)
        ),
    };
    let stored = format!(
        "{} versions, {} contents of {}",
        status.versions,
        status.contents,
        labels::size_label(status.content_bytes)
    );
    let size =
        format!("{} of {}", labels::size_label(status.used_bytes), format_size(status.max_bytes));
    let covered = format!("event {}, {} to go", status.stored_seq, status.backlog);
    for (name, value) in [
        ("history", state),
        ("file", status.path.clone()),
        ("size", size),
        ("stored", stored),
        ("oldest", time(status.oldest_at)),
        ("covers", covered),
        ("not stored", format!("{} versions, replaced or unreadable before", status.not_stored)),
        ("evicted", evicted),
    ] {
        writeln!(out, "{:<11} {}", name.dimmed(), escape_unprintable(&value))?;
    }
    if let Some(path) = &status.quarantined {
        writeln!(out, "a corrupt store was moved to {}", escape_unprintable(path))?;
    }
    Ok(out.flush()?)
}

fn purge(args: &HistoryPurgeArgs) -> anyhow::Result<CommandExit> {
    let project = &args.project;
    let purged = match DaemonConnection::connect_if_running(&project.socket)? {
        Some(mut connection) => {
            let path = match &args.feature {
                Some(name) => {
                    let scope = Scope::resolve(Some(name), project)?;
                    RequestPath::new("/api/history/purge")
                        .with_optional("feature", scope.feature.as_deref())
                        .with_optional("project", scope.root_text().as_deref())
                }
                None => RequestPath::new("/api/history/purge"),
            };
            connection.post(&path, Vec::new())?.parse::<PurgeResponse>()?
        }
        None => purge_locally(args)?,
    };
    if project.json {
        output::print_json(&purged)?;
        return Ok(CommandExit::Success);
    }
    let mut out = output::stdout_human();
    writeln!(out, "purged {} versions, {} contents", purged.versions, purged.contents)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

fn purge_locally(args: &HistoryPurgeArgs) -> anyhow::Result<PurgeResponse> {
    let state = user_dirs()?.state_dir;
    if !state.join(FILE_NAME).exists() {
        return Ok(PurgeResponse { versions: 0, contents: 0 });
    }
    let mut store = open_store(&state)?;
    let purged = match &args.feature {
        None => store.purge(PurgeSelector::All)?,
        Some(name) => {
            let (root_id, slug) = find_feature(name, &args.project)?;
            store.purge(PurgeSelector::Feature(&root_id, &slug))?
        }
    };
    Ok(PurgeResponse { versions: purged.versions, contents: purged.contents })
}

/// Returns a feature, which may be gone with its root, if it has versions or exists.
fn find_feature(name: &OsStr, project: &ProjectArgs) -> anyhow::Result<(String, FeatureSlug)> {
    let error = match LocalTarget::from_feature_name(name, project) {
        Ok(LocalTarget { project, features, .. }) => {
            let feature = features.first().context("the feature was removed")?;
            return Ok((project.root_id, feature.slug.clone()));
        }
        Err(error) => error,
    };
    let find = || {
        let Scope { root, feature } = Scope::resolve(Some(name), project).ok()?;
        let id = root_id(&Machine::current().id, root?.as_os_str().as_bytes());
        let slug = FeatureSlug::new(feature?.as_bytes())?;
        let known = ContentReader::new(&user_dirs().ok()?.state_dir).features(&id).ok()?;
        known.contains(&slug).then_some((id, slug))
    };
    find().ok_or(error)
}
