//! `config.yaml`: where it lies, what it may say, and what is wrong with it.
//!
//! It is strict: an unknown key is an error with its place and the nearest known one, and nothing
//! falls back silently.

mod effective;
mod http;
mod log;
mod retention;
mod state;
mod webhook;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Deserializer};

use crate::core::diagnostics::FileError;
use crate::core::manifest::MissionType;
use crate::core::pattern::Pattern;
use crate::core::yaml::{ParseError, deserialize_text, parse_strict};
pub use effective::{EffectiveConfig, EffectiveLimits, EffectiveSettle};
pub use http::HttpConfig;
pub use log::LogConfig;
pub use retention::{RetentionConfig, ScrubConfig};
pub use state::ConfigState;
pub use webhook::{SecretSource, WebhookConfig, WebhookFormat, WebhookUrl};

const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A configuration that says every key with its default, and explains it.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// The configuration file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Projects, and what is said of them.
    #[serde(default)]
    pub projects: Vec<ProjectConfig>,
    /// Budgets of one feature.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// When the daemon takes a change for settled.
    #[serde(default)]
    pub settle: SettleConfig,
    /// Where the dashboard listens.
    #[serde(default)]
    pub http: HttpConfig,
    /// How long events are kept.
    #[serde(default)]
    pub journal: RetentionConfig,
    /// What the daemon logs.
    #[serde(default)]
    pub log: LogConfig,
    /// Whether and how fast everything is read again in the background.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// Where events are sent.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
}

/// What is said of one project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// Its root, absolute or beginning with `~/`.
    #[serde(deserialize_with = "root_path")]
    pub path: PathBuf,
    /// Where its features are.
    #[serde(default)]
    pub features: Option<Vec<Pattern>>,
    /// Mission of features whose `meta.json` names none.
    #[serde(default, deserialize_with = "mission")]
    pub mission: Option<MissionType>,
    /// Current step by feature, where no runtime has issued one.
    #[serde(default)]
    pub step: BTreeMap<String, String>,
    /// Paths in features that are no artifacts.
    #[serde(default)]
    pub ignore: Vec<Pattern>,
}

/// Budgets of one feature; what is not said keeps its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest file that is read, in bytes.
    pub file_bytes: Option<u64>,
    /// Most entries of a feature.
    pub entries: Option<u64>,
    /// Deepest directory.
    pub depth: Option<usize>,
}

/// When a change counts, in milliseconds; what is not said keeps its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettleConfig {
    /// A new path, without an event on it.
    pub appear_ms: Option<u64>,
    /// A file that is being written, without an event on it.
    pub quiet_ms: Option<u64>,
    /// A file that is being written, at most.
    pub max_ms: Option<u64>,
    /// A path that vanished.
    pub vanish_ms: Option<u64>,
    /// The longest wait for git to be done with a work tree.
    pub git_ms: Option<u64>,
}

