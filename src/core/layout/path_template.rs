//! Patterns of paths with variables.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::core::pattern::{Pattern, PatternError};
use crate::core::yaml::deserialize_text;

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

    /// Returns the pattern with the values of the variables. A variable that has none stays as it is.
    ///
    /// # Errors
    /// [`PatternError`] if the result is not a pattern.
    pub fn resolve<'v>(
        &self,
        value: &dyn Fn(&str) -> Option<&'v str>,
    ) -> Result<Pattern, PatternError> {
        let mut text = self.0.clone();
        for name in self.variables() {
            if let Some(value) = value(name) {
                text = text.replace(&format!("${{{name}}}"), value);
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
}
