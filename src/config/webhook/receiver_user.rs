//! Whose process may receive events within this machine: another user can listen at a port that is free.

use serde::{Deserialize, Deserializer};

use crate::config::error::ConfigValueError;
use crate::core::yaml::deserialize_text;

/// The user whose receiver is accepted in addition to the daemon's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverUser {
    /// Everybody.
    Any,
    /// A user id.
    Id(u32),
    /// A name in `/etc/passwd`.
    Name(String),
}

impl ReceiverUser {
    /// Parses a name, a user id, or `*`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn new(text: &str) -> Result<Self, ConfigValueError> {
        let is_name_part = |c: char| c.is_ascii_alphanumeric() || "._-$@\\".contains(c);
        match text {
            "*" => Ok(Self::Any),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Self::Id).map_err(|_| ConfigValueError::InvalidUser)
            }
            _ if text.len() <= 256 && text.chars().all(is_name_part) => {
                Ok(Self::Name(text.to_owned()))
            }
            _ => Err(ConfigValueError::InvalidUser),
        }
    }

    /// Returns the text of the configuration.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for ReceiverUser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_a_name_or_a_number_or_any() {
        for (text, expected) in [
            ("*", Some(ReceiverUser::Any)),
            ("0", Some(ReceiverUser::Id(0))),
            ("www-data", Some(ReceiverUser::Name("www-data".to_owned()))),
            ("", None),
            ("4294967296", None),
            ("a b", None),
            ("a:b", None),
        ] {
            assert_eq!(ReceiverUser::new(text).ok(), expected, "{text}");
        }
    }
}
