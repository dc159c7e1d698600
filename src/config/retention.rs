//! What the configuration says of the daemon's upkeep: how long events are kept, how fast
//! everything is read again.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::core::yaml::deserialize_text;

const DAY: Duration = Duration::from_hours(24);

/// How long events are kept; what is not said keeps its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    max_age: Option<DurationSetting>,
    max_bytes: Option<SizeSetting>,
}

impl RetentionConfig {
    /// Events older than this are dropped: 30 days where nothing is said.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age.map_or(30 * DAY, |span| span.0)
    }

    /// The oldest are dropped while all are more than this: 256 MiB where nothing is said.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.map_or(256 << 20, |bytes| bytes.0)
    }
}

/// How long one reading of everything in the background takes, or that it is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubConfig(Option<Duration>);

impl Default for ScrubConfig {
    fn default() -> Self {
        Self(Some(DAY))
    }
}

impl ScrubConfig {
    /// No reading in the background.
    pub const OFF: Self = Self(None);

    /// How long one reading takes; `None` where it is off.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DurationSetting(Duration);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeSetting(u64);

/// Units by their names, in seconds and in bytes.
const DURATION_UNITS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
const SIZE_UNITS: &[(&str, u64)] = &[("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A number and a unit, such as `30d`.
fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, size) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size).filter(|quantity| *quantity > 0)
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_quantity(text, DURATION_UNITS).map(Duration::from_secs).ok_or_else(|| {
        format!("`{text}` is no time; write a number and `s`, `m`, `h` or `d`, such as `30d`")
    })
}

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, parse_duration).map(Self)
    }
}

impl<'de> Deserialize<'de> for SizeSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = |text: &str| {
            parse_quantity(text, SIZE_UNITS).ok_or_else(|| {
                format!(
                    "`{text}` is no size; write a number of bytes, or one with `KiB`, `MiB` or \
                     `GiB`"
                )
            })
        };
        deserialize_text(deserializer, bytes).map(Self)
    }
}

impl<'de> Deserialize<'de> for ScrubConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let period = |text: &str| match text {
            "off" | "false" => Ok(None),
            text => parse_duration(text).map(Some).map_err(|error| format!("{error}, or `off`")),
        };
        deserialize_text(deserializer, period).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn times_and_sizes() {
        let text = "journal: {max_age: 12h, max_bytes: 64 MiB}\nscrub: 2d\n";
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.journal.max_age(), Duration::from_hours(12));
        assert_eq!(config.journal.max_bytes(), 64 << 20);
        assert_eq!(config.scrub.period(), Some(2 * DAY));
        let bytes = Config::parse(b"journal: {max_bytes: 1000}").unwrap();
        assert_eq!(bytes.journal.max_bytes(), 1000);
        for off in ["scrub: off", "scrub: false"] {
            assert_eq!(Config::parse(off.as_bytes()).unwrap().scrub, ScrubConfig::OFF);
        }
        assert_eq!(Config::default().scrub.period(), Some(DAY));
    }

    #[test]
    fn what_is_none_is_said_with_its_place() {
        for (text, expect) in [
            (
                "journal:\n  max_age: soon\n",
                "2:12: journal.max_age: `soon` is no time; write a number and `s`, `m`, `h` or \
                 `d`, such as `30d`",
            ),
            (
                "journal: {max_bytes: 1 TB}",
                "1:22: journal.max_bytes: `1 TB` is no size; write a number of bytes, or one with \
                 `KiB`, `MiB` or `GiB`",
            ),
            (
                "scrub: 0d",
                "1:8: scrub: `0d` is no time; write a number and `s`, `m`, `h` or `d`, such as \
                 `30d`, or `off`",
            ),
        ] {
            assert_eq!(Config::parse(text.as_bytes()).unwrap_err().to_string(), expect);
        }
    }
}
