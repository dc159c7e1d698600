//! `dossierd status`: everything that is watched at a glance, or one feature.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;

use crate::cli::args::{ProjectArgs, StatusArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status, is_connection_lost};
use crate::cli::daemon::query;
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::terminal;
use crate::cli::render::terminal::AlternateScreen;
use crate::cli::render::{output, status_view};
use crate::cli::scope::{Scope, project_add_command, root_text};
use crate::client::{ApiResponse, ClientError, FollowEvent, Follower, RequestPath as Request};
use crate::core::feature::Feature;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::status::{OneShotStatus, ProjectStatus, Status, WatchStatus};

/// When to look again though nothing is said to have happened: not all that is shown is told of,
/// such as a configuration that is broken or directories that cannot be watched.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);
/// What happens within this is shown together.
const COALESCE_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<CommandExit> {
    let place = Scope::resolve(args.selection.feature.as_deref(), &args.selection.project)?;
    let Some(mut link) = DaemonConnection::connect_if_running(&args.selection.project.socket)?
    else {
        if args.watch {
            // Fails with the mend.
            DaemonConnection::connect(&args.selection.project.socket)?;
        }
        if place.root.is_none() && place.feature.is_none() {
            // Neither a project here nor a daemon to ask.
            DaemonConnection::connect(&args.selection.project.socket)?;
        }
        return scan_once(args);
    };
    let fetched = fetch(&mut link, &place)?;
    if args.watch {
        return follow(link, &place, &args.selection.project, fetched);
    }
    let Some(fetched) = fetched else {
        return scan_once(args);
    };
    if args.selection.project.json {
        output::print_body(&fetched.response.body)?;
    } else {
        for wrong in fetched.daemon_problems() {
            output::error(&wrong);
        }
        let width = terminal::size().map(|(columns, _)| columns);
        output::print_styled(&fetched.render(width))?;
    }
    let findings = match &fetched.model {
        StatusModel::All(status, place) => query::project_diagnostics(status, place),
        StatusModel::One(_) => {
            query::project_diagnostics(&link.get_json(&Request::new("/api/status"))?, &place)
        }
    };
    Ok(finish(&findings, args))
}

/// Says what is wrong with the project's files, unless the table does.
fn finish(findings: &ProjectDiagnostics, args: &StatusArgs) -> CommandExit {
    if args.selection.project.json || args.selection.feature.is_some() {
        findings.print();
    }
    findings.exit()
}

/// What the daemon said, as it said it and as models.
struct FetchedStatus {
    response: ApiResponse,
    model: StatusModel,
}

