//! Parsing of untrusted YAML and JSON: limits, and errors with position and fix. What the keys mean
//! is defined by the types that are deserialized.
//!
//! The caller limits the size. Nesting is limited here, before the parser sees the text; aliases
//! are limited by the parser.

mod duplicate_keys;
mod error;

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor};

pub use error::ParseError;
use error::{parse_error_from_yaml, without_rust_terms};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Maximum nesting of `[` and `{`; deeper text is an error, because the time that libyaml needs
/// grows with the square of the depth.
const MAX_FLOW_DEPTH: usize = 128;

/// Parses YAML.
///
/// # Errors
/// [`ParseError`] with the position.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    parse_with_seed(PhantomData::<T>, bytes)
}

/// Parses YAML that must not repeat a key in a mapping.
///
/// # Errors
/// [`ParseError`] with the position.
pub fn parse_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    let text = decode_text(bytes)?;
    duplicate_keys::reject_duplicate_keys(text)?;
    deserialize_str(PhantomData::<T>, text)
}

/// Parses YAML with a [`DeserializeSeed`].
///
/// # Errors
/// [`ParseError`] with the position.
pub fn parse_with_seed<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
    seed: S,
    bytes: &[u8],
) -> Result<T, ParseError> {
    deserialize_str(seed, decode_text(bytes)?)
}

/// Returns the bytes as text that is safe for the parser.
fn decode_text(bytes: &[u8]) -> Result<&str, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        ParseError::at_offset(bytes, offset, format!("invalid UTF-8 at byte {offset}"))
    })?;
    reject_deep_nesting(bytes)?;
    Ok(text)
}

fn deserialize_str<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
    seed: S,
    text: &str,
) -> Result<T, ParseError> {
    let result = seed.deserialize(serde_yaml::Deserializer::from_str(text));
    result.map_err(|error| match find_second_document(text) {
        // serde_yaml has no position for this error.
        Some(offset) if error.location().is_none() => {
            ParseError::at_offset(text.as_bytes(), offset, "second document; only one is allowed")
        }
        _ => parse_error_from_yaml(&error),
    })
}

/// Deserializes a string, or an unquoted number as it is written, and parses it with `parse`. An
/// error of `parse` then has the position of that string.
///
/// # Errors
/// If the value is not a string, or `parse` fails.
pub fn deserialize_text<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct TextVisitor<F>(F);
    impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for TextVisitor<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<D: de::Error>(self, text: &str) -> Result<T, D> {
            (self.0)(text).map_err(de::Error::custom)
        }
    }
    deserializer.deserialize_str(TextVisitor(parse))
}

/// A value that is deserialized from a map only. Without this, serde accepts a list for a struct
/// too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapOnly<T>(
    /// The value.
    pub T,
);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for MapOnly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapOnlyVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOnlyVisitor<T> {
            type Value = MapOnly<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys and values")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<MapOnly<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(MapOnly)
            }
        }
        deserializer.deserialize_map(MapOnlyVisitor(PhantomData))
    }
}

/// Parses JSON. A byte order mark at the beginning, which some editors write, is ignored, as
/// RFC 8259, section 8.1 allows.
///
/// # Errors
/// [`ParseError`] with the position.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        ParseError {
            line: (error.line() > 0).then(|| error.line()),
            column: (error.line() > 0).then(|| error.column().max(1)),
            message: without_rust_terms(
                message.strip_suffix(&position).unwrap_or(&message).to_owned(),
            ),
        }
    })
}

/// Rejects text with deeply nested brackets. Brackets inside quoted text are counted as well,
/// because this does not parse; real files do not come near the limit.
fn reject_deep_nesting(bytes: &[u8]) -> Result<(), ParseError> {
    let mut depth = 0usize;
    for (offset, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_FLOW_DEPTH {
            return Err(ParseError::at_offset(bytes, offset, "brackets are nested too deeply"));
        }
    }
    Ok(())
}

/// Returns the offset at which a second document starts.
fn find_second_document(text: &str) -> Option<usize> {
    let (mut offset, mut has_content) = (0, false);
    for line in text.split_inclusive('\n') {
        if has_content && (line.starts_with("---") || line.starts_with("...")) {
            return Some(offset);
        }
        // A marker with only comments before it starts the first document.
        has_content |= !(line.trim().is_empty() || line.starts_with(['#', '%']));
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "not all fields are tested")]
    struct Sample {
        features: Vec<String>,
        ignore: Option<String>,
    }

    fn error(text: &[u8]) -> String {
        parse::<Sample>(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_have_position_and_suggestion() {
        assert_eq!(
            error(b"features: []\nfetures: []\n"),
            "2:1: unknown field `fetures`, expected `features` or `ignore`; did you mean `features`?"
        );
        assert_eq!(
            error(b"features: []\nwhatever: []\n"),
            "2:1: unknown field `whatever`, expected `features` or `ignore`"
        );
        assert_eq!(error(b"features: []\nfeatures: []\n"), "1:1: duplicate field `features`");
        assert_eq!(
            error(b"features:\n  - [x]\n"),
            "2:5: features[0]: invalid type: sequence, expected a string"
        );
        assert_eq!(error(b"a: \xff\n"), "1:4: invalid UTF-8 at byte 3");
        assert_eq!(
            error(b"--- # one\nfeatures: []\n\n---\nfeatures: []\n"),
            "4:1: second document; only one is allowed"
        );
        assert!(error(b"features: [").starts_with("2:1: "), "{}", error(b"features: ["));
    }

    #[test]
    fn hostile_nesting_and_aliases_are_rejected() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(error(deep.as_bytes()), "1:129: brackets are nested too deeply");
        let block = (0..3000).map(|i| format!("{}-\n", " ".repeat(i))).collect::<String>();
        assert!(
            error(block.as_bytes()).contains("invalid type")
                || error(block.as_bytes()).contains("recursion")
        );
        let mut aliases = String::from("a0: &a0 [x, x]\n");
        for i in 1..30 {
            aliases += &format!("a{i}: &a{i} [*a{p}, *a{p}, *a{p}]\n", p = i - 1);
        }
        let result =
            parse::<std::collections::BTreeMap<String, serde_yaml::Value>>(aliases.as_bytes());
        assert!(result.unwrap_err().message.contains("repetition limit"));
    }

    #[test]
    fn byte_order_mark_is_ignored() {
        let json = "\u{feff}{\"features\": [\"a\"]}";
        assert_eq!(parse_json::<Sample>(json.as_bytes()).unwrap().features, ["a"]);
        let yaml = "\u{feff}features: [a]\n";
        assert_eq!(parse::<Sample>(yaml.as_bytes()).unwrap().features, ["a"]);
        assert_eq!(parse_strict::<Sample>(yaml.as_bytes()).unwrap().features, ["a"]);
    }

    #[test]
    fn json_errors_have_a_position() {
        let error = parse_json::<Sample>(b"{\"features\":\n [1]}").unwrap_err();
        assert_eq!(
            (error.line, error.message.as_str()),
            (Some(2), "invalid type: integer `1`, expected a string")
        );
        assert!(parse_json::<serde_json::Value>("[".repeat(100_000).as_bytes()).is_err());
    }
}
