//! `dossierd watch`: what is wrong now, then what happens, without a hole between the two.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::args::WatchArgs;
use super::ending::end_when_unwanted;
use super::events::Aside;
use super::exit::Exit;
use super::happening::{Burst, Known, Margin};
use super::place::{Place, root_text};
use super::{glance, link, out, start};
use crate::client::{Client, Follower, Message, News, Target};
use crate::core::drift::DriftState;
use crate::core::path::printable;
use crate::wire::cursor::Cursor;
use crate::wire::events::{Gap, Received};
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

/// On a terminal, events of artifacts that come within this are one burst.
const TOGETHER: Duration = Duration::from_millis(150);

/// The first line of `--json`, and the one after a gap.
#[derive(Serialize)]
struct StateLine<'s, 'a> {
    event_type: &'static str,
    cursor: String,
    projects: Vec<&'s ProjectStatus<'a>>,
}

pub(super) fn run(args: &WatchArgs) -> anyhow::Result<Exit> {
    let place = Place::of(args.meant.feature.as_deref(), &args.meant.project)?;
    let socket = start::connect_or_start(&args.meant.project.socket)?;
    end_when_unwanted("");
    link::runtime()?.block_on(async {
        let mut client = Client::connect(&socket).await?;
        let mut watch = Watch::new(place, args.meant.project.json);
        let status = watch.ensure_watched(&mut client).await?;
        link::compare_versions(client.version());
        watch.refuse_unknown(&status)?;
        let mut follower = match &args.since {
            None => Follower::new(&socket, &watch.begin(&status)?),
            Some(since) => {
                watch.learn(&status);
                Follower::new(&socket, since)
            }
        };
        drop(client);
        loop {
            match watch.next(&mut follower).await? {
                News::Message(message) if message.event == "gap" => {
                    // The present state replaces what cannot be had, and what is live follows it.
                    let present = async {
                        let mut client = Client::connect(&socket).await?;
                        watch.ensure_watched(&mut client).await
                    };
                    let since = match present.await {
                        Ok(status) => {
                            watch.gap(&message)?;
                            watch.begin(&status)?
                        }
                        // It says of the gap again when it is back.
                        Err(error) if link::is_away(&error) => {
                            out::warn(&format!("{error:#}"));
                            follower.cursor().to_owned()
                        }
                        Err(error) => return Err(error),
                    };
                    follower = Follower::new(&socket, &since);
                }
                News::Message(message) => watch.message(&message)?,
                News::Away(_) => out::note("the daemon is away; waiting for it"),
                News::Back => {
                    out::note("the daemon is back");
                    if watch.added {
                        let again = async {
                            let mut client = Client::connect(&socket).await?;
                            watch.ensure_watched(&mut client).await
                        };
                        // Away again: the next return tries again.
                        if let Err(error) = again.await {
                            out::warn(&format!("{error:#}"));
                        }
                    }
                }
            }
        }
    })
}

/// What is meant, what is known, and how it is shown.
struct Watch {
    place: Place,
    json: bool,
    /// Whether the daemon watches the project because this command asked for it.
    added: bool,
    known: Known,
    margin: Margin,
    /// Only on a terminal.
    burst: Option<Burst>,
    root_id: Option<String>,
    out: Box<dyn Write>,
}

impl Watch {
    fn new(place: Place, json: bool) -> Self {
        let grouped = !json && io::stdout().is_terminal();
        Self {
            place,
            json,
            added: false,
            known: Known::default(),
            margin: Margin::Live,
            burst: grouped.then(Burst::default),
            root_id: None,
            out: if json { Box::new(out::programs()) } else { Box::new(out::people()) },
        }
    }

