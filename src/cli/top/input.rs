//! What reaches the state of the screen, and what it asks for. Values only.

use crate::cli::top::rows::FeatureId;
use crate::core::digest::Digest;
use crate::core::time::Timestamp;
use crate::wire::artifacts::ArtifactList;
use crate::wire::status::Status;

/// Something happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A key was pressed.
    Key(Key),
    /// The mouse selected a row of the screen, from 0.
    Click(u16),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// The daemon returned its status.
    Status(Box<Status<'static>>),
    /// Lines about events, as `watch` prints them.
    Events(Vec<String>),
    /// The connection to the daemon was lost.
    Disconnected,
    /// The connection is open again.
    Reconnected,
    /// The artifacts of a feature, or why they cannot be listed.
    Artifacts(FeatureId, Result<ArtifactList<'static>, String>),
    /// A text for a page.
    Text(TextId, Result<String, String>),
    /// What an accept or a restore has done; an error if it was refused.
    Done(Result<String, String>),
    /// Time passed.
    Tick(Timestamp),
}

/// A key, as far as the screen distinguishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Esc,
    Backspace,
    Char(char),
    /// A character with Ctrl.
    Ctrl(char),
}

/// A text that is shown on a page of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextId {
    pub(super) feature: FeatureId,
    pub(super) kind: TextKind,
}

/// Kind of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextKind {
    /// The content of the artifact with this key.
    Content(String),
    /// The difference from the baseline.
    Diff,
}

/// What the screen asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TopRequest {
    /// List the artifacts.
    Artifacts(FeatureId),
    /// Get a text.
    Text(TextId),
    /// Accept the state with this tree hash as the baseline.
    Accept(FeatureId, Digest),
    /// Restore an artifact.
    Restore(RestoreAsked),
    /// Draw everything again.
    Redraw,
    /// Stop until the shell continues this process.
    Suspend,
    /// End.
    Quit,
}

/// An artifact to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestoreAsked {
    pub(super) feature: FeatureId,
    pub(super) artifact_key: String,
    /// The artifact is present, and its content is replaced.
    pub(super) is_present: bool,
    /// Tree hash of the state that was shown.
    pub(super) tree: Digest,
}
