//! `dossierd events`: prints the event journal, and with `--follow` new events.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;
use serde_json::value::RawValue;

use crate::cli::args::{EventsArgs, RangeArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::daemon::event_commands::EventCommands;
use crate::cli::daemon::event_range::{EventRange, RangePosition};
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::local::target::is_path;
use crate::cli::render::event_format::{LastStates, LinePrefix};
use crate::cli::render::labels::{DISCONNECTED_NOTE, RECONNECTED_NOTE};
use crate::cli::render::output;
use crate::cli::render::stream_record::StreamRecord;
use crate::cli::runtime::new_runtime;
use crate::cli::scope::{Scope, canonical_root, root_text};
use crate::client::{FollowEvent, Follower, RequestPath, SseMessage};
use crate::core::path::{escape_bytes, escape_unprintable};
use crate::wire::cursor::Cursor;
use crate::wire::events::{Gap, JournalPage, ReceivedEvent};
use crate::wire::json;
use crate::wire::status::Status;

pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<CommandExit> {
    let mut connection = DaemonConnection::connect(&args.project.socket)?;
    let mut printer = EventPrinter::new(args, &mut connection)?;
    printer.reject_unknown_features(&mut connection)?;
    if args.follow || args.exec.exec.is_some() {
        exit_on_signal_or_closed_pipe("");
    }
    let RangeArgs { since, until } = &args.range;
    let range = EventRange::find(&mut connection, since.as_ref(), until.as_ref(), "start")?;
    let mut commands = EventCommands::start(&args.exec, args.project.json, connection.socket())?;
    let next = print_stored(args, &range, &mut printer, &mut connection, &mut commands)?;
    match next {
        Some(cursor) if args.follow => {
            follow(&range, &mut printer, &mut commands, connection.socket(), &cursor)?;
        }
        _ => {}
    }
    printer.flush()?;
    if let Some(commands) = commands {
        commands.finish();
    }
    Ok(CommandExit::Success)
}

/// Number of events that are printed on a terminal.
const NEWEST_ON_TERMINAL: usize = 50;

/// Prints the stored events of a range. Returns the cursor after them; `None` if no later event is within.
fn print_stored(
    args: &EventsArgs,
    range: &EventRange,
    printer: &mut EventPrinter,
    connection: &mut DaemonConnection,
    commands: &mut Option<EventCommands>,
) -> anyhow::Result<Option<String>> {
    let is_short = args.range.since.is_none() && std::io::stdout().is_terminal();
    let limit = args.number.or_else(|| is_short.then_some(NEWEST_ON_TERMINAL));
    let mut newest: VecDeque<(Box<RawValue>, String)> = VecDeque::new();
    let mut since = range.since.clone();
    let mut is_first = true;
    let end = 'pages: loop {
        let path = printer.request.clone().with("since", &since);
        // Only the first page must reflect every change made before the request.
        let path = if std::mem::take(&mut is_first) { path.with_sync() } else { path };
        let page: JournalPage = connection.get_json(&path)?;
        if page.gap {
            let reason = "the journal no longer has all events after this cursor";
            let next = |left: usize| (left == 0).then_some(&*page.next);
            printer.print_gap(reason, next(page.snapshots.len()))?;
            for (index, snapshot) in page.snapshots.iter().enumerate() {
                printer.print_snapshot(snapshot, next(page.snapshots.len() - index - 1))?;
            }
        }
        if page.events.is_empty() {
            break Some(page.next);
        }
        let instance = page.next.rsplit_once(':').map_or("", |(instance, _)| instance);
        for event in page.events {
            let position = range.position(event.get())?;
            match position {
                RangePosition::Within | RangePosition::Last => {}
                RangePosition::Outside => continue,
                RangePosition::After => break 'pages None,
            }
            let cursor = event_cursor(instance, event.get())?;
            if let Some(limit) = limit {
                newest.push_back((event, cursor));
                if newest.len() > limit {
                    newest.pop_front();
                }
            } else {
                printer.print_stored(connection, commands, event.get(), &cursor)?;
            }
            if position == RangePosition::Last {
                break 'pages None;
            }
        }
        since = page.next;
    };
    for (event, cursor) in newest {
        printer.print_stored(connection, commands, event.get(), &cursor)?;
    }
    printer.flush()?;
    Ok(end)
}

