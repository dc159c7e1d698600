//! The `webhook` setting: the receiver, and how requests are sent. It contains the source of the
//! secret, never the secret itself, and shows no part of a URL that may be secret.

mod receiver_user;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ConfigValueError;
use super::units::parse_duration;
use super::user_dirs::expand_home;
use crate::core::yaml::deserialize_text;
pub use receiver_user::ReceiverUser;
pub use url::{ReceiverAddress, WebhookUrl};

/// Maximum of `batch`; a larger one is an error.
const MAX_BATCH: usize = 1_000;
/// Maximum of `connections`; a larger one is an error.
const MAX_CONNECTIONS: usize = 64;
/// Maximum of `timeout`; a longer one is an error.
const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// Receiver of events, and how they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// URL of the receiver.
    pub url: WebhookUrl,
    /// User whose receiver on this machine is accepted, in addition to the daemon's own.
    pub receiver_user: Option<ReceiverUser>,
    /// Source of the secret that signs requests.
    pub secret: SecretSource,
    /// File of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Format of an event.
    pub format: WebhookFormat,
    /// Maximum number of events in one request, from 1.
    pub batch: usize,
    /// True if bodies are compressed.
    pub gzip: bool,
    /// Time limit for a response; after it the request is retried.
    pub timeout: Duration,
    /// Maximum number of concurrent requests.
    pub connections: usize,
    /// Pauses after a failed request.
    pub backoff: BackoffRange,
}

/// Pauses between attempts, which grow from the shortest to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffRange {
    /// Pause after the first failure.
    pub min: Duration,
    /// Longest pause; at least `min`.
    pub max: Duration,
}

/// Source of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Path of a file that only its owner can read.
    File(PathBuf),
    /// Name of an environment variable.
    Env(String),
}

/// Format of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// A `CloudEvents` 1.0 event in structured JSON, with the envelope as its data.
    #[default]
    CloudEvents,
    /// The envelope, as it is in the journal.
    Envelope,
}

/// The setting as it is written, before the keys are checked against each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhookConfig {
    #[serde(deserialize_with = "url")]
    url: WebhookUrl,
    #[serde(default)]
    receiver_user: Option<ReceiverUser>,
    #[serde(default, deserialize_with = "secret_file")]
    secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "secret_env")]
    secret_env: Option<String>,
    #[serde(default, deserialize_with = "ca_file")]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    format: WebhookFormat,
    #[serde(default = "default_batch", deserialize_with = "batch")]
    batch: usize,
    #[serde(default)]
    gzip: bool,
    #[serde(default, deserialize_with = "timeout")]
    timeout: Option<Duration>,
    #[serde(default = "default_connections", deserialize_with = "connections")]
    connections: usize,
    #[serde(default)]
    backoff: BackoffConfig,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BackoffConfig {
    first_ms: Option<u64>,
    most_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for WebhookConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WebhookVisitor)
    }
}

/// Deserializes the setting by hand for two reasons: an error that concerns several keys then has
/// the position of the first key, and a bare URL, which may be secret, is not repeated by serde.
struct WebhookVisitor;

impl<'de> Visitor<'de> for WebhookVisitor {
    type Value = WebhookConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<WebhookConfig, E> {
        Err(E::custom(
            "expected keys; write the URL as `url:`, and add `secret_file` or `secret_env`",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<WebhookConfig, A::Error> {
        let raw = RawWebhookConfig::deserialize(MapAccessDeserializer::new(keys))?;
        WebhookConfig::try_from(raw).map_err(de::Error::custom)
    }
}

impl TryFrom<RawWebhookConfig> for WebhookConfig {
    type Error = ConfigValueError;

    fn try_from(raw: RawWebhookConfig) -> Result<Self, ConfigValueError> {
        let secret = match (raw.secret_file, raw.secret_env) {
            (Some(file), None) => SecretSource::File(file),
            (None, Some(name)) => SecretSource::Env(name),
            (None, None) => return Err(ConfigValueError::NoSecret),
            (Some(_), Some(_)) => return Err(ConfigValueError::TwoSecrets),
        };
        let pause =
            |ms: Option<u64>, default| ms.map_or(default, |ms| Duration::from_millis(ms.max(1)));
        let min = pause(raw.backoff.first_ms, Duration::from_secs(1));
        let max = pause(raw.backoff.most_ms, Duration::from_mins(5)).max(min);
        Ok(Self {
            url: raw.url,
            receiver_user: raw.receiver_user,
            secret,
            ca_file: raw.ca_file,
            format: raw.format,
            batch: raw.batch,
            gzip: raw.gzip,
            timeout: raw.timeout.unwrap_or(Duration::from_secs(15)),
            connections: raw.connections,
            backoff: BackoffRange { min, max },
        })
    }
}

fn default_batch() -> usize {
    1
}

fn default_connections() -> usize {
    8
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WebhookUrl, D::Error> {
    deserialize_text(deserializer, WebhookUrl::new)
}

fn secret_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let parse = |text: &str| {
        // A secret in the wrong place must not get into a log.
        if text.starts_with("whsec_") {
            return Err(ConfigValueError::SecretAsPath);
        }
        parse_file_path(text)
    };
    deserialize_text(deserializer, parse).map(Some)
}

fn ca_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    deserialize_text(deserializer, parse_file_path).map(Some)
}

fn parse_file_path(text: &str) -> Result<PathBuf, ConfigValueError> {
    let path = expand_home(text)?;
    if path.is_absolute() { Ok(path) } else { Err(ConfigValueError::RelativeFile) }
}

fn secret_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| {
        let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !text.is_empty() && text.len() <= 64 && text.chars().all(is_allowed) {
            Ok(text.to_owned())
        } else {
            Err(ConfigValueError::InvalidVariableName)
        }
    };
    deserialize_text(deserializer, parse).map(Some)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let parse = |text: &str| match parse_duration(text) {
        Ok(timeout) if timeout > MAX_TIMEOUT => {
            Err(ConfigValueError::TimeoutTooLong { max_seconds: MAX_TIMEOUT.as_secs() })
        }
        parsed => parsed,
    };
    deserialize_text(deserializer, parse).map(Some)
}

fn batch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserialize_in_range(deserializer, MAX_BATCH)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserialize_in_range(deserializer, MAX_CONNECTIONS)
}

