//! How a file's bytes are interpreted, by its path.

use super::path::RelPath;

/// Extensions of text files, which must be valid UTF-8 (`docs/specification.md#text-types`).
pub const TEXT_EXTENSIONS: [&str; 20] = [
    "md", "markdown", "txt", "json", "jsonl", "yaml", "yml", "csv", "tsv", "toml", "xml", "html",
    "log", "py", "sh", "rs", "js", "ts", "ini", "cfg",
];

/// How a file's bytes are interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Arbitrary bytes.
    Bytes,
    /// Text, which must be valid UTF-8.
    Text,
    /// Markdown below `tasks/`: text that may have front matter with runtime fields.
    WorkPackage,
    /// Other Markdown with lists of tasks by its name: text with boxes that tools tick.
    TaskList,
}

impl FileKind {
    /// Returns the kind of the file at `path`.
    #[must_use]
    pub fn from_path(path: &RelPath) -> Self {
        let Some(extension) = path.extension() else {
            return Self::Bytes;
        };
        let is_markdown = matches!(extension.as_str(), "md" | "markdown");
        if is_markdown && path.as_bytes().starts_with(b"tasks/") {
            Self::WorkPackage
        } else if is_markdown && is_task_list(path) {
            Self::TaskList
        } else if TEXT_EXTENSIONS.contains(&extension.as_str()) {
            Self::Text
        } else {
            Self::Bytes
        }
    }
}

/// Returns true for Markdown that has lists of tasks by convention.
fn is_task_list(path: &RelPath) -> bool {
    let is_below = path.as_bytes().starts_with(b"checklists/");
    is_below || matches!(path.file_name(), b"tasks.md" | b"plan.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_kind_depends_on_extension_and_tasks_directory() {
        for (path, kind) in [
            ("spec.md", FileKind::Text),
            ("SPEC.MD", FileKind::Text),
            ("tasks/WP01.md", FileKind::WorkPackage),
            ("tasks/a/b.markdown", FileKind::WorkPackage),
            ("tasks/a.json", FileKind::Text),
            ("mytasks/WP01.md", FileKind::Text),
            ("logo.png", FileKind::Bytes),
            ("Makefile", FileKind::Bytes),
        ] {
            assert_eq!(
                FileKind::from_path(&RelPath::new(path.as_bytes()).unwrap()),
                kind,
                "{path}"
            );
        }
    }
}
