//! The `scrub` setting: how fast all files are reread in the background.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::error::ConfigValueError;
use super::units::{DAY, parse_duration};
use crate::core::yaml::deserialize_text;

/// Duration of one background reading of all files, one day by default, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubConfig(Option<Duration>);

impl Default for ScrubConfig {
    fn default() -> Self {
        Self(Some(DAY))
    }
}

impl ScrubConfig {
    /// No background reading.
    pub const OFF: Self = Self(None);

    /// Returns the duration of one background reading; `None` if it is off.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.0
    }
}

impl<'de> Deserialize<'de> for ScrubConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| match text {
            "off" | "false" => Ok(None),
            text => parse_duration(text)
                .map(Some)
                .map_err(|_| ConfigValueError::InvalidOptionalDuration(text.to_owned())),
        };
        deserialize_text(deserializer, parse).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn period_is_a_duration_or_off() {
        let config = Config::parse(b"scrub: 2d\n").unwrap();
        assert_eq!(config.scrub.period(), Some(2 * DAY));
        for off in ["scrub: off", "scrub: false"] {
            assert_eq!(Config::parse(off.as_bytes()).unwrap().scrub, ScrubConfig::OFF);
        }
        assert_eq!(Config::default().scrub.period(), Some(DAY));
    }

    #[test]
    fn invalid_period_is_reported_with_position() {
        assert_eq!(
            Config::parse(b"scrub: 0d").unwrap_err().to_string(),
            "1:8: scrub: invalid duration `0d`; write a number and `s`, `m`, `h` or `d`, such as \
             `30d`, or `off`"
        );
    }
}
