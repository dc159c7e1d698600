//! A sink's thread: opens the store's side of it, and runs rounds until it is told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::error;

use crate::config::WebhookConfig;
use crate::core::error::error_chain;
use crate::delivery::WEBHOOK_SINK;
use crate::delivery::backoff::ExponentialBackoff;
use crate::delivery::dispatcher::DispatchLimits;
use crate::delivery::session::{DeliverySession, STORE_RETRY_INTERVAL, SessionEnd};
use crate::engine::inbox::{Command, Inbox};
use crate::engine::outbox::{SinkCommand, SinkHealth, SinkRegistration, SinkReport};
use crate::engine::view::Views;
use crate::store::Journal;

/// How far behind the cursor events are looked at: so many are delivered again after a kill, at most.
const MAX_WINDOW_EVENTS: usize = 10_000;
/// Bytes of the events of a request, unless one alone has more.
const MAX_BATCH_BYTES: u64 = 512 << 10;
/// How often an event may be refused before it is set aside.
const MAX_REJECTIONS: u32 = 5;
/// Events that are set aside, at most.
const MAX_DEAD_LETTERS: u64 = 1_000;

/// The webhook.
pub(crate) struct SinkContext {
    pub(crate) config: WebhookConfig,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) views: Arc<Views>,
    pub(crate) journal: Journal,
    pub(crate) started: Instant,
    pub(crate) report: SinkReport,
}

/// Runs a sink until it is told to stop.
pub(crate) fn run(mut worker: SinkContext, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For names of hosts.
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(sink = WEBHOOK_SINK, %error, "nothing is delivered");
            return;
        }
    };
    runtime.block_on(async {
        loop {
            let opened = tokio::select! {
                _ = stop.changed() => return,
                opened = worker.register_sink() => opened,
            };
            match DeliverySession::new(&mut worker, opened).run(&mut stop).await {
                SessionEnd::Stopped => return,
                SessionEnd::StoreReplaced => {}
            }
        }
    });
    // A name that is being looked up keeps nobody waiting.
    runtime.shutdown_background();
}

impl SinkContext {
    pub(crate) fn new(
        config: WebhookConfig,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: Journal,
    ) -> Self {
        let url = config.url.redacted().into();
        let report = SinkReport { sink: WEBHOOK_SINK, url, ..SinkReport::default() };
        Self { config, inbox, views, journal, started: Instant::now(), report }
    }

    /// Asks the store's one writer; `None` where it has ended.
    pub(crate) fn send_command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> SinkCommand,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.inbox.command(Command::Sink(command(reply))).ok().map(|()| answer)
    }

    /// Where the sink stands, once the store says so.
    async fn register_sink(&mut self) -> SinkRegistration {
        loop {
            if let Some(answer) =
                self.send_command(|reply| SinkCommand::Open { sink: WEBHOOK_SINK, reply })
                && let Ok(answer) = answer.await
            {
                match answer {
                    Ok(opened) => return opened,
                    Err(error) => {
                        self.report.last_error = Some(error_chain(&error).into());
                        self.report.health = SinkHealth::Retrying;
                        self.views.board().publish(self.report.clone());
                    }
                }
            }
            tokio::time::sleep(STORE_RETRY_INTERVAL).await;
        }
    }

    pub(crate) fn dispatch_limits(&self) -> DispatchLimits {
        let (first, most) = self.config.backoff;
        DispatchLimits {
            window: MAX_WINDOW_EVENTS,
            max_in_flight: self.config.connections,
            max_batch_events: self.config.batch,
            max_batch_bytes: MAX_BATCH_BYTES,
            max_rejections: MAX_REJECTIONS,
            max_dead_letters: MAX_DEAD_LETTERS,
            backoff: ExponentialBackoff { initial: first, max: most },
        }
    }

    /// Since it was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
