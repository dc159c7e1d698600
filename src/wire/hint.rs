//! What to do about a problem, for clients of the API and for users of the command line.
//!
//! A hint has a stable code, which both sides know, and a text that names API requests. The
//! command line looks its own text up by the code, never by comparing texts. The codes are listed
//! in `docs/specification.md#hint-codes`.

use std::borrow::Cow;

/// What to do about a problem; the stable name of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintCode {
    /// The path is not one of the API's.
    UnknownPath,
    /// The path does not support the method.
    MethodNotAllowed,
    /// A query or an artifact key is not percent-encoded UTF-8.
    InvalidPercentEncoding,
    /// The request does not accept a query parameter; the text names the nearest one.
    UnknownParameter,
    /// A switch is neither true nor false.
    InvalidBoolean,
    /// `limit` is out of range.
    InvalidLimit,
    /// `since` or `Last-Event-ID` is not a cursor.
    InvalidCursor,
    /// A text is not a revision, or names no single version.
    InvalidRevision,
    /// There is no such artifact class; the text lists the classes.
    UnknownClass,
    /// There is no such event type; the text lists the types.
    UnknownEventType,
    /// The request needs `feature`.
    FeatureRequired,
    /// The request needs `project`.
    ProjectRequired,
    /// The request needs a body.
    BodyRequired,
    /// The body is not the JSON that the request needs.
    InvalidBody,
    /// The body ended early.
    IncompleteBody,
    /// The request selects no dead letters.
    DeadLettersRequired,
    /// A path has an escape that does not exist.
    PathEscaping,
    /// A path is relative.
    AbsolutePathRequired,
    /// The root of a project cannot be opened.
    UnusableRoot,
    /// The dashboard's listener needs a session or a token.
    TokenRequired,
    /// The request comes from another page or names another host.
    WrongOrigin,
    /// There is no such feature.
    NoSuchFeature,
    /// There is no such project.
    NoSuchProject,
    /// There is no such artifact, and none with a similar key.
    NoSuchArtifact,
    /// There is no such artifact; the text names similar keys.
    DidYouMean,
    /// There is no such version, or it is not kept.
    NoSuchVersion,
    /// None of the events is a dead letter.
    NoSuchDeadLetter,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is too large.
    BodyTooLarge,
    /// Several projects match.
    AmbiguousProject,
    /// The configuration lists the project, so it cannot be removed.
    ConfiguredProject,
    /// The feature changed since the client read it.
    StateChanged,
    /// The baseline file cannot be parsed.
    CorruptBaseline,
    /// The feature's manifest is invalid.
    InvalidManifest,
    /// Part of the feature cannot be read, or it was deleted.
    FeatureNotReadable,
    /// The project's root is unavailable, or its file system does not respond.
    NotSynced,
    /// A file or the store could not be written.
    WriteFailed,
    /// The daemon failed.
    InternalError,
    /// The daemon is starting or overloaded.
    RetryLater,
    /// The engine did not respond to a query.
    EngineTimeout,
    /// The engine did not respond to a change, which may still be carried out.
    OutcomeUnknown,
    /// The change was made, and the daemon does not show it yet.
    ChangePending,
    /// The daemon is stopping.
    DaemonStopping,
    /// The configuration is invalid, and the daemon waits until it is corrected.
    InvalidConfiguration,
    /// All event streams are taken.
    TooManyStreams,
    /// The dashboard's listener cannot be opened.
    DashboardListen,
    /// The connection belongs to another user, or its user is not found.
    OtherUser,
    /// The user of connections cannot be found.
    PeerCheck,
    /// The dashboard has no such session.
    NoSuchSession,
}

/// A hint as a problem carries it: a code and the text for clients of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemHint {
    pub(crate) code: HintCode,
    pub(crate) text: Cow<'static, str>,
}

impl From<HintCode> for ProblemHint {
    /// Returns the hint with the fixed text of the code.
    fn from(code: HintCode) -> Self {
        Self { code, text: code.texts().api.into() }
    }
}

