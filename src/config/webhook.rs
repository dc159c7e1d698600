//! What the configuration says of the webhook: where to, how, and where its secret lies. The secret
//! itself never stands here, and nothing here shows what of an address may be secret.

mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::retention::parse_duration;
use crate::core::yaml::deserialize_text;
pub use url::WebhookUrl;

/// Events of one request, at most.
const MAX_BATCH: usize = 1_000;
/// Requests at a time, at most.
const MAX_CONNECTIONS: usize = 64;
/// The longest that an answer may be waited for.
const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The receiver.
    pub url: WebhookUrl,
    /// Where the secret is that requests are signed with.
    pub secret: SecretSource,
    /// Who may vouch for the receiver, where not those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What an event looks like.
    pub format: WebhookFormat,
    /// Events of one request, at most; 1 sends each by itself.
    pub batch: usize,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Requests at a time, at most.
    pub connections: usize,
    /// The first and the longest pause after a failure.
    pub backoff: (Duration, Duration),
}

/// Where the secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file that only its owner can read.
    File(PathBuf),
    /// In an environment variable of that name.
    Env(String),
}

/// What an event looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// A `CloudEvents` 1.0 event in structured JSON, with the envelope as its data.
    #[default]
    CloudEvents,
    /// The envelope, as the journal has it.
    Envelope,
}

/// What is said of it, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhookConfig {
    #[serde(deserialize_with = "url")]
    url: WebhookUrl,
    #[serde(default, deserialize_with = "secret_file")]
    secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "secret_env")]
    secret_env: Option<String>,
    #[serde(default, deserialize_with = "ca_file")]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    format: WebhookFormat,
    #[serde(default = "one", deserialize_with = "batch")]
    batch: usize,
    #[serde(default)]
    gzip: bool,
    #[serde(default, deserialize_with = "timeout")]
    timeout: Option<Duration>,
    #[serde(default = "eight", deserialize_with = "connections")]
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

/// What is wrong with several keys together has the place of the first; and an address by itself,
/// which may be secret, is not repeated.
struct WebhookVisitor;

impl<'de> Visitor<'de> for WebhookVisitor {
    type Value = WebhookConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<WebhookConfig, E> {
        Err(E::custom(
            "the address belongs behind `url:`, and `secret_file` or `secret_env` beside it",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<WebhookConfig, A::Error> {
        let written = RawWebhookConfig::deserialize(MapAccessDeserializer::new(keys))?;
        WebhookConfig::try_from(written).map_err(de::Error::custom)
    }
}

impl TryFrom<RawWebhookConfig> for WebhookConfig {
    type Error = &'static str;

    fn try_from(written: RawWebhookConfig) -> Result<Self, &'static str> {
        let secret = match (written.secret_file, written.secret_env) {
            (Some(file), None) => SecretSource::File(file),
            (None, Some(name)) => SecretSource::Env(name),
            (None, None) => {
                return Err("one of `secret_file` and `secret_env` is needed: requests are signed");
            }
            (Some(_), Some(_)) => return Err("only one of `secret_file` and `secret_env` counts"),
        };
        let ms = |said: Option<u64>, default| {
            said.map_or(default, |ms| Duration::from_millis(ms.max(1)))
        };
        let first = ms(written.backoff.first_ms, Duration::from_secs(1));
        let most = ms(written.backoff.most_ms, Duration::from_mins(5)).max(first);
        Ok(Self {
            url: written.url,
            secret,
            ca_file: written.ca_file,
            format: written.format,
            batch: written.batch,
            gzip: written.gzip,
            timeout: written.timeout.unwrap_or(Duration::from_secs(15)),
            connections: written.connections,
            backoff: (first, most),
        })
    }
}

fn one() -> usize {
    1
}

fn eight() -> usize {
    8
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WebhookUrl, D::Error> {
    deserialize_text(deserializer, WebhookUrl::new)
}

fn secret_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = |text: &str| {
        // Whoever mistakes the one for the other must not find it in a log.
        if text.starts_with("whsec_") {
            return Err("this names a file; put the secret into it".to_owned());
        }
        parse_absolute_path(text)
    };
    deserialize_text(deserializer, path).map(Some)
}

fn ca_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    deserialize_text(deserializer, parse_absolute_path).map(Some)
}

fn parse_absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = match text.strip_prefix("~/") {
        Some(rest) => etcetera::home_dir().map_err(|error| error.to_string())?.join(rest),
        None => PathBuf::from(text),
    };
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("the file's path is not absolute; begin it with `/` or `~/`".to_owned())
    }
}

