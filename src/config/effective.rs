//! The configuration that is in force: what the file says, and the default of all that it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Config, ProjectConfig, SecretSource, WebhookConfig, WebhookFormat};

/// Every key with its value. Written as YAML it is a configuration that says the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EffectiveConfig {
    projects: Vec<EffectiveProject>,
    limits: EffectiveLimits,
    settle: EffectiveSettle,
    http: EffectiveHttp,
    journal: EffectiveRetention,
    log: String,
    scrub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<EffectiveWebhook>,
}

/// Without what may be secret in the address.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveWebhook {
    url: String,
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
}

/// Budgets of one feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EffectiveLimits {
    /// Largest file that is read, in bytes.
    pub file_bytes: u64,
    /// Most entries.
    pub entries: u64,
    /// Deepest directory.
    pub depth: usize,
}

/// When a change counts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EffectiveSettle {
    /// A new path.
    pub appear_ms: u64,
    /// A file that is being written.
    pub quiet_ms: u64,
    /// The same, at most.
    pub max_ms: u64,
    /// A path that vanished.
    pub vanish_ms: u64,
    /// The longest wait for git.
    pub git_ms: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveHttp {
    listen: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EffectiveRetention {
    max_age: String,
    max_bytes: String,
}

impl Config {
    /// Budgets, with the defaults.
    #[must_use]
    pub fn effective_limits(&self) -> EffectiveLimits {
        let said = &self.limits;
        EffectiveLimits {
            file_bytes: said.file_bytes.unwrap_or(4 << 30),
            entries: said.entries.unwrap_or(1_000_000),
            depth: said.depth.unwrap_or(1_000),
        }
    }

    /// Settling, with the defaults.
    #[must_use]
    pub fn effective_settle(&self) -> EffectiveSettle {
        let said = &self.settle;
        EffectiveSettle {
            appear_ms: said.appear_ms.unwrap_or(50),
            quiet_ms: said.quiet_ms.unwrap_or(50),
            max_ms: said.max_ms.unwrap_or(500),
            vanish_ms: said.vanish_ms.unwrap_or(100),
            git_ms: said.git_ms.unwrap_or(2_000),
        }
    }

    /// All of it, with the defaults.
    #[must_use]
    pub fn effective(&self) -> EffectiveConfig {
        EffectiveConfig {
            projects: self.projects.iter().map(effective_project).collect(),
            limits: self.effective_limits(),
            settle: self.effective_settle(),
            http: EffectiveHttp {
                listen: self.http.listen().map_or("off".into(), |listen| listen.to_string()),
            },
            journal: EffectiveRetention {
                max_age: format_duration(self.journal.max_age()),
                max_bytes: format_size(self.journal.max_bytes()),
            },
            log: self.log.as_str().to_owned(),
            scrub: self.scrub.period().map_or("off".to_owned(), format_duration),
            webhook: self.webhook.as_ref().map(effective_webhook),
        }
    }
}

fn effective_project(said: &ProjectConfig) -> EffectiveProject {
    let texts = |patterns: &[crate::core::pattern::Pattern]| {
        patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
    };
    let usual = || vec!["kitty-specs/*".to_owned()];
    let mission = said.mission.as_ref().map_or("software-dev", |mission| mission.as_str());
    EffectiveProject {
        path: said.path.display().to_string(),
        features: said.features.as_deref().map_or_else(usual, texts),
        mission: mission.to_owned(),
        step: said.step.clone(),
        ignore: texts(&said.ignore),
    }
}

fn effective_webhook(said: &WebhookConfig) -> EffectiveWebhook {
    let (first, most) = said.backoff;
    let (secret_file, secret_env) = match &said.secret {
        SecretSource::File(path) => (Some(path.display().to_string()), None),
        SecretSource::Env(name) => (None, Some(name.clone())),
    };
    EffectiveWebhook {
        url: said.url.redacted().to_owned(),
        secret_file,
        secret_env,
        ca_file: said.ca_file.as_ref().map(|path| path.display().to_string()),
        format: match said.format {
            WebhookFormat::CloudEvents => "cloudevents",
            WebhookFormat::Envelope => "envelope",
        },
        batch: said.batch,
        gzip: said.gzip,
        timeout: format_duration(said.timeout),
        connections: said.connections,
        backoff: EffectiveBackoff { first_ms: first.as_millis(), most_ms: most.as_millis() },
    }
}

/// In the largest unit that needs no fraction.
fn format_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let unit = units.into_iter().find(|(_, size)| seconds.is_multiple_of(*size));
    let (name, size) = unit.unwrap_or(("s", 1));
    format!("{}{name}", seconds / size)
}

fn format_size(bytes: u64) -> String {
    let units = [(" GiB", 1 << 30), (" MiB", 1 << 20), (" KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, size)| bytes.is_multiple_of(*size));
    let (name, size) = unit.unwrap_or(("", 1));
    format!("{}{name}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;

    #[test]
    fn the_example_says_the_defaults() {
        let example = Config::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(example.effective(), Config::default().effective());
        // And what is only shown in it can be said.
        let shown: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# |").unwrap_or(line).to_owned() + "\n")
            .filter(|line| line != "projects: []\n")
            .collect();
        let shown = Config::parse(shown.as_bytes()).unwrap();
        assert_eq!(shown.projects.len(), 1, "{EXAMPLE}");
    }

    #[test]
    fn what_is_shown_says_the_same() {
        let text = "projects: [{path: /a, features: [x/*], ignore: [y], step: {s: plan}}]\n\
                    journal: {max_age: 36h, max_bytes: 1000}\nscrub: off\nlog: warn,a=debug\n\
                    settle: {git_ms: 1}\nlimits: {depth: 2}\nhttp: {listen: '[::1]:7433'}\n";
        let said = Config::parse(text.as_bytes()).unwrap().effective();
        let shown = serde_yaml::to_string(&said).unwrap();
        assert!(shown.contains("max_age: 36h") && shown.contains("max_bytes: '1000'"), "{shown}");
        assert_eq!(Config::parse(shown.as_bytes()).unwrap().effective(), said);
    }
}
