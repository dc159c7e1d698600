//! Values of `--since` and `--until`.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::core::quantity::parse_duration;
use crate::core::time::Timestamp;
use crate::wire::cursor::{Cursor, Since};

/// A position in the journal, or a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Moment {
    /// Before the oldest event.
    Start,
    /// After the newest event.
    Now,
    /// After the event of a cursor.
    Cursor(Cursor),
    /// After the event with this number.
    Event(u64),
    /// This long ago.
    Ago(Duration),
    /// This time.
    At(Timestamp),
}

/// A text is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a moment; use @N (after event N), a duration back (2h), a time \
     (2026-02-21T10:00:00Z), `start`, `now`, or a cursor of `--json`",
    crate::core::path::escape_unprintable(.0)
)]
pub(in crate::cli) struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let number =
            text.strip_prefix('@').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let event = || number.and_then(|digits| digits.parse().ok()).map(Self::Event);
        let ago = || parse_duration(text).map(Self::Ago);
        let at = || Timestamp::parse(text).map(Self::At);
        let since = || match text.parse().ok()? {
            Since::Start => Some(Self::Start),
            Since::Now => Some(Self::Now),
            Since::After(cursor) => Some(Self::Cursor(cursor)),
        };
        let parsed = event().or_else(ago).or_else(at).or_else(since);
        parsed.ok_or_else(|| MomentError(text.to_owned()))
    }
}

impl Moment {
    /// Returns the number of the event after which it is, if it names one.
    pub(in crate::cli) fn seq(&self) -> Option<u64> {
        match self {
            Self::Start => Some(0),
            Self::Event(seq) => Some(*seq),
            Self::Cursor(cursor) => Some(cursor.seq),
            Self::Now | Self::Ago(_) | Self::At(_) => None,
        }
    }

    /// Returns the time, if it is one. `Now` is the time at which the command began.
    pub(in crate::cli) fn time(&self, now: SystemTime) -> Option<Timestamp> {
        match self {
            Self::Now => Some(now.into()),
            Self::Ago(duration) => {
                Some(now.checked_sub(*duration).unwrap_or(SystemTime::UNIX_EPOCH).into())
            }
            Self::At(time) => Some(*time),
            Self::Start | Self::Event(_) | Self::Cursor(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_recognised_and_others_are_rejected() {
        let time = Timestamp::parse("2026-02-21T10:00:00Z").unwrap();
        let cursor = Cursor { instance: "a1-b2".into(), seq: 7 };
        for (text, expected) in [
            ("start", Some(Moment::Start)),
            ("now", Some(Moment::Now)),
            ("@17", Some(Moment::Event(17))),
            ("2h", Some(Moment::Ago(Duration::from_hours(2)))),
            ("2026-02-21T11:00:00+01:00", Some(Moment::At(time))),
            ("a1-b2:7", Some(Moment::Cursor(cursor))),
            ("@", None),
            ("@-1", None),
            ("17", None),
            ("2 weeks", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Moment>().ok(), expected, "{text}");
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(3);
        let ago = |hours| Moment::Ago(Duration::from_hours(hours)).time(now);
        assert_eq!(ago(2), Timestamp::from_millis(3_600_000));
        assert_eq!(ago(4), Timestamp::from_millis(-3_600_000));
    }
}
