//! Quotes paths in suggested commands, so that a pasted command runs nothing else.

use std::path::Path;

/// Quotes a path as one word of a POSIX shell.
pub(crate) fn shell_quote(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_quote_returns_one_word() {
        for (path, expected) in [
            ("/srv/shop-1.0", "/srv/shop-1.0"),
            ("/a b", "'/a b'"),
            ("/x; rm -rf ~", "'/x; rm -rf ~'"),
            ("/$(id)`id`", "'/$(id)`id`'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(shell_quote(Path::new(path)), expected);
        }
    }
}
