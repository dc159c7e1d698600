//! JSON as it leaves the program: on one line, and safe to be shown.
//!
//! JSON itself escapes only U+0000 to U+001F. A terminal must not receive U+007F to U+009F or
//! the marks that reorder text either, so they are escaped too: any reader of JSON sees the same.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::core::path::is_unprintable;

struct TerminalSafeFormatter;

impl Formatter for TerminalSafeFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        if rest.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return writer.write_all(rest.as_bytes());
        }
        while let Some(at) = rest.find(is_unprintable) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let c = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// `value` as one line of JSON, without the line end.
///
/// # Errors
/// Those of `writer`.
pub fn write(writer: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    value
        .serialize(&mut serde_json::Serializer::with_formatter(writer, TerminalSafeFormatter))
        .map_err(io::Error::from)
}

/// JSON that someone else wrote, as safe to be shown: what is unprintable stands in its texts only,
/// and an escape means the same there.
#[must_use]
pub fn escape_for_terminal(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unprintable) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unprintable(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// `value` as one line of JSON with the line end.
///
/// # Errors
/// None but those of a value that cannot be JSON, which ours always can.
pub fn to_line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    write(&mut line, value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::{escape_for_terminal, to_line};

    #[test]
    fn what_others_wrote_means_the_same() {
        let json = "{\"a\u{202e}\":\"\u{9b}31m gr\u{fc}n\"}";
        let safe = escape_for_terminal(json);
        assert_eq!(safe, "{\"a\\u202e\":\"\\u009b31m gr\u{fc}n\"}");
        let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(json));
    }

    #[test]
    fn nothing_unprintable_leaves_and_nothing_is_lost() {
        let text = "a\n\u{1b}[31m\u{7f}\u{9b}b\u{202e}\u{2066}\"\\gr\u{fc}n\u{1f600}";
        let json = String::from_utf8(to_line(&text).unwrap()).unwrap();
        assert_eq!(
            json,
            "\"a\\n\\u001b[31m\\u007f\\u009bb\\u202e\\u2066\\\"\\\\gr\u{fc}n\u{1f600}\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
