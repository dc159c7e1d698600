//! Decides which contents are stored, from the configuration. Pure.

use crate::config::HistoryConfig;
use crate::core::artifact::ArtifactClass;
use crate::core::history::text_diff::is_text;
use crate::core::path::RelPath;
use crate::store::history::NotStored;

/// Which contents are stored.
pub struct StorageRules {
    config: HistoryConfig,
    is_excluded: Box<dyn Fn(&RelPath) -> bool + Send + Sync>,
}

impl StorageRules {
    /// Returns the rules of a configuration.
    #[must_use]
    pub fn new(config: HistoryConfig) -> Self {
        Self { is_excluded: Box::new(config.exclusion_check()), config }
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &HistoryConfig {
        &self.config
    }

    /// Returns why no content of a file with this path, class and size is stored; `None` if a text is.
    #[must_use]
    pub fn refusal(&self, path: &RelPath, class: ArtifactClass, size: u64) -> Option<NotStored> {
        let is_runtime = class == ArtifactClass::Runtime && !self.config.stores_runtime();
        if is_runtime || (self.is_excluded)(path) {
            return Some(NotStored::Excluded);
        }
        (size > self.config.max_file()).then_some(NotStored::TooLarge)
    }

    /// Returns why a content is not stored; `None` if it is.
    #[must_use]
    pub fn refusal_of_content(
        &self,
        path: &RelPath,
        class: ArtifactClass,
        bytes: &[u8],
    ) -> Option<NotStored> {
        let refusal = self.refusal(path, class, bytes.len() as u64);
        refusal.or_else(|| (!is_text(bytes)).then_some(NotStored::Binary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn refusal_depends_on_path_class_size_and_content() {
        let rules = |text: &str| StorageRules::new(Config::parse(text.as_bytes()).unwrap().history);
        let refusal = |text: &str, path: &str, class, bytes: &[u8]| {
            rules(text).refusal_of_content(&RelPath::new(path.as_bytes()).unwrap(), class, bytes)
        };
        let (input, runtime) = (ArtifactClass::Input, ArtifactClass::Runtime);
        for (text, path, class, bytes, expected) in [
            ("", "spec.md", input, &b"a"[..], None),
            ("", "spec.md", input, b"a\0", Some(NotStored::Binary)),
            ("", "secrets/a.md", input, b"a", Some(NotStored::Excluded)),
            ("", "meta.json", runtime, b"a", Some(NotStored::Excluded)),
            ("history: {runtime: true}", "meta.json", runtime, b"a", None),
            ("history: {max_file: 2}", "spec.md", input, b"abc", Some(NotStored::TooLarge)),
        ] {
            assert_eq!(refusal(text, path, class, bytes), expected, "{text} {path}");
        }
    }
}
