//! Times as people read them: in the zone of the machine, and on a terminal relative to now where they are
//! recent. JSON is always UTC.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, FixedOffset, Local, Offset as _, SecondsFormat};

use crate::core::time::Timestamp;

/// Age from which a time is shown as such.
const MAX_RELATIVE: Duration = Duration::from_hours(24);

static IS_UTC: AtomicBool = AtomicBool::new(false);

/// Shows all times in UTC, and none relative to now.
pub(crate) fn set_utc() {
    IS_UTC.store(true, Ordering::Relaxed);
}

/// Returns a time with its offset, which `--since` accepts.
pub(crate) fn exact(at: Timestamp) -> String {
    zoned(at)
        .map_or_else(|| at.to_string(), |zoned| zoned.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Returns a time; on a terminal, how long ago it was, if that is less than a day.
pub(crate) fn recent(at: Timestamp) -> String {
    let is_relative = !IS_UTC.load(Ordering::Relaxed) && std::io::stdout().is_terminal();
    let age = is_relative.then(|| relative(at, SystemTime::now().into())).flatten();
    age.unwrap_or_else(|| exact(at))
}

/// Returns a time that another program may have written.
pub(crate) fn recent_text(text: &str) -> String {
    Timestamp::parse(text).map_or_else(|| text.to_owned(), recent)
}

/// Returns the time of day.
pub(crate) fn of_day(at: Timestamp) -> String {
    let Some(zoned) = zoned(at) else { return at.to_string() };
    let zone = if zoned.offset().local_minus_utc() == 0 { "Z" } else { "" };
    format!("{}{zone}", zoned.format("%H:%M:%S"))
}

fn zoned(at: Timestamp) -> Option<DateTime<FixedOffset>> {
    let utc = DateTime::from_timestamp_millis(at.as_millis())?;
    let local = || utc.with_timezone(&Local).offset().fix();
    let offset = if IS_UTC.load(Ordering::Relaxed) { FixedOffset::east_opt(0)? } else { local() };
    Some(utc.with_timezone(&offset))
}

/// Returns how long ago a time is, if it is in the last day.
fn relative(at: Timestamp, now: Timestamp) -> Option<String> {
    let age = u64::try_from(now.as_millis().checked_sub(at.as_millis())?).ok()?;
    let age = Duration::from_millis(age);
    if age >= MAX_RELATIVE {
        return None;
    }
    Some(match age.as_secs() {
        0..1 => "just now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds @ 60..3_600 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_times_are_relative_and_others_are_not() {
        let now = Timestamp::parse("2026-02-21T10:00:00Z").unwrap();
        for (at, expected) in [
            ("2026-02-21T10:00:00Z", Some("just now")),
            ("2026-02-21T09:59:18Z", Some("42 s ago")),
            ("2026-02-21T09:56:30Z", Some("3 min ago")),
            ("2026-02-20T10:00:01Z", Some("23 h ago")),
            ("2026-02-20T10:00:00Z", None),
            ("2026-02-21T10:00:01Z", None),
            ("1970-01-01T00:00:00Z", None),
        ] {
            let at = Timestamp::parse(at).unwrap();
            assert_eq!(relative(at, now).as_deref(), expected, "{at}");
        }
    }
}