/// What the command line prints for a code.
enum CliHint {
    /// This text.
    Text(&'static str),
    /// The text of the response: it contains data, or names no request.
    AsSent,
    /// Nothing: a command cannot cause the problem, or the detail has the fix.
    Nothing,
}

struct HintTexts {
    code: &'static str,
    api: &'static str,
    cli: CliHint,
}

impl HintCode {
    /// All codes.
    pub const ALL: [Self; 49] = [
        Self::UnknownPath,
        Self::MethodNotAllowed,
        Self::InvalidPercentEncoding,
        Self::UnknownParameter,
        Self::InvalidBoolean,
        Self::InvalidLimit,
        Self::InvalidCursor,
        Self::InvalidRevision,
        Self::UnknownClass,
        Self::UnknownEventType,
        Self::FeatureRequired,
        Self::ProjectRequired,
        Self::BodyRequired,
        Self::InvalidBody,
        Self::IncompleteBody,
        Self::DeadLettersRequired,
        Self::PathEscaping,
        Self::AbsolutePathRequired,
        Self::UnusableRoot,
        Self::TokenRequired,
        Self::WrongOrigin,
        Self::NoSuchFeature,
        Self::NoSuchProject,
        Self::NoSuchArtifact,
        Self::DidYouMean,
        Self::NoSuchVersion,
        Self::NoSuchDeadLetter,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::AmbiguousProject,
        Self::ConfiguredProject,
        Self::StateChanged,
        Self::CorruptBaseline,
        Self::InvalidManifest,
        Self::FeatureNotReadable,
        Self::NotSynced,
        Self::WriteFailed,
        Self::InternalError,
        Self::RetryLater,
        Self::EngineTimeout,
        Self::OutcomeUnknown,
        Self::ChangePending,
        Self::DaemonStopping,
        Self::InvalidConfiguration,
        Self::TooManyStreams,
        Self::DashboardListen,
        Self::OtherUser,
        Self::PeerCheck,
        Self::NoSuchSession,
    ];

    /// Returns the stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.texts().code
    }

    /// Returns a hint with this code whose text contains data.
    #[must_use]
    pub fn with_text(self, text: impl Into<Cow<'static, str>>) -> ProblemHint {
        ProblemHint { code: self, text: text.into() }
    }

