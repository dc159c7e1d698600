//! What to do about a problem, in two tongues: that of requests, and that of commands.
//!
//! The API's hints name requests, for its clients make them. Who typed a command is told of commands.

/// A mend in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mend {
    request: &'static str,
    command: &'static str,
}

impl From<Mend> for String {
    /// As a problem's `hint` has it.
    fn from(mend: Mend) -> Self {
        mend.request.to_owned()
    }
}

/// No such feature.
pub const FEATURES: Mend = Mend {
    request: "`GET /api/status` lists the features of all projects",
    command: "`dossierd status` lists the features of all projects",
};
/// No feature is named.
pub const FEATURE: Mend = Mend {
    request: "say `feature=` with its slug; `GET /api/status` lists the features of all projects",
    command: "name a feature; `dossierd status` lists the features of all projects",
};
/// No such project.
pub const PROJECTS: Mend = Mend {
    request: "`GET /api/status` lists those that are; `dossierd project add PATH` adds one",
    command: "`dossierd status` lists those that are; `dossierd project add PATH` adds one",
};
/// No project is named.
pub const PROJECT: Mend = Mend {
    request: "say `project=` with its root; `GET /api/status` lists the projects",
    command: "name a project; `dossierd project list` lists them",
};
/// Several projects could be meant.
pub const ONE_PROJECT: Mend = Mend {
    request: "say `project=` with one of these roots",
    command: "name one of them with `--project ROOT`",
};
/// No such artifact.
pub const ARTIFACTS: Mend = Mend {
    request: "`GET /api/dossier/artifacts` lists them",
    command: "`dossierd artifacts FEATURE` lists them",
};
/// The baseline cannot be understood.
pub const CORRUPT: Mend = Mend {
    request: "`{\"replace_corrupt\": true}` replaces it, `DELETE` removes it",
    command: "name the feature to replace it, or remove it with `dossierd baseline clear FEATURE`",
};
/// A manifest is broken.
pub const BROKEN: Mend = Mend {
    request: "`GET /api/status` says what is broken",
    command: "`dossierd status` says what is broken",
};
/// Something of the feature cannot be seen.
pub const SEEN: Mend = Mend {
    request: "`GET /api/dossier/overview` says how the feature is seen",
    command: "`dossierd status FEATURE` says how the feature is seen",
};
/// None of these events is set aside.
pub const SET_ASIDE: Mend = Mend {
    request: "`GET /api/delivery` lists those that are",
    command: "`dossierd delivery list` lists those that are",
};
/// The engine does not answer, and what was last seen would do.
pub const LATE: Mend = Mend {
    request: "`dossierd doctor` tells more; if it stays so, restart the daemon; without `sync=true` \
              the state last seen is answered",
    command: "`dossierd doctor` tells more; if it stays so, restart the daemon",
};

const ALL: [Mend; 11] = [
    FEATURES,
    FEATURE,
    PROJECTS,
    PROJECT,
    ONE_PROJECT,
    ARTIFACTS,
    CORRUPT,
    BROKEN,
    SEEN,
    SET_ASIDE,
    LATE,
];

/// A problem's hint in the words of commands; as it is where it names no request.
#[must_use]
pub fn for_commands(hint: &str) -> &str {
    ALL.iter().find(|mend| mend.request == hint).map_or(hint, |mend| mend.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_told_of_requests() {
        for mend in ALL {
            let said = for_commands(&String::from(mend)).to_owned();
            assert_ne!(said, mend.request);
            for word in ["GET", "POST", "DELETE", "/api/", "=`", "{"] {
                assert!(!said.contains(word), "{said}");
            }
        }
        assert_eq!(for_commands("did you mean `x`?"), "did you mean `x`?");
    }
}