enum StatusModel {
    All(Box<Status<'static>>, Scope),
    One(Box<Overview<'static>>),
}

/// Asks for what is meant; `None` where the daemon does not watch it.
fn fetch(link: &mut DaemonConnection, place: &Scope) -> anyhow::Result<Option<FetchedStatus>> {
    if place.feature.is_some() {
        let answer = match link.get(&place.request_path("/api/dossier/overview")) {
            Ok(answer) => answer,
            Err(error) if has_problem_status(&error, 404) => {
                // Unknown, or of a project that is not watched?
                let status: Status<'_> = link.get_json(&Request::new("/api/status"))?;
                let unwatched = place.root.is_some() && place.find_project(&status).is_none();
                return if unwatched { Ok(None) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let model = StatusModel::One(Box::new(answer.parse()?));
        return Ok(Some(FetchedStatus { response: answer, model }));
    }
    let answer = link.get(&Request::new("/api/status").with_sync())?;
    let status: Status<'_> = answer.parse()?;
    if place.root.is_some() && place.find_project(&status).is_none() {
        return Ok(None);
    }
    Ok(Some(FetchedStatus {
        response: answer,
        model: StatusModel::All(Box::new(status), place.clone()),
    }))
}

impl FetchedStatus {
    /// What is wrong with the daemon itself.
    fn daemon_problems(&self) -> Vec<String> {
        match &self.model {
            StatusModel::One(_) => Vec::new(),
            StatusModel::All(status, _) => {
                [status_view::store_problem(&status.store), status_view::config_problem(status)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    }

    fn render(&self, width: Option<usize>) -> String {
        match &self.model {
            StatusModel::One(overview) => status_view::feature_view(overview),
            StatusModel::All(status, place) => {
                let mut text = String::new();
                text.extend(status.delivery.iter().filter_map(status_view::sink_line));
                if status.projects.is_empty() {
                    text.push_str("no project is watched; dossierd project add .\n");
                }
                // The one that the reader is in comes first.
                let here = place.find_project(status).map(|project| &project.root);
                let (first, others): (Vec<_>, Vec<_>) =
                    status.projects.iter().partition(|project| Some(&project.root) == here);
                let shown: Vec<String> = first
                    .into_iter()
                    .chain(others)
                    .map(|project| status_view::project_view(project, width))
                    .collect();
                text + &shown.join("\n")
            }
        }
    }
}

/// Looks once, and says that no one watches.
fn scan_once(args: &StatusArgs) -> anyhow::Result<CommandExit> {
    let meant = &args.selection;
    let target = match &meant.feature {
        Some(feature) => LocalTarget::from_feature_name(feature, &meant.project)?,
        None => LocalTarget::from_project_args(&meant.project)?,
    };
    let mut features: Vec<Feature> = Vec::new();
    target.scan(|feature| feature, |feature| features.push(feature))?;
    let width = terminal::size().map(|(columns, _)| columns);
    let findings = target.diagnostics();
    if meant.feature.is_some() {
        let feature = features.first().context("the feature went away")?;
        let overview = Overview::from(feature);
        if meant.project.json {
            output::print_json(&overview)?;
        } else {
            output::print_styled(&status_view::feature_view(&overview))?;
        }
    } else {
        let project = project_status(&target, &features, &findings);
        if meant.project.json {
            output::print_json(&OneShotStatus::new(env!("CARGO_PKG_VERSION"), project))?;
        } else {
            output::print_styled(&status_view::project_view(&project, width))?;
        }
    }
    output::note(&format!("not watched; {}", project_add_command(&meant.project)));
    if let Some(why) = &target.discovery_error {
        output::error(why);
        return Ok(CommandExit::Failed);
    }
    Ok(finish(&findings, args))
}

fn project_status<'a>(
    target: &'a LocalTarget,
    features: &'a [Feature],
    findings: &'a ProjectDiagnostics,
) -> ProjectStatus<'a> {
    let project = &target.project;
    ProjectStatus {
        project: (&*project.name).into(),
        root: root_text(&project.root).into(),
        root_id: project.root_id.as_str().into(),
        project_uuid: project.project_uuid.as_str().into(),
        node_id: project.node_id.as_str().into(),
        watch: WatchStatus::unwatched(),
        manifest_errors: findings.errors.as_slice().into(),
        manifest_warnings: findings.warnings.as_slice().into(),
        skipped: target.skipped.as_slice().into(),
        features: features.iter().map(Overview::from).collect(),
    }
}

/// Shows it again whenever something happens: in place on a terminal, else one after another.
fn follow(
    mut link: DaemonConnection,
    place: &Scope,
    args: &ProjectArgs,
    first: Option<FetchedStatus>,
) -> anyhow::Result<CommandExit> {
    let Some(mut fetched) = first else {
        anyhow::bail!("this project is not watched; `{}`", project_add_command(args));
    };
    let as_json = args.json;
    let on_terminal = terminal::size().is_some() && !as_json;
    exit_on_signal_or_closed_pipe(if on_terminal { terminal::LEAVE_SCREEN } else { "" });
    let _screen = if on_terminal { Some(AlternateScreen::enter()?) } else { None };
    let mut follower = Follower::new(link.socket(), "now");
    let mut last = (Vec::new(), String::new());
    loop {
        if on_terminal {
            let (columns, rows) = terminal::size().unwrap_or((80, 24));
            let faults = fetched.daemon_problems();
            let lines = faults.iter().map(|wrong| output::format_error(wrong) + "\n");
            terminal::draw(&(lines.collect::<String>() + &fetched.render(Some(columns))), rows)?;
        } else {
            let text = if as_json { fetched.json_without_uptime()? } else { fetched.render(None) };
            let said = if as_json { Vec::new() } else { fetched.daemon_problems() };
            if (&said, &text) != (&last.0, &last.1) {
                let gap = if last.1.is_empty() || as_json { "" } else { "\n" };
                for wrong in &said {
                    output::error(wrong);
                }
                output::print_styled(&format!("{gap}{text}"))?;
                last = (said, text);
            }
        }
        fetched = wait_and_fetch(&mut link, place, &mut follower, on_terminal)?;
    }
}

impl FetchedStatus {
    /// The JSON without what changes by itself.
    fn json_without_uptime(&self) -> anyhow::Result<String> {
        let mut value: serde_json::Value = self.response.parse()?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("uptime_s");
        }
        Ok(String::from_utf8(json::to_line(&value)?)?)
    }
}

/// Waits until something happened, or long enough, and asks again.
fn wait_and_fetch(
    link: &mut DaemonConnection,
    place: &Scope,
    follower: &mut Follower,
    on_terminal: bool,
) -> anyhow::Result<FetchedStatus> {
    loop {
        let mut news = link.block_on(async {
            match timeout(REFRESH_INTERVAL, follower.next()).await {
                Ok(news) => news.map(Some),
                Err(_) => Ok(None),
            }
        })?;
        if let Some(FollowEvent::Disconnected(_)) = &news {
            if on_terminal {
                let (_, rows) = terminal::size().unwrap_or((80, 24));
                terminal::draw("the daemon is away; waiting for it\n", rows)?;
            } else {
                output::note("the daemon is away; waiting for it");
            }
            // However long that takes.
            news = link.block_on(follower.next()).map(Some)?;
            debug_assert!(!matches!(news, Some(FollowEvent::Disconnected(_))));
            let _ = link.reconnect();
        }
        link.block_on(async { drain_events(follower).await })?;
        match fetch(link, place) {
            Ok(Some(fetched)) => return Ok(fetched),
            Ok(None) => anyhow::bail!("the project is watched no more"),
            // Between two daemons; the stream tells.
            Err(error) if is_connection_lost(&error) => {
                let _ = link.reconnect();
            }
            Err(error) => return Err(error),
        }
    }
}

async fn drain_events(follower: &mut Follower) -> Result<(), ClientError> {
    let until = tokio::time::Instant::now() + COALESCE_INTERVAL;
    while let Ok(news) = tokio::time::timeout_at(until, follower.next()).await {
        if matches!(news?, FollowEvent::Disconnected(_)) {
            break;
        }
    }
    Ok(())
}
