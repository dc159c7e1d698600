//! `config.yaml` and the user's directories: keys, defaults and errors
//! (`docs/specification.md#configuration`).
//!
//! Parsing is strict: an unknown key is an error with its position and the nearest known key, and
//! no invalid value is replaced by a default. Reloading is the daemon's task.

mod effective;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod http;
mod log;
mod project_list;
mod regular_file;
mod retention;
mod scrub;
mod state;
mod units;
mod user_dirs;
mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::core::diagnostics::FileError;
use crate::core::manifest::MissionType;
use crate::core::pattern::Pattern;
use crate::core::yaml::{ParseError, deserialize_text, parse_strict};
pub use effective::{EffectiveConfig, EffectiveLimits, EffectiveSettle};
pub use error::ConfigValueError;
pub use history::HistoryConfig;
pub use http::HttpConfig;
pub use log::LogConfig;
pub use project_list::{ProjectList, ProjectListError};
use regular_file::read_regular_file;
pub use retention::RetentionConfig;
pub use scrub::ScrubConfig;
pub use state::{ConfigState, LoadedConfig};
use user_dirs::expand_home;
pub use user_dirs::{ForeignDir, LOCK_FILE, UserDirs};
pub use webhook::{
    BackoffRange, ReceiverAddress, ReceiverUser, SecretSource, WebhookConfig, WebhookFormat,
    WebhookUrl,
};

/// An example of the configuration, with every key, its default and an explanation.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// The content of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Projects and their settings.
    #[serde(default)]
    pub projects: Vec<ProjectConfig>,
    /// Whether temporary files of editors and the like are ignored in all projects.
    #[serde(default)]
    pub ignore_defaults: Option<bool>,
    /// Budgets of one feature.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Debounce times of the daemon.
    #[serde(default)]
    pub settle: SettleConfig,
    /// Listener of the dashboard.
    #[serde(default)]
    pub http: HttpConfig,
    /// Retention of events.
    #[serde(default)]
    pub journal: RetentionConfig,
    /// Storing of contents.
    #[serde(default)]
    pub history: HistoryConfig,
    /// Log filter of the daemon.
    #[serde(default)]
    pub log: LogConfig,
    /// Whether and how fast all files are reread in the background.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// Receiver of events.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
}

/// Settings of one project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// Root of the project: an absolute path; `~/` is expanded.
    #[serde(deserialize_with = "root_path")]
    pub path: PathBuf,
    /// Patterns of the feature directories.
    #[serde(default)]
    pub features: Option<Vec<Pattern>>,
    /// Mission of features whose `meta.json` names none.
    #[serde(default, deserialize_with = "mission")]
    pub mission: Option<MissionType>,
    /// Current step by feature, where no runtime has issued one.
    #[serde(default)]
    pub step: BTreeMap<String, String>,
    /// Patterns of paths in features that are not artifacts.
    #[serde(default)]
    pub ignore: Vec<Pattern>,
    /// Whether temporary files of editors and the like are ignored; `None` means as in all projects.
    #[serde(default)]
    pub ignore_defaults: Option<bool>,
}

/// Budgets of one feature. A key that is not set has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Maximum size of a file in bytes; a larger one is listed, but not read.
    pub file_bytes: Option<u64>,
    /// Maximum number of entries of a feature; beyond it completeness is unknown.
    pub entries: Option<u64>,
    /// Maximum depth of directories; beyond it completeness is unknown.
    pub depth: Option<usize>,
}

/// Debounce times in milliseconds. A key that is not set has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettleConfig {
    /// Time without an event before a new path is processed.
    pub appear_ms: Option<u64>,
    /// Time without an event before a file that is being written is processed.
    pub quiet_ms: Option<u64>,
    /// Maximum time before a file that is being written is processed.
    pub max_ms: Option<u64>,
    /// Time before a path that disappeared counts as deleted.
    pub vanish_ms: Option<u64>,
    /// Maximum time that deletions wait for git's `index.lock` to be removed.
    pub git_ms: Option<u64>,
}

