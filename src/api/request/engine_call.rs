//! Sends a command to the engine and awaits its reply, with a timeout.
//!
//! The engine can hang on a disk, or by a defect. A request then fails with 503 instead of
//! waiting forever: see `docs/specification.md#synchronisation`.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::state::ApiState;
use crate::engine::command::Command;
use crate::wire::hint::{HintCode, ProblemHint};
use crate::wire::problem::{Problem, ProblemCode};

/// Sends a command and returns the reply.
///
/// # Errors
/// 503: the command queue is full, the daemon is starting or stopping, or the engine has not
/// responded within the command's timeout.
pub(crate) async fn call_engine<T>(
    api: &ApiState,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    let (sender, receiver) = oneshot::channel();
    let command = command(sender);
    let limit = command.timeout();
    let abandoned = AbandonedCommand::from_command(&command);
    api.inbox
        .command(command)
        .map_err(|full| unavailable(full.to_string(), HintCode::RetryLater))?;
    await_reply(receiver, limit).await.unwrap_or_else(|| {
        Err(if api.views.load().instance.is_empty() {
            unavailable("the daemon is still starting", HintCode::RetryLater)
        } else {
            abandoned.timeout_problem(limit)
        })
    })
}

/// What becomes of a command whose caller no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AbandonedCommand {
    /// Nothing: it only asks.
    Query,
    /// The engine still carries it out once it gets to it.
    Mutation,
}

impl AbandonedCommand {
    fn from_command(command: &Command) -> Self {
        if matches!(command, Command::Sync { .. }) { Self::Query } else { Self::Mutation }
    }

    /// Returns the problem for a command that timed out after `limit`.
    fn timeout_problem(self, limit: Duration) -> Problem {
        let detail = format!("the engine has not answered within {} s", limit.as_secs());
        match self {
            Self::Query => unavailable(detail, HintCode::EngineTimeout),
            Self::Mutation => unavailable(
                format!("{detail}; the request may still be carried out"),
                HintCode::OutcomeUnknown,
            ),
        }
    }
}

/// Returns the engine's reply; `None` if there is none within `limit`.
async fn await_reply<T>(
    reply: oneshot::Receiver<T>,
    limit: Duration,
) -> Option<Result<T, Problem>> {
    let reply = timeout(limit, reply).await.ok()?;
    Some(reply.map_err(|_| unavailable("the daemon is stopping", HintCode::DaemonStopping)))
}

fn unavailable(detail: impl Into<String>, hint: impl Into<ProblemHint>) -> Problem {
    Problem::new(ProblemCode::Unavailable, detail, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pure counterpart of the end-to-end test of an engine that hangs, which would have to wait
    /// 45 s for a mutation.
    #[tokio::test]
    async fn reply_is_awaited_until_the_limit_or_until_the_engine_ends() {
        let (sender, reply) = oneshot::channel();
        assert!(await_reply(reply, Duration::ZERO).await.is_none());
        assert!(sender.send(()).is_err(), "nothing waits any more");
        let (sender, reply) = oneshot::channel();
        sender.send(7).unwrap();
        assert_eq!(await_reply(reply, Duration::MAX).await, Some(Ok(7)));
        let (sender, reply) = oneshot::channel::<()>();
        drop(sender);
        let ended = await_reply(reply, Duration::MAX).await.unwrap().unwrap_err();
        assert_eq!(ended.detail, "the daemon is stopping");
    }

    #[test]
    fn timeout_problem_of_a_mutation_says_that_it_may_still_be_carried_out() {
        let add =
            Command::AddProject { root: "/p".into(), keep: true, reply: oneshot::channel().0 };
        let sync = Command::Sync { feature: None, reply: oneshot::channel().0 };
        let problems = [add, sync].map(|command| {
            AbandonedCommand::from_command(&command).timeout_problem(command.timeout())
        });
        let problems = problems.map(|problem| {
            (problem.status, problem.detail, problem.hint_code.into_owned(), problem.hint)
        });
        assert_eq!(
            problems,
            [
                (
                    503,
                    "the engine has not answered within 45 s; the request may still be carried out"
                        .to_owned(),
                    "outcome_unknown".to_owned(),
                    "run `dossierd doctor`; restart the daemon if the problem persists".to_owned()
                ),
                (
                    503,
                    "the engine has not answered within 13 s".to_owned(),
                    "engine_timeout".to_owned(),
                    "run `dossierd doctor`; restart the daemon if the problem persists; without \
                     `sync=true` the last known state is served"
                        .to_owned()
                )
            ]
        );
    }
}
