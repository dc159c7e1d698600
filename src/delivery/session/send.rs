//! A parcel on its way: read, made into a request, signed, sent, and what is said of how that went.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinError;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::SecretSource;
use crate::core::time::Timestamp;
use crate::delivery::WEBHOOK_SINK;
use crate::delivery::dispatcher::{Outcome, OutgoingBatch};
use crate::delivery::http::{SignedMessage, WebhookClient};
use crate::delivery::message::MessageEncoder;
use crate::delivery::secret::Secrets;
use crate::delivery::session::{DeliverySession, REFRESH_INTERVAL};
use crate::engine::outbox::SinkHealth;

impl DeliverySession<'_> {
    pub(crate) fn send(&mut self, mut parcel: OutgoingBatch, now: Duration) {
        match self.sign_batch(&mut parcel, now) {
            Ok(None) => {}
            Ok(Some((receiver, signed))) => {
                let (number, count) = (parcel.id, parcel.seqs.len());
                self.in_flight.spawn(async move { (number, count, receiver.send(signed).await) });
            }
            Err(outcome) => self.on_outcome(parcel.id, parcel.seqs.len(), &outcome),
        }
    }

    /// A parcel's request; `None` where nothing of it is there any more.
    fn sign_batch(
        &mut self,
        parcel: &mut OutgoingBatch,
        now: Duration,
    ) -> Result<Option<(Arc<WebhookClient>, SignedMessage)>, Outcome> {
        let waits = |why: String| Outcome::Unavailable(why.into(), None);
        let (mut texts, mut missing) = (Vec::with_capacity(parcel.seqs.len()), Vec::new());
        for seq in &parcel.seqs {
            match self.reader.envelope(WEBHOOK_SINK, *seq) {
                Ok(Some(text)) => texts.push(text),
                Ok(None) => missing.push(*seq),
                Err(error) => return Err(waits(error.to_string())),
            }
        }
        if !missing.is_empty() {
            self.dispatcher.remove_missing(parcel, &missing);
            if parcel.seqs.is_empty() {
                return Ok(None);
            }
        }
        let config = &self.context.config;
        if self.secrets.as_ref().is_none_or(|(read_at, _)| now >= *read_at + REFRESH_INTERVAL) {
            let from_file = matches!(config.secret, SecretSource::File(_));
            if self.secrets.is_none() || from_file {
                self.secrets = None;
                self.secrets = Some((now, Secrets::read(&config.secret).map_err(waits)?));
            }
        }
        let receiver = match &self.receiver {
            Some(receiver) => Arc::clone(receiver),
            None => {
                let receiver = WebhookClient::new(config).map_err(waits)?;
                Arc::clone(self.receiver.insert(Arc::new(receiver)))
            }
        };
        let form =
            MessageEncoder { format: config.format, batch: config.batch > 1, gzip: config.gzip };
        let message = form.encode(&texts);
        let message = message.map_err(|error| {
            Outcome::Rejected(format!("the journal's event cannot be read: {error}").into())
        })?;
        let Some((_, secrets)) = &self.secrets else {
            return Ok(None);
        };
        let timestamp = Timestamp::from(SystemTime::now()).as_millis().div_euclid(1_000);
        let signature = secrets.sign(&message.id, timestamp, &message.body);
        Ok(Some((receiver, SignedMessage { message, timestamp, signature })))
    }

    pub(crate) fn on_send_finished(&mut self, ended: Result<(u64, usize, Outcome), JoinError>) {
        // A task fails only by a panic, and the whole daemon ends with it.
        if let Ok((number, count, outcome)) = ended {
            self.on_outcome(number, count, &outcome);
        }
    }

    fn on_outcome(&mut self, number: u64, count: usize, outcome: &Outcome) {
        let now = self.context.elapsed();
        let report = &mut self.context.report;
        match outcome {
            Outcome::Accepted => {
                report.delivered += count as u64;
                if report.health == SinkHealth::Retrying && report.last_error.is_some() {
                    info!(sink = WEBHOOK_SINK, "the receiver takes events again");
                    report.last_error = None;
                }
            }
            Outcome::Rejected(why) | Outcome::RetryLater(why, _) | Outcome::Unavailable(why, _) => {
                report.failures += 1;
                if report.last_error.as_ref() != Some(why) {
                    warn!(sink = WEBHOOK_SINK, why = &**why, "not delivered; it is tried again");
                    report.last_error = Some(Arc::clone(why));
                }
                report.health = SinkHealth::Retrying;
            }
        }
        if matches!(outcome, Outcome::Unavailable(..)) && self.context.config.url.is_tls() {
            // Who is trusted is read again: that may have been mended.
            self.receiver = None;
        }
        self.dispatcher.on_outcome(number, outcome, now, jitter());
        self.schedule_publish(now);
    }
}

fn jitter() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(high >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
