//! The `history` setting: which contents are stored, and how many.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::error::ConfigValueError;
use super::units::{DAY, DurationSetting, SizeSetting};
use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet};
use crate::core::quantity::format_size;

/// Files whose content is not stored by default: it may be secret.
const DEFAULT_EXCLUDE: [&str; 4] = ["**/.env*", "**/*secret*", "**/*.pem", "**/*.key"];
/// The smallest and the largest maximum size of the content store in bytes.
const MIN_BYTES: u64 = 1 << 20;
/// The largest maximum size of a stored file in bytes: larger ones cannot be compared.
const MAX_FILE: u64 = 2 << 20;

/// Which contents are stored, and how many. A key that is not set has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    enabled: Option<bool>,
    #[serde(deserialize_with = "max_bytes")]
    max_bytes: Option<SizeSetting>,
    #[serde(deserialize_with = "max_file")]
    max_file: Option<SizeSetting>,
    max_age: Option<DurationSetting>,
    exclude: Option<Vec<Pattern>>,
    runtime: Option<bool>,
}

impl HistoryConfig {
    /// True if contents are stored, as by default.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Maximum size of the content store in bytes, 256 MiB by default; beyond it versions are removed.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.map_or(256 << 20, |setting| setting.0)
    }

    /// Maximum size of a stored file in bytes, 1 MiB by default; larger ones are listed only.
    #[must_use]
    pub fn max_file(&self) -> u64 {
        self.max_file.map_or(1 << 20, |setting| setting.0)
    }

    /// Time for which a version is kept after it was replaced, 90 days by default.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age.map_or(90 * DAY, |setting| setting.0)
    }

    /// Patterns of the files whose content is not stored.
    pub fn exclude(&self) -> impl Iterator<Item = Pattern> + use<'_> {
        let default =
            || DEFAULT_EXCLUDE.iter().filter_map(|text| Pattern::new(text).ok()).collect();
        self.exclude.clone().unwrap_or_else(default).into_iter()
    }

    /// True if files of class runtime are stored, too.
    #[must_use]
    pub fn stores_runtime(&self) -> bool {
        self.runtime.unwrap_or(false)
    }

    /// Returns a function that returns true for files whose content is not stored: a pattern matches the
    /// file, or a directory that it is in. If the patterns are too large together, that is all files.
    pub fn exclusion_check(&self) -> impl Fn(&RelPath) -> bool + Send + Sync + use<> {
        let patterns: Vec<Pattern> = self.exclude().collect();
        let set = PatternSet::new(&patterns).ok();
        move |path| {
            set.as_ref().is_none_or(|set| {
                set.is_match(path) || path.dirs_above().any(|dir| set.is_match(&dir))
            })
        }
    }
}

fn max_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SizeSetting>, D::Error> {
    let size = SizeSetting::deserialize(deserializer)?;
    if size.0 < MIN_BYTES {
        let error = ConfigValueError::SizeTooSmall { min: format_size(MIN_BYTES) };
        return Err(serde::de::Error::custom(format_args!("`max_bytes` is too small: {error}")));
    }
    Ok(Some(size))
}

fn max_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SizeSetting>, D::Error> {
    let size = SizeSetting::deserialize(deserializer)?;
    if size.0 > MAX_FILE {
        let error = ConfigValueError::SizeTooLarge { max: format_size(MAX_FILE) };
        return Err(serde::de::Error::custom(format_args!("`max_file` is too large: {error}")));
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::core::path::RelPath;

    #[test]
    fn keys_have_the_documented_defaults_and_bounds() {
        let history = |text: &str| Config::parse(text.as_bytes()).map(|config| config.history);
        let default = history("").unwrap();
        assert!(default.is_enabled() && !default.stores_runtime());
        assert_eq!((default.max_bytes(), default.max_file()), (256 << 20, 1 << 20));
        let set = history(
            "history: {enabled: false, max_bytes: 1 MiB, max_file: 2 MiB, max_age: 7d, exclude: [x],\
             runtime: true}",
        )
        .unwrap();
        assert!(!set.is_enabled() && set.stores_runtime());
        for (text, expected) in [
            ("history: {max_bytes: 1023 KiB}", "`max_bytes` is too small: write at least 1 MiB"),
            ("history: {max_file: 3 MiB}", "`max_file` is too large: write at most 2 MiB"),
            ("history: {max_age: 0d}", "invalid duration `0d`"),
            ("history: {exclude: [../x]}", "invalid pattern `../x`"),
            ("history: {max_files: 1}", "did you mean `max_file`?"),
        ] {
            let error = history(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn excluded_files_are_those_that_the_patterns_match() {
        let config = Config::parse(b"").unwrap().history;
        let is_excluded = config.exclusion_check();
        for (path, expected) in [
            ("spec.md", false),
            (".env", true),
            ("a/.env.local", true),
            ("my-secrets.md", true),
            ("a/b/tls.key", true),
            ("server.pem", true),
            ("environment.md", false),
            ("secrets/a.md", true),
            ("a/.env.d/b/c.md", true),
            ("a.key.md", false),
        ] {
            assert_eq!(is_excluded(&RelPath::new(path.as_bytes()).unwrap()), expected, "{path}");
        }
    }
}
