//! Reads fields of the state files of other tools: JSON, YAML, front matter of Markdown, and simple
//! TOML. Files belong to other programs, so only the fields that are asked for are checked.

use serde_yaml::Value;

use crate::core::path::RelPath;
use crate::core::yaml::{ParseError, parse, parse_json};

/// A state file that was parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct StateDocument(Value);

impl StateDocument {
    /// Parses the file at a path by its extension: `json`, `yaml` and `yml`, `toml`, `md` and
    /// `markdown`; any other file as JSON or YAML.
    ///
    /// # Errors
    /// [`ParseError`] with the position.
    pub fn parse(path: &RelPath, bytes: &[u8]) -> Result<Self, ParseError> {
        let value = match path.extension().as_deref() {
            Some("json") => parse_json(bytes)?,
            Some("yaml" | "yml") => parse(bytes)?,
            Some("toml") => parse_toml(&String::from_utf8_lossy(bytes)),
            Some("md" | "markdown") => parse_markdown(bytes)?,
            _ if bytes.trim_ascii_start().starts_with(b"{") => parse_json(bytes)?,
            _ => parse(bytes)?,
        };
        Ok(Self(value))
    }

    /// Returns the value at a path of keys with dots between them; without a path the whole document.
    #[must_use]
    pub fn find(&self, field: Option<&str>) -> Option<&Value> {
        let Some(field) = field else {
            return Some(&self.0);
        };
        let by_key = self.0.get(field);
        by_key.or_else(|| field.split('.').try_fold(&self.0, |value, key| value.get(key)))
    }

    /// Returns the value at a path as text, if it is a text, a number or a truth value.
    #[must_use]
    pub fn find_text(&self, field: Option<&str>) -> Option<String> {
        scalar_text(self.find(field)?)
    }
}

/// Returns a text, a number or a truth value as text.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the front matter of Markdown; without one, the lines `Name: value` as they are, with or
/// without emphasis of the name.
fn parse_markdown(bytes: &[u8]) -> Result<Value, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = text.split_inclusive('\n');
    if lines.next().is_some_and(|line| line.trim_end() == "---") {
        let mut front = String::from("\n");
        for line in lines {
            if line.trim_end() == "---" {
                return parse(front.as_bytes());
            }
            front.push_str(line);
        }
        return Err(ParseError::without_position("the front matter does not end"));
    }
    let mut map = serde_yaml::Mapping::new();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(':') {
            let plain = |text: &str| text.trim_matches(['*', '_', ' ', '\t', '-']).to_owned();
            let (name, value) = (plain(name), plain(value));
            if !name.is_empty() && name.len() <= 64 && !value.is_empty() {
                map.entry(Value::String(name)).or_insert(Value::String(value));
            }
        }
    }
    Ok(Value::Mapping(map))
}

/// Returns the texts of a TOML file by section and key, other values left out.
fn parse_toml(text: &str) -> Value {
    let mut root = serde_yaml::Mapping::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim();
            let quote = value.chars().next().filter(|first| "\"'".contains(*first));
            let text = quote.and_then(|quote| value[1..].split(quote).next()).unwrap_or(value);
            let key = key.trim().trim_matches('"');
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            root.entry(Value::String(path)).or_insert(Value::String(text.to_owned()));
        }
    }
    Value::Mapping(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_each_format() {
        for (file, text, field, expected) in [
            ("spec.json", r#"{"phase": "tasks-generated"}"#, "phase", Some("tasks-generated")),
            ("spec.json", r#"{"a": {"b": 7}}"#, "a.b", Some("7")),
            ("x.yaml", "a:\n  b: true\n", "a.b", Some("true")),
            (".openspec.yaml", "skip_specs: true\n", "skip_specs", Some("true")),
            (".config.kiro", "{\"specType\":\t\"bugfix\"}", "specType", Some("bugfix")),
            ("x.md", "---\nstatus: passed\n---\nstatus: other\n", "status", Some("passed")),
            ("x.md", "# T\n\nStatus: done\n", "Status", Some("done")),
            ("x.md", "**Status**: Draft\n", "Status", Some("Draft")),
            (
                "config.toml",
                "[modules.bmm]\noutput_folder = \"{project-root}/out\" # x\n",
                "modules.bmm.output_folder",
                Some("{project-root}/out"),
            ),
            ("x.json", "{}", "phase", None),
            ("x.json", r#"{"phase": []}"#, "phase", None),
        ] {
            let path = RelPath::new(file.as_bytes()).unwrap();
            let document = StateDocument::parse(&path, text.as_bytes()).unwrap();
            assert_eq!(document.find_text(Some(field)).as_deref(), expected, "{file}: {text}");
        }
        let adr_dir = RelPath::new(*b".adr-dir").unwrap();
        let document = StateDocument::parse(&adr_dir, b"doc/adr\n").unwrap();
        assert_eq!(document.find_text(None).as_deref(), Some("doc/adr"));
    }

    #[test]
    fn invalid_files_have_a_placed_error() {
        for (file, text, expected) in [
            ("spec.json", "{\"phase\": ", "1:"),
            ("x.yaml", "a: [", "2:1: "),
            ("x.md", "---\nstatus: x\n", "the front matter does not end"),
            ("x.md", "---\nstatus: [x\n---\n", "3:1: "),
            ("x.yaml", "\u{0}", "control characters"),
        ] {
            let path = RelPath::new(file.as_bytes()).unwrap();
            let error = StateDocument::parse(&path, text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{file} {text}: {error}");
        }
    }
}
