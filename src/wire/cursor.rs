//! Cursors over the journal: `<instance>:<seq>`, `start` and `now`.

use std::fmt;
use std::str::FromStr;

/// Where a reader of the journal stands: after event `seq` of the store `instance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Identity of the store.
    pub instance: String,
    /// The last event that was seen; 0 before the first.
    pub seq: u64,
}

/// What `since=` may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The oldest event that is kept.
    Start,
    /// Nothing that has happened.
    Now,
    /// What comes after a cursor.
    After(Cursor),
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cursor; give `start`, `now`, or the `next` of an earlier answer")]
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
        let refuse = || CursorError(text.to_owned());
        let (instance, seq) = text.rsplit_once(':').ok_or_else(refuse)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if instance.is_empty()
            || !instance.bytes().all(plain)
            || !seq.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(refuse());
        }
        let seq = seq.parse().map_err(|_| refuse())?;
        Ok(Self::After(Cursor { instance: instance.to_owned(), seq }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        let cursor = Cursor { instance: "a1-b2".into(), seq: 7 };
        assert_eq!(cursor.to_string(), "a1-b2:7");
        assert_eq!("a1-b2:7".parse(), Ok(Since::After(cursor)));
        assert_eq!("start".parse(), Ok(Since::Start));
        assert_eq!("now".parse(), Ok(Since::Now));
        for bad in ["", ":7", "a:", "a:-1", "a:+1", "a b:1", "a:99999999999999999999", "7"] {
            assert!(bad.parse::<Since>().is_err(), "{bad:?}");
        }
    }
}
