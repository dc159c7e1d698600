//! Cursors of the journal: `<instance>:<seq>`, `start` and `now`.
//!
//! Rules: `docs/specification.md#cursors`.

use std::fmt;
use std::str::FromStr;

/// Position of a reader: after event `seq` of the store `instance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Identity of the store.
    pub instance: String,
    /// Last event before the position; 0 before the first event.
    pub seq: u64,
}

/// Value of `since=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// From the oldest event that is stored.
    Start,
    /// Only events from now on.
    Now,
    /// Events after this cursor.
    After(Cursor),
}

/// A text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor `{0}`: use `start`, `now`, or the `next` of an earlier response")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.instance, self.seq)
    }
}

impl FromStr for Since {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text {
            "start" => return Ok(Self::Start),
            "now" => return Ok(Self::Now),
            _ => {}
        }
        let invalid = || CursorError(text.to_owned());
        let (instance, seq) = text.rsplit_once(':').ok_or_else(invalid)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if instance.is_empty()
            || !instance.bytes().all(is_allowed)
            || !seq.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(invalid());
        }
        let seq = seq.parse().map_err(|_| invalid())?;
        Ok(Self::After(Cursor { instance: instance.to_owned(), seq }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_parsed_from_its_text_and_malformed_ones_are_rejected() {
        let cursor = Cursor { instance: "a1-b2".into(), seq: 7 };
        assert_eq!(cursor.to_string(), "a1-b2:7");
        assert_eq!("a1-b2:7".parse(), Ok(Since::After(cursor)));
        assert_eq!("start".parse(), Ok(Since::Start));
        assert_eq!("now".parse(), Ok(Since::Now));
        for malformed in ["", ":7", "a:", "a:-1", "a:+1", "a b:1", "a:99999999999999999999", "7"] {
            assert!(malformed.parse::<Since>().is_err(), "{malformed:?}");
        }
    }
}
