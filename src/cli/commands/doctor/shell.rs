//! Paths in the commands that are proposed: whoever pastes one must run that and nothing else.

use std::path::Path;

/// A path as one word of a shell.
pub(crate) fn shell_quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_takes_for_one_word() {
        for (path, expect) in [
            ("/srv/shop-1.0", "/srv/shop-1.0"),
            ("/a b", "'/a b'"),
            ("/x; rm -rf ~", "'/x; rm -rf ~'"),
            ("/$(id)`id`", "'/$(id)`id`'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(shell_quote(Path::new(path)), expect);
        }
    }
}
