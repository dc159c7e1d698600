//! The list of projects that were added by command: a text file in the configuration folder, so that
//! a lost store loses none (`docs/specification.md#user-files`).
//!
//! One absolute path a line, escaped as in the API, and line ends as well. Lines that begin with `#` are comments.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::regular_file::read_regular_file;
use crate::core::path::{PathError, escape_bytes, unescape_bytes};

const HEADER: &str = "# Projects that dossierd watches, added with `dossierd project add`.\n";

/// Why the list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectListError {
    /// It cannot be read or written.
    #[error("cannot {action} the list of projects {path}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line is not a path.
    #[error("{path}:{line}: {source}; correct or remove the line", path = path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The cause.
        source: PathError,
    },
    /// A line is a relative path.
    #[error("{path}:{line}: not an absolute path; correct or remove the line", path = path.display())]
    Relative {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// The list of projects that were added by command.
#[derive(Debug, Clone)]
pub struct ProjectList(PathBuf);

impl ProjectList {
    /// Creates the list in the file at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the roots; none if there is no file. Lines that are not paths are left out and returned
    /// as errors.
    ///
    /// # Errors
    /// [`ProjectListError::Io`].
    pub fn load(&self) -> Result<(BTreeSet<PathBuf>, Vec<ProjectListError>), ProjectListError> {
        let (mut roots, mut errors) = (BTreeSet::new(), Vec::new());
        for (number, line) in (1..).zip(self.read()?.lines()) {
            match self.parse(line, number) {
                Some(Ok(root)) => drop(roots.insert(root)),
                Some(Err(error)) => errors.push(error),
                None => {}
            }
        }
        Ok((roots, errors))
    }

    /// Adds a root durably; one that is in the list stays there.
    ///
    /// # Errors
    /// [`ProjectListError::Io`].
    pub fn add(&self, root: &Path) -> Result<(), ProjectListError> {
        let mut text = self.read()?;
        if self.contains(&text, root) {
            return Ok(());
        }
        if text.is_empty() {
            text.push_str(HEADER);
        } else if !text.ends_with('\n') {
            text.push('\n');
        }
        // Escapes of the API leave line ends as they are.
        let line = escape_bytes(root.as_os_str().as_bytes());
        text.push_str(&line.replace('\n', r"\x0a").replace('\r', r"\x0d"));
        text.push('\n');
        self.write(&text)
    }

    /// Removes a root durably. All other lines stay as they are.
    ///
    /// # Errors
    /// [`ProjectListError::Io`].
    pub fn remove(&self, root: &Path) -> Result<(), ProjectListError> {
        let text = self.read()?;
        if !self.contains(&text, root) {
            return Ok(());
        }
        let is_other = |line: &&str| !matches!(self.parse(line, 0), Some(Ok(path)) if path == root);
        self.write(&text.split_inclusive('\n').filter(is_other).collect::<String>())
    }

    fn contains(&self, text: &str, root: &Path) -> bool {
        text.lines().any(|line| matches!(self.parse(line, 0), Some(Ok(path)) if path == root))
    }

    /// Returns the path of a line; `None` of a comment or an empty line.
    fn parse(&self, line: &str, number: usize) -> Option<Result<PathBuf, ProjectListError>> {
        let text = line.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() || text.starts_with('#') {
            return None;
        }
        let path = self.0.clone();
        Some(match unescape_bytes(text) {
            Err(source) => Err(ProjectListError::Path { path, line: number, source }),
            Ok(bytes) => {
                let root = PathBuf::from(OsString::from_vec(bytes));
                let relative = ProjectListError::Relative { path, line: number };
                if root.is_absolute() { Ok(root) } else { Err(relative) }
            }
        })
    }

    fn read(&self) -> Result<String, ProjectListError> {
        let read = || {
            let bytes = read_regular_file(&self.0)?;
            String::from_utf8(bytes).map_err(io::Error::other)
        };
        match read() {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(self.error("read", source)),
        }
    }

    fn write(&self, text: &str) -> Result<(), ProjectListError> {
        let replace = || {
            // The file may be a link into a directory that is kept under version control.
            let path = self.0.canonicalize().unwrap_or_else(|_| self.0.clone());
            let dir = path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let new = path.with_extension("list.new");
            let mut file =
                File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(dir)?.sync_all()
        };
        replace().map_err(|source| self.error("write", source))
    }

    fn error(&self, action: &'static str, source: io::Error) -> ProjectListError {
        ProjectListError::Io { action, path: self.0.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_added_and_removed_and_other_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dossierd/projects.list");
        let list = ProjectList::new(file.clone());
        assert!(list.load().unwrap().0.is_empty());
        let strange = PathBuf::from(OsString::from_vec(b"/b\nc\r\xff d\\".to_vec()));
        for root in [Path::new("/a"), &strange, Path::new("/a")] {
            list.add(root).unwrap();
        }
        assert_eq!(list.load().unwrap().0, BTreeSet::from(["/a".into(), strange.clone()]));
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{HEADER}/a\n/b\\x0ac\\x0d\\xff d\\\\\n"));
        fs::write(&file, format!("{text}relative\n# mine\r\n\\q\n/c")).unwrap();
        list.add(Path::new("/d")).unwrap();
        list.remove(Path::new("/a")).unwrap();
        list.remove(Path::new("/none")).unwrap();
        let (roots, errors) = list.load().unwrap();
        assert_eq!(roots, BTreeSet::from([strange, "/c".into(), "/d".into()]));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let shown = file.display();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(
            errors[0],
            format!("{shown}:3: not an absolute path; correct or remove the line")
        );
        assert!(errors[1].starts_with(&format!("{shown}:5: ")), "{errors:?}");
        assert!(fs::read_to_string(&file).unwrap().contains("# mine\r\n"));

        let target = dir.path().join("kept");
        fs::rename(&file, &target).unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        list.add(Path::new("/e")).unwrap();
        assert!(file.is_symlink() && fs::read_to_string(&target).unwrap().ends_with("/e\n"));
        // A file that is not text is left as it is.
        fs::write(&target, b"/\xff\n").unwrap();
        assert!(list.add(Path::new("/f")).unwrap_err().to_string().starts_with("cannot read"));
        assert_eq!(fs::read(&target).unwrap(), b"/\xff\n");
    }
}
