//! `dossierd watch`: prints current problems, then events, without a gap between the two.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use owo_colors::OwoColorize as _;
use tokio::time::timeout;

use crate::cli::args::{RangeArgs, WatchArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::daemon::event_commands::EventCommands;
use crate::cli::daemon::event_details::EventDetails;
use crate::cli::daemon::event_range::{EventRange, RangePosition};
use crate::cli::daemon::watched_roots::WatchedRoots;
use crate::cli::daemon::{autostart, connection};
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::notify::{NoticeFilter, Notifier};
use crate::cli::render::event_format::{EventBurst, LastStates, LinePrefix};
use crate::cli::render::labels::{DISCONNECTED_NOTE, RECONNECTED_NOTE};
use crate::cli::render::stream_record::{StateRecord, StreamRecord};
use crate::cli::render::{output, status_view};
use crate::cli::runtime::new_runtime;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::{Client, FollowEvent, Follower, SseMessage};
use crate::config::{LoadedConfig, UserDirs};
use crate::core::path::escape_unprintable;
use crate::history::FILE_NAME;
use crate::wire::cursor::Cursor;
use crate::wire::events::{Gap, ReceivedEvent};
use crate::wire::json;
use crate::wire::status::{ProjectStatus, Status};

/// On a terminal, events about artifacts that arrive within this interval form one burst.
const BURST_INTERVAL: Duration = Duration::from_millis(150);

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<CommandExit> {
    let scope = Scope::resolve(args.selection.feature.as_deref(), &args.selection.project)?;
    let roots = WatchedRoots::new(&scope, &args.selection.project);
    let dirs = user_dirs()?;
    let socket = autostart::ensure_running(&args.selection.project.socket)?;
    if !args.selection.project.json {
        note_history_once(&dirs);
    }
    exit_on_signal_or_closed_pipe("");
    let RangeArgs { since, until } = &args.range;
    let range = if since.is_some() || until.is_some() {
        let mut connection = DaemonConnection::connect(&args.selection.project.socket)?;
        EventRange::find(&mut connection, since.as_ref(), until.as_ref(), "now")?
    } else {
        EventRange::default()
    };
    let time_left = range.time_left(SystemTime::now());
    if time_left.is_some_and(|left| left.is_zero()) {
        bail!("`--until` is a time in the past; `dossierd events` prints what happened before it");
    }
    let session = async {
        let mut client = Client::connect(&socket).await?;
        let mut watch = WatchSession::new(scope, roots, args.selection.project.json);
        watch.commands = EventCommands::start(&args.exec, watch.json, &socket)?;
        watch.notifier = if args.notify { Some(Notifier::start()?) } else { None };
        let status = watch.roots.ensure(&mut client).await?;
        connection::warn_on_version_mismatch(client.version());
        watch.reject_unknown_feature(&status)?;
        let mut follower = match since {
            None => Follower::new(&socket, &watch.print_state(&status)?),
            Some(_) => {
                watch.update_states(&status);
                Follower::new(&socket, &range.since)
            }
        };
        drop(client);
        let mut details = EventDetails::new(socket.clone());
        loop {
            match watch.next_event(&mut follower).await? {
                FollowEvent::Message(message) if message.event == "gap" => {
                    // The current state replaces the missing events; live events follow it.
                    let current = async {
                        let mut client = Client::connect(&socket).await?;
                        watch.roots.ensure(&mut client).await
                    };
                    let since = match current.await {
                        Ok(status) => {
                            watch.print_gap(&message)?;
                            watch.print_state(&status)?
                        }
                        // After reconnecting, the daemon reports the gap again.
                        Err(error) if connection::is_disconnected(&error) => {
                            output::warn(&format!("{error:#}"));
                            follower.cursor().to_owned()
                        }
                        Err(error) => return Err(error),
                    };
                    follower = Follower::new(&socket, &since);
                }
                FollowEvent::Message(message) => match range.position(&message.data)? {
                    RangePosition::Within => watch.on_message(&message, &mut details).await?,
                    RangePosition::Last => {
                        watch.on_message(&message, &mut details).await?;
                        watch.flush_burst()?;
                        watch.out.flush()?;
                        return Ok(CommandExit::Success);
                    }
                    RangePosition::Outside => {}
                    RangePosition::After => return Ok(CommandExit::Success),
                },
                FollowEvent::Disconnected(_) => output::note(DISCONNECTED_NOTE),
                FollowEvent::Reconnected => {
                    output::note(RECONNECTED_NOTE);
                    if watch.roots.was_added() {
                        let watched = async {
                            let mut client = Client::connect(&socket).await?;
                            watch.roots.ensure(&mut client).await
                        };
                        // Disconnected again: retried after the next reconnect.
                        if let Err(error) = watched.await {
                            output::warn(&format!("{error:#}"));
                        }
                    }
                }
            }
        }
    };
    new_runtime()?.block_on(async {
        match time_left {
            None => session.await,
            Some(left) => timeout(left, session).await.unwrap_or(Ok(CommandExit::Success)),
        }
    })
}

/// File in the state directory that exists after it was reported that versions are stored.
const NOTED_FILE: &str = "history-noted";

/// Reports, when a person watches for the first time, that versions are stored.
fn note_history_once(dirs: &UserDirs) {
    let config = LoadedConfig::from_file(&dirs.config_file()).config.unwrap_or_default();
    if !config.history.is_enabled() {
        return;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let noted = options.open(dirs.state_dir.join(NOTED_FILE));
    if !noted.is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        output::note(&format!(
            "versions of text artifacts are stored in {}, for `dossierd diff`, `log` and `restore`; \
             `history: {{enabled: false}}` in config.yaml turns that off",
            dirs.state_dir.join(FILE_NAME).display()
        ));
    }
}

/// What is watched, the last known states, and where and how events are printed.
struct WatchSession {
    scope: Scope,
    roots: WatchedRoots,
    json: bool,
    states: LastStates,
    prefix: LinePrefix,
    /// Only for text on a terminal.
    burst: Option<EventBurst>,
    root_id: Option<String>,
    commands: Option<EventCommands>,
    notifier: Option<Notifier>,
    notices: NoticeFilter,
    out: Box<dyn Write>,
}

impl WatchSession {
    fn new(scope: Scope, roots: WatchedRoots, json: bool) -> Self {
        let is_grouped = !json && io::stdout().is_terminal();
        Self {
            scope,
            roots,
            json,
            states: LastStates::default(),
            prefix: LinePrefix::Live,
            burst: is_grouped.then(EventBurst::default),
            root_id: None,
            commands: None,
            notifier: None,
            notices: NoticeFilter::default(),
            out: if json {
                Box::new(output::stdout_machine())
            } else {
                Box::new(output::stdout_human())
            },
        }
    }

    /// Fails if the daemon does not know the feature: there would never be an event of it.
    fn reject_unknown_feature(&self, status: &Status<'_>) -> anyhow::Result<()> {
        let Some(slug) = &self.scope.feature else {
            return Ok(());
        };
        let mut features =
            self.selected_projects(status).into_iter().flat_map(|project| &project.features);
        if features.any(|feature| feature.feature_slug == *slug) {
            return Ok(());
        }
        bail!("there is no feature `{slug}`; run `dossierd status` to list them");
    }

    /// Records the current state without printing it.
    fn update_states(&mut self, status: &Status<'_>) {
        let projects: Vec<&ProjectStatus<'_>> = self.selected_projects(status);
        let has_several = projects.len() > 1;
        let mut last_states = LastStates::default();
        for project in projects {
            for overview in &project.features {
                last_states.update(&project.root_id, overview);
            }
        }
        for project in self.selected_projects(status) {
            for overview in &project.features {
                self.notices.update(&project.root_id, overview);
            }
        }
        self.states = last_states;
        self.root_id = self.scope.find_project(status).map(|project| project.root_id.to_string());
        self.prefix = if has_several { LinePrefix::LiveProjects } else { LinePrefix::Live };
    }

    /// Returns the project of the scope, or all projects.
    fn selected_projects<'s, 'a>(&self, status: &'s Status<'a>) -> Vec<&'s ProjectStatus<'a>> {
        match self.scope.find_project(status) {
            Some(project) => vec![project],
            None => status.projects.iter().collect(),
        }
    }

    /// Prints the current state and returns its cursor.
    fn print_state(&mut self, status: &Status<'_>) -> anyhow::Result<String> {
        self.update_states(status);
        let cursor = Cursor { instance: status.instance.to_string(), seq: status.seq }.to_string();
        let config = status.config.as_ref().and_then(|config| config.errors.first());
        let config = config.map(status_view::config_problem);
        for problem in [status_view::store_problem(&status.store), config].into_iter().flatten() {
            output::error(&problem);
        }
        let projects = self.selected_projects(status);
        if self.json {
            let line = StateRecord { event_type: "state", cursor: cursor.clone(), projects };
            self.out.write_all(&json::to_line(&line)?)?;
        } else {
            let feature = self.scope.feature.clone();
            for project in projects {
                let text = status_view::problems_view(project, None, feature.as_deref());
                self.out.write_all(text.as_bytes())?;
            }
            if status.projects.is_empty() {
                writeln!(self.out, "no project is watched; run `dossierd project add .`")?;
            }
        }
        self.out.flush()?;
        Ok(cursor)
    }

    fn print_gap(&mut self, message: &SseMessage) -> anyhow::Result<()> {
        self.flush_burst()?;
        let gap: Gap<'_> = serde_json::from_str(&message.data)?;
        if self.json {
            let record = StreamRecord::Gap { reason: &gap.reason, cursor: None };
            self.out.write_all(&json::to_line(&record)?)?;
        } else {
            let reason = escape_unprintable(&gap.reason);
            writeln!(self.out, "{}: {reason}; the current state follows", "gap".yellow())?;
        }
        Ok(())
    }

    /// Returns the next event. Flushes the output before it waits for one.
    async fn next_event(&mut self, follower: &mut Follower) -> anyhow::Result<FollowEvent> {
        if let Ok(event) = timeout(Duration::ZERO, follower.next()).await {
            return Ok(event?);
        }
        self.out.flush()?;
        if self.burst.as_ref().is_some_and(EventBurst::is_waiting) {
            if let Ok(event) = timeout(BURST_INTERVAL, follower.next()).await {
                return Ok(event?);
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

    async fn on_message(
        &mut self,
        message: &SseMessage,
        details: &mut EventDetails,
    ) -> anyhow::Result<()> {
        let event: ReceivedEvent = serde_json::from_str(&message.data)?;
        let is_selected = self.root_id.as_ref().is_none_or(|root| *root == event.root_id)
            && self.scope.feature.as_ref().is_none_or(|slug| *slug == event.feature_slug);
        if !is_selected {
            return Ok(());
        }
        if let Some(commands) = &mut self.commands {
            commands.push(&message.data, &message.id).await?;
        }
        if self.json {
            writeln!(self.out, "{}", message.data)?;
        }
        let formatted = self.states.format(&event, self.prefix);
        let shows_reason = !self.json || self.notifier.is_some();
        let reason = if shows_reason && formatted.needs_reason() {
            self.out.flush()?;
            details.unknown_reason(&event).await
        } else {
            None
        };
        if let Some(notifier) = &self.notifier {
            notifier.push(&event, reason.as_deref(), &mut self.notices);
        }
        if self.json {
            return Ok(());
        }
        let formatted = details.add_changed_lines(&event, formatted.with_reason(reason)).await;
        match &mut self.burst {
            None => writeln!(self.out, "{}", formatted.line())?,
            Some(burst) => {
                let mut lines = Vec::new();
                burst.push(formatted, &mut lines);
                lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
            }
        }
        Ok(())
    }
}
