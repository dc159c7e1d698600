//! Asking the engine, and waiting for what it says: no longer than an engine that is well may take.
//!
//! Where it hangs, on a disk or by a fault of ours, whoever asks is told so.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::state::ApiState;
use crate::core::path::FeatureSlug;
use crate::engine::inbox::{Command, ProjectId};
use crate::engine::view::SyncKind;
use crate::wire::hint;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Synced;

/// Waits until the engine has seen all that was changed before.
pub(crate) async fn wait_synced(
    api: &ApiState,
    feature: Option<(ProjectId, FeatureSlug)>,
) -> Result<Synced, Problem> {
    match call_engine(api, |reply| Command::Sync { feature, reply }).await? {
        SyncKind::Cookie => Ok(Synced::Cookie),
        SyncKind::Scan => Ok(Synced::Scan),
    }
}

/// Gives the engine a command, and waits for what it answers.
pub(crate) async fn call_engine<T>(
    api: &ApiState,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    let command = command(reply);
    let patience = command.patience();
    let kept = AbandonedCommand::from_command(&command);
    api.inbox.command(command).map_err(|full| unavailable(full.to_string()))?;
    let late = || {
        if api.views.world().instance.is_empty() {
            return unavailable("the daemon is still starting").with_hint("ask again in a second");
        }
        kept.timeout_problem(patience)
    };
    await_reply(answer, patience).await.unwrap_or_else(|| Err(late()))
}

/// What becomes of a command that no one waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AbandonedCommand {
    /// Nothing: it was a question.
    Query,
    /// It is still obeyed once the engine comes to it.
    Mutation,
}

impl AbandonedCommand {
    fn from_command(command: &Command) -> Self {
        if matches!(command, Command::Sync { .. }) { Self::Query } else { Self::Mutation }
    }

    /// What is said when the engine has not answered within its time.
    fn timeout_problem(self, patience: Duration) -> Problem {
        let detail = format!("the engine has not answered within {} s", patience.as_secs());
        match self {
            Self::Query => unavailable(detail).with_hint(hint::ENGINE_TIMEOUT),
            Self::Mutation => {
                unavailable(format!("{detail}; what was asked for may still be done"))
                    .with_hint("`dossierd doctor` tells more; if it stays so, restart the daemon")
            }
        }
    }
}

/// What the engine answers; `None` where nothing comes in time.
async fn await_reply<T>(
    answer: oneshot::Receiver<T>,
    patience: Duration,
) -> Option<Result<T, Problem>> {
    let answer = timeout(patience, answer).await.ok()?;
    Some(answer.map_err(|_| unavailable("the daemon is stopping")))
}

fn unavailable(why: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::Unavailable, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the end-to-end test of an engine that hangs, which would wait long for a deed.
    #[tokio::test]
    async fn an_answer_is_waited_for_as_long_as_was_said_and_an_end_is_not() {
        let (reply, answer) = oneshot::channel();
        assert!(await_reply(answer, Duration::ZERO).await.is_none());
        assert!(reply.send(()).is_err(), "no one waits any more");
        let (reply, answer) = oneshot::channel();
        reply.send(7).unwrap();
        assert_eq!(await_reply(answer, Duration::MAX).await, Some(Ok(7)));
        let (reply, answer) = oneshot::channel::<()>();
        drop(reply);
        let ended = await_reply(answer, Duration::MAX).await.unwrap().unwrap_err();
        assert_eq!(ended.detail, "the daemon is stopping");
    }

    #[test]
    fn who_wanted_something_done_is_told_that_it_may_still_be() {
        let add =
            Command::AddProject { root: "/p".into(), keep: true, reply: oneshot::channel().0 };
        let sync = Command::Sync { feature: None, reply: oneshot::channel().0 };
        let said = [add, sync].map(|command| {
            AbandonedCommand::from_command(&command).timeout_problem(command.patience())
        });
        let said = said.map(|said| (said.status, said.detail, said.hint.unwrap()));
        assert_eq!(
            said,
            [
                (
                    503,
                    "the engine has not answered within 45 s; what was asked for may still be done"
                        .to_owned(),
                    "`dossierd doctor` tells more; if it stays so, restart the daemon".to_owned()
                ),
                (
                    503,
                    "the engine has not answered within 13 s".to_owned(),
                    "`dossierd doctor` tells more; if it stays so, restart the daemon; without \
                     `sync=true` the state last seen is answered"
                        .to_owned()
                )
            ]
        );
    }
}
