//! Points in time, as they are written in JSON. Reading the clock is done by the callers.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, SubsecRound as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with the precision of its text form, RFC 3339 in UTC with milliseconds, so that
/// writing and parsing do not change it.
///
/// # Examples
/// ```
/// use dossierd::core::time::Timestamp;
///
/// let time = Timestamp::parse("2026-02-21T11:00:00.123456+01:00").unwrap();
/// assert_eq!(time.to_string(), "2026-02-21T10:00:00.123Z");
/// assert_eq!(Timestamp::from_millis(time.as_millis()), Some(time));
/// assert_eq!(Timestamp::parse("yesterday"), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Parses RFC 3339 with any offset, or without one, which is UTC (the form of Python's
    /// `utcnow().isoformat()`). Digits beyond milliseconds are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        let naive = || text.parse::<NaiveDateTime>().map(|time| time.and_utc());
        zoned.or_else(|_| naive()).ok().map(Self::truncate_to_millis)
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// Returns the time of [`Timestamp::as_millis`]; `None` for years beyond ±262,000.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        DateTime::from_timestamp_millis(millis).map(Self)
    }

    fn truncate_to_millis(time: DateTime<Utc>) -> Self {
        Self(time.trunc_subsecs(3))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::truncate_to_millis(time.into())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("invalid time `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn parse_accepts_offsets_and_truncates_to_milliseconds() {
        for text in [
            "2026-02-21T10:00:00.123Z",
            "2026-02-21T10:00:00.123456+00:00",
            "2026-02-21T11:00:00.123+01:00",
            "2026-02-21T10:00:00.123456",
        ] {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!(time.to_string(), "2026-02-21T10:00:00.123Z", "{text}");
            assert_eq!(Timestamp::from_millis(time.as_millis()), Some(time), "{text}");
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
