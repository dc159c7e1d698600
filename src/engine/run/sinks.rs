//! Handles the commands of sinks that need the store, whose only writer is the engine.

use tokio::sync::oneshot;

use super::Engine;
use crate::core::error::error_chain;
use crate::engine::outbox::{Durable, Opened, SinkCommand};
use crate::engine::project::Now;
use crate::store::{Store, StoreError};

impl Engine {
    /// Handles a command of a sink. While the store cannot be written it returns the error at once;
    /// only commits retry.
    pub(super) fn handle_sink_command(&mut self, command: SinkCommand, now: Now) {
        match command {
            SinkCommand::Open { sink, reply } => self.reply(reply, now, |store| {
                // A sink sends only durable events.
                store.barrier()?;
                Ok(Opened { durable: durable(store), state: store.register_sink(sink)? })
            }),
            SinkCommand::Barrier { reply } => self.reply(reply, now, |store| {
                store.barrier()?;
                Ok(durable(store))
            }),
            SinkCommand::Advance { sink, instance, advance, reply } => {
                let done = if *instance == *self.store.instance() {
                    self.written(now, |store| store.update_cursor(sink, &advance))
                } else {
                    Err("the store is another one".to_owned())
                };
                let _ = reply.send(done.map_err(|why| (advance, why)));
            }
            SinkCommand::Retry { sink, meant, reply } => {
                self.reply(reply, now, |store| store.retry_dead_letters(sink, &meant));
            }
            SinkCommand::Drop { sink, meant, reply } => {
                self.reply(reply, now, |store| store.delete_dead_letters(sink, &meant));
            }
        }
    }

    fn reply<T>(
        &mut self,
        reply: oneshot::Sender<Result<T, String>>,
        now: Now,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) {
        // Fails if the sender has stopped waiting.
        let _ = reply.send(self.written(now, work));
    }

    fn written<T>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, String> {
        if let Some(degraded) = &self.commits.degraded {
            return Err(degraded.clone());
        }
        match work(&mut self.store) {
            Ok(value) => {
                self.upkeep.committed();
                Ok(value)
            }
            Err(error) => {
                self.on_store_error(&error, now);
                Err(error_chain(&error))
            }
        }
    }
}

fn durable(store: &Store) -> Durable {
    Durable { instance: store.instance().into(), seq: store.durable_seq() }
}
