//! `dossierd dashboard`: opens the page of the running daemon in a browser.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::args::DashboardArgs;
use crate::cli::daemon::connection::{DaemonConnection, POLL_INTERVAL};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::client::RequestPath;
use crate::wire::dashboard::{DashboardClosed, DashboardOpened};

/// What opens an address, the first that is there.
const BROWSER_COMMANDS: [&[&str]; 4] =
    [&["xdg-open"], &["gio", "open"], &["sensible-browser"], &["x-www-browser"]];

/// What has not ended by then is at work.
const BROWSER_START_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &DashboardArgs) -> anyhow::Result<CommandExit> {
    let target = RequestPath::new("/api/dashboard");
    let mut link = DaemonConnection::connect(&args.socket)?;
    if args.close {
        let answer = link.delete(&target)?;
        if args.json {
            output::print_body(&answer.body)?;
        } else {
            let DashboardClosed { closed } = answer.parse()?;
            output::note(if closed {
                "the dashboard is closed"
            } else {
                "the dashboard was not open"
            });
        }
        return Ok(CommandExit::Success);
    }
    let answer = link.post(&target, Vec::new())?;
    if args.json {
        output::print_body(&answer.body)?;
        return Ok(CommandExit::Success);
    }
    let opened: DashboardOpened = answer.parse()?;
    if !args.no_open && open_browser(&opened.url) {
        output::note(&format!("opened in the browser; the page is {}", opened.address));
        return Ok(CommandExit::Success);
    }
    let mut people = output::stdout_human();
    writeln!(people, "{}", opened.url)?;
    people.flush()?;
    let why = if args.no_open { "" } else { "no browser could be started; " };
    output::note(&format!("{why}this address lets one browser in, once, within five minutes"));
    Ok(CommandExit::Success)
}

/// Gives an address to a browser. The one of `$BROWSER` is asked first.
fn open_browser(url: &str) -> bool {
    let said = std::env::var("BROWSER").unwrap_or_default();
    let plain = !said.is_empty() && !said.contains([' ', ':', '%']);
    let said = plain.then(|| vec![said.as_str()]);
    let mut all = said.into_iter().chain(BROWSER_COMMANDS.iter().map(|opener| opener.to_vec()));
    all.any(|opener| try_open(&opener, url))
}

/// Whether a program takes the address: it ends well, or goes on, being the browser itself.
fn try_open(opener: &[&str], url: &str) -> bool {
    let Some((program, arguments)) = opener.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let begun = Instant::now();
    while begun.elapsed() < BROWSER_START_TIMEOUT {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(POLL_INTERVAL),
            Err(_) => return false,
        }
    }
    true
}