/// Returns the cursor of an event of the store `instance`.
fn event_cursor(instance: &str, envelope: &str) -> anyhow::Result<String> {
    let seq = serde_json::from_str::<ReceivedEvent>(envelope)?.seq;
    Ok(Cursor { instance: instance.to_owned(), seq }.to_string())
}

/// Prints the events after a cursor until the range ends.
fn follow(
    range: &EventRange,
    printer: &mut EventPrinter,
    commands: &mut Option<EventCommands>,
    socket: &Path,
    since: &str,
) -> anyhow::Result<()> {
    let mut follower = Follower::with_path(socket, printer.request.clone(), since);
    let printing = async {
        loop {
            let event = match tokio::time::timeout(std::time::Duration::ZERO, follower.next()).await
            {
                Ok(event) => event,
                Err(_) => {
                    printer.flush()?;
                    follower.next().await
                }
            };
            match event? {
                FollowEvent::Message(message) => {
                    let is_event = !matches!(message.event.as_str(), "gap" | "snapshot");
                    let position = is_event.then(|| range.position(&message.data)).transpose()?;
                    match position {
                        Some(RangePosition::After) => return Ok(()),
                        Some(RangePosition::Outside) => continue,
                        Some(RangePosition::Within | RangePosition::Last) | None => {}
                    }
                    printer.on_message(&message)?;
                    if let Some(commands) = commands.as_mut().filter(|_| is_event) {
                        commands.push(&message.data, &message.id).await?;
                    }
                    if position == Some(RangePosition::Last) {
                        return Ok(());
                    }
                }
                FollowEvent::Disconnected(_) => output::note(DISCONNECTED_NOTE),
                FollowEvent::Reconnected => output::note(RECONNECTED_NOTE),
            }
        }
    };
    new_runtime()?.block_on(async {
        match range.time_left(SystemTime::now()) {
            None => printing.await,
            Some(left) => tokio::time::timeout(left, printing).await.unwrap_or(Ok(())),
        }
    })
}

/// Returns the root of the current directory, if the daemon watches it.
fn current_root(
    args: &EventsArgs,
    connection: &mut DaemonConnection,
) -> anyhow::Result<Option<PathBuf>> {
    let scope = Scope::resolve(None, &args.project)?;
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    Ok(if scope.find_project(&status).is_some() { scope.root } else { None })
}

/// Prints events and records of the stream, and the request that selects them.
struct EventPrinter {
    out: Box<dyn std::io::Write>,
    json: bool,
    states: LastStates,
    /// Slugs of the selected features.
    features: Vec<String>,
    /// Root of the project, in the form that the API uses.
    root: Option<String>,
    /// The request for events, with all filters.
    request: RequestPath,
}

impl EventPrinter {
    fn new(args: &EventsArgs, connection: &mut DaemonConnection) -> anyhow::Result<Self> {
        let mut root = match &args.project.project {
            Some(root) => Some(canonical_root(root)?),
            None if args.features.is_empty() => current_root(args, connection)?,
            None => None,
        };
        let mut features = Vec::new();
        for name in &args.features {
            let scope = if is_path(name) {
                Scope::resolve(Some(name), &args.project)?
            } else {
                let slug = escape_bytes(name.as_bytes()).into_owned();
                Scope { root: None, feature: Some(slug) }
            };
            if root.is_some() && scope.root.is_some() && root != scope.root {
                bail!(
                    "cannot print events of features in two projects; run the command once for each"
                );
            }
            root = root.or(scope.root);
            features.extend(scope.feature);
        }
        let root = root.as_deref().map(root_text);
        let mut request = RequestPath::new("/api/events").with_optional("project", root.as_deref());
        for feature in &features {
            request = request.with("feature", feature);
        }
        for kind in &args.types {
            request = request.with("type", kind);
        }
        Ok(Self {
            out: if args.project.json {
                Box::new(output::stdout_machine())
            } else {
                Box::new(output::stdout_human())
            },
            json: args.project.json,
            states: LastStates::default(),
            features,
            root,
            request,
        })
    }

