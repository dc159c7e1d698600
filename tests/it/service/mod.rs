//! The systemd user service.

mod dashboard;
mod documented_commands;
mod lifecycle;
mod notify;
mod socket_activation;
mod units;
pub(crate) mod upgrade;
