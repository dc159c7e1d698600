//! A receiver of webhooks that prints what dossierd delivers:
//!
//! ```sh
//! export HOOK_SECRET="whsec_$(head -c 32 /dev/urandom | base64)"
//! cargo run --example receiver -- 127.0.0.1:8787
//! ```
//!
//! and in `config.yaml` of a daemon with the same variable:
//! `webhook: {url: 'http://127.0.0.1:8787/', secret_env: HOOK_SECRET}`.
//!
//! It verifies signatures, ignores events that it already received, and prints the others, one on
//! each line. With a second argument it responds with that status instead.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints events")]

#[allow(dead_code, reason = "the tests use the rest")]
mod receiver;

use std::process::ExitCode;

use receiver::{Behaviour, Receiver};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let Ok(secrets) = std::env::var("HOOK_SECRET") else {
        eprintln!("HOOK_SECRET is not set; set it to `whsec_` followed by base64");
        return ExitCode::FAILURE;
    };
    let secrets: Vec<&str> = secrets.split_whitespace().collect();
    // Escapes control characters, so that paths and texts cannot control the terminal.
    let print = |event: &_| match dossierd::wire::json::to_line(event) {
        Ok(line) => print!("{}", String::from_utf8_lossy(&line)),
        Err(error) => eprintln!("{error}"),
    };
    let receiver = match Receiver::start(&address, &secrets, print) {
        Ok(receiver) => receiver,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(status) = arguments.next().and_then(|status| status.parse().ok()) {
        receiver.set_behaviour(Behaviour::Respond(status, String::new()));
    }
    eprintln!("listening on http://{}/", receiver.address);
    loop {
        std::thread::park();
    }
}