    /// The present state, of a daemon that watches the place.
    async fn ensure_watched(&mut self, client: &mut Client) -> anyhow::Result<Status<'static>> {
        let all = Target::new("/api/status").synced();
        let status: Status<'_> = client.get(&all).await?.read()?;
        let Some(root) = self.place.root.clone() else {
            return Ok(status);
        };
        if self.place.watched(&status).is_some() {
            return Ok(status);
        }
        let body = serde_json::to_vec(&json!({"path": root_text(&root), "keep": false}))?;
        client.post(&Target::new("/api/projects"), body).await?;
        if !std::mem::replace(&mut self.added, true) {
            let root = root.display();
            out::note(&format!(
                "{root} is watched now, until the daemon ends; `dossierd project add` keeps it"
            ));
        }
        start::ready(client).await?;
        Ok(client.get(&all).await?.read()?)
    }

    /// Refuses a feature that no one knows: of it nothing would ever be heard.
    fn refuse_unknown(&self, status: &Status<'_>) -> anyhow::Result<()> {
        let Some(slug) = &self.place.feature else {
            return Ok(());
        };
        let mut features = self.meant(status).into_iter().flat_map(|project| &project.features);
        if features.any(|feature| feature.feature_slug == *slug) {
            return Ok(());
        }
        bail!("there is no feature `{slug}`; `dossierd status` lists them");
    }

    /// Takes the present state without showing it.
    fn learn(&mut self, status: &Status<'_>) {
        let meant: Vec<&ProjectStatus<'_>> = self.meant(status);
        let several = meant.len() > 1;
        let mut known = Known::default();
        for project in meant {
            for overview in &project.features {
                known.learn(&project.root_id, overview);
            }
        }
        self.known = known;
        self.root_id = self.place.watched(status).map(|project| project.root_id.to_string());
        self.margin = if several { Margin::LiveProjects } else { Margin::Live };
    }

    fn meant<'s, 'a>(&self, status: &'s Status<'a>) -> Vec<&'s ProjectStatus<'a>> {
        match self.place.watched(status) {
            Some(project) => vec![project],
            None => status.projects.iter().collect(),
        }
    }

    /// Shows the present state; gives the cursor that it stands at.
    fn begin(&mut self, status: &Status<'_>) -> anyhow::Result<String> {
        self.learn(status);
        let cursor = Cursor { instance: status.instance.to_string(), seq: status.seq }.to_string();
        for wrong in [glance::store(&status.store), glance::config(status)].into_iter().flatten() {
            out::error(&wrong);
        }
        let projects = self.meant(status);
        if self.json {
            let line = StateLine { event_type: "state", cursor: cursor.clone(), projects };
            self.out.write_all(&json::line(&line)?)?;
        } else {
            let feature = self.place.feature.clone();
            for project in projects {
                show(&mut self.out, project, feature.as_deref())?;
            }
            if status.projects.is_empty() {
                writeln!(self.out, "no project is watched; dossierd project add .")?;
            }
        }
        self.out.flush()?;
        Ok(cursor)
    }

    fn gap(&mut self, message: &Message) -> anyhow::Result<()> {
        self.end_burst()?;
        let gap: Gap<'_> = serde_json::from_str(&message.data)?;
        if self.json {
            let aside = Aside::Gap { reason: &gap.reason, cursor: None };
            self.out.write_all(&json::line(&aside)?)?;
        } else {
            let reason = printable(&gap.reason);
            writeln!(self.out, "{}: {reason}; this is the present state", "gap".yellow())?;
        }
        Ok(())
    }

    /// The next news. What is written is seen before it is waited for.
    async fn next(&mut self, follower: &mut Follower) -> anyhow::Result<News> {
        if let Ok(news) = timeout(Duration::ZERO, follower.next()).await {
            return Ok(news?);
        }
        self.out.flush()?;
        if self.burst.as_ref().is_some_and(Burst::is_waiting) {
            if let Ok(news) = timeout(TOGETHER, follower.next()).await {
                return Ok(news?);
            }
            self.end_burst()?;
            self.out.flush()?;
        }
        Ok(follower.next().await?)
    }

    fn end_burst(&mut self) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        if let Some(burst) = &mut self.burst {
            burst.end(&mut lines);
        }
        Ok(lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?)
    }

    fn message(&mut self, message: &Message) -> anyhow::Result<()> {
        let event: Received = serde_json::from_str(&message.data)?;
        let meant = self.root_id.as_ref().is_none_or(|root| *root == event.root_id)
            && self.place.feature.as_ref().is_none_or(|slug| *slug == event.feature_slug);
        if !meant {
            return Ok(());
        }
        if self.json {
            writeln!(self.out, "{}", message.data)?;
            return Ok(());
        }
        let told = self.known.tell(&event, self.margin);
        match &mut self.burst {
            None => writeln!(self.out, "{}", told.line())?,
            Some(burst) => {
                let mut lines = Vec::new();
                burst.take(told, &mut lines);
                lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
            }
        }
        Ok(())
    }
}

/// What is wrong in a project, a line each.
fn show(out: &mut dyn Write, project: &ProjectStatus<'_>, feature: Option<&str>) -> io::Result<()> {
    let meant = |overview: &&Overview<'_>| feature.is_none_or(|slug| overview.feature_slug == slug);
    let features: Vec<&Overview<'_>> = project.features.iter().filter(meant).collect();
    let concerns: Vec<String> =
        features.iter().filter_map(|overview| glance::concern(overview)).collect();
    let fine = features.len() - concerns.len();
    writeln!(
        out,
        "{}  {}  {} of {} features as they should be",
        printable(&project.project).bold(),
        printable(&project.root).dimmed(),
        fine,
        features.len()
    )?;
    for error in &*project.manifest_errors {
        writeln!(out, "  {}: {}", "error".red(), printable(&error.to_string()))?;
    }
    for concern in concerns {
        writeln!(out, "  {concern}")?;
    }
    let bare: Vec<&str> = features
        .iter()
        .filter(|overview| overview.drift.state == Some(DriftState::NoBaseline))
        .map(|overview| &*overview.feature_slug)
        .collect();
    if !bare.is_empty() {
        let names = super::words::some(&bare);
        writeln!(out, "  no baseline: {names}; `dossierd baseline accept --all`")?;
    }
    Ok(())
}
