//! What an argument may be: from the daemon if one runs, which has a short time to answer, else from disk. No daemon is
//! started.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::cli::args::{LoneArgs, ProjectArgs, SocketArgs};
use crate::cli::completion::command_line::{ArgumentKind, TypedArguments};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::local::target::LocalTarget;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::{LOCK_FILE, LoadedConfig};
use crate::core::feature_name::{NameForms, NameMatch, match_feature};
use crate::core::path::is_unprintable;
use crate::wire::artifacts::ArtifactList;
use crate::wire::status::Status;

/// Time that the daemon has to answer before the disk is read.
const DAEMON_TIMEOUT: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 60 });

/// What an argument may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CompletionCandidate {
    /// The argument, unquoted and printable.
    pub(crate) value: String,
    /// What it is, in one line; may be empty.
    pub(crate) description: String,
}

/// Returns the candidates for the word that is completed. Fails silently: there is nobody to read an error.
pub(crate) fn find_candidates(typed: &TypedArguments) -> Vec<CompletionCandidate> {
    if let Some(directory) = &typed.directory
        && std::env::set_current_dir(expand_home(directory)).is_err()
    {
        return Vec::new();
    }
    let args = ProjectArgs {
        project: typed.project.as_deref().map(expand_home),
        lone: LoneArgs::default(),
        json: false,
        socket: SocketArgs { socket: typed.socket.as_deref().map(expand_home) },
    };
    let found = match typed.kind {
        // Paths are completed by the shell.
        Some(ArgumentKind::Feature) if !typed.typed.starts_with(['.', '/', '~']) => features(&args),
        Some(ArgumentKind::Key) => artifacts(typed, &args, false),
        Some(ArgumentKind::KeyOrPath) => artifacts(typed, &args, true),
        // Where no known root continues the word, the shell completes directories.
        Some(ArgumentKind::Root) => {
            let mut found = roots(&args.socket);
            found.retain(|root| root.value.starts_with(&typed.typed));
            found
        }
        _ => Vec::new(),
    };
    let mut found: Vec<CompletionCandidate> =
        found.into_iter().filter(|candidate| is_typable(&candidate.value)).collect();
    found.sort();
    found.dedup_by(|a, b| a.value == b.value);
    found
}

/// Returns true for a text that can be an argument as it is. Names with other characters are printed in an escaped form,
/// which begins with a backslash, and a leading hyphen makes an option.
fn is_typable(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.contains(|c| c == '\\' || is_unprintable(c))
}

/// Replaces a leading `~/`, as the shell does in words that it expands.
fn expand_home(path: &str) -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn plain(value: String) -> CompletionCandidate {
    CompletionCandidate { value, description: String::new() }
}

fn features(args: &ProjectArgs) -> Vec<CompletionCandidate> {
    let root = Scope::resolve(None, args).ok().and_then(|scope| scope.root_text());
    let status: Option<Status<'static>> = get(&args.socket, &RequestPath::new("/api/status"));
    let watched = status.iter().flat_map(|status| status.projects.iter());
    let of_project =
        watched.filter(|project| root.as_deref().is_none_or(|root| project.root == root));
    let slugs =
        of_project.flat_map(|project| &project.features).map(|feature| CompletionCandidate {
            value: feature.feature_slug.to_string(),
            description: feature.completeness_status.to_string(),
        });
    let slugs: Vec<CompletionCandidate> = slugs.collect();
    if slugs.is_empty() {
        return LocalTarget::slugs_lenient(args).into_iter().map(plain).collect();
    }
    slugs
}

fn artifacts(
    typed: &TypedArguments,
    args: &ProjectArgs,
    with_paths: bool,
) -> Vec<CompletionCandidate> {
    let Some(feature) = &typed.feature else { return Vec::new() };
    let slugs = LocalTarget::slugs_lenient(args);
    let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
    let feature = match match_feature(feature, &slugs, NameForms::Any) {
        NameMatch::One(slug) => slug,
        NameMatch::Ambiguous(_) => return Vec::new(),
        NameMatch::Unknown => feature.as_str(),
    };
    let mut found = Vec::new();
    let mut push = |key: &str, path: &str| {
        found.push(CompletionCandidate { value: key.to_owned(), description: path.to_owned() });
        if with_paths {
            found.push(CompletionCandidate { value: path.to_owned(), description: key.to_owned() });
        }
    };
    let name = std::ffi::OsStr::new(feature);
    let request = Scope::resolve(Some(name), args).map(|scope| {
        RequestPath::new("/api/dossier/artifacts")
            .with_optional("feature", scope.feature.as_deref())
            .with_optional("project", scope.root_text().as_deref())
    });
    let list = request.ok().and_then(|request| get(&args.socket, &request));
    if let Some(list) = list {
        let list: ArtifactList<'static> = list;
        for artifact in &list.artifacts {
            push(&artifact.artifact_key, &artifact.relative_path.text());
        }
        return found;
    }
    let scanned = LocalTarget::from_feature_name_lenient(name, args).and_then(|target| {
        target.scan(
            |feature| feature,
            |feature| {
                for artifact in feature.dossier.artifacts.iter() {
                    push(&artifact.artifact_key, &artifact.relative_path.text());
                }
            },
        )
    });
    if scanned.is_err() { Vec::new() } else { found }
}

fn roots(socket: &SocketArgs) -> Vec<CompletionCandidate> {
    let status: Option<Status<'static>> = get(socket, &RequestPath::new("/api/status"));
    if let Some(status) = status {
        return status.projects.iter().map(|project| plain(project.root.to_string())).collect();
    }
    let Ok(dirs) = user_dirs() else { return Vec::new() };
    let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
    let configured = config.projects.iter().map(|project| project.path.clone());
    let stored = dirs.project_list().load().map(|(roots, _)| roots).unwrap_or_default();
    let roots = configured.chain(stored);
    roots.filter_map(|root| root.into_os_string().into_string().ok()).map(plain).collect()
}

/// Asks the daemon, if one runs and answers in time.
fn get<T: DeserializeOwned>(socket: &SocketArgs, path: &RequestPath) -> Option<T> {
    if socket.named().is_none() && !is_daemon_running() {
        return None;
    }
    let mut connection = DaemonConnection::connect(socket).ok()?;
    let response = connection.get_with_timeout(path, DAEMON_TIMEOUT).ok()??;
    response.parse().ok()
}

/// Returns true if a daemon holds its lock. To connect would have systemd start one.
fn is_daemon_running() -> bool {
    let lock = user_dirs().ok().and_then(|dirs| fs::metadata(dirs.state_dir.join(LOCK_FILE)).ok());
    let held = fs::read_to_string("/proc/locks").unwrap_or_default();
    lock.is_some_and(|lock| {
        let inode = lock.ino().to_string();
        // The device is that of the file system, which differs from that of the file on some.
        held.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next() == Some("FLOCK")
                && fields
                    .any(|field| field.rsplit_once(':').is_some_and(|(_, number)| number == inode))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_typed_is_a_candidate() {
        for (text, expected) in [
            ("001-x", true),
            ("a b $(id)", true),
            ("bäckerei", true),
            ("", false),
            ("-x", false),
            ("a\nb", false),
            ("a\u{1b}[2J", false),
            ("\\xff", false),
        ] {
            assert_eq!(is_typable(text), expected, "{text:?}");
        }
    }
}
