//! Sinks: each a durable cursor over the journal, apart from everything that works.
//!
//! A sink reads the journal behind its cursor, sends only what a power cut cannot take back, and
//! moves its cursor by the engine, the store's one writer. Nobody waits for it: not the engine, which
//! does not know that it is there, and not a client. What is delivered but not noted yet is delivered
//! again after a kill: at least once, with the event's id to tell.
//!
//! `outbox` has the rules, and is pure; `worker` is the thread, and `round` the loop that reads, sends
//! and notes; `http` talks to the receiver, over `tls`, with `message` and `secret` for what it is told.
//!
//! One sink there is: the webhook of the configuration, on a thread of its own.

mod backoff;
mod bounded_file;
mod context;
mod dispatcher;
mod http;
mod message;
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
use crate::engine::view::Views;
use crate::store::Journal;
use crate::wire::delivery::WEBHOOK_SINK;
use context::SinkContext;

/// The sinks that run.
#[derive(Debug)]
pub struct Delivery {
    inbox: Arc<Inbox>,
    views: Arc<Views>,
    journal: Journal,
    webhook: Option<DeliveryHandle>,
    stopped: bool,
}

#[derive(Debug)]
struct DeliveryHandle {
    config: WebhookConfig,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Delivery {
    /// Starts the sinks of a configuration.
    #[must_use]
    pub fn start(
        webhook: Option<WebhookConfig>,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: Journal,
    ) -> Self {
        let mut delivery = Self { inbox, views, journal, webhook: None, stopped: false };
        delivery.reload(webhook);
        delivery
    }

    /// Goes on by another configuration. Waits for what is to be noted, and not for the network.
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
                info!(sink = WEBHOOK_SINK, url = config.url.redacted(), "events are delivered");
                self.webhook = Some(DeliveryHandle { config, stop, thread });
            }
            Err(error) => error!(sink = WEBHOOK_SINK, %error, "nothing is delivered"),
        }
    }

    /// Ends the sinks for good, before the engine: what was delivered is noted.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.stop_webhook();
    }

    fn stop_webhook(&mut self) {
        if let Some(running) = self.webhook.take() {
            running.stop.send_replace(true);
            let _ = running.thread.join();
            self.views.board().remove(WEBHOOK_SINK);
        }
    }
}
