//! The thread of a sink: registers it with the store and runs sessions until it is stopped.

use tokio::sync::watch;
use tracing::error;

use crate::delivery::context::SinkContext;
use crate::delivery::session::{DeliverySession, SessionEnd};
use crate::wire::delivery::WEBHOOK_SINK;

/// Maximum number of threads that resolve host names; further requests wait for one.
const MAX_DNS_THREADS: usize = 2;

/// Runs a sink until `stop` changes.
pub(crate) fn run(mut context: SinkContext, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("webhook-dns")
        .max_blocking_threads(MAX_DNS_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(sink = WEBHOOK_SINK, %error, "cannot start the webhook; delivering no events");
            return;
        }
    };
    runtime.block_on(async {
        loop {
            let registration = tokio::select! {
                _ = stop.changed() => return,
                registration = context.register_sink() => registration,
            };
            match DeliverySession::new(&mut context, registration).run(&mut stop).await {
                SessionEnd::Stopped => return,
                SessionEnd::StoreReplaced => {}
            }
        }
    });
    // Does not wait for threads that resolve host names, which can take tens of seconds.
    runtime.shutdown_background();
}
