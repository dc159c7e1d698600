//! Random values that open something, and their comparison.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};

/// 256 random bits, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RandomToken {
    text: String,
    digest: TokenDigest,
}

/// Hash of a presented value. Hashes are compared, so that the duration of the comparison reveals
/// nothing about the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl RandomToken {
    pub(crate) fn generate() -> io::Result<Self> {
        Ok(Self::from_valid(random_hex::<32>()?))
    }

    /// Parses a kept token; returns `None` unless it is 64 lower-case hexadecimal digits.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self::from_valid(text))
    }

    fn from_valid(text: String) -> Self {
        let digest = TokenDigest::of(text.as_bytes());
        Self { text, digest }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, presented: &TokenDigest) -> bool {
        self.digest == *presented
    }
}

/// Returns `N` random bytes in hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_parses_only_64_lower_case_hex_digits() {
        let token = RandomToken::generate().unwrap();
        assert!(token.matches(&TokenDigest::of(token.as_str().as_bytes())));
        assert!(!token.matches(&TokenDigest::of(b"")));
        assert!(RandomToken::parse(token.as_str().to_owned()).is_some_and(|it| it == token));
        for invalid in ["", "x", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(RandomToken::parse(invalid.to_owned()).is_none(), "{invalid}");
        }
    }
}
