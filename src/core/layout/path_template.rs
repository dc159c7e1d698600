//! Patterns of paths with variables.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::core::pattern::{Pattern, PatternError};
use crate::core::yaml::deserialize_text;

/// Maximum length of a pattern with the values of its variables, in bytes: that of a path (`PATH_MAX`).
const MAX_RESOLVED_BYTES: usize = 4_096;

/// A pattern of paths in which `${name}` is replaced by a variable of the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(String);

impl PathTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`PatternError`] if it is not a pattern, whatever the variables are.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let template = Self(text.to_owned());
        template.resolve(&|_| Some("x"))?;
        Ok(template)
    }

    /// Returns the names of the variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let starts = self.0.split("${").skip(1);
        starts.filter_map(|rest| Some(rest.split_once('}')?.0))
    }

    /// Returns the pattern with the values of the variables. A variable that has none stays as it is, and so
    /// does what looks like a variable in a value.
    ///
    /// # Errors
    /// [`PatternError`] if the result is not a pattern, or longer than 4,096 bytes.
    pub fn resolve<'v>(
        &self,
        value: &dyn Fn(&str) -> Option<&'v str>,
    ) -> Result<Pattern, PatternError> {
        let mut parts = self.0.split("${");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let known = part.split_once('}').and_then(|(name, rest)| Some((value(name)?, rest)));
            match known {
                Some((value, rest)) => text.extend([value, rest]),
                None => text.extend(["${", part]),
            }
            // Each part is a part of the template, but values can be long and used often.
            if text.len() > MAX_RESOLVED_BYTES.max(self.0.len()) {
                return Err(PatternError::TooLong(MAX_RESOLVED_BYTES));
            }
        }
        Pattern::new(&text)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for PathTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_variables() {
        let template = PathTemplate::new("${out}/specs/*").unwrap();
        assert_eq!(template.variables().collect::<Vec<_>>(), ["out"]);
        let value = |name: &str| (name == "out").then_some("_bmad-output");
        assert_eq!(template.resolve(&value).unwrap().as_str(), "_bmad-output/specs/*");
        assert!(template.resolve(&|_| Some("../x")).is_err());
    }

    #[test]
    fn values_are_replaced_once_and_bounded_together() {
        let template = PathTemplate::new("a/${b}/${c}${b}/${unknown}").unwrap();
        let value = |name: &str| match name {
            "b" => Some("${c}${c}"),
            "c" => Some("x"),
            _ => None,
        };
        let resolved = template.resolve(&value).unwrap();
        assert_eq!(resolved.as_str(), "a/${c}${c}/x${c}${c}/${unknown}");
        let long = "x".repeat(3_000);
        assert!(template.resolve(&|name| (name == "c").then_some(&*long)).is_ok());
        assert!(matches!(template.resolve(&|_| Some(&*long)), Err(PatternError::TooLong(_))));
    }
}
