//! When to colour: said by an argument, also where the others cannot be understood.

use std::ffi::OsString;

use clap::ValueEnum;

/// When to colour; `NO_COLOR` and `CLICOLOR_FORCE` decide in `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Color {
    /// On a terminal.
    Auto,
    /// Also into a pipe.
    Always,
    /// Not at all.
    Never,
}

impl Color {
    pub(in crate::cli) fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }

    /// What is said of colour in arguments that are not parsed, or cannot be.
    pub(in crate::cli) fn from_raw_args(arguments: impl Iterator<Item = OsString>) -> Self {
        let arguments = arguments.take_while(|argument| argument != "--");
        let (mut said, mut is_next) = (Self::Auto, false);
        for argument in arguments {
            let text = argument.to_string_lossy();
            let value = if is_next { Some(&*text) } else { text.strip_prefix("--color=") };
            if let Some(color) = value.and_then(|text| Self::from_str(text, false).ok()) {
                said = color;
            }
            is_next = text == "--color";
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_is_said_before_the_end_of_options() {
        for (said, expect) in [
            ("", Color::Auto),
            ("--color=never", Color::Never),
            ("status --color always --nonsense", Color::Always),
            ("--color=never --color=always", Color::Always),
            ("--color=sometimes", Color::Auto),
            ("--color", Color::Auto),
            ("-- --color=never", Color::Auto),
        ] {
            let arguments = said.split_whitespace().map(OsString::from);
            assert_eq!(Color::from_raw_args(arguments), expect, "{said}");
        }
    }
}