impl Config {
    /// Reads the configuration file. Without one all settings have their defaults.
    ///
    /// # Errors
    /// [`FileError`] with the position, if the file cannot be read or is invalid.
    pub fn load(file: &Path) -> Result<Self, FileError> {
        match read_regular_file(file) {
            Ok(bytes) => Self::parse(&bytes)
                .map_err(|error| FileError::new(file.display().to_string(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(FileError::without_position(file.display().to_string(), error.to_string()))
            }
        }
    }

    /// Reads the configuration file and resolves the paths of projects.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_resolved(file: &Path) -> Result<Self, FileError> {
        let mut config = Self::load(file)?;
        config.resolve_projects(|path| path.canonicalize().ok());
        Ok(config)
    }

    /// Parses the text of a configuration.
    ///
    /// # Errors
    /// [`ParseError`] with the position.
    ///
    /// # Examples
    /// ```
    /// use dossierd::config::Config;
    ///
    /// let config = Config::parse(b"projects: [{path: /srv/shop}]\nscrub: off\n").unwrap();
    /// assert_eq!(config.projects[0].path, std::path::Path::new("/srv/shop"));
    /// assert_eq!(config.scrub.period(), None);
    ///
    /// let error = Config::parse(b"scub: off").unwrap_err().to_string();
    /// assert!(error.starts_with("1:1: unknown field `scub`"));
    /// assert!(error.ends_with("did you mean `scrub`?"));
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let parsed = parse_strict::<Option<Self>>(bytes).map_err(|error| ParseError {
            // A secret in the wrong place must not get into a log.
            message: redact_secrets(&error.message),
            ..error
        });
        Ok(parsed?.unwrap_or_default())
    }

    /// Replaces the paths of projects by those that `resolve` returns for them.
    pub fn resolve_projects(&mut self, resolve: impl Fn(&Path) -> Option<PathBuf>) {
        for project in &mut self.projects {
            if let Some(path) = resolve(&project.path) {
                project.path = path;
            }
        }
    }

    /// Returns the settings of the project with the canonical root `root`; the first ones if there
    /// are several. The paths of projects must be resolved.
    #[must_use]
    pub fn find_project(&self, root: &Path) -> Option<&ProjectConfig> {
        self.projects.iter().find(|project| project.path == root)
    }

    /// Returns true if temporary files of editors and the like are ignored in a project.
    #[must_use]
    pub fn ignores_defaults(&self, project: Option<&ProjectConfig>) -> bool {
        let own = project.and_then(|project| project.ignore_defaults);
        own.or(self.ignore_defaults).unwrap_or(true)
    }
}

/// Returns `text` with each secret of Standard Webhooks replaced by its prefix.
fn redact_secrets(text: &str) -> String {
    const PREFIX: &str = "whsec_";
    let is_secret = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let mut parts = text.split(PREFIX);
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        redacted.push_str(PREFIX);
        redacted.push('…');
        redacted.push_str(part.trim_start_matches(is_secret));
    }
    redacted
}

fn root_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    deserialize_text(deserializer, |text| {
        let path = expand_home(text)?;
        if !path.is_absolute() {
            return Err(ConfigValueError::RelativeRoot(text.to_owned()));
        }
        Ok(path)
    })
}