    #[allow(clippy::too_many_lines, reason = "one entry per code")]
    fn texts(self) -> HintTexts {
        let entry = |code, api, cli| HintTexts { code, api, cli };
        match self {
            Self::UnknownPath => {
                entry("unknown_path", "see `GET /api/openapi.json`", CliHint::AsSent)
            }
            Self::MethodNotAllowed => {
                entry("method_not_allowed", "see the `Allow` header", CliHint::AsSent)
            }
            Self::InvalidPercentEncoding => entry(
                "invalid_percent_encoding",
                "percent-encode names and values as UTF-8",
                CliHint::Nothing,
            ),
            Self::UnknownParameter => {
                entry("unknown_parameter", "see `GET /api/openapi.json`", CliHint::AsSent)
            }
            Self::InvalidBoolean => {
                entry("invalid_boolean", "use `true` or `false`", CliHint::Nothing)
            }
            Self::InvalidLimit => {
                entry("invalid_limit", "use a number in that range", CliHint::Nothing)
            }
            Self::InvalidCursor => entry(
                "invalid_cursor",
                "use `start`, `now`, or `next` of an earlier page",
                CliHint::Nothing,
            ),
            Self::InvalidRevision => entry(
                "invalid_revision",
                "use `baseline`, `now`, `@N`, a duration, a time, or 8 to 64 digits of a hash",
                CliHint::Nothing,
            ),
            Self::NoSuchVersion => {
                entry("no_such_version", "see `GET /api/dossier/versions`", CliHint::Nothing)
            }
            Self::UnknownClass => {
                entry("unknown_class", "see `GET /api/openapi.json`", CliHint::AsSent)
            }
            Self::UnknownEventType => {
                entry("unknown_event_type", "see `GET /api/openapi.json`", CliHint::AsSent)
            }
            Self::FeatureRequired => entry(
                "feature_required",
                "add `feature=` with a slug; `GET /api/status` lists the features",
                CliHint::Text(
                    "name a feature; `dossierd status` lists the features of all projects",
                ),
            ),
            Self::ProjectRequired => entry(
                "project_required",
                "add `project=` with a root; `GET /api/status` lists the projects",
                CliHint::Text("name a project; `dossierd project list` lists them"),
            ),
            Self::BodyRequired => entry(
                "body_required",
                "send JSON such as `{\"path\": \"/a/project\"}`",
                CliHint::Nothing,
            ),
            Self::InvalidBody => {
                entry("invalid_body", "see `GET /api/openapi.json`", CliHint::Nothing)
            }
            Self::IncompleteBody => entry(
                "incomplete_body",
                "send as many bytes as `Content-Length` announces",
                CliHint::Nothing,
            ),
            Self::DeadLettersRequired => entry(
                "dead_letters_required",
                "send `{\"ids\": [\"01H...\"]}` or `{\"all\": true}`",
                CliHint::Text("name events or use `--all`"),
            ),
            Self::PathEscaping => entry(
                "path_escaping",
                "write paths as responses do: a backslash as `\\\\`",
                CliHint::AsSent,
            ),
            Self::AbsolutePathRequired => {
                entry("absolute_path_required", "use its absolute path", CliHint::AsSent)
            }
            Self::UnusableRoot => entry(
                "unusable_root",
                "name a directory that exists and can be read",
                CliHint::Nothing,
            ),
            Self::TokenRequired => entry(
                "token_required",
                "run `dossierd dashboard` to open the page",
                CliHint::AsSent,
            ),
            Self::WrongOrigin => entry(
                "wrong_origin",
                "open the address that `dossierd dashboard` prints",
                CliHint::AsSent,
            ),
            Self::NoSuchFeature => entry(
                "no_such_feature",
                "`GET /api/status` lists the features of all projects",
                CliHint::Text("`dossierd status` lists the features of all projects"),
            ),
            Self::NoSuchProject => entry(
                "no_such_project",
                "`GET /api/status` lists the watched projects; `POST /api/projects` adds one",
                CliHint::Text(
                    "`dossierd status` lists the watched projects; `dossierd project add \
                 PATH` adds one",
                ),
            ),
            Self::NoSuchArtifact => entry(
                "no_such_artifact",
                "`GET /api/dossier/artifacts` lists the artifacts",
                CliHint::Text("`dossierd artifacts FEATURE` lists the artifacts"),
            ),
            Self::DidYouMean => entry(
                "did_you_mean",
                "`GET /api/dossier/artifacts` lists the artifacts",
                CliHint::AsSent,
            ),
            Self::NoSuchDeadLetter => entry(
                "no_such_dead_letter",
                "`GET /api/delivery` lists the dead letters",
                CliHint::Text("`dossierd delivery list` lists the dead letters"),
            ),
            Self::BodyTimeout => entry("body_timeout", "send the body at once", CliHint::Nothing),
            Self::BodyTooLarge => entry("body_too_large", "send a smaller body", CliHint::Nothing),
            Self::AmbiguousProject => entry(
                "ambiguous_project",
                "add `project=` with one of these roots",
                CliHint::Text("name one of them with `--project ROOT`"),
            ),
            Self::ConfiguredProject => entry(
                "configured_project",
                "remove the project from the configuration file",
                CliHint::Nothing,
            ),
            Self::StateChanged => entry(
                "state_changed",
                "read the feature again, then repeat the request",
                CliHint::Text("review the feature again, then repeat the command"),
            ),
            Self::CorruptBaseline => entry(
                "corrupt_baseline",
                "`{\"replace_corrupt\": true}` replaces it, `DELETE` removes it",
                CliHint::Text(
                    "name the feature to replace it, or remove it with `dossierd baseline \
                 clear FEATURE`",
                ),
            ),
            Self::InvalidManifest => entry(
                "invalid_manifest",
                "fix the manifest; `GET /api/status` lists its errors",
                CliHint::Text("fix the manifest; `dossierd status` lists its errors"),
            ),
            Self::FeatureNotReadable => entry(
                "feature_not_readable",
                "`GET /api/dossier/overview` shows the state of the feature",
                CliHint::Text("`dossierd status FEATURE` shows the state of the feature"),
            ),
            Self::NotSynced => entry(
                "not_synced",
                "retry once `GET /api/status` shows the project's root as available",
                CliHint::Text("retry once `dossierd status` shows the project as watched"),
            ),
            Self::WriteFailed => entry(
                "write_failed",
                "free disk space or make the file writable; `dossierd doctor` shows more",
                CliHint::Text(
                    "free disk space or make the file writable; `dossierd doctor` shows more",
                ),
            ),
            Self::InternalError => entry(
                "internal_error",
                "see the daemon's log, and report the problem if it persists",
                CliHint::Text("see the daemon's log, and report the problem if it persists"),
            ),
            Self::RetryLater => {
                entry("retry_later", "retry in a second", CliHint::Text("retry in a second"))
            }
            Self::EngineTimeout => entry(
                "engine_timeout",
                "run `dossierd doctor`; restart the daemon if the problem persists; \
                 without `sync=true` the last known state is served",
                CliHint::Text("run `dossierd doctor`; restart the daemon if the problem persists"),
            ),
            Self::OutcomeUnknown => entry(
                "outcome_unknown",
                "run `dossierd doctor`; restart the daemon if the problem persists",
                CliHint::Text("run `dossierd doctor`; restart the daemon if the problem persists"),
            ),
            Self::ChangePending => entry(
                "change_pending",
                "do not repeat the request; read again in a second",
                CliHint::Text("do not repeat the command; `dossierd status` will show the change"),
            ),
            Self::DaemonStopping => {
                entry("daemon_stopping", "retry when the daemon runs again", CliHint::Nothing)
            }
            Self::InvalidConfiguration => entry(
                "invalid_configuration",
                "correct the file; the daemon then continues by itself",
                CliHint::AsSent,
            ),
            Self::TooManyStreams => entry(
                "too_many_streams",
                "close another stream, or read pages of `GET /api/events`",
                CliHint::Text("end another `dossierd watch` or `dossierd events`"),
            ),
            Self::DashboardListen => entry(
                "dashboard_listen",
                "set `http: {listen: ...}` in the configuration to another address",
                CliHint::AsSent,
            ),
            Self::OtherUser => entry(
                "other_user",
                "connect as the user of the daemon; `http: {allow_root: true}` admits root",
                CliHint::AsSent,
            ),
            Self::PeerCheck => entry(
                "peer_check",
                "run `dossierd doctor`; `dossierd service install` renews the units",
                CliHint::AsSent,
            ),
            Self::NoSuchSession => entry(
                "no_such_session",
                "`GET /api/dashboard` lists the sessions",
                CliHint::Text("`dossierd dashboard --sessions` lists the sessions"),
            ),
        }
    }
}

