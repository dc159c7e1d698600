//! SHA-256 digests and their text form. Reading and hashing files is the task of `scan`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest. Its text form is 64 lower-case hexadecimal digits.
///
/// # Examples
/// ```
/// use dossierd::core::digest::Digest;
///
/// let digest = Digest::of(b"hello\n");
/// let text = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
/// assert_eq!(digest.to_string(), text);
/// assert_eq!(Digest::parse(text), Some(digest));
/// assert_eq!(Digest::parse(&text.to_uppercase()), None);
/// assert_eq!(format!("{digest:.8}"), "5891b5b5");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of everything that was added to `hasher`.
    #[must_use]
    pub fn from_hasher(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// Returns the digest with these bytes, which are those of [`Digest::as_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hexadecimal digits without an allocation.
    #[must_use]
    pub fn hex(&self) -> Hex {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
            pair[1] = HEX_DIGITS[usize::from(byte & 15)];
        }
        Hex(text)
    }

    /// Parses the text form; returns `None` for anything but 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (parse_hex_digit(*high)? << 4) | parse_hex_digit(*low)?;
        }
        Some(Self(bytes))
    }
}

fn parse_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Hexadecimal digits of a digest, on the stack.
pub struct Hex([u8; 64]);

impl Hex {
    /// Returns the digits as bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 64] {
        self.0
    }

    /// Returns the digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.12}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex().as_str())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"64 lower-case hexadecimal digits",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn text_form_is_lower_case_hex_and_can_be_parsed() {
        let digest = Digest::of(b"hello\n");
        let text = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text), Some(digest));
    }

    #[test]
    fn parse_rejects_other_lengths_cases_and_characters() {
        let valid = Digest::of(b"").to_string();
        for invalid in [
            "",
            "00",
            &valid[1..],
            &valid.to_uppercase(),
            &format!("{valid}0"),
            &valid.replace('e', "g"),
        ] {
            assert_eq!(Digest::parse(invalid), None, "{invalid:?}");
        }
    }
}
