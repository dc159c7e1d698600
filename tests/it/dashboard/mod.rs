//! The dashboard: access, data and the page in a browser.

mod auth;
mod browser;
mod data;
mod peer;
