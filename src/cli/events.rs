//! `dossierd events`: the journal, as it stands or as it goes on.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::bail;
use serde::Serialize;
use serde_json::value::RawValue;

use super::args::EventsArgs;
use super::ending::end_when_unwanted;
use super::exit::Exit;
use super::happening::{Known, Margin};
use super::link::{self, Link, is_refusal};
use super::out;
use super::place::{Place, is_path, root_of, root_text};
use crate::client::{Follower, Message, News, Target};
use crate::core::path::{escape_bytes, printable};
use crate::wire::events::{Gap, JournalPage, Received};
use crate::wire::json;

/// What `--json` prints beside envelopes, each as a line of its own.
#[derive(Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub(super) enum Aside<'a> {
    /// Events are not to be had.
    Gap {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// What a feature is like after a gap. The last has the cursor to go on from: whoever has not
    /// seen all of them does not go on.
    Snapshot {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        snapshot: &'a RawValue,
    },
}

pub(super) fn run(args: &EventsArgs) -> anyhow::Result<Exit> {
    let mut printer = Printer::new(args)?;
    // Fails with the mend where no daemon runs.
    let mut link = Link::open(&args.project.socket)?;
    printer.refuse_unknown(&mut link)?;
    if args.follow {
        return follow(args, &mut printer, link.socket());
    }
    let mut since = args.since.clone().unwrap_or_else(|| "start".to_owned());
    loop {
        let mut target = printer.wanted.clone().with("since", &since);
        // The first page waits for every change that was made before.
        target = if args.since.as_ref() == Some(&since) || since == "start" {
            target.synced()
        } else {
            target
        };
        let page: JournalPage = link.read(&target)?;
        if page.gap {
            let why = "the journal does not have what came after that cursor";
            let next = |left: usize| (left == 0).then_some(&*page.next);
            printer.gap(why, next(page.snapshots.len()))?;
            for (place, snapshot) in page.snapshots.iter().enumerate() {
                printer.snapshot(snapshot, next(page.snapshots.len() - place - 1))?;
            }
        }
        for event in &page.events {
            printer.event(event.get())?;
        }
        if page.events.is_empty() {
            printer.flush()?;
            return Ok(Exit::Done);
        }
        since = page.next;
    }
}

fn follow(args: &EventsArgs, printer: &mut Printer, socket: &Path) -> anyhow::Result<Exit> {
    end_when_unwanted("");
    let since = args.since.as_deref().unwrap_or("start");
    let mut follower = Follower::of(socket, printer.wanted.clone(), since);
    link::runtime()?.block_on(async {
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
                News::Message(message) => printer.message(&message)?,
                News::Away(_) => out::note("the daemon is away; waiting for it"),
                News::Back => out::note("the daemon is back"),
            }
        }
    })
}

struct Printer {
    out: Box<dyn std::io::Write>,
    json: bool,
    known: Known,
    features: Vec<String>,
    /// The project's root, as the API writes it.
    root: Option<String>,
    /// The journal, as far as it is asked for.
    wanted: Target,
}

impl Printer {
    fn new(args: &EventsArgs) -> anyhow::Result<Self> {
        let mut root = args.project.project.as_deref().map(root_of).transpose()?;
        let mut features = Vec::new();
        for name in &args.features {
            let place = if is_path(name) {
                Place::of(Some(name), &args.project)?
            } else {
                let slug = escape_bytes(name.as_bytes()).into_owned();
                Place { root: None, feature: Some(slug) }
            };
            if root.is_some() && place.root.is_some() && root != place.root {
                bail!("events of features of two projects cannot be asked for at once");
            }
            root = root.or(place.root);
            features.extend(place.feature);
        }
        let root = root.as_deref().map(root_text);
        let mut wanted = Target::new("/api/events").with_some("project", root.as_deref());
        for feature in &features {
            wanted = wanted.with("feature", feature);
        }
        for kind in &args.types {
            wanted = wanted.with("type", kind);
        }
        Ok(Self {
            out: if args.project.json {
                Box::new(out::programs())
            } else {
                Box::new(out::people())
            },
            json: args.project.json,
            known: Known::default(),
            features,
            root,
            wanted,
        })
    }

    /// Refuses a feature of which there is no event, and that is not watched: none would come.
    fn refuse_unknown(&self, link: &mut Link) -> anyhow::Result<()> {
        for slug in &self.features {
            let about = |path: &str| {
                let root = self.root.as_deref();
                Target::new(path).with("feature", slug).with_some("project", root)
            };
            let is_watched = match link.get(&about("/api/dossier/overview").synced()) {
                Ok(_) => true,
                Err(error) if is_refusal(&error, 404) => false,
                // Several have it, or it is not indexed yet.
                Err(error) if is_refusal(&error, 409) || is_refusal(&error, 503) => true,
                Err(error) => return Err(error),
            };
            if is_watched {
                continue;
            }
            // It may be gone for good, and its events be all that is left.
            let one = about("/api/events").with("limit", "1");
            if link.read::<JournalPage>(&one)?.events.is_empty() {
                bail!("there is no feature `{slug}`, and no event of one");
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> anyhow::Result<()> {
        let cursor = Some(&*message.id).filter(|id| !id.is_empty());
        match message.event.as_str() {
            "gap" => {
                let gap: Gap<'_> = serde_json::from_str(&message.data)?;
                self.gap(&gap.reason, cursor)
            }
            "snapshot" => {
                let snapshot: Box<RawValue> = serde_json::from_str(&message.data)?;
                self.snapshot(&snapshot, cursor)
            }
            _ => self.event(&message.data),
        }
    }

    fn event(&mut self, envelope: &str) -> anyhow::Result<()> {
        if self.json {
            writeln!(self.out, "{envelope}")?;
        } else {
            let event: Received = serde_json::from_str(envelope)?;
            writeln!(self.out, "{}", self.known.tell(&event, Margin::Journal).line())?;
        }
        Ok(())
    }

    fn gap(&mut self, reason: &str, cursor: Option<&str>) -> anyhow::Result<()> {
        if self.json {
            self.out.write_all(&json::line(&Aside::Gap { reason, cursor })?)?;
        } else {
            writeln!(self.out, "gap: {}; what follows begins at the present", printable(reason))?;
        }
        Ok(())
    }

    /// For programs only: people see the present state by `dossierd status`.
    fn snapshot(&mut self, snapshot: &RawValue, cursor: Option<&str>) -> anyhow::Result<()> {
        if self.json {
            self.out.write_all(&json::line(&Aside::Snapshot { cursor, snapshot })?)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}
