//! What the configuration says of the log.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use crate::core::yaml::deserialize_text;

/// Which messages are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig(String);

impl Default for LogConfig {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogConfig {
    /// Messages as that text says: a level, also by module.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = EnvFilter::try_new(text);
        let mend = "write error, warn, info, debug, trace or off, also by module, such as \
                    `warn,dossierd::engine=debug`";
        // Any other word is taken for the name of a module by the parser, and silences all else.
        let unknown = text.split(',').any(|part| !part.contains('=') && !is_level(part.trim()));
        match parsed {
            Ok(_) if !unknown && !text.trim().is_empty() => Ok(Self(text.to_owned())),
            _ => Err(format!("`{text}` is no log filter; {mend}")),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What decides of each message.
    #[must_use]
    pub fn filter(&self) -> EnvFilter {
        // It was tried when it came in.
        EnvFilter::new(&self.0)
    }
}

fn is_level(word: &str) -> bool {
    ["error", "warn", "info", "debug", "trace", "off"].contains(&word)
}

impl<'de> Deserialize<'de> for LogConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_modules() {
        for sound in ["info", "off", "warn,dossierd::engine=debug", "dossierd=trace"] {
            assert_eq!(LogConfig::parse(sound).unwrap().as_str(), sound);
        }
        for broken in ["", "loud", "info,loud", "dossierd=loud", "=;"] {
            assert!(LogConfig::parse(broken).is_err(), "{broken}");
        }
    }
}
