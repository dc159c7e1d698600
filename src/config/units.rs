//! Durations and sizes in the configuration.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::error::ConfigValueError;
use crate::core::quantity;
use crate::core::yaml::deserialize_text;

/// One day.
pub(super) const DAY: Duration = Duration::from_hours(24);

/// A duration of the configuration, such as `30d`; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DurationSetting(pub Duration);

/// A size of the configuration in bytes, such as `256 MiB`; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeSetting(pub u64);

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, parse_duration).map(Self)
    }
}

impl<'de> Deserialize<'de> for SizeSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, parse_size).map(Self)
    }
}

/// Parses a duration such as `30d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, ConfigValueError> {
    quantity::parse_duration(text).ok_or_else(|| ConfigValueError::InvalidDuration(text.to_owned()))
}

/// Parses a size such as `256 MiB`; returns bytes.
fn parse_size(text: &str) -> Result<u64, ConfigValueError> {
    quantity::parse_size(text).ok_or_else(|| ConfigValueError::InvalidSize(text.to_owned()))
}
