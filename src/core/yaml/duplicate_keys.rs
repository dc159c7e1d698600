//! Rejects duplicate keys of YAML mappings, with the position of the second one. serde keeps the
//! last value silently, or reports a duplicate without a position.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{ParseError, parse_error_from_yaml};

/// Returns an error if a mapping in the text has a key twice. All other errors are left to the
/// parser that reads the values.
pub(super) fn reject_duplicate_keys(text: &str) -> Result<(), ParseError> {
    let duplicate_found = Cell::new(false);
    let result = DuplicateKeyVisitor { duplicate_found: &duplicate_found }
        .deserialize(serde_yaml::Deserializer::from_str(text));
    match result {
        Err(error) if duplicate_found.get() => Err(parse_error_from_yaml(&error)),
        _ => Ok(()),
    }
}

/// Visits any value and keeps none of it.
#[derive(Clone, Copy)]
struct DuplicateKeyVisitor<'f> {
    duplicate_found: &'f Cell<bool>,
}

/// Deserializes a key of a mapping whose earlier keys are `seen`.
struct KeySeed<'s, 'f> {
    visitor: DuplicateKeyVisitor<'f>,
    seen: &'s mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for DuplicateKeyVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DuplicateKeyVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while entries.next_key_seed(KeySeed { visitor: self, seen: &mut seen })?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // All keys are texts: a number is compared as it is written.
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        if self.seen.insert(key.to_owned()) {
            return Ok(());
        }
        self.visitor.duplicate_found.set(true);
        Err(E::custom(format!("duplicate key `{key}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_keys_is_reported_with_its_position() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3:1: duplicate key `a`"),
            ("a:\n  - x: 1\n    'x': 2\n", "3:5: a[0]: duplicate key `x`"),
            ("a: {b: {c: 1, c: 1}}\n", "1:15: a.b: duplicate key `c`"),
            ("a: {1: x, 1: y}\n", "1:11: a: duplicate key `1`"),
        ] {
            assert_eq!(reject_duplicate_keys(text).unwrap_err().to_string(), expected);
        }
        for valid in ["", "a: 1\nb: {a: 1}\n", "a: [{b: 1}, {b: 1}]\n", "x: &x {a: 1}\ny: *x\n"] {
            assert_eq!(reject_duplicate_keys(valid), Ok(()), "{valid:?}");
        }
        // Other errors are left to the parser that reads the values.
        for invalid in ["a: [", "- 1", "? [1]\n: 2\n", "!tag {a: 1, a: 2}\n", "%"] {
            assert_eq!(reject_duplicate_keys(invalid), Ok(()), "{invalid:?}");
        }
    }
}
