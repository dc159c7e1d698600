//! `dossierd mcp`: a server of the Model Context Protocol on standard input and output, for agents
//! (<https://modelcontextprotocol.io/specification/2026-07-28>).
//!
//! It asks the daemon for each call, or scans once what no daemon watches. It keeps no state but
//! subscriptions.

mod changes;
mod client_roots;
mod daemon_source;
mod failure_text;
mod resource_uri;
mod scan_source;
mod server;
mod tool_arguments;
mod tool_list;
mod tool_results;
mod tools;

pub(super) use server::serve;
pub(super) use tool_list::WriteAccess;
