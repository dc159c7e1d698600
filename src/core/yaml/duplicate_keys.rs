//! Keys that a mapping has twice. serde takes the last silently, or says that there are two without
//! saying where; here the second one is found, with its place.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{ParseError, parse_error_from_yaml};

/// Refuses a text in which a mapping has a key twice; what else is wrong with it is for others to
/// say.
pub(super) fn reject_duplicate_keys(text: &str) -> Result<(), ParseError> {
    let found = Cell::new(false);
    let walked = DuplicateKeyVisitor { duplicate_found: &found }
        .deserialize(serde_yaml::Deserializer::from_str(text));
    match walked {
        Err(error) if found.get() => Err(parse_error_from_yaml(&error)),
        _ => Ok(()),
    }
}

/// Anything, looked at and forgotten.
#[derive(Clone, Copy)]
struct DuplicateKeyVisitor<'f> {
    duplicate_found: &'f Cell<bool>,
}

/// A key of a mapping that has had the others.
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
        let mut before = BTreeSet::new();
        while entries.next_key_seed(KeySeed { visitor: self, seen: &mut before })?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // As it is written: no key of ours is anything but a text.
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
        Err(E::custom(format!("`{key}` stands twice")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_named_with_its_place() {
        for (text, expect) in [
            ("a: 1\nb: 2\na: 3\n", "3:1: `a` stands twice"),
            ("a:\n  - x: 1\n    'x': 2\n", "3:5: a[0]: `x` stands twice"),
            ("a: {b: {c: 1, c: 1}}\n", "1:15: a.b: `c` stands twice"),
            ("a: {1: x, 1: y}\n", "1:11: a: `1` stands twice"),
        ] {
            assert_eq!(reject_duplicate_keys(text).unwrap_err().to_string(), expect);
        }
        for sound in ["", "a: 1\nb: {a: 1}\n", "a: [{b: 1}, {b: 1}]\n", "x: &x {a: 1}\ny: *x\n"] {
            assert_eq!(reject_duplicate_keys(sound), Ok(()), "{sound:?}");
        }
        // What is wrong otherwise is said by whoever reads it.
        for broken in ["a: [", "- 1", "? [1]\n: 2\n", "!tag {a: 1, a: 2}\n", "%"] {
            assert_eq!(reject_duplicate_keys(broken), Ok(()), "{broken:?}");
        }
    }
}
