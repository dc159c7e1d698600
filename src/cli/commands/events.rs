//! `dossierd events`: the journal, as it stands or as it goes on.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::bail;
use serde_json::value::RawValue;

use crate::cli::args::EventsArgs;
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::local::target::is_path;
use crate::cli::render::event_format::{LastStates, LinePrefix};
use crate::cli::render::output;
use crate::cli::render::stream_record::StreamRecord;
use crate::cli::runtime::new_runtime;
use crate::cli::scope::{Scope, canonical_root, root_text};
use crate::client::{FollowEvent, Follower, RequestPath, SseMessage};
use crate::core::path::{escape_bytes, escape_unprintable};
use crate::wire::events::{Gap, JournalPage, ReceivedEvent};
use crate::wire::json;

pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<CommandExit> {
    let mut printer = EventPrinter::new(args)?;
    // Fails with the mend where no daemon runs.
    let mut link = DaemonConnection::connect(&args.project.socket)?;
    printer.reject_unknown_features(&mut link)?;
    if args.follow {
        return follow(args, &mut printer, link.socket());
    }
    let mut since = args.since.clone().unwrap_or_else(|| "start".to_owned());
    loop {
        let mut target = printer.request.clone().with("since", &since);
        // The first page waits for every change that was made before.
        target = if args.since.as_ref() == Some(&since) || since == "start" {
            target.with_sync()
        } else {
            target
        };
        let page: JournalPage = link.get_json(&target)?;
        if page.gap {
            let why = "the journal does not have what came after that cursor";
            let next = |left: usize| (left == 0).then_some(&*page.next);
            printer.print_gap(why, next(page.snapshots.len()))?;
            for (place, snapshot) in page.snapshots.iter().enumerate() {
                printer.print_snapshot(snapshot, next(page.snapshots.len() - place - 1))?;
            }
        }
        for event in &page.events {
            printer.print_event(event.get())?;
        }
        if page.events.is_empty() {
            printer.flush()?;
            return Ok(CommandExit::Success);
        }
        since = page.next;
    }
}

fn follow(
    args: &EventsArgs,
    printer: &mut EventPrinter,
    socket: &Path,
) -> anyhow::Result<CommandExit> {
    exit_on_signal_or_closed_pipe("");
    let since = args.since.as_deref().unwrap_or("start");
    let mut follower = Follower::with_path(socket, printer.request.clone(), since);
    new_runtime()?.block_on(async {
        loop {
            let news = match tokio::time::timeout(std::time::Duration::ZERO, follower.next()).await
            {
                Ok(news) => news,
                Err(_) => {
                    printer.flush()?;
                    follower.next().await
                }
            };
            match news? {
                FollowEvent::Message(message) => printer.on_message(&message)?,
                FollowEvent::Disconnected(_) => output::note("the daemon is away; waiting for it"),
                FollowEvent::Reconnected => output::note("the daemon is back"),
            }
        }
    })
}

struct EventPrinter {
    out: Box<dyn std::io::Write>,
    json: bool,
    states: LastStates,
    features: Vec<String>,
    /// The project's root, as the API writes it.
    root: Option<String>,
    /// The journal, as far as it is asked for.
    request: RequestPath,
}

impl EventPrinter {
    fn new(args: &EventsArgs) -> anyhow::Result<Self> {
        let mut root = args.project.project.as_deref().map(canonical_root).transpose()?;
        let mut features = Vec::new();
        for name in &args.features {
            let place = if is_path(name) {
                Scope::resolve(Some(name), &args.project)?
            } else {
                let slug = escape_bytes(name.as_bytes()).into_owned();
                Scope { root: None, feature: Some(slug) }
            };
            if root.is_some() && place.root.is_some() && root != place.root {
                bail!("events of features of two projects cannot be asked for at once");
            }
            root = root.or(place.root);
            features.extend(place.feature);
        }
        let root = root.as_deref().map(root_text);
        let mut wanted = RequestPath::new("/api/events").with_optional("project", root.as_deref());
        for feature in &features {
            wanted = wanted.with("feature", feature);
        }
        for kind in &args.types {
            wanted = wanted.with("type", kind);
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
            request: wanted,
        })
    }

    /// Refuses a feature of which there is no event, and that is not watched: none would come.
    fn reject_unknown_features(&self, link: &mut DaemonConnection) -> anyhow::Result<()> {
        for slug in &self.features {
            let about = |path: &str| {
                let root = self.root.as_deref();
                RequestPath::new(path).with("feature", slug).with_optional("project", root)
            };
            let is_watched = match link.get(&about("/api/dossier/overview").with_sync()) {
                Ok(_) => true,
                Err(error) if has_problem_status(&error, 404) => false,
                // Several have it, or it is not indexed yet.
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
            // It may be gone for good, and its events be all that is left.
            let one = about("/api/events").with("limit", "1");
            if link.get_json::<JournalPage>(&one)?.events.is_empty() {
                bail!("there is no feature `{slug}`, and no event of one");
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
                "gap: {}; what follows begins at the present",
                escape_unprintable(reason)
            )?;
        }
        Ok(())
    }

    /// For programs only: people see the present state by `dossierd status`.
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
