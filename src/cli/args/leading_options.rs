//! Options of commands may also precede the command: `dossierd --json -p ROOT status`.
//!
//! Each command has those that apply to it, so they are moved behind it before the arguments are parsed.

use std::ffi::OsString;

/// Options without a value that are moved.
const FLAGS: [&str; 2] = ["-j", "--json"];
/// Options with a value that are moved.
const WITH_VALUE: [&str; 2] = ["-p", "--project"];
/// Options of the program itself that have a value, which is not the command.
const GLOBAL_WITH_VALUE: [&str; 2] = ["-C", "--color"];

/// Moves the options that precede the command to the end, or before `--`. The first argument is the program.
pub(super) fn move_leading_options(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut kept = Vec::with_capacity(arguments.len());
    let mut moved = Vec::new();
    let mut rest = arguments.into_iter();
    kept.extend(rest.next());
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        let has_inline_value = |name: &&str| {
            text.strip_prefix(name).is_some_and(|value| value.starts_with('=') || name.len() == 2)
        };
        if FLAGS.contains(&text.as_str()) {
            moved.push(argument);
        } else if WITH_VALUE.contains(&text.as_str()) {
            moved.push(argument);
            moved.extend(rest.next());
        } else if WITH_VALUE.iter().any(has_inline_value) {
            moved.push(argument);
        } else if GLOBAL_WITH_VALUE.contains(&text.as_str()) {
            kept.push(argument);
            kept.extend(rest.next());
        } else {
            let is_option = text.starts_with('-');
            kept.push(argument);
            if !is_option {
                break;
            }
        }
    }
    let mut after: Vec<OsString> = rest.collect();
    let end = after.iter().position(|argument| argument == "--").unwrap_or(after.len());
    after.splice(end..end, moved);
    kept.extend(after);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_before_the_command_are_moved_behind_it() {
        for (text, expected) in [
            ("d status", "d status"),
            ("d", "d"),
            ("d --help", "d --help"),
            ("d --json status 001-x", "d status 001-x --json"),
            ("d -j -p /a baseline accept x", "d baseline accept x -j -p /a"),
            ("d --project=/a -C /b status -- x", "d -C /b status --project=/a -- x"),
            ("d -p/a drift x", "d drift x -p/a"),
            ("d -q --color never -j st", "d -q --color never st -j"),
            ("d status --json -p /a", "d status --json -p /a"),
            ("d -p", "d -p"),
        ] {
            let arguments = text.split(' ').map(OsString::from).collect();
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(move_leading_options(arguments), expected, "{text}");
        }
    }
}