    /// Fails for a feature that is not watched and has no events: there would never be one.
    fn reject_unknown_features(&self, connection: &mut DaemonConnection) -> anyhow::Result<()> {
        for slug in &self.features {
            let request = |path: &str| {
                let root = self.root.as_deref();
                RequestPath::new(path).with("feature", slug).with_optional("project", root)
            };
            let is_watched = match connection.get(&request("/api/dossier/overview").with_sync()) {
                Ok(_) => true,
                Err(error) if has_problem_status(&error, 404) => false,
                // Several projects have the feature, or the initial scan is not complete.
                Err(error)
                    if has_problem_status(&error, 409) || has_problem_status(&error, 503) =>
                {
                    true
                }
                Err(error) => return Err(error),
            };
            if is_watched {
                continue;
            }
            // The feature may have been removed and have left only its events.
            let first = request("/api/events").with("limit", "1");
            if connection.get_json::<JournalPage>(&first)?.events.is_empty() {
                bail!(
                    "there is no feature `{slug}`, and no event of it; `dossierd status` lists the features"
                );
            }
        }
        Ok(())
    }

    fn on_message(&mut self, message: &SseMessage) -> anyhow::Result<()> {
        let cursor = Some(&*message.id).filter(|id| !id.is_empty());
        match message.event.as_str() {
            "gap" => {
                let gap: Gap<'_> = serde_json::from_str(&message.data)?;
                self.print_gap(&gap.reason, cursor)
            }
            "snapshot" => {
                let snapshot: Box<RawValue> = serde_json::from_str(&message.data)?;
                self.print_snapshot(&snapshot, cursor)
            }
            _ => self.print_event(&message.data),
        }
    }

    /// Prints a stored event, and has the command of `--exec` run for it.
    fn print_stored(
        &mut self,
        connection: &DaemonConnection,
        commands: &mut Option<EventCommands>,
        envelope: &str,
        cursor: &str,
    ) -> anyhow::Result<()> {
        self.print_event(envelope)?;
        if let Some(commands) = commands {
            self.flush()?;
            connection.block_on(commands.push_when_possible(envelope, cursor))?;
        }
        Ok(())
    }

    fn print_event(&mut self, envelope: &str) -> anyhow::Result<()> {
        if self.json {
            writeln!(self.out, "{envelope}")?;
        } else {
            let event: ReceivedEvent = serde_json::from_str(envelope)?;
            writeln!(self.out, "{}", self.states.format(&event, LinePrefix::Journal).line())?;
        }
        Ok(())
    }

    fn print_gap(&mut self, reason: &str, cursor: Option<&str>) -> anyhow::Result<()> {
        if self.json {
            self.out.write_all(&json::to_line(&StreamRecord::Gap { reason, cursor })?)?;
        } else {
            writeln!(
                self.out,
                "gap: {}; events continue from the current state",
                escape_unprintable(reason)
            )?;
        }
        Ok(())
    }

    /// Prints a snapshot as JSON. There is no text form; `dossierd status` shows the state.
    fn print_snapshot(&mut self, snapshot: &RawValue, cursor: Option<&str>) -> anyhow::Result<()> {
        if self.json {
            self.out.write_all(&json::to_line(&StreamRecord::Snapshot { cursor, snapshot })?)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}
