//! Error text with all causes; error text for people.

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

/// Removes the numbers of errors of the system, whose texts precede them.
#[must_use]
pub fn without_error_numbers(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NUMBER) {
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        rest = match after[digits..].strip_prefix(')') {
            Some(end) if digits > 0 => end,
            _ => {
                out.push_str(NUMBER);
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::error_chain;

    #[derive(Debug, thiserror::Error)]
    #[error("denied")]
    struct Denied;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{0}`")]
    struct ReadError(&'static str, #[source] Denied);

    #[derive(Debug, thiserror::Error)]
    #[error("no access: {0}")]
    struct RepeatingError(#[source] Denied);

    #[test]
    fn error_chain_has_each_cause_once() {
        assert_eq!(error_chain(&ReadError("a", Denied)), "cannot read `a`: denied");
        assert_eq!(error_chain(&RepeatingError(Denied)), "no access: denied");
    }
}