fn deserialize_in_range<'de, D: Deserializer<'de>>(
    deserializer: D,
    max: usize,
) -> Result<usize, D::Error> {
    let parse = |text: &str| {
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or(ConfigValueError::OutOfRange { max })
    };
    deserialize_text(deserializer, parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn webhook(text: &str) -> WebhookConfig {
        Config::parse(text.as_bytes()).unwrap().webhook.unwrap()
    }

    #[test]
    fn parse_reads_all_keys_and_fills_defaults() {
        let minimal = webhook("webhook: {url: 'https://example.org', secret_env: HOOK}");
        assert_eq!(minimal.secret, SecretSource::Env("HOOK".to_owned()));
        assert_eq!(
            (minimal.format, minimal.batch, minimal.gzip),
            (WebhookFormat::CloudEvents, 1, false)
        );
        assert!(
            matches!(minimal.url.address(), ReceiverAddress::Tls(host, 443) if host == "example.org")
        );
        let default = BackoffRange { min: Duration::from_secs(1), max: Duration::from_mins(5) };
        assert_eq!(minimal.backoff, default);
        let full = webhook(
            "webhook:
  url: http://[::1]:8080/a?b=c
  receiver_user: www-data
  secret_file: /etc/secret
  ca_file: /etc/ca.pem
  format: envelope
  batch: 100
  gzip: true
  timeout: 3s
  connections: 2
  backoff: {first_ms: 10, most_ms: 5}
",
        );
        assert_eq!(full.secret, SecretSource::File("/etc/secret".into()));
        assert_eq!(full.ca_file, Some("/etc/ca.pem".into()));
        assert!(
            matches!(full.url.address(), ReceiverAddress::Loopback(host, 8080) if host == "::1")
        );
        assert_eq!(full.receiver_user, Some(ReceiverUser::Name("www-data".to_owned())));
        assert_eq!((full.format, full.batch, full.gzip), (WebhookFormat::Envelope, 100, true));
        assert_eq!((full.timeout, full.connections), (Duration::from_secs(3), 2));
        let ten_ms = Duration::from_millis(10);
        assert_eq!(full.backoff, BackoffRange { min: ten_ms, max: ten_ms });
    }

    #[test]
    fn debug_and_redacted_hide_path_and_query() {
        let webhook =
            webhook("webhook: {url: 'https://example.org/CANARY?x=CANARY', secret_file: /a}");
        assert!(!format!("{webhook:?}").contains("CANARY"), "{webhook:?}");
        assert_eq!(webhook.url.redacted(), "https://example.org/…");
    }

    #[test]
    fn errors_have_a_position_and_no_secret() {
        for (text, expected) in [
            (
                "webhook:\n  url: http://example.org/CANARY\n  secret_env: A\n",
                "2:8: webhook.url: `http://` is allowed for this machine only (`localhost`, \
                 `127.0.0.1`, `[::1]`); use `https://`",
            ),
            (
                "webhook:\n  url: https://e.org\n",
                "2:3: webhook: missing `secret_file` or `secret_env`; one is required to sign requests",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_file: whsec_CANARY\n",
                "3:16: webhook.secret_file: expected the path of a file, not a secret; write the \
                 secret to that file",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret: whsec_CANARY\n",
                "3:3: webhook: unknown field `secret`, expected one of `url`, `receiver_user`, \
                 `secret_file`, `secret_env`, `ca_file`, `format`, `batch`, `gzip`, `timeout`, `connections`, `backoff`",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: whsec_CANARY\n",
                "3:15: webhook.secret_env: invalid name of an environment variable; use up to 64 of \
                 `A` to `Z`, `0` to `9` and `_`",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: A\n  batch: 0\n",
                "4:10: webhook.batch: write a number from 1 to 1000",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: A\n  timeout: 1h\n",
                "4:12: webhook.timeout: the timeout is longer than 300s; write at most that",
            ),
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }
}
