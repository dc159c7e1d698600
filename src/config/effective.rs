//! The effective configuration: the settings of the file, completed by the defaults.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Config, ProjectConfig, ReceiverUser, SecretSource, WebhookConfig, WebhookFormat};
use crate::core::quantity::{format_duration, format_size};

/// Every key with its value. Serialized as YAML it is an equivalent configuration, except for the
/// redacted URL of the webhook.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EffectiveConfig {
    projects: Vec<EffectiveProject>,
    ignore_defaults: bool,
    limits: EffectiveLimits,
    settle: EffectiveSettle,
    http: EffectiveHttp,
    journal: EffectiveRetention,
    history: EffectiveHistory,
    log: String,
    scrub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<EffectiveWebhook>,
}

/// The URL is redacted, because its path may be secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveWebhook {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    format: &'static str,
    batch: usize,
    gzip: bool,
    timeout: String,
    connections: usize,
    backoff: EffectiveBackoff,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveBackoff {
    first_ms: u128,
    most_ms: u128,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveProject {
    path: String,
    features: Vec<String>,
    mission: String,
    step: BTreeMap<String, String>,
    ignore: Vec<String>,
    ignore_defaults: bool,
}

/// Budgets of one feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EffectiveLimits {
    /// Maximum size of a file in bytes; a larger one is listed, but not read.
    pub file_bytes: u64,
    /// Maximum number of entries; beyond it completeness is unknown.
    pub entries: u64,
    /// Maximum depth of directories; beyond it completeness is unknown.
    pub depth: usize,
}

/// Debounce times in milliseconds (`docs/specification.md#settling`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EffectiveSettle {
    /// Time without an event before a new path is processed.
    pub appear_ms: u64,
    /// Time without an event before a file that is being written is processed.
    pub quiet_ms: u64,
    /// Maximum time before a file that is being written is processed.
    pub max_ms: u64,
    /// Time before a path that disappeared counts as deleted.
    pub vanish_ms: u64,
    /// Maximum time that deletions wait for git's `index.lock` to be removed.
    pub git_ms: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveHttp {
    listen: String,
    allow_root: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveRetention {
    max_age: String,
    max_bytes: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveHistory {
    enabled: bool,
    max_bytes: String,
    max_file: String,
    max_age: String,
    exclude: Vec<String>,
    runtime: bool,
}

impl Config {
    /// Returns the budgets, completed by the defaults.
    #[must_use]
    pub fn effective_limits(&self) -> EffectiveLimits {
        let limits = &self.limits;
        EffectiveLimits {
            file_bytes: limits.file_bytes.unwrap_or(4 << 30),
            entries: limits.entries.unwrap_or(1_000_000),
            depth: limits.depth.unwrap_or(1_000),
        }
    }

    /// Returns the debounce times, completed by the defaults.
    #[must_use]
    pub fn effective_settle(&self) -> EffectiveSettle {
        let settle = &self.settle;
        EffectiveSettle {
            appear_ms: settle.appear_ms.unwrap_or(50),
            quiet_ms: settle.quiet_ms.unwrap_or(50),
            max_ms: settle.max_ms.unwrap_or(500),
            vanish_ms: settle.vanish_ms.unwrap_or(100),
            git_ms: settle.git_ms.unwrap_or(2_000),
        }
    }

    /// Returns all settings, completed by the defaults.
    #[must_use]
    pub fn effective(&self) -> EffectiveConfig {
        EffectiveConfig {
            projects: self.projects.iter().map(|one| self.effective_project(one)).collect(),
            ignore_defaults: self.ignores_defaults(None),
            limits: self.effective_limits(),
            settle: self.effective_settle(),
            http: EffectiveHttp {
                listen: self.http.listen().map_or("off".into(), |listen| listen.to_string()),
                allow_root: self.http.allow_root(),
            },
            journal: EffectiveRetention {
                max_age: format_duration(self.journal.max_age()),
                max_bytes: format_size(self.journal.max_bytes()),
            },
            history: EffectiveHistory {
                enabled: self.history.is_enabled(),
                max_bytes: format_size(self.history.max_bytes()),
                max_file: format_size(self.history.max_file()),
                max_age: format_duration(self.history.max_age()),
                exclude: self.history.exclude().map(|one| one.as_str().to_owned()).collect(),
                runtime: self.history.stores_runtime(),
            },
            log: self.log.as_str().to_owned(),
            scrub: self.scrub.period().map_or("off".to_owned(), format_duration),
            webhook: self.webhook.as_ref().map(effective_webhook),
        }
    }

    fn effective_project(&self, config: &ProjectConfig) -> EffectiveProject {
        let texts = |patterns: &[crate::core::pattern::Pattern]| {
            patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
        };
        let default = || vec!["kitty-specs/*".to_owned()];
        let mission = config.mission.as_ref().map_or("software-dev", |mission| mission.as_str());
        EffectiveProject {
            path: config.path.display().to_string(),
            features: config.features.as_deref().map_or_else(default, texts),
            mission: mission.to_owned(),
            step: config.step.clone(),
            ignore: texts(&config.ignore),
            ignore_defaults: self.ignores_defaults(Some(config)),
        }
    }
}

fn effective_webhook(config: &WebhookConfig) -> EffectiveWebhook {
    let (secret_file, secret_env) = match &config.secret {
        SecretSource::File(path) => (Some(path.display().to_string()), None),
        SecretSource::Env(name) => (None, Some(name.clone())),
    };
    EffectiveWebhook {
        url: config.url.redacted().to_owned(),
        receiver_user: config.receiver_user.as_ref().map(ReceiverUser::to_text),
        secret_file,
        secret_env,
        ca_file: config.ca_file.as_ref().map(|path| path.display().to_string()),
        format: match config.format {
            WebhookFormat::CloudEvents => "cloudevents",
            WebhookFormat::Envelope => "envelope",
        },
        batch: config.batch,
        gzip: config.gzip,
        timeout: format_duration(config.timeout),
        connections: config.connections,
        backoff: EffectiveBackoff {
            first_ms: config.backoff.min.as_millis(),
            most_ms: config.backoff.max.as_millis(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;

    #[test]
    fn example_contains_the_defaults() {
        let example = Config::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(example.effective(), Config::default().effective());
        // The commented lines of the example are valid as well.
        let uncommented: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# |").unwrap_or(line).to_owned() + "\n")
            .filter(|line| line != "projects: []\n")
            .collect();
        let uncommented = Config::parse(uncommented.as_bytes()).unwrap();
        assert_eq!(uncommented.projects.len(), 1, "{EXAMPLE}");
    }

    #[test]
    fn serialized_effective_configuration_is_equivalent() {
        let text = "projects: [{path: /a, features: [x/*], ignore: [y], step: {s: plan}}]\n\
                    journal: {max_age: 36h, max_bytes: 1000}\nscrub: off\nlog: warn,a=debug\n\
                    settle: {git_ms: 1}\nlimits: {depth: 2}\nhttp: {listen: '[::1]:7433', allow_root: true}\n";
        let effective = Config::parse(text.as_bytes()).unwrap().effective();
        let yaml = serde_yaml::to_string(&effective).unwrap();
        assert!(yaml.contains("max_age: 36h") && yaml.contains("max_bytes: '1000'"), "{yaml}");
        assert_eq!(Config::parse(yaml.as_bytes()).unwrap().effective(), effective);
    }
}
