//! The words of a command line of bash, and candidates in the form in which bash inserts them.
//!
//! Bash replaces a part of the last word only, and inserts what it gets unchanged, so quoting is up to the program. Nothing
//! is expanded: a variable or a command in the line stays text.

/// The beginning of a command line of bash, up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BashLine {
    /// The words without quotes; the last one is the one that is completed, perhaps empty.
    pub(crate) words: Vec<String>,
    /// Number of bytes of the last word that bash keeps, as unquoted text.
    kept: usize,
    /// Quote that is open at the end.
    quote: Option<char>,
}

impl BashLine {
    /// Splits a line; `word_breaks` are the characters at which bash ends a word, `COMP_WORDBREAKS`.
    pub(crate) fn parse(line: &str, word_breaks: &str) -> Self {
        let mut words = Vec::new();
        let (mut word, mut has_begun) = (String::new(), false);
        let (mut quote, mut kept) = (None, 0);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match quote {
                None if c.is_ascii_whitespace() => {
                    if std::mem::take(&mut has_begun) {
                        words.push(std::mem::take(&mut word));
                    }
                    kept = 0;
                    continue;
                }
                None if c == '\'' || c == '"' => {
                    quote = Some(c);
                    kept = word.len();
                }
                None if c == '\\' => word.extend(chars.next()),
                None => {
                    word.push(c);
                    if word_breaks.contains(c) {
                        kept = word.len();
                    }
                }
                Some(open) if c == open => {
                    quote = None;
                    kept = 0;
                }
                Some('"') if c == '\\' => match chars.next() {
                    Some(next) if !"\"\\$`".contains(next) => word.extend([c, next]),
                    next => word.extend(next),
                },
                Some(_) => word.push(c),
            }
            has_begun = true;
        }
        words.push(word);
        Self { words, kept, quote }
    }

    /// Returns what bash is to insert for a candidate; `None` if the candidate does not continue the last word.
    pub(crate) fn insertion(&self, candidate: &str) -> Option<String> {
        let typed = self.words.last().map_or("", String::as_str);
        candidate.strip_prefix(typed)?;
        let rest = candidate.get(self.kept..)?;
        Some(match self.quote {
            None => escape(rest, |c| c.is_ascii() && !is_plain(c)),
            // No quote protects an exclamation mark from the history in double quotes.
            Some('"') => escape(rest, |c| "\"\\$`".contains(c)).replace('!', "\"'!'\""),
            Some(_) => rest.replace('\'', r"'\''"),
        })
    }
}

/// Returns true if no shell gives this character a meaning, wherever it is in a word.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./,+@%:=".contains(c)
}

fn escape(text: &str, needs_escape: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_escape(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'><=;|&(:";

    #[test]
    fn words_lose_their_quotes_and_are_not_expanded() {
        for (line, expected) in [
            ("", &[""][..]),
            ("dossierd", &["dossierd"]),
            ("dossierd ", &["dossierd", ""]),
            ("dossierd  st\t00", &["dossierd", "st", "00"]),
            (r"d a\ b 'c d' ", &["d", "a b", "c d", ""]),
            (r#"d "a \" \x $(id)"#, &["d", r#"a " \x $(id)"#]),
            ("d '' x", &["d", "", "x"]),
            ("d 'a\\", &["d", "a\\"]),
            ("d a\\", &["d", "a"]),
            ("d --project=/a", &["d", "--project=/a"]),
        ] {
            assert_eq!(BashLine::parse(line, BREAKS).words, expected, "{line}");
        }
    }

    #[test]
    fn insertion_continues_the_word_and_is_inert() {
        for (line, candidate, expected) in [
            ("d st ", "001-x", Some("001-x")),
            ("d st 00", "001-x", Some("001-x")),
            ("d st 01", "001-x", None),
            ("d st ", "a b;$(id)`id`'\"!*~{x}", Some(r#"a\ b\;\$\(id\)\`id\`\'\"\!\*\~\{x\}"#)),
            ("d st \"a", "a b$(id)\"!", Some(r#"a b\$(id)\""'!'""#)),
            ("d st 'a", "a b$(id)'", Some(r"a b$(id)'\''")),
            ("d st x'a", "xa b", Some("a b")),
            (r"d st a\ ", "a b", Some(r"a\ b")),
            ("d st 'a'", "ab c", Some(r"ab\ c")),
            ("d st --project=/h", "--project=/home/a b", Some(r"/home/a\ b")),
            ("d st a:b", "a:bc", Some("bc")),
            ("d st ", "bäckerei", Some("bäckerei")),
        ] {
            let line = BashLine::parse(line, BREAKS);
            assert_eq!(line.insertion(candidate).as_deref(), expected, "{line:?}");
        }
    }
}
