//! A parcel on its way: read, made into a request, signed, sent, and what is said of how that went.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinError;
use tracing::{info, warn};
use uuid::Uuid;

use super::{LOOK_PAUSE, Round};
use crate::config::SecretSource;
use crate::core::time::Timestamp;
use crate::deliver::WEBHOOK;
use crate::deliver::http::{Receiver, Signed};
use crate::deliver::message::Form;
use crate::deliver::outbox::{Outcome, Parcel};
use crate::deliver::secret::Secrets;
use crate::engine::outbox::SinkHealth;

impl Round<'_> {
    pub(super) fn send(&mut self, mut parcel: Parcel, now: Duration) {
        match self.signed(&mut parcel, now) {
            Ok(None) => {}
            Ok(Some((receiver, signed))) => {
                let (number, count) = (parcel.number, parcel.seqs.len());
                self.flights.spawn(async move { (number, count, receiver.send(signed).await) });
            }
            Err(outcome) => self.ended(parcel.number, parcel.seqs.len(), &outcome),
        }
    }

    /// A parcel's request; `None` where nothing of it is there any more.
    fn signed(
        &mut self,
        parcel: &mut Parcel,
        now: Duration,
    ) -> Result<Option<(Arc<Receiver>, Signed)>, Outcome> {
        let waits = |why: String| Outcome::Unreachable(why.into(), None);
        let (mut texts, mut missing) = (Vec::with_capacity(parcel.seqs.len()), Vec::new());
        for seq in &parcel.seqs {
            match self.reader.envelope(WEBHOOK, *seq) {
                Ok(Some(text)) => texts.push(text),
                Ok(None) => missing.push(*seq),
                Err(error) => return Err(waits(error.to_string())),
            }
        }
        if !missing.is_empty() {
            self.outbox.missing(parcel, &missing);
            if parcel.seqs.is_empty() {
                return Ok(None);
            }
        }
        let config = &self.worker.config;
        if self.secrets.as_ref().is_none_or(|(read_at, _)| now >= *read_at + LOOK_PAUSE) {
            let from_file = matches!(config.secret, SecretSource::File(_));
            if self.secrets.is_none() || from_file {
                self.secrets = None;
                self.secrets = Some((now, Secrets::read(&config.secret).map_err(waits)?));
            }
        }
        let receiver = match &self.receiver {
            Some(receiver) => Arc::clone(receiver),
            None => {
                let receiver = Receiver::new(config).map_err(waits)?;
                Arc::clone(self.receiver.insert(Arc::new(receiver)))
            }
        };
        let form = Form { format: config.format, batch: config.batch > 1, gzip: config.gzip };
        let message = form.message(&texts);
        let message = message.map_err(|error| {
            Outcome::Refused(format!("the journal's event cannot be read: {error}").into())
        })?;
        let Some((_, secrets)) = &self.secrets else {
            return Ok(None);
        };
        let timestamp = Timestamp::from(SystemTime::now()).as_millis().div_euclid(1_000);
        let signature = secrets.sign(&message.id, timestamp, &message.text);
        Ok(Some((receiver, Signed { message, timestamp, signature })))
    }

    pub(super) fn landed(&mut self, ended: Result<(u64, usize, Outcome), JoinError>) {
        // A task fails only by a panic, and the whole daemon ends with it.
        if let Ok((number, count, outcome)) = ended {
            self.ended(number, count, &outcome);
        }
    }

    fn ended(&mut self, number: u64, count: usize, outcome: &Outcome) {
        let now = self.worker.now();
        let report = &mut self.worker.report;
        match outcome {
            Outcome::Taken => {
                report.delivered += count as u64;
                if report.health == SinkHealth::Retrying && report.last_error.is_some() {
                    info!(sink = WEBHOOK, "the receiver takes events again");
                    report.last_error = None;
                }
            }
            Outcome::Refused(why) | Outcome::Failed(why, _) | Outcome::Unreachable(why, _) => {
                report.failures += 1;
                if report.last_error.as_ref() != Some(why) {
                    warn!(sink = WEBHOOK, why = &**why, "not delivered; it is tried again");
                    report.last_error = Some(Arc::clone(why));
                }
                report.health = SinkHealth::Retrying;
            }
        }
        if matches!(outcome, Outcome::Unreachable(..)) && self.worker.config.url.is_tls() {
            // Who is trusted is read again: that may have been mended.
            self.receiver = None;
        }
        self.outbox.ended(number, outcome, now, chance());
        self.show_soon(now);
    }
}

fn chance() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(high >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