/// Returns what the command line prints as the hint of `problem`, if anything.
#[must_use]
pub fn cli_hint<'a>(hint_code: &str, hint: &'a str) -> Option<&'a str> {
    let sent = Some(hint).filter(|hint| !hint.is_empty());
    let known = HintCode::ALL.into_iter().find(|code| code.as_str() == hint_code);
    match known.map(|code| code.texts().cli) {
        Some(CliHint::Text(text)) => Some(text),
        Some(CliHint::Nothing) => None,
        // An unknown code comes from a newer daemon.
        Some(CliHint::AsSent) | None => sent,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hint_codes_are_unique_and_every_hint_has_a_text() {
        let codes: BTreeSet<&str> = HintCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), HintCode::ALL.len());
        assert!(HintCode::ALL.iter().all(|code| !code.texts().api.is_empty()));
    }

    #[test]
    fn texts_of_the_command_line_name_no_requests() {
        for code in HintCode::ALL {
            let CliHint::Text(text) = code.texts().cli else { continue };
            for word in ["GET", "POST", "DELETE", "/api/", "=`", "{"] {
                assert!(!text.contains(word), "{text}");
            }
        }
    }

    #[test]
    fn command_line_translates_known_codes_and_prints_other_hints_as_sent() {
        for (code, sent, expected) in [
            ("no_such_feature", "x", Some("`dossierd status` lists the features of all projects")),
            ("did_you_mean", "did you mean x?", Some("did you mean x?")),
            ("invalid_body", "x", None),
            ("from_the_future", "do this", Some("do this")),
            ("", "", None),
        ] {
            assert_eq!(cli_hint(code, sent), expected, "{code}");
        }
    }

    #[test]
    fn specification_lists_every_hint_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/specification.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, section) = text.split_once("### Hint codes").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let listed: BTreeSet<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(code, _)| code)
            .filter(|code| *code != "hint_code")
            .collect();
        let codes: BTreeSet<&str> = HintCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(listed, codes);
    }
}
