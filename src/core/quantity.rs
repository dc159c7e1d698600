//! Durations and sizes with a unit, as people write them: `30d`, `256 MiB`. It has no defaults.

use std::time::Duration;

/// Names of the units of a duration, with their seconds.
const DURATION_UNITS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
/// Names of the units of a size, with their bytes.
const SIZE_UNITS: &[(&str, u64)] = &[("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Parses a duration such as `30d`; returns `None` if it has no unit, is zero or too large.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse_quantity(text, DURATION_UNITS).map(Duration::from_secs)
}

/// Parses a size such as `256 MiB`; returns bytes, or `None` if it is zero or too large.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    parse_quantity(text, SIZE_UNITS)
}

/// Parses a number and a unit; returns their product, or `None` if it is zero or too large.
fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|quantity| *quantity > 0)
}

/// Returns the duration in the largest unit that needs no fraction; parts of a second are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    format_quantity(duration.as_secs(), DURATION_UNITS, "")
}

/// Returns the size in the largest unit that needs no fraction.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    format_quantity(bytes, SIZE_UNITS, " ")
}

fn format_quantity(quantity: u64, units: &[(&str, u64)], separator: &str) -> String {
    let largest = units.iter().rfind(|(_, factor)| quantity.is_multiple_of(*factor));
    let (name, factor) = largest.copied().unwrap_or(("", 1));
    let separator = if name.is_empty() { "" } else { separator };
    format!("{}{separator}{name}", quantity / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_survive_formatting_and_parsing() {
        for text in ["1s", "90s", "36h", "30d", "7m"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["1", "1000", "64 MiB", "1 GiB", "3 KiB"] {
            assert_eq!(format_size(parse_size(text).unwrap()), text);
        }
        assert_eq!(format_size(2 << 10), "2 KiB");
        assert_eq!(parse_size("64MiB").unwrap(), 64 << 20);
    }

    #[test]
    fn parse_quantity_rejects_zero_overflow_and_unknown_units() {
        for text in
            ["", "d", "0d", "1w", "-1d", "1.5h", "99999999999999999999s", "99999999999999999d"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
