//! The `--color` argument, which also applies to error messages about the other arguments.

use std::ffi::OsString;

use clap::ValueEnum;

/// When to use colour; `NO_COLOR` and `CLICOLOR_FORCE` are respected in `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Color {
    /// On a terminal
    Auto,
    /// Also in a pipe
    Always,
    /// Never
    Never,
}

impl Color {
    /// Sets the colour choice of both output streams.
    pub(in crate::cli) fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }

    /// Returns the last valid `--color` of arguments that have not been parsed; `Auto` without one.
    pub(in crate::cli) fn from_raw_args(arguments: impl Iterator<Item = OsString>) -> Self {
        let arguments = arguments.take_while(|argument| argument != "--");
        let (mut choice, mut is_value) = (Self::Auto, false);
        for argument in arguments {
            let text = argument.to_string_lossy();
            let value = if is_value { Some(&*text) } else { text.strip_prefix("--color=") };
            if let Some(color) = value.and_then(|text| Self::from_str(text, false).ok()) {
                choice = color;
            }
            is_value = text == "--color";
        }
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_raw_args_returns_the_last_choice_before_the_end_of_options() {
        for (text, expected) in [
            ("", Color::Auto),
            ("--color=never", Color::Never),
            ("status --color always --nonsense", Color::Always),
            ("--color=never --color=always", Color::Always),
            ("--color=sometimes", Color::Auto),
            ("--color", Color::Auto),
            ("-- --color=never", Color::Auto),
        ] {
            let arguments = text.split_whitespace().map(OsString::from);
            assert_eq!(Color::from_raw_args(arguments), expected, "{text}");
        }
    }
}
