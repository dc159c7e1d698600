//! The `journal` setting: how long events are kept.

use std::time::Duration;

use serde::Deserialize;

use super::units::{DAY, DurationSetting, SizeSetting};

/// Retention of the event journal. A key that is not set has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    max_age: Option<DurationSetting>,
    max_bytes: Option<SizeSetting>,
}

impl RetentionConfig {
    /// Maximum age of an event, 30 days by default; older events are deleted.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age.map_or(30 * DAY, |setting| setting.0)
    }

    /// Maximum size of the journal in bytes, 256 MiB by default; beyond it the oldest events are
    /// deleted.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.map_or(256 << 20, |setting| setting.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn age_and_size_are_parsed_with_units() {
        let config = Config::parse(b"journal: {max_age: 12h, max_bytes: 64 MiB}\n").unwrap();
        assert_eq!(config.journal.max_age(), Duration::from_hours(12));
        assert_eq!(config.journal.max_bytes(), 64 << 20);
        let bytes = Config::parse(b"journal: {max_bytes: 1000}").unwrap();
        assert_eq!(bytes.journal.max_bytes(), 1000);
    }

    #[test]
    fn invalid_age_and_size_are_reported_with_position() {
        for (text, expected) in [
            (
                "journal:\n  max_age: soon\n",
                "2:12: journal.max_age: invalid duration `soon`; write a number and `s`, `m`, `h` \
                 or `d`, such as `30d`",
            ),
            (
                "journal: {max_bytes: 1 TB}",
                "1:22: journal.max_bytes: invalid size `1 TB`; write a number of bytes, or a \
                 number with `KiB`, `MiB` or `GiB`",
            ),
        ] {
            assert_eq!(Config::parse(text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
