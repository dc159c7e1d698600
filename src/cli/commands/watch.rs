//! `dossierd watch`: what is wrong now, then what happens, without a hole between the two.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use serde_json::json;
use tokio::time::timeout;

use crate::cli::args::WatchArgs;
use crate::cli::daemon::{autostart, connection};
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::render::event_format::{EventBurst, LastStates, LinePrefix};
use crate::cli::render::stream_record::{StateRecord, StreamRecord};
use crate::cli::render::{labels, output, status_view};
use crate::cli::runtime::new_runtime;
use crate::cli::scope::{Scope, root_text};
use crate::client::{Client, FollowEvent, Follower, RequestPath, SseMessage};
use crate::core::drift::DriftState;
use crate::core::path::escape_unprintable;
use crate::wire::cursor::Cursor;
use crate::wire::events::{Gap, ReceivedEvent};
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

/// On a terminal, events of artifacts that come within this are one burst.
const BURST_INTERVAL: Duration = Duration::from_millis(150);

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<CommandExit> {
    let place = Scope::resolve(args.selection.feature.as_deref(), &args.selection.project)?;
    let socket = autostart::ensure_running(&args.selection.project.socket)?;
    exit_on_signal_or_closed_pipe("");
    new_runtime()?.block_on(async {
        let mut client = Client::connect(&socket).await?;
        let mut watch = WatchSession::new(place, args.selection.project.json);
        let status = watch.ensure_watched(&mut client).await?;
        connection::warn_on_version_mismatch(client.version());
        watch.reject_unknown_feature(&status)?;
        let mut follower = match &args.since {
            None => Follower::new(&socket, &watch.print_state(&status)?),
            Some(since) => {
                watch.update_states(&status);
                Follower::new(&socket, since)
            }
        };
        drop(client);
        loop {
            match watch.next_event(&mut follower).await? {
                FollowEvent::Message(message) if message.event == "gap" => {
                    // The present state replaces what cannot be had, and what is live follows it.
                    let present = async {
                        let mut client = Client::connect(&socket).await?;
                        watch.ensure_watched(&mut client).await
                    };
                    let since = match present.await {
                        Ok(status) => {
                            watch.print_gap(&message)?;
                            watch.print_state(&status)?
                        }
                        // It says of the gap again when it is back.
                        Err(error) if connection::is_disconnected(&error) => {
                            output::warn(&format!("{error:#}"));
                            follower.cursor().to_owned()
                        }
                        Err(error) => return Err(error),
                    };
                    follower = Follower::new(&socket, &since);
                }
                FollowEvent::Message(message) => watch.on_message(&message)?,
                FollowEvent::Disconnected(_) => output::note("the daemon is away; waiting for it"),
                FollowEvent::Reconnected => {
                    output::note("the daemon is back");
                    if watch.added {
                        let again = async {
                            let mut client = Client::connect(&socket).await?;
                            watch.ensure_watched(&mut client).await
                        };
                        // Away again: the next return tries again.
                        if let Err(error) = again.await {
                            output::warn(&format!("{error:#}"));
                        }
                    }
                }
            }
        }
    })
}

/// What is meant, what is known, and how it is shown.
struct WatchSession {
    scope: Scope,
    json: bool,
    /// Whether the daemon watches the project because this command asked for it.
    added: bool,
    states: LastStates,
    prefix: LinePrefix,
    /// Only on a terminal.
    burst: Option<EventBurst>,
    root_id: Option<String>,
    out: Box<dyn Write>,
}

impl WatchSession {
    fn new(place: Scope, json: bool) -> Self {
        let grouped = !json && io::stdout().is_terminal();
        Self {
            scope: place,
            json,
            added: false,
            states: LastStates::default(),
            prefix: LinePrefix::Live,
            burst: grouped.then(EventBurst::default),
            root_id: None,
            out: if json {
                Box::new(output::stdout_machine())
            } else {
                Box::new(output::stdout_human())
            },
        }
    }

