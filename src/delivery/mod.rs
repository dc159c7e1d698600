//! Delivers events of the journal to sinks, each with a durable cursor. Nothing here decides which
//! events exist.
//!
//! A sink reads the journal after its cursor, sends only events that a power failure cannot revoke,
//! and updates its cursor through the engine, the only writer of the store. Neither the engine nor a
//! client waits for a sink. Events that were delivered and not committed when the daemon was killed
//! are delivered again: delivery is at least once, and the id of an event identifies duplicates.
//!
//! `dispatcher` decides what to send and is pure. `thread` runs sessions; a `session` reads, sends and
//! commits. `http` is the client, over `tls`; `message` encodes requests and `secret` signs them.
//!
//! The only sink so far is the webhook of the configuration, which has a thread of its own.

mod backoff;
mod bounded_file;
mod context;
mod dispatcher;
mod failure_log;
mod http;
mod message;
mod receiver_user;
mod secret;
mod session;
mod thread;
mod tls;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::{error, info};

use crate::config::WebhookConfig;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;
use crate::store::Journal;
use crate::wire::delivery::WEBHOOK_SINK;
use context::SinkContext;

/// The running sinks.
#[derive(Debug)]
pub struct Delivery {
    inbox: Arc<Inbox>,
    views: Arc<StatePublisher>,
    journal: Journal,
    webhook: Option<DeliveryHandle>,
    /// True after [`Delivery::stop`]: no sink is started again.
    stopped: bool,
}

#[derive(Debug)]
struct DeliveryHandle {
    config: WebhookConfig,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Delivery {
    /// Starts the webhook, if the configuration has one.
    #[must_use]
    pub fn start(
        webhook: Option<WebhookConfig>,
        inbox: Arc<Inbox>,
        views: Arc<StatePublisher>,
        journal: Journal,
    ) -> Self {
        let mut delivery = Self { inbox, views, journal, webhook: None, stopped: false };
        delivery.reload(webhook);
        delivery
    }

    /// Applies a configuration. If it differs, stops the webhook and starts it again; waits for the
    /// commit of its cursor, not for the network.
    pub fn reload(&mut self, webhook: Option<WebhookConfig>) {
        if self.webhook.as_ref().map(|running| &running.config) == webhook.as_ref() {
            return;
        }
        self.stop_webhook();
        let Some(config) = webhook.filter(|_| !self.stopped) else {
            return;
        };
        let (stop, stopped) = watch::channel(false);
        let context = SinkContext::new(
            config.clone(),
            Arc::clone(&self.inbox),
            Arc::clone(&self.views),
            self.journal.clone(),
        );
        let thread = std::thread::Builder::new().name("webhook".to_owned());
        match thread.spawn(move || thread::run(context, stopped)) {
            Ok(thread) => {
                info!(sink = WEBHOOK_SINK, url = config.url.redacted(), "delivering events");
                self.webhook = Some(DeliveryHandle { config, stop, thread });
            }
            Err(error) => {
                error!(sink = WEBHOOK_SINK, %error, "cannot start the webhook; delivering no events");
            }
        }
    }

    /// Stops all sinks permanently. Call it before the engine is stopped, so that their cursors are
    /// committed.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.stop_webhook();
    }

    fn stop_webhook(&mut self) {
        if let Some(running) = self.webhook.take() {
            running.stop.send_replace(true);
            let _ = running.thread.join();
            self.views.sinks().remove(WEBHOOK_SINK);
        }
    }
}
