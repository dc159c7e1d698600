//! Builds, signs and sends one request, and passes its outcome to the dispatcher. Does not choose
//! what is sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinError;
use tracing::{info, warn};
use uuid::Uuid;

use super::{CachedSecrets, DeliverySession, REFRESH_INTERVAL, SendResult};
use crate::config::SecretSource;
use crate::core::error::error_chain;
use crate::core::time::Timestamp;
use crate::delivery::dispatcher::{Outcome, OutgoingBatch};
use crate::delivery::http::{SignedMessage, WebhookClient};
use crate::delivery::message::MessageEncoder;
use crate::delivery::secret::{SecretError, Secrets};
use crate::delivery::tls::TlsError;
use crate::engine::sinks::SinkHealth;
use crate::wire::delivery::WEBHOOK_SINK;

impl DeliverySession<'_> {
    /// Starts to send a batch; its outcome arrives in `in_flight`, unless it cannot be built.
    pub(super) fn send(&mut self, mut batch: OutgoingBatch, now: Duration) {
        match self.sign_batch(&mut batch, now) {
            Ok(None) => {}
            Ok(Some((client, signed))) => {
                let (id, events) = (batch.id, batch.seqs.len());
                self.in_flight.spawn(async move {
                    let outcome = client.send(signed).await;
                    SendResult { id, events, outcome }
                });
            }
            Err(outcome) => {
                self.on_outcome(&SendResult { id: batch.id, events: batch.seqs.len(), outcome });
            }
        }
    }

    /// Reads the events of a batch and signs a message with them. Returns `None` if all of them were
    /// deleted in the meantime.
    fn sign_batch(
        &mut self,
        batch: &mut OutgoingBatch,
        now: Duration,
    ) -> Result<Option<(Arc<WebhookClient>, SignedMessage)>, Outcome> {
        let mut envelopes = Vec::with_capacity(batch.seqs.len());
        let mut missing = Vec::new();
        for seq in &batch.seqs {
            match self.reader.envelope(WEBHOOK_SINK, *seq).map_err(|error| unavailable(&error))? {
                Some(envelope) => envelopes.push(envelope),
                None => missing.push(*seq),
            }
        }
        if !missing.is_empty() {
            self.dispatcher.remove_missing(batch, &missing);
            if batch.seqs.is_empty() {
                return Ok(None);
            }
        }
        let secrets = self.secrets(now).map_err(|error| unavailable(&error))?;
        let client = self.client().map_err(|error| unavailable(&error))?;
        let config = &self.context.config;
        let encoder =
            MessageEncoder { format: config.format, batch: config.batch > 1, gzip: config.gzip };
        let message = encoder.encode(&envelopes).map_err(|error| {
            Outcome::Rejected(format!("cannot parse an event of the journal: {error}").into())
        })?;
        let timestamp = Timestamp::from(SystemTime::now()).as_millis().div_euclid(1_000);
        let signature = secrets.sign(&message.id, timestamp, &message.body);
        Ok(Some((client, SignedMessage { message, timestamp, signature })))
    }

    /// Returns the secrets, read again if they are in a file and older than [`REFRESH_INTERVAL`].
    fn secrets(&mut self, now: Duration) -> Result<Arc<Secrets>, SecretError> {
        let source = &self.context.config.secret;
        let cached = match self.secrets.take() {
            Some(cached)
                if matches!(source, SecretSource::Env(_))
                    || now < cached.read_at + REFRESH_INTERVAL =>
            {
                cached
            }
            _ => CachedSecrets { read_at: now, secrets: Arc::new(Secrets::read(source)?) },
        };
        Ok(Arc::clone(&self.secrets.insert(cached).secrets))
    }

    /// Returns the client, created if there is none.
    fn client(&mut self) -> Result<Arc<WebhookClient>, TlsError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Arc::new(WebhookClient::new(&self.context.config)?),
        };
        Ok(Arc::clone(self.client.insert(client)))
    }

    pub(super) fn on_send_finished(&mut self, result: Result<SendResult, JoinError>) {
        // A task fails only by a panic, which ends the whole daemon.
        if let Ok(result) = result {
            self.on_outcome(&result);
        }
    }

    fn on_outcome(&mut self, result: &SendResult) {
        let now = self.context.elapsed();
        let report = &mut self.context.report;
        match &result.outcome {
            Outcome::Accepted => {
                report.delivered += result.events as u64;
                if let Some(client) = &self.client {
                    report.address = client.connected_to();
                }
                if report.health != SinkHealth::Ok
                    && report.last_error.take().is_some()
                    && self.context.failure_log.on_accepted()
                {
                    info!(sink = WEBHOOK_SINK, "the receiver accepts events again");
                }
            }
            Outcome::Rejected(error)
            | Outcome::RetryLater(error, _)
            | Outcome::Unavailable(error, _)
            | Outcome::NoReceiver(error, _) => {
                report.failures += 1;
                if let Some(suppressed) = self.context.failure_log.on_failure(error, now) {
                    let error = &**error;
                    warn!(sink = WEBHOOK_SINK, error, suppressed, "delivery failed; will retry");
                }
                report.last_error = Some(Arc::clone(error));
                report.health = SinkHealth::Retrying;
            }
        }
        let is_unavailable = matches!(result.outcome, Outcome::Unavailable(..));
        if is_unavailable && self.context.config.url.is_tls() {
            // Certificate authorities are read again: they may be the cause, and fixed by now.
            self.client = None;
        }
        let was_refused = self.dispatcher.is_refused();
        self.dispatcher.on_outcome(result.id, &result.outcome, now, jitter());
        if self.dispatcher.is_refused() && !was_refused {
            warn!(
                sink = WEBHOOK_SINK,
                "no receiver at the address for an hour; delivery is paused until the configuration \
                 changes or `dossierd delivery retry --all`"
            );
        }
        self.schedule_publish(now);
    }
}

/// Returns the outcome of a batch that cannot be sent because of an error on this side.
fn unavailable(error: &dyn std::error::Error) -> Outcome {
    Outcome::Unavailable(error_chain(error).into(), None)
}

/// Returns a random number from 0 to 1.
fn jitter() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(high >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
