//! Delivery of events to a webhook.

mod api;
mod backlog;
mod faults;
mod independent_receivers;
mod reload;
pub(crate) mod support;
mod tls;
mod webhook;
