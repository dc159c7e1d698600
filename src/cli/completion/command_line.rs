//! Which argument a word of a command line is, from the definitions of the arguments.

use clap::{Arg, ArgAction, Command};

/// Kinds of arguments that are completed with what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentKind {
    /// A feature.
    Feature,
    /// The key of an artifact.
    Key,
    /// The key of an artifact, or its path in the feature.
    KeyOrPath,
    /// Root of a project.
    Root,
}

/// What was typed before the word that is completed, and what kind of argument that word is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TypedArguments {
    /// Kind of the word; `None` if it is another one.
    pub(crate) kind: Option<ArgumentKind>,
    /// Text that precedes the argument in the word: `--project=`, `-p`, or nothing.
    pub(crate) prefix: String,
    /// The argument so far.
    pub(crate) typed: String,
    /// Value of `-C`.
    pub(crate) directory: Option<String>,
    /// Value of `--project`.
    pub(crate) project: Option<String>,
    /// Value of `--socket`.
    pub(crate) socket: Option<String>,
    /// The first feature that is named.
    pub(crate) feature: Option<String>,
}

impl TypedArguments {
    /// Reads the words of a command line, of which the first is the program and the last is completed. `program` must
    /// be built.
    pub(crate) fn parse(program: &Command, words: &[String]) -> Self {
        let mut found = Self::default();
        let Some((current, before)) = words.get(1..).and_then(<[String]>::split_last) else {
            return found;
        };
        let mut reader =
            Reader { command: program, path: Vec::new(), positionals: 0, ended: false };
        let mut awaits: Option<&Arg> = None;
        for word in before {
            awaits = match awaits {
                Some(option) => {
                    found.record(option.get_id().as_str(), word);
                    None
                }
                None => reader.read(word, &mut found),
            };
        }
        found.typed.clone_from(current);
        if let Some(option) = awaits {
            found.kind = reader.kind(option);
        } else if let Some(option) = reader.is_option(current) {
            if let Some((option, value)) = reader.inline_value(option) {
                found.kind = reader.kind(option);
                current[..current.len() - value.len()].clone_into(&mut found.prefix);
                value.clone_into(&mut found.typed);
            }
        } else if !reader.command.has_subcommands() {
            found.kind = reader.positional().and_then(|argument| reader.kind(argument));
        }
        found
    }

    fn record(&mut self, id: &str, value: &str) {
        let slot = match id {
            "directory" => &mut self.directory,
            "project" => &mut self.project,
            "socket" => &mut self.socket,
            "feature" | "features" if self.feature.is_none() => &mut self.feature,
            _ => return,
        };
        *slot = Some(value.to_owned());
    }
}

/// Follows the words into the subcommands.
struct Reader<'a> {
    command: &'a Command,
    /// Names of the subcommands.
    path: Vec<&'a str>,
    /// Number of positional arguments of the subcommand so far.
    positionals: usize,
    /// True after `--`.
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads a word; returns the option whose value the next word is.
    fn read(&mut self, word: &str, found: &mut TypedArguments) -> Option<&'a Arg> {
        if word == "--" && !self.ended {
            self.ended = true;
            return None;
        }
        if let Some(option) = self.is_option(word) {
            if let Some((option, value)) = self.inline_value(option) {
                found.record(option.get_id().as_str(), value);
                return None;
            }
            return self.option_that_awaits(option);
        }
        if let Some(sub) = self.command.find_subcommand(word) {
            self.command = sub;
            self.path.push(sub.get_name());
            return None;
        }
        if let Some(argument) = self.positional() {
            found.record(argument.get_id().as_str(), word);
        }
        self.positionals += 1;
        None
    }

    /// Returns the word if it is an option.
    fn is_option<'w>(&self, word: &'w str) -> Option<&'w str> {
        Some(word).filter(|word| !self.ended && word.len() > 1 && word.starts_with('-'))
    }

    /// Returns the option that a word names, and its value if that is in the same word.
    fn inline_value<'w>(&self, word: &'w str) -> Option<(&'a Arg, &'w str)> {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=')?;
            return self.long(name).filter(takes_value).map(|option| (option, value));
        }
        let (at, option) = self.short_with_value(word)?;
        let value = &word[at..];
        let value = value.strip_prefix('=').unwrap_or(value);
        Some((option, value)).filter(|(_, value)| !value.is_empty())
    }

    fn option_that_awaits(&self, word: &str) -> Option<&'a Arg> {
        match word.strip_prefix("--") {
            Some(name) => self.long(name).filter(takes_value),
            None => self.short_with_value(word).map(|(_, option)| option),
        }
    }

    /// Returns the first option with a value in a word such as `-jp`, and where its value begins.
    fn short_with_value(&self, word: &str) -> Option<(usize, &'a Arg)> {
        let mut flags = word.char_indices().skip(1);
        flags.find_map(|(at, flag)| {
            let option = self.options(|option| option.get_short() == Some(flag))?;
            takes_value(&option).then_some((at + flag.len_utf8(), option))
        })
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.options(|option| option.get_long() == Some(name))
    }

    /// Finds an option of the command. Before the command, those that may also precede it are found too.
    fn options(&self, is_wanted: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        let own = self.command.get_arguments().find(|argument| is_wanted(argument));
        own.or_else(|| {
            let of_status = self.command.find_subcommand("status")?;
            let mut options = of_status.get_opts();
            options.find(|option| option.get_id() == "project" && is_wanted(option))
        })
    }

    fn positional(&self) -> Option<&'a Arg> {
        let mut positionals = self.command.get_positionals();
        let last = self.command.get_positionals().last();
        positionals.nth(self.positionals).or_else(|| {
            last.filter(|last| {
                matches!(last.get_action(), ArgAction::Append)
                    || last.get_num_args().is_some_and(|range| range.max_values() > 1)
            })
        })
    }

    fn kind(&self, argument: &Arg) -> Option<ArgumentKind> {
        match argument.get_id().as_str() {
            "feature" | "features" => Some(ArgumentKind::Feature),
            "key" => Some(ArgumentKind::Key),
            "name" | "names" => Some(ArgumentKind::KeyOrPath),
            "project" => Some(ArgumentKind::Root),
            "path" if self.path == ["project", "remove"] => Some(ArgumentKind::Root),
            _ => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "passed to `Option::filter`")]
