//! Writes JSON on one line, without characters that a terminal would interpret.
//!
//! JSON requires escapes only for U+0000 to U+001F. A terminal must not receive U+007F to U+009F,
//! or characters that are invisible or reorder text, either. They are escaped too; to a JSON parser this makes no
//! difference.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::core::path::is_unprintable;

/// Formatter that escapes characters in strings for terminals.
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
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Writes `value` as one line of JSON, without a line feed.
///
/// # Errors
/// Errors of `writer`.
pub fn write(writer: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    value
        .serialize(&mut serde_json::Serializer::with_formatter(writer, TerminalSafeFormatter))
        .map_err(io::Error::from)
}

/// Escapes serialized JSON for terminals. Unprintable characters occur only in its strings, where
/// an escape means the same.
#[must_use]
pub fn escape_for_terminal(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unprintable) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unprintable(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Returns `value` as one line of JSON, with a line feed.
///
/// # Errors
/// Only if `value` has no JSON form, such as a map with keys that are not strings.
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
    fn escaped_json_has_the_same_value() {
        let json = "{\"a\u{202e}\":\"\u{9b}31m gr\u{fc}n\u{e0041}\"}";
        let escaped = escape_for_terminal(json);
        assert_eq!(escaped, "{\"a\\u202e\":\"\\u009b31m gr\u{fc}n\\udb40\\udc41\"}");
        let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&escaped), value(json));
    }

    #[test]
    fn unprintable_characters_are_escaped_and_restored_by_parsing() {
        let text = "a\n\u{1b}[31m\u{7f}\u{9b}b\u{202e}\u{2066}\u{e0041}\"\\gr\u{fc}n\u{1f600}";
        let json = String::from_utf8(to_line(&text).unwrap()).unwrap();
        assert_eq!(
            json,
            "\"a\\n\\u001b[31m\\u007f\\u009bb\\u202e\\u2066\\udb40\\udc41\\\"\\\\gr\u{fc}n\u{1f600}\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
