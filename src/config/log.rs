//! The `log` setting: which messages are logged.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use super::error::ConfigValueError;
use crate::core::yaml::deserialize_text;

/// A valid log filter; `info` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig(String);

impl Default for LogConfig {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogConfig {
    /// Parses a log filter: a level, also by module.
    ///
    /// # Errors
    /// If it is invalid, or empty.
    pub fn parse(text: &str) -> Result<Self, ConfigValueError> {
        // `EnvFilter` takes any other word for the name of a module, and disables all others.
        let has_unknown_level =
            text.split(',').any(|part| !part.contains('=') && !is_level(part.trim()));
        if EnvFilter::try_new(text).is_err() || has_unknown_level || text.trim().is_empty() {
            return Err(ConfigValueError::InvalidLogFilter(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the filter for a subscriber.
    #[must_use]
    pub fn filter(&self) -> EnvFilter {
        // Logs no error: `parse` has accepted the text.
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
    fn parse_accepts_levels_and_levels_of_modules_only() {
        for valid in ["info", "off", "warn,dossierd::engine=debug", "dossierd=trace"] {
            assert_eq!(LogConfig::parse(valid).unwrap().as_str(), valid);
        }
        for invalid in ["", "loud", "info,loud", "dossierd=loud", "=;"] {
            assert!(LogConfig::parse(invalid).is_err(), "{invalid}");
        }
    }
}