fn mission<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MissionType>, D::Error> {
    deserialize_text(deserializer, MissionType::new).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_all_keys_of_a_project() {
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
        assert!(config.ignores_defaults(None) && config.ignores_defaults(Some(shop)));
        for empty in ["", "# nothing\n", "projects: []\n"] {
            assert_eq!(Config::parse(empty.as_bytes()), Ok(Config::default()), "{empty:?}");
        }
    }

    #[test]
    fn secret_in_any_place_is_not_repeated() {
        let secret = "whsec_CANARY+/CANARY==";
        for text in [
            "KEY: 1",
            "log: KEY",
            "scrub: KEY",
            "http: {listen: KEY}",
            "http: KEY",
            "limits: KEY",
            "limits: {KEY: 1}",
            "limits: {depth: KEY}",
            "journal: {max_age: KEY}",
            "journal: {max_bytes: KEY}",
            "projects: KEY",
            "projects: [{path: KEY}]",
            "projects: [{path: /a, mission: 'KEY '}]",
            "projects: [{path: /a, features: ['../KEY']}]",
            "projects: [{path: /a, KEY: 1, KEY: 2}]",
            "webhook: KEY",
            "webhook: {KEY: 1}",
            "webhook: {url: KEY, secret_env: A}",
            "webhook: {url: 'unix:KEY', secret_env: A}",
            "webhook: {url: 'https://e.org', receiver_user: 'KEY ', secret_env: A}",
            "webhook: {url: 'https://e.org', secret_env: KEY}",
            "webhook: {url: 'https://e.org', secret_file: KEY}",
            "webhook: {url: 'https://e.org', secret_file: x/KEY}",
            "webhook: {url: 'https://e.org', ca_file: KEY, secret_env: A}",
            "webhook: {url: 'https://e.org', secret_env: A, format: KEY}",
            "webhook: {url: 'https://e.org', secret_env: A, batch: KEY}",
            "webhook: {url: 'https://e.org', secret_env: A, gzip: KEY}",
            "webhook: {url: 'https://e.org', secret_env: A, timeout: KEY}",
            "webhook: {url: 'https://e.org', secret_env: A, backoff: KEY}",
            "webhook: {url: 'https://e.org', secret_env: A, backoff: {first_ms: KEY}}",
            "'KEY",
            "KEY: [",
            "KEY",
        ] {
            let error = Config::parse(text.replace("KEY", secret).as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("CANARY"), "{text}: {error}");
        }
        assert_eq!(redact_secrets("a `whsec_x=` whsec_ b"), "a `whsec_…` whsec_… b");
    }

    #[test]
    fn project_overrides_whether_defaults_are_ignored() {
        let text = "ignore_defaults: false\n\
                    projects: [{path: /a, ignore_defaults: true}, {path: /b}]\n";
        let config = Config::parse(text.as_bytes()).unwrap();
        for (root, expected) in [("/a", true), ("/b", false), ("/c", false)] {
            assert_eq!(config.ignores_defaults(config.find_project(Path::new(root))), expected);
        }
    }

    #[test]
    fn parse_errors_have_position_key_and_fix() {
        for (text, expected) in [
            (
                "project: []\n",
                "1:1: unknown field `project`, expected one of `projects`, `ignore_defaults`, `limits`, `settle`, `http`, `journal`, `history`, `log`, `scrub`, `webhook`; did you mean `projects`?",
            ),
            (
                "projects:\n  - path: /a\n    featurs: []\n",
                "3:5: projects[0]: unknown field `featurs`, expected one of `path`, `features`, \
                 `mission`, `step`, `ignore`, `ignore_defaults`; did you mean `features`?",
            ),
            ("projects:\n  - features: []\n", "2:5: projects[0]: missing field `path`"),
            (
                "projects:\n  - path: relative\n",
                "2:11: projects[0].path: `relative` is not absolute; begin it with `/` or `~/`",
            ),
            (
                "projects:\n  - {path: /a, ignore: [../x]}\n",
                "2:25: projects[0].ignore[0]: invalid pattern `../x`: the path has a `..` component; \
                 it must stay below the feature directory",
            ),
            (
                "projects:\n  - {path: /a, mission: a b}\n",
                "2:25: projects[0].mission: invalid mission type `a b`; use letters, digits, `_` and `-`",
            ),
            (
                "limits: {entries: many}\n",
                "1:19: limits.entries: invalid type: string \"many\", expected a whole number",
            ),
        ] {
            assert_eq!(Config::parse(text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
