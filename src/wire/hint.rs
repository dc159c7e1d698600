//! What to do about a problem, in two tongues: that of requests, and that of commands.
//!
//! The API's hints name requests, for its clients make them. Who typed a command is told of commands.

/// A mend in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemHint {
    api: &'static str,
    cli: &'static str,
}

impl From<ProblemHint> for String {
    /// As a problem's `hint` has it.
    fn from(mend: ProblemHint) -> Self {
        mend.api.to_owned()
    }
}

/// No such feature.
pub const NO_SUCH_FEATURE: ProblemHint = ProblemHint {
    api: "`GET /api/status` lists the features of all projects",
    cli: "`dossierd status` lists the features of all projects",
};
/// No feature is named.
pub const FEATURE_REQUIRED: ProblemHint = ProblemHint {
    api: "say `feature=` with its slug; `GET /api/status` lists the features of all projects",
    cli: "name a feature; `dossierd status` lists the features of all projects",
};
/// No such project.
pub const NO_SUCH_PROJECT: ProblemHint = ProblemHint {
    api: "`GET /api/status` lists those that are; `dossierd project add PATH` adds one",
    cli: "`dossierd status` lists those that are; `dossierd project add PATH` adds one",
};
/// No project is named.
pub const PROJECT_REQUIRED: ProblemHint = ProblemHint {
    api: "say `project=` with its root; `GET /api/status` lists the projects",
    cli: "name a project; `dossierd project list` lists them",
};
/// Several projects could be meant.
pub const AMBIGUOUS_PROJECT: ProblemHint = ProblemHint {
    api: "say `project=` with one of these roots",
    cli: "name one of them with `--project ROOT`",
};
/// No such artifact.
pub const NO_SUCH_ARTIFACT: ProblemHint = ProblemHint {
    api: "`GET /api/dossier/artifacts` lists them",
    cli: "`dossierd artifacts FEATURE` lists them",
};
/// The baseline cannot be understood.
pub const CORRUPT_BASELINE: ProblemHint = ProblemHint {
    api: "`{\"replace_corrupt\": true}` replaces it, `DELETE` removes it",
    cli: "name the feature to replace it, or remove it with `dossierd baseline clear FEATURE`",
};
/// A manifest is broken.
pub const INVALID_MANIFEST: ProblemHint = ProblemHint {
    api: "`GET /api/status` says what is broken",
    cli: "`dossierd status` says what is broken",
};
/// Something of the feature cannot be seen.
pub const FEATURE_NOT_READABLE: ProblemHint = ProblemHint {
    api: "`GET /api/dossier/overview` says how the feature is seen",
    cli: "`dossierd status FEATURE` says how the feature is seen",
};
/// None of these events is set aside.
pub const NO_SUCH_DEAD_LETTER: ProblemHint = ProblemHint {
    api: "`GET /api/delivery` lists those that are",
    cli: "`dossierd delivery list` lists those that are",
};
/// The engine does not answer, and what was last seen would do.
pub const ENGINE_TIMEOUT: ProblemHint = ProblemHint {
    api: "`dossierd doctor` tells more; if it stays so, restart the daemon; without `sync=true` \
              the state last seen is answered",
    cli: "`dossierd doctor` tells more; if it stays so, restart the daemon",
};

const ALL_HINTS: [ProblemHint; 11] = [
    NO_SUCH_FEATURE,
    FEATURE_REQUIRED,
    NO_SUCH_PROJECT,
    PROJECT_REQUIRED,
    AMBIGUOUS_PROJECT,
    NO_SUCH_ARTIFACT,
    CORRUPT_BASELINE,
    INVALID_MANIFEST,
    FEATURE_NOT_READABLE,
    NO_SUCH_DEAD_LETTER,
    ENGINE_TIMEOUT,
];

/// A problem's hint in the words of commands; as it is where it names no request.
#[must_use]
pub fn cli_hint_for(hint: &str) -> &str {
    ALL_HINTS.iter().find(|mend| mend.api == hint).map_or(hint, |mend| mend.cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_told_of_requests() {
        for mend in ALL_HINTS {
            let said = cli_hint_for(&String::from(mend)).to_owned();
            assert_ne!(said, mend.api);
            for word in ["GET", "POST", "DELETE", "/api/", "=`", "{"] {
                assert!(!said.contains(word), "{said}");
            }
        }
        assert_eq!(cli_hint_for("did you mean `x`?"), "did you mean `x`?");
    }
}
