//! Runs the command of `--exec` for events of the daemon.

use std::path::Path;

use crate::cli::args::ExecArgs;
use crate::cli::daemon::root_names::RootNames;
use crate::cli::exec::{CommandOutput, CommandRunner, ExecJob};
use crate::wire::events::ReceivedEvent;

/// The commands of `--exec`.
pub(crate) struct EventCommands {
    runner: CommandRunner,
    roots: RootNames,
}

impl EventCommands {
    /// Starts to run the command that `args` names, if it names one. `json` is whether standard output is
    /// JSON, with which the output of commands must not be mixed.
    pub(crate) fn start(
        args: &ExecArgs,
        json: bool,
        socket: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let Some(command) = &args.exec else { return Ok(None) };
        let output = if json { CommandOutput::Stderr } else { CommandOutput::Stdout };
        let runner = CommandRunner::start(command.clone(), output)?;
        Ok(Some(Self { runner, roots: RootNames::new(socket.to_owned()) }))
    }

    /// Runs the command for an event, whose JSON is `envelope`.
    pub(crate) async fn push(&mut self, envelope: &str, cursor: &str) -> anyhow::Result<()> {
        let job = self.job(envelope, cursor).await?;
        self.runner.push(job);
        Ok(())
    }

    /// Runs the command for an event, as soon as that needs no other event to be skipped.
    pub(crate) async fn push_when_possible(
        &mut self,
        envelope: &str,
        cursor: &str,
    ) -> anyhow::Result<()> {
        let job = self.job(envelope, cursor).await?;
        self.runner.push_when_possible(job);
        Ok(())
    }

    /// Waits until all commands have ended.
    pub(crate) fn finish(self) {
        self.runner.finish();
    }

    async fn job(&mut self, envelope: &str, cursor: &str) -> anyhow::Result<ExecJob> {
        let event: ReceivedEvent = serde_json::from_str(envelope)?;
        let root = self.roots.find(&event.root_id).await;
        Ok(ExecJob::new(&event, envelope, cursor, &root))
    }
}