/// Directories of the user (XDG).
#[derive(Debug, Clone)]
pub struct UserDirs {
    /// `$XDG_CONFIG_HOME/dossierd`.
    pub config_dir: PathBuf,
    /// `$XDG_STATE_HOME/dossierd`.
    pub state_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR`, where there is one.
    pub runtime_dir: Option<PathBuf>,
}

impl UserDirs {
    /// Asks the environment.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn from_env() -> io::Result<Self> {
        let xdg = Xdg::new().map_err(|error| io::Error::other(error.to_string()))?;
        let state = xdg.state_dir().unwrap_or_else(|| xdg.home_dir().join(".local/state"));
        Ok(Self {
            config_dir: xdg.config_dir().join("dossierd"),
            state_dir: state.join("dossierd"),
            runtime_dir: xdg.runtime_dir(),
        })
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.yaml")
    }

    /// The socket: in the runtime directory, or in a private directory of the state directory.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        let folder = self.runtime_dir.as_ref().map(|runtime| runtime.join("dossierd"));
        folder.unwrap_or_else(|| self.state_dir.join("run")).join("dossierd.sock")
    }

    /// The user's own missions.
    #[must_use]
    pub fn missions_dir(&self) -> PathBuf {
        self.config_dir.join("missions")
    }
}

impl Config {
    /// Reads the configuration file; the defaults where there is none.
    ///
    /// # Errors
    /// [`FileError`] with the place.
    pub fn load(file: &Path) -> Result<Self, FileError> {
        let whole = |error: io::Error| {
            FileError::without_position(file.display().to_string(), error.to_string())
        };
        match read_regular_file(file) {
            Ok(bytes) => Self::parse(&bytes)
                .map_err(|error| FileError::new(file.display().to_string(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(whole(error)),
        }
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    /// [`ParseError`] with the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Ok(parse_strict::<Option<Self>>(bytes)?.unwrap_or_default())
    }

    /// What is said of the project at that canonical root.
    #[must_use]
    pub fn find_project(&self, root: &Path) -> Option<&ProjectConfig> {
        self.projects.iter().find(|project| {
            project.path == root || project.path.canonicalize().is_ok_and(|path| path == root)
        })
    }
}

/// Opened so that a FIFO in its place cannot block.
fn read_regular_file(file: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(file, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_CONFIG_BYTES} bytes")));
    }
    Ok(bytes)
}

fn root_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    deserialize_text(deserializer, |text| {
        let path = match text.strip_prefix("~/") {
            Some(rest) => etcetera::home_dir().map_err(|error| error.to_string())?.join(rest),
            None => PathBuf::from(text),
        };
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(format!("`{text}` is not absolute; begin it with `/` or `~/`"))
        }
    })
}

fn mission<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MissionType>, D::Error> {
    let parse = |text: &str| {
        MissionType::new(text)
            .ok_or_else(|| format!("`{text}` is no mission type; use letters, digits, `_` and `-`"))
    };
    deserialize_text(deserializer, parse).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_said() {
        let text = r#"
projects:
  - path: /srv/shop
    features: ["kitty-specs/*", "teams/*/specs/*"]
    mission: research
    step: {001-a: plan}
    ignore: ["**/*.tmp"]
  - path: /srv/other
limits: {entries: 10}
settle: {appear_ms: 20}
"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        let shop = config.find_project(Path::new("/srv/shop")).unwrap();
        assert_eq!(shop.features.as_ref().unwrap().len(), 2);
        assert_eq!(shop.mission.as_ref().unwrap().as_str(), "research");
        assert_eq!(shop.step["001-a"], "plan");
        assert_eq!(shop.ignore[0].as_str(), "**/*.tmp");
        assert_eq!(config.limits.entries, Some(10));
        assert_eq!(config.settle.appear_ms, Some(20));
        assert!(config.find_project(Path::new("/srv")).is_none());
        for empty in ["", "# nothing\n", "projects: []\n"] {
            assert_eq!(Config::parse(empty.as_bytes()), Ok(Config::default()), "{empty:?}");
        }
    }

    #[test]
    fn errors_name_place_and_mend() {
        for (text, expect) in [
            (
                "project: []\n",
                "1:1: unknown field `project`, expected one of `projects`, `limits`, `settle`, `http`, `journal`, `log`, `scrub`, `webhook`; did you mean `projects`?",
            ),
            (
                "projects:\n  - path: /a\n    featurs: []\n",
                "3:5: projects[0]: unknown field `featurs`, expected one of `path`, `features`, \
                 `mission`, `step`, `ignore`; did you mean `features`?",
            ),
            ("projects:\n  - features: []\n", "2:5: projects[0]: missing field `path`"),
            (
                "projects:\n  - path: relative\n",
                "2:11: projects[0].path: `relative` is not absolute; begin it with `/` or `~/`",
            ),
            (
                "projects:\n  - {path: /a, ignore: [../x]}\n",
                "2:25: projects[0].ignore[0]: `../x` is no pattern: the path has a `..` component; \
                 it must stay below the feature directory",
            ),
            (
                "projects:\n  - {path: /a, mission: a b}\n",
                "2:25: projects[0].mission: `a b` is no mission type; use letters, digits, `_` and `-`",
            ),
            (
                "limits: {entries: many}\n",
                "1:19: limits.entries: invalid type: string \"many\", expected a whole number",
            ),
        ] {
            assert_eq!(Config::parse(text.as_bytes()).unwrap_err().to_string(), expect);
        }
    }
}
