//! `dossierd dashboard`: opens the daemon's dashboard in a browser, lists and ends its sessions, or
//! closes it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::args::DashboardArgs;
use crate::cli::daemon::connection::{DaemonConnection, POLL_INTERVAL};
use crate::cli::exit::CommandExit;
use crate::cli::render::{output, table, time_text};
use crate::cli::user_dirs::user_dirs;
use crate::client::{ApiResponse, RequestPath, percent_encode, percent_encode_bytes};
use crate::core::path::escape_unprintable;
use crate::wire::dashboard::{
    DashboardClosed, DashboardOpened, DashboardSessionRevoked, DashboardState,
};

/// Programs that open a URL; the first that is installed is used.
const BROWSER_COMMANDS: [&[&str]; 4] =
    [&["xdg-open"], &["gio", "open"], &["sensible-browser"], &["x-www-browser"]];

/// A program that still runs after this time is taken for the browser itself.
const BROWSER_START_TIMEOUT: Duration = Duration::from_secs(3);

/// The browser reads the one-time URL from a file of this prefix, in the state directory: every user can
/// read the arguments of a process.
const REDIRECT_FILE_PREFIX: &str = "open-dashboard-";
/// Age at which the file of an earlier command is removed: its URL is no longer valid.
const MAX_REDIRECT_FILE_AGE: Duration = Duration::from_mins(5);

pub(crate) fn run(args: &DashboardArgs) -> anyhow::Result<CommandExit> {
    let path = RequestPath::new("/api/dashboard");
    let mut connection = DaemonConnection::connect(&args.socket)?;
    let (response, print): (_, fn(&ApiResponse) -> anyhow::Result<()>) = if args.close {
        (connection.delete(&path)?, print_closed)
    } else if args.sessions {
        (connection.get(&path)?, print_sessions)
    } else if let Some(id) = &args.revoke {
        let path = format!("/api/dashboard/sessions/{}", percent_encode(id));
        (connection.delete(&RequestPath::new(&path))?, print_revoked)
    } else {
        let response = connection.post(&path, Vec::new())?;
        (response, if args.no_open { print_url } else { open_page })
    };
    if args.json {
        output::print_body(&response.body)?;
    } else {
        print(&response)?;
    }
    Ok(CommandExit::Success)
}

fn print_closed(response: &ApiResponse) -> anyhow::Result<()> {
    let DashboardClosed { closed } = response.parse()?;
    output::note(if closed { "the dashboard is closed" } else { "the dashboard was not open" });
    Ok(())
}

fn print_sessions(response: &ApiResponse) -> anyhow::Result<()> {
    let state: DashboardState = response.parse()?;
    let Some(address) = state.address else {
        output::note("the dashboard is closed");
        return Ok(());
    };
    if state.sessions.is_empty() {
        output::note(&format!("no browser has a session at {address}"));
        return Ok(());
    }
    let mut rows = table::with_headings(&["ID", "STARTED", "LAST USED", "ENDS", "BROWSER"]);
    for session in &state.sessions {
        rows.add_row([
            escape_unprintable(&session.id),
            time_text::recent(session.started_at).into(),
            time_text::recent(session.last_used_at).into(),
            time_text::exact(session.expires_at).into(),
            escape_unprintable(&session.user_agent),
        ]);
    }
    Ok(output::print_styled(&table::render(rows))?)
}

fn print_revoked(response: &ApiResponse) -> anyhow::Result<()> {
    let DashboardSessionRevoked { id } = response.parse()?;
    output::note(&format!("the session {id} has ended"));
    Ok(())
}

fn print_url(response: &ApiResponse) -> anyhow::Result<()> {
    print_one_time_url(&response.parse()?, "")
}

fn print_one_time_url(opened: &DashboardOpened, cause: &str) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    writeln!(out, "{}", opened.url)?;
    out.flush()?;
    output::note(&format!("{cause}this URL admits one browser, once, within five minutes"));
    Ok(())
}

/// Opens the page in a browser, or prints its URL if that fails.
fn open_page(response: &ApiResponse) -> anyhow::Result<()> {
    let opened: DashboardOpened = response.parse()?;
    let file = match write_redirect_file(&user_dirs()?.state_dir, &opened.url) {
        Ok(file) => file,
        Err(error) => {
            let cause = format!("cannot write the file that a browser would open: {error}; ");
            return print_one_time_url(&opened, &cause);
        }
    };
    // `/` and unreserved characters are left as they are.
    let path = percent_encode_bytes(file.as_os_str().as_bytes()).replace("%2F", "/");
    if !open_browser(&format!("file://{path}")) {
        let _ = fs::remove_file(file);
        return print_one_time_url(&opened, "cannot start a browser; ");
    }
    output::note(&format!("opened in the browser: {}", opened.address));
    output::note("if the browser cannot read the file that leads there, use `--no-open`");
    Ok(())
}

/// Writes a page that leads to `url`, readable by the owner only; removes those of earlier commands
/// whose URL is no longer valid.
fn write_redirect_file(dir: &Path, url: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir(dir)?.flatten() {
        let is_ours = entry.file_name().as_bytes().starts_with(REDIRECT_FILE_PREFIX.as_bytes());
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if is_ours && age.is_none_or(|age| age > MAX_REDIRECT_FILE_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let path = dir.join(format!("{REDIRECT_FILE_PREFIX}{}.html", std::process::id()));
    // `create_new` fails if an earlier process with this id left the file.
    let _ = fs::remove_file(&path);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    // The URL has no characters that are special in HTML.
    let page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<title>dossierd</title>\n\
         <a href=\"{url}\">Open the dashboard</a>\n"
    );
    file.write_all(page.as_bytes())?;
    Ok(path)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn redirect_file_is_private_and_replaces_those_that_are_no_longer_valid() {
        let dir = tempfile::tempdir().unwrap();
        let create = |name: &str, age: Duration| {
            let path = dir.path().join(name);
            let file = fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let minute = Duration::from_mins(1);
        let old = create("open-dashboard-1.html", 6 * minute);
        let valid = create("open-dashboard-2.html", 4 * minute);
        let other = create("other.html", 6 * minute);
        let own = format!("open-dashboard-{}.html", std::process::id());
        std::os::unix::fs::symlink(&other, dir.path().join(&own)).unwrap();
        let path = write_redirect_file(dir.path(), "http://127.0.0.1:1/open/x").unwrap();
        assert_eq!(path, dir.path().join(own));
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600);
        assert!(fs::read_to_string(&path).unwrap().contains("url=http://127.0.0.1:1/open/x\""));
        assert!(!old.exists() && valid.exists());
        assert_eq!(fs::read(&other).unwrap(), b"", "nothing is written through a link");
    }
}