fn secret_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = |text: &str| {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("no name of an environment variable (`A` to `Z`, `0` to `9`, `_`)")
        }
    };
    deserialize_text(deserializer, name).map(Some)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let time = |text: &str| match parse_duration(text) {
        Ok(time) if time > MAX_TIMEOUT => Err(format!("at most {}s", MAX_TIMEOUT.as_secs())),
        time => time,
    };
    deserialize_text(deserializer, time).map(Some)
}

fn batch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserialize_in_range(deserializer, MAX_BATCH)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserialize_in_range(deserializer, MAX_CONNECTIONS)
}

fn deserialize_in_range<'de, D: Deserializer<'de>>(
    deserializer: D,
    most: usize,
) -> Result<usize, D::Error> {
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("write a number from 1 to {most}"))
    };
    deserialize_text(deserializer, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn webhook(text: &str) -> WebhookConfig {
        Config::parse(text.as_bytes()).unwrap().webhook.unwrap()
    }

    #[test]
    fn all_that_may_be_said() {
        let least = webhook("webhook: {url: 'https://example.org', secret_env: HOOK}");
        assert_eq!(least.secret, SecretSource::Env("HOOK".to_owned()));
        assert_eq!((least.format, least.batch, least.gzip), (WebhookFormat::CloudEvents, 1, false));
        assert_eq!(least.url.host_and_port(), ("example.org", 443));
        assert_eq!(least.backoff, (Duration::from_secs(1), Duration::from_mins(5)));
        let most = webhook(
            "webhook:
  url: http://[::1]:8080/a?b=c
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
        assert_eq!(most.secret, SecretSource::File("/etc/secret".into()));
        assert_eq!(most.ca_file, Some("/etc/ca.pem".into()));
        assert_eq!(most.url.host_and_port(), ("::1", 8080));
        assert_eq!((most.format, most.batch, most.gzip), (WebhookFormat::Envelope, 100, true));
        assert_eq!((most.timeout, most.connections), (Duration::from_secs(3), 2));
        assert_eq!(most.backoff, (Duration::from_millis(10), Duration::from_millis(10)));
    }

    #[test]
    fn nothing_shows_what_may_be_secret() {
        let webhook =
            webhook("webhook: {url: 'https://example.org/CANARY?x=CANARY', secret_file: /a}");
        assert!(!format!("{webhook:?}").contains("CANARY"), "{webhook:?}");
        assert_eq!(webhook.url.redacted(), "https://example.org/…");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_a_secret() {
        for (text, expect) in [
            (
                "webhook:\n  url: http://example.org/CANARY\n  secret_env: A\n",
                "2:8: webhook.url: http is for this machine only (`localhost`, `127.0.0.1`, \
                 `[::1]`); use `https://`",
            ),
            (
                "webhook:\n  url: https://e.org\n",
                "2:3: webhook: one of `secret_file` and `secret_env` is needed: requests are signed",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_file: whsec_CANARY\n",
                "3:16: webhook.secret_file: this names a file; put the secret into it",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret: whsec_CANARY\n",
                "3:3: webhook: unknown field `secret`, expected one of `url`, `secret_file`, \
                 `secret_env`, `ca_file`, `format`, `batch`, `gzip`, `timeout`, `connections`, `backoff`",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: whsec_CANARY\n",
                "3:15: webhook.secret_env: no name of an environment variable (`A` to `Z`, `0` to \
                 `9`, `_`)",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: A\n  batch: 0\n",
                "4:10: webhook.batch: write a number from 1 to 1000",
            ),
            (
                "webhook:\n  url: https://e.org\n  secret_env: A\n  timeout: 1h\n",
                "4:12: webhook.timeout: at most 300s",
            ),
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, expect);
        }
    }
}