    /// The present state, of a daemon that watches the place.
    async fn ensure_watched(&mut self, client: &mut Client) -> anyhow::Result<Status<'static>> {
        let all = RequestPath::new("/api/status").with_sync();
        let status: Status<'_> = client.get(&all).await?.parse()?;
        let Some(root) = self.scope.root.clone() else {
            return Ok(status);
        };
        if self.scope.find_project(&status).is_some() {
            return Ok(status);
        }
        let body = serde_json::to_vec(&json!({"path": root_text(&root), "keep": false}))?;
        client.post(&RequestPath::new("/api/projects"), body).await?;
        if !std::mem::replace(&mut self.added, true) {
            let root = root.display();
            output::note(&format!(
                "{root} is watched now, until the daemon ends; `dossierd project add` keeps it"
            ));
        }
        autostart::wait_until_ready(client).await?;
        Ok(client.get(&all).await?.parse()?)
    }

    /// Refuses a feature that no one knows: of it nothing would ever be heard.
    fn reject_unknown_feature(&self, status: &Status<'_>) -> anyhow::Result<()> {
        let Some(slug) = &self.scope.feature else {
            return Ok(());
        };
        let mut features =
            self.selected_projects(status).into_iter().flat_map(|project| &project.features);
        if features.any(|feature| feature.feature_slug == *slug) {
            return Ok(());
        }
        bail!("there is no feature `{slug}`; `dossierd status` lists them");
    }

    /// Takes the present state without showing it.
    fn update_states(&mut self, status: &Status<'_>) {
        let meant: Vec<&ProjectStatus<'_>> = self.selected_projects(status);
        let several = meant.len() > 1;
        let mut known = LastStates::default();
        for project in meant {
            for overview in &project.features {
                known.update(&project.root_id, overview);
            }
        }
        self.states = known;
        self.root_id = self.scope.find_project(status).map(|project| project.root_id.to_string());
        self.prefix = if several { LinePrefix::LiveProjects } else { LinePrefix::Live };
    }

    fn selected_projects<'s, 'a>(&self, status: &'s Status<'a>) -> Vec<&'s ProjectStatus<'a>> {
        match self.scope.find_project(status) {
            Some(project) => vec![project],
            None => status.projects.iter().collect(),
        }
    }

    /// Shows the present state; gives the cursor that it stands at.
    fn print_state(&mut self, status: &Status<'_>) -> anyhow::Result<String> {
        self.update_states(status);
        let cursor = Cursor { instance: status.instance.to_string(), seq: status.seq }.to_string();
        for wrong in
            [status_view::store_problem(&status.store), status_view::config_problem(status)]
                .into_iter()
                .flatten()
        {
            output::error(&wrong);
        }
        let projects = self.selected_projects(status);
        if self.json {
            let line = StateRecord { event_type: "state", cursor: cursor.clone(), projects };
            self.out.write_all(&json::to_line(&line)?)?;
        } else {
            let feature = self.scope.feature.clone();
            for project in projects {
                print_project(&mut self.out, project, feature.as_deref())?;
            }
            if status.projects.is_empty() {
                writeln!(self.out, "no project is watched; dossierd project add .")?;
            }
        }
        self.out.flush()?;
        Ok(cursor)
    }

    fn print_gap(&mut self, message: &SseMessage) -> anyhow::Result<()> {
        self.flush_burst()?;
        let gap: Gap<'_> = serde_json::from_str(&message.data)?;
        if self.json {
            let aside = StreamRecord::Gap { reason: &gap.reason, cursor: None };
            self.out.write_all(&json::to_line(&aside)?)?;
        } else {
            let reason = escape_unprintable(&gap.reason);
            writeln!(self.out, "{}: {reason}; this is the present state", "gap".yellow())?;
        }
        Ok(())
    }

    /// The next news. What is written is seen before it is waited for.
    async fn next_event(&mut self, follower: &mut Follower) -> anyhow::Result<FollowEvent> {
        if let Ok(news) = timeout(Duration::ZERO, follower.next()).await {
            return Ok(news?);
        }
        self.out.flush()?;
        if self.burst.as_ref().is_some_and(EventBurst::is_waiting) {
            if let Ok(news) = timeout(BURST_INTERVAL, follower.next()).await {
                return Ok(news?);
            }
            self.flush_burst()?;
            self.out.flush()?;
        }
        Ok(follower.next().await?)
    }

    fn flush_burst(&mut self) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        if let Some(burst) = &mut self.burst {
            burst.flush(&mut lines);
        }
        Ok(lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?)
    }

    fn on_message(&mut self, message: &SseMessage) -> anyhow::Result<()> {
        let event: ReceivedEvent = serde_json::from_str(&message.data)?;
        let meant = self.root_id.as_ref().is_none_or(|root| *root == event.root_id)
            && self.scope.feature.as_ref().is_none_or(|slug| *slug == event.feature_slug);
        if !meant {
            return Ok(());
        }
        if self.json {
            writeln!(self.out, "{}", message.data)?;
            return Ok(());
        }
        let told = self.states.format(&event, self.prefix);
        match &mut self.burst {
            None => writeln!(self.out, "{}", told.line())?,
            Some(burst) => {
                let mut lines = Vec::new();
                burst.push(told, &mut lines);
                lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
            }
        }
        Ok(())
    }
}

/// What is wrong in a project, a line each.
fn print_project(
    out: &mut dyn Write,
    project: &ProjectStatus<'_>,
    feature: Option<&str>,
) -> io::Result<()> {
    let meant = |overview: &&Overview<'_>| feature.is_none_or(|slug| overview.feature_slug == slug);
    let features: Vec<&Overview<'_>> = project.features.iter().filter(meant).collect();
    let concerns: Vec<String> =
        features.iter().filter_map(|overview| status_view::problem_line(overview)).collect();
    let fine = features.len() - concerns.len();
    writeln!(
        out,
        "{}  {}  {} of {} features as they should be",
        escape_unprintable(&project.project).bold(),
        escape_unprintable(&project.root).dimmed(),
        fine,
        features.len()
    )?;
    for error in &*project.manifest_errors {
        writeln!(out, "  {}: {}", "error".red(), escape_unprintable(&error.to_string()))?;
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
        let names = labels::join_truncated(&bare);
        writeln!(out, "  no baseline: {names}; `dossierd baseline accept --all`")?;
    }
    Ok(())
}
