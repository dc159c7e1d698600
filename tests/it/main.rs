//! The real binary on real and on hostile trees. One module per theme; `support` makes projects
//! and runs the binary in an environment of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says aloud what it could not do"
)]

mod second_reading;
mod support;

mod api_artifacts;
mod api_baseline;
mod api_limits;
mod api_metrics;
mod api_openapi;
mod api_projects;
mod api_stream;
mod api_view;
mod baseline;
mod cli;
mod client_events;
mod client_feature;
mod client_life;
mod client_projects;
mod client_status;
mod client_verify;
mod client_watch;
mod config;
mod config_cmd;
mod corpus;
mod daemon_crash;
mod daemon_life;
mod daemon_mismatch;
mod daemon_model;
mod daemon_places;
mod daemon_reading;
mod daemon_says;
mod daemon_tombstones;
mod daemon_watch;
mod dashboard_browser;
mod dashboard_door;
mod dashboard_models;
mod delivery_api;
mod delivery_backlog;
mod delivery_faults;
mod delivery_independent;
mod delivery_reload;
mod delivery_support;
mod delivery_tls;
mod delivery_webhook;
mod determinism;
mod doctor;
mod doctor_daemon;
mod endure_content;
mod endure_disk;
mod endure_random;
mod endure_watch;
mod examples;
mod hostile;
mod manifests;
mod service;
mod service_inherited;
mod service_notify;
mod service_readme;
mod service_units;
mod service_upgrade;