fn takes_value(option: &&Arg) -> bool {
    option.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Cli;

    fn parse(line: &str) -> TypedArguments {
        let mut program = Cli::command();
        program.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        TypedArguments::parse(&program, &words)
    }

    #[test]
    fn the_kind_of_the_last_word_follows_from_those_before() {
        use ArgumentKind::{Feature, Key, KeyOrPath, Root};
        for (line, kind, typed) in [
            ("dossierd", None, ""),
            ("dossierd sta", None, "sta"),
            ("dossierd status ", Some(Feature), ""),
            ("dossierd st 00", Some(Feature), "00"),
            ("dossierd status 001-x ", None, ""),
            ("dossierd events a b", Some(Feature), "b"),
            ("dossierd status --sort ", None, ""),
            ("dossierd status --sort name ", Some(Feature), ""),
            ("dossierd status --s", None, "--s"),
            ("dossierd status -- --s", Some(Feature), "--s"),
            ("dossierd -j -p /a status ", Some(Feature), ""),
            ("dossierd -p ", Some(Root), ""),
            ("dossierd status -jp ", Some(Root), ""),
            ("dossierd status -jp/ho", Some(Root), "/ho"),
            ("dossierd status --project=/ho", Some(Root), "/ho"),
            ("dossierd status --socket=/ho", None, "/ho"),
            ("dossierd -C ", None, ""),
            ("dossierd top --project ", Some(Root), ""),
            ("dossierd show 001-x ", Some(Key), ""),
            ("dossierd show 001-x output.spec ", None, ""),
            ("dossierd diff 001-x a b", Some(KeyOrPath), "b"),
            ("dossierd log 001-x ", Some(KeyOrPath), ""),
            ("dossierd restore 001-x ", Some(KeyOrPath), ""),
            ("dossierd baseline acc", None, "acc"),
            ("dossierd baseline accept 1 ", Some(Feature), ""),
            ("dossierd baseline clear ", Some(Feature), ""),
            ("dossierd history purge ", Some(Feature), ""),
            ("dossierd project remove ", Some(Root), ""),
            ("dossierd project add ", None, ""),
            ("dossierd check ", None, ""),
            ("dossierd completions ", None, ""),
            ("dossierd nonsense ", None, ""),
        ] {
            let found = parse(line);
            assert_eq!((found.kind, found.typed.as_str()), (kind, typed), "{line}");
        }
    }

    #[test]
    fn words_before_select_project_and_feature() {
        let found = parse("dossierd -C /c --project /a show --socket=/s 001-x ke");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!((found.directory, found.project), (text("/c"), text("/a")));
        assert_eq!((found.socket, found.feature), (text("/s"), text("001-x")));
        assert_eq!(parse("dossierd st -p=/a").prefix, "-p=");
        assert_eq!(parse("dossierd st --project=/a").prefix, "--project=");
    }

    /// Calls `visit` for each command without subcommands.
    fn visit_leaves(
        command: &Command,
        path: &mut Vec<String>,
        visit: &mut impl FnMut(&Command, &[String]),
    ) {
        for sub in
            command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            path.push(sub.get_name().to_owned());
            if sub.has_subcommands() {
                visit_leaves(sub, path, visit);
            } else {
                visit(sub, path);
            }
            path.pop();
        }
    }

    #[test]
    fn every_argument_that_names_a_feature_artifact_or_root_is_completed() {
        let mut program = Cli::command();
        program.build();
        let mut seen = 0;
        visit_leaves(&program, &mut Vec::new(), &mut |command, path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            for argument in command.get_arguments() {
                let shown = argument.get_value_names().unwrap_or_default();
                let shown = shown.first().map_or("", |name| name.as_str());
                if !["FEATURE", "KEY", "KEY|PATH", "ROOT"].contains(&shown) {
                    continue;
                }
                let reader = Reader { command, path: path.clone(), positionals: 0, ended: false };
                assert!(reader.kind(argument).is_some(), "{path:?}: {shown}");
                seen += 1;
            }
        });
        assert!(seen > 30, "{seen} arguments");
    }
}
