//! The text form of a state of the past, the `REV` of commands and requests
//! (`docs/specification.md#revisions`). Finding the state is the task of `history`.

use std::fmt;
use std::time::Duration;

use crate::core::digest::Digest;
use crate::core::quantity::{format_duration, parse_duration};
use crate::core::time::Timestamp;

/// Minimum number of digits of a hash prefix.
const MIN_PREFIX: usize = 8;
/// Number of digits of a whole hash.
const MAX_PREFIX: usize = 64;

/// A state of a feature, or of one of its files.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use dossierd::core::history::revision::Revision;
///
/// assert_eq!(Revision::parse("baseline"), Ok(Revision::Baseline));
/// assert_eq!(Revision::parse("@17"), Ok(Revision::AfterEvent(17)));
/// assert_eq!(Revision::parse("2h"), Ok(Revision::Before(Duration::from_secs(7_200))));
/// assert!(Revision::parse("yesterday").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revision {
    /// The accepted state.
    Baseline,
    /// The current state.
    Now,
    /// The state just after the event with this number.
    AfterEvent(u64),
    /// The state this long ago.
    Before(Duration),
    /// The state at this time.
    At(Timestamp),
    /// The version whose hash begins with these digits.
    Hash(HashPrefix),
}

/// The first 8 to 64 hexadecimal digits of a hash, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPrefix(String);

/// A text is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a revision; use baseline, now, @N (after event N), a duration back (2h), a time \
     (2026-02-21T10:00:00Z), or 8 to 64 digits of a hash",
    crate::core::path::escape_unprintable(.0)
)]
pub struct RevisionError(String);

impl Revision {
    /// Parses the text form. The forms are tried in the order of the variants, so `12345678d` is a
    /// duration.
    ///
    /// # Errors
    /// [`RevisionError`] if it has none of the forms.
    pub fn parse(text: &str) -> Result<Self, RevisionError> {
        let event = || text.strip_prefix('@').and_then(parse_number).map(Self::AfterEvent);
        let before = || parse_duration(text).map(Self::Before);
        let at = || Timestamp::parse(text).map(Self::At);
        let hash = || HashPrefix::parse(text).map(Self::Hash);
        let parsed = match text {
            "baseline" => Some(Self::Baseline),
            "now" => Some(Self::Now),
            _ => event().or_else(before).or_else(at).or_else(hash),
        };
        parsed.ok_or_else(|| RevisionError(text.to_owned()))
    }
}

/// Parses digits without a sign.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Baseline => f.pad("baseline"),
            Self::Now => f.pad("now"),
            Self::AfterEvent(seq) => write!(f, "@{seq}"),
            Self::Before(duration) => f.pad(&format_duration(*duration)),
            Self::At(time) => time.fmt(f),
            Self::Hash(prefix) => f.pad(&prefix.0),
        }
    }
}

impl HashPrefix {
    /// Parses the digits; upper case is accepted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_prefix = (MIN_PREFIX..=MAX_PREFIX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_prefix.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Returns true if the hash begins with these digits.
    #[must_use]
    pub fn matches(&self, hash: &Digest) -> bool {
        hash.hex().as_str().starts_with(&self.0)
    }

    /// Returns the digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_tries_the_forms_in_order() {
        let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let time = Timestamp::parse("2026-02-21T10:00:00Z").unwrap();
        for (text, expected) in [
            ("baseline", Some(Revision::Baseline)),
            ("now", Some(Revision::Now)),
            ("@0", Some(Revision::AfterEvent(0))),
            ("@18446744073709551615", Some(Revision::AfterEvent(u64::MAX))),
            ("@18446744073709551616", None),
            ("@", None),
            ("@-1", None),
            ("@+1", None),
            ("@1x", None),
            ("90s", Some(Revision::Before(Duration::from_secs(90)))),
            ("12345678d", Some(Revision::Before(Duration::from_hours(12_345_678 * 24)))),
            ("0h", None),
            ("2026-02-21T10:00:00Z", Some(Revision::At(time))),
            ("2026-02-21T11:00:00+01:00", Some(Revision::At(time))),
            ("2026-02-21", None),
            ("12345678", HashPrefix::parse("12345678").map(Revision::Hash)),
            ("ABCDEF01", HashPrefix::parse("abcdef01").map(Revision::Hash)),
            (hash, HashPrefix::parse(hash).map(Revision::Hash)),
            ("abcdef0", None),
            ("abcdefgh", None),
            ("", None),
            ("Now", None),
            ("\u{1b}[31m", None),
        ] {
            let parsed = Revision::parse(text);
            assert_eq!(parsed.as_ref().ok(), expected.as_ref(), "{text}");
            if let Ok(revision) = parsed {
                assert_eq!(Revision::parse(&revision.to_string()), Ok(revision), "{text}");
            }
        }
        assert!(Revision::parse(&format!("{hash}0")).is_err());
        assert!(Revision::parse("\u{1b}").unwrap_err().to_string().starts_with("`\\u{1b}` is"));
    }

    #[test]
    fn prefix_matches_the_beginning_only() {
        let hash = Digest::of(b"");
        let text = hash.to_string();
        assert!(HashPrefix::parse(&text[..8]).unwrap().matches(&hash));
        assert!(HashPrefix::parse(&text).unwrap().matches(&hash));
        assert!(!HashPrefix::parse(&text[1..9]).unwrap().matches(&hash));
    }
}
