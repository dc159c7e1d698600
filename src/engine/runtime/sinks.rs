//! Handles the commands of sinks that need the store, whose only writer is the engine.

use tokio::sync::oneshot;

use super::commit::Committer;
use crate::engine::clock::Tick;
use crate::engine::sinks::{Durable, RejectedUpdate, SinkCommand, SinkError, SinkRegistration};
use crate::store::{Store, StoreError};

impl Committer {
    /// Handles a command of a sink. While the store cannot be written it returns the error at once;
    /// only commits retry.
    pub(super) fn handle_sink_command(&mut self, command: SinkCommand, now: Tick) {
        match command {
            SinkCommand::Open { sink, reply } => self.reply(reply, now, |store| {
                // A sink sends only durable events.
                store.barrier()?;
                Ok(SinkRegistration {
                    durable: durable(store),
                    progress: store.register_sink(sink)?,
                })
            }),
            SinkCommand::Barrier { reply } => self.reply(reply, now, |store| {
                store.barrier()?;
                Ok(durable(store))
            }),
            SinkCommand::Advance { sink, instance, update, reply } => {
                let done = if *instance == *self.store.instance() {
                    self.written(now, |store| store.update_cursor(sink, &update))
                } else {
                    Err(SinkError::StoreReplaced)
                };
                let _ = reply.send(done.map_err(|error| RejectedUpdate { update, error }));
            }
            SinkCommand::Retry { sink, selector, reply } => {
                self.reply(reply, now, |store| store.retry_dead_letters(sink, &selector));
            }
            SinkCommand::Drop { sink, selector, reply } => {
                self.reply(reply, now, |store| store.delete_dead_letters(sink, &selector));
            }
        }
    }

    fn reply<T>(
        &mut self,
        reply: oneshot::Sender<Result<T, SinkError>>,
        now: Tick,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) {
        // Fails if the sender has stopped waiting.
        let _ = reply.send(self.written(now, work));
    }

    fn written<T>(
        &mut self,
        now: Tick,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, SinkError> {
        if let Some(degraded) = &self.health.degraded {
            return Err(SinkError::Degraded(degraded.clone()));
        }
        match work(&mut self.store) {
            Ok(value) => {
                self.checkpointer.committed();
                Ok(value)
            }
            Err(error) => {
                self.on_store_error(&error, now);
                Err(error.into())
            }
        }
    }
}

fn durable(store: &Store) -> Durable {
    Durable { instance: store.instance().into(), seq: store.durable_seq() }
}
