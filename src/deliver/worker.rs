//! A sink's thread: opens the store's side of it, and runs rounds until it is told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::error;

use super::WEBHOOK;
use super::backoff::Backoff;
use super::outbox::Limits;
use super::round::{End, Round, STORE_PAUSE};
use crate::config::WebhookConfig;
use crate::engine::inbox::{Command, Inbox};
use crate::engine::outbox::{Opened, SinkCommand, SinkHealth, SinkReport};
use crate::engine::view::Views;
use crate::store::Journal;

/// How far behind the cursor events are looked at: so many are delivered again after a kill, at most.
const WINDOW: usize = 10_000;
/// Bytes of the events of a request, unless one alone has more.
const PARCEL_BYTES: u64 = 512 << 10;
/// How often an event may be refused before it is set aside.
const REFUSALS: u32 = 5;
/// Events that are set aside, at most.
const SET_ASIDE: u64 = 1_000;

/// The webhook.
pub(super) struct Worker {
    pub(super) config: WebhookConfig,
    pub(super) inbox: Arc<Inbox>,
    pub(super) views: Arc<Views>,
    pub(super) journal: Journal,
    pub(super) started: Instant,
    pub(super) report: SinkReport,
}

/// Runs a sink until it is told to stop.
pub(super) fn run(mut worker: Worker, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For names of hosts.
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(sink = WEBHOOK, %error, "nothing is delivered");
            return;
        }
    };
    runtime.block_on(async {
        loop {
            let opened = tokio::select! {
                _ = stop.changed() => return,
                opened = worker.open() => opened,
            };
            match Round::new(&mut worker, opened).run(&mut stop).await {
                End::Stop => return,
                End::Store => {}
            }
        }
    });
    // A name that is being looked up keeps nobody waiting.
    runtime.shutdown_background();
}

impl Worker {
    pub(super) fn new(
        config: WebhookConfig,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: Journal,
    ) -> Self {
        let url = config.url.shown().into();
        let report = SinkReport { sink: WEBHOOK, url, ..SinkReport::default() };
        Self { config, inbox, views, journal, started: Instant::now(), report }
    }

    /// Asks the store's one writer; `None` where it has ended.
    pub(super) fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> SinkCommand,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.inbox.command(Command::Sink(command(reply))).ok().map(|()| answer)
    }

    /// Where the sink stands, once the store says so.
    async fn open(&mut self) -> Opened {
        loop {
            if let Some(answer) = self.ask(|reply| SinkCommand::Open { sink: WEBHOOK, reply })
                && let Ok(answer) = answer.await
            {
                match answer {
                    Ok(opened) => return opened,
                    Err(why) => {
                        self.report.last_error = Some(why.into());
                        self.report.health = SinkHealth::Retrying;
                        self.views.board().show(self.report.clone());
                    }
                }
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let (first, most) = self.config.backoff;
        Limits {
            window: WINDOW,
            parcels: self.config.connections,
            batch: self.config.batch,
            bytes: PARCEL_BYTES,
            refusals: REFUSALS,
            set_aside: SET_ASIDE,
            backoff: Backoff { first, most },
        }
    }

    /// Since it was started.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
