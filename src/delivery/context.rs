//! What a sink's sessions share: its configuration, its bounds, its report, and its connections to
//! the engine and the journal. Sends nothing to the receiver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::{BackoffRange, WebhookConfig};
use crate::core::error::error_chain;
use crate::delivery::backoff::ExponentialBackoff;
use crate::delivery::dispatcher::DispatchLimits;
use crate::delivery::failure_log::FailureLog;
use crate::engine::command::Command;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;
use crate::engine::sinks::{SinkCommand, SinkHealth, SinkRegistration, SinkReport};
use crate::store::Journal;
use crate::wire::delivery::WEBHOOK_SINK;

/// Interval at which a failed command of the store is retried.
pub(crate) const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum distance in events between the cursor and the last event read; delivery of later ones
/// waits for the cursor. After a crash at most this many events are delivered again.
const MAX_WINDOW_EVENTS: usize = 10_000;
/// Maximum size of a request's events in bytes; a larger event is sent alone.
const MAX_BATCH_BYTES: u64 = 512 << 10;
/// Number of rejections after which an event is dead-lettered.
const MAX_REJECTIONS: u32 = 5;
/// Maximum number of dead letters; beyond it a rejected event blocks its partition.
const MAX_DEAD_LETTERS: u64 = 1_000;

/// The webhook, as its sessions need it.
pub(crate) struct SinkContext {
    pub(crate) config: WebhookConfig,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) views: Arc<StatePublisher>,
    pub(crate) journal: Journal,
    pub(crate) started_at: Instant,
    pub(crate) report: SinkReport,
    pub(crate) failure_log: FailureLog,
}

impl SinkContext {
    pub(crate) fn new(
        config: WebhookConfig,
        inbox: Arc<Inbox>,
        views: Arc<StatePublisher>,
        journal: Journal,
    ) -> Self {
        let url = config.url.redacted().into();
        let report = SinkReport { sink: WEBHOOK_SINK, url, ..SinkReport::default() };
        let (started_at, failure_log) = (Instant::now(), FailureLog::default());
        Self { config, inbox, views, journal, started_at, report, failure_log }
    }

    /// Sends a command to the engine, the only writer of the store. Returns the receiver of the
    /// reply, or `None` if the engine's command queue is full.
    pub(crate) fn send_command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> SinkCommand,
    ) -> Option<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        self.inbox.command(Command::Sink(command(sender))).ok().map(|()| receiver)
    }

    /// Registers the sink, retrying until the store can do it.
    pub(crate) async fn register_sink(&mut self) -> SinkRegistration {
        loop {
            if let Some(reply) =
                self.send_command(|reply| SinkCommand::Open { sink: WEBHOOK_SINK, reply })
                && let Ok(reply) = reply.await
            {
                match reply {
                    Ok(registration) => return registration,
                    Err(error) => {
                        self.report.last_error = Some(error_chain(&error).into());
                        self.report.health = SinkHealth::Retrying;
                        self.views.sinks().publish(self.report.clone());
                    }
                }
            }
            tokio::time::sleep(STORE_RETRY_INTERVAL).await;
        }
    }

    pub(crate) fn dispatch_limits(&self) -> DispatchLimits {
        let BackoffRange { min, max } = self.config.backoff;
        DispatchLimits {
            max_window_events: MAX_WINDOW_EVENTS,
            max_in_flight: self.config.connections,
            max_batch_events: self.config.batch,
            max_batch_bytes: MAX_BATCH_BYTES,
            max_rejections: MAX_REJECTIONS,
            max_dead_letters: MAX_DEAD_LETTERS,
            backoff: ExponentialBackoff { initial: min, max },
        }
    }

    /// Returns the time since the sink was started, which is the dispatcher's clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }
}
