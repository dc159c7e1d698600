//! Identifies project, machine and user: `.kittify/config.yaml`, or identities derived from the
//! machine (`docs/specification.md#identity`).

use std::path::Path;

use serde::Deserialize;
use uuid::Uuid;

use crate::core::diagnostics::FileError;
use crate::core::identity::derived_node_id;
use crate::core::layout::state_document::StateDocument;
use crate::core::path::RelPath;
use crate::core::yaml::parse;
use crate::project::root_dir::{RootDir, read_path};

pub(super) const CONFIG_FILE: &str = ".kittify/config.yaml";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The machine and the user that run dossierd.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Content of `/etc/machine-id`; the host name if there is none.
    pub id: String,
    host: String,
    user: String,
}

impl Machine {
    /// Reads the identity of this machine and user from the system.
    #[must_use]
    pub fn current() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(read_trimmed);
        Self { id: id.unwrap_or_else(|| host.clone()), user: user_name(), host }
    }

    /// Returns the `node_id` of projects that do not specify one.
    #[must_use]
    pub fn node_id(&self) -> String {
        derived_node_id(&self.host, &self.user)
    }
}

/// Returns the user name as Python's `getpass.getuser` determines it, so that programs that use it
/// derive the same `node_id`.
fn user_name() -> String {
    let from_env = ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    from_env.unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw().to_string();
        let passwd =
            read_path(Path::new("/etc/passwd"), MAX_FILE_BYTES).ok().flatten().unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        });
        name.unwrap_or(uid)
    })
}

fn read_trimmed(path: &str) -> Option<String> {
    let bytes = read_path(Path::new(path), 4096).ok()??;
    let line = String::from_utf8(bytes).ok()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The identities that `.kittify/config.yaml` specifies.
#[derive(Debug, Default)]
pub(super) struct ProjectIdentity {
    pub(super) uuid: Option<String>,
    pub(super) node_id: Option<String>,
}

#[derive(Deserialize, Default)]
struct ConfigFile {
    #[serde(default)]
    project: Option<ProjectSection>,
}

#[derive(Deserialize, Default)]
struct ProjectSection {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    node_id: Option<String>,
}

/// Returns true if `.kittify/metadata.yaml` names version 3.1 of spec-kitty, or a newer one.
pub(super) fn is_spec_kitty_3(root_dir: &RootDir) -> bool {
    let read = || {
        let path = RelPath::new(*b".kittify/metadata.yaml").ok()?;
        let bytes = root_dir.read(&path, MAX_FILE_BYTES).ok()??;
        let document = StateDocument::parse(&path, &bytes).ok()?;
        let version = document.find_text(Some("spec_kitty.version"))?;
        let mut numbers = version.split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().unwrap_or_default()
        });
        Some((numbers.next()?, numbers.next().unwrap_or_default()) >= (3, 1))
    };
    read().unwrap_or_default()
}

/// Reads `.kittify/config.yaml`. Its other keys belong to other programs and are ignored.
pub(super) fn read(root_dir: &RootDir) -> Result<ProjectIdentity, FileError> {
    let file_error = |message: String| FileError::without_position(CONFIG_FILE, message);
    let path =
        RelPath::new(CONFIG_FILE.as_bytes()).map_err(|error| file_error(error.to_string()))?;
    let bytes =
        root_dir.read(&path, MAX_FILE_BYTES).map_err(|error| file_error(error.to_string()))?;
    let Some(bytes) = bytes else {
        return Ok(ProjectIdentity::default());
    };
    let file: Option<ConfigFile> =
        parse(&bytes).map_err(|error| FileError::new(CONFIG_FILE, error))?;
    let section = file.and_then(|file| file.project).unwrap_or_default();
    let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty() && text != "0");
    Ok(ProjectIdentity {
        // Other programs normalize the UUID too, whatever form it has in the file.
        uuid: non_empty(section.uuid).map(|text| match Uuid::parse_str(&text) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => text,
        }),
        node_id: non_empty(section.node_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &[u8]) -> Result<ProjectIdentity, FileError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".kittify")).unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
        read(&RootDir::open(dir.path()).unwrap())
    }

    #[test]
    fn config_file_provides_uuid_and_node_id() {
        for (text, uuid, node) in [
            ("", None, None),
            ("# nothing\n", None, None),
            ("vcs: {type: git}\nproject:\n", None, None),
            ("project: {uuid: , node_id: 0}", None, None),
            (
                "project: {uuid: 8A4A7DA6A97C4BB4893AB31664ABFEE4, node_id: abc}",
                Some("8a4a7da6-a97c-4bb4-893a-b31664abfee4"),
                Some("abc"),
            ),
            ("project: {uuid: mine, node_id: 123456789012}", Some("mine"), Some("123456789012")),
            ("project: {node_id: 1234567e8901}", None, Some("1234567e8901")),
        ] {
            let identity = read_text(text.as_bytes()).unwrap();
            assert_eq!(
                (identity.uuid.as_deref(), identity.node_id.as_deref()),
                (uuid, node),
                "{text}"
            );
        }
        let error = read_text(b"project: [").unwrap_err().to_string();
        assert!(error.starts_with(".kittify/config.yaml:"), "{error}");
    }
}
