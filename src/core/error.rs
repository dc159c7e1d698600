//! Error text with all causes.

use std::error::Error;

/// Returns the text of `error` and of each of its sources, joined by `: `; a source whose text its
/// parent already ends with is not repeated.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::error_chain;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{0}`")]
    struct Read(&'static str, #[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("no access: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn error_chain_has_each_cause_once() {
        let denied = || io::Error::other("denied");
        assert_eq!(error_chain(&Read("a", denied())), "cannot read `a`: denied");
        assert_eq!(error_chain(&Repeating(denied())), "no access: denied");
    }
}
