//! `dossierd dashboard`: opens the daemon's dashboard in a browser, or closes it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::args::DashboardArgs;
use crate::cli::daemon::connection::{DaemonConnection, POLL_INTERVAL};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::client::RequestPath;
use crate::wire::dashboard::{DashboardClosed, DashboardOpened};

/// Programs that open a URL; the first that is installed is used.
const BROWSER_COMMANDS: [&[&str]; 4] =
    [&["xdg-open"], &["gio", "open"], &["sensible-browser"], &["x-www-browser"]];

/// A program that still runs after this time is taken for the browser itself.
const BROWSER_START_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &DashboardArgs) -> anyhow::Result<CommandExit> {
    let path = RequestPath::new("/api/dashboard");
    let mut connection = DaemonConnection::connect(&args.socket)?;
    if args.close {
        let response = connection.delete(&path)?;
        if args.json {
            output::print_body(&response.body)?;
        } else {
            let DashboardClosed { closed } = response.parse()?;
            output::note(if closed {
                "the dashboard is closed"
            } else {
                "the dashboard was not open"
            });
        }
        return Ok(CommandExit::Success);
    }
    let response = connection.post(&path, Vec::new())?;
    if args.json {
        output::print_body(&response.body)?;
        return Ok(CommandExit::Success);
    }
    let opened: DashboardOpened = response.parse()?;
    if !args.no_open && open_browser(&opened.url) {
        output::note(&format!("opened in the browser: {}", opened.address));
        return Ok(CommandExit::Success);
    }
    let mut out = output::stdout_human();
    writeln!(out, "{}", opened.url)?;
    out.flush()?;
    let cause = if args.no_open { "" } else { "cannot start a browser; " };
    output::note(&format!("{cause}this URL admits one browser, once, within five minutes"));
    Ok(CommandExit::Success)
}

/// Opens a URL in `$BROWSER` or with one of [`BROWSER_COMMANDS`]; returns false if all fail.
fn open_browser(url: &str) -> bool {
    let browser = std::env::var("BROWSER").unwrap_or_default();
    // Lists and templates in `BROWSER` are not supported.
    let is_program = !browser.is_empty() && !browser.contains([' ', ':', '%']);
    let browser = is_program.then(|| vec![browser.as_str()]);
    let commands = BROWSER_COMMANDS.iter().map(|command| command.to_vec());
    browser.into_iter().chain(commands).any(|command| try_open(&command, url))
}

/// Returns true if a program exits with success, or still runs after [`BROWSER_START_TIMEOUT`].
fn try_open(command: &[&str], url: &str) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let started = Instant::now();
    while started.elapsed() < BROWSER_START_TIMEOUT {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(POLL_INTERVAL),
            Err(_) => return false,
        }
    }
    true
}
