//! `dossierd status`: the state of all watched projects, or of one feature.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::args::{FeatureOrder, ProjectArgs, StatusArgs};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status, is_connection_lost};
use crate::cli::daemon::query;
use crate::cli::daemon::status_body::without_uptime;
use crate::cli::exit::CommandExit;
use crate::cli::exit_on_signal::exit_on_signal_or_closed_pipe;
use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::scanned_status::project_status;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::labels::DISCONNECTED_NOTE;
use crate::cli::render::status_line::StatusSummary;
use crate::cli::render::status_view::ViewOrigin;
use crate::cli::render::terminal;
use crate::cli::render::terminal::AlternateScreen;
use crate::cli::render::{output, status_view};
use crate::cli::scope::{Scope, project_add_command, roots_below};
use crate::cli::user_dirs::user_dirs;
use crate::client::{ApiResponse, ClientError, FollowEvent, Follower, RequestPath as Request};
use crate::core::feature::Feature;
use crate::core::path::{escape_bytes, escape_unprintable};
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::status::{ConfigStatus, OneShotStatus, ProjectStatus, Status, SyncStatus, Synced};

/// Interval at which the status is requested without an event: an invalid configuration, for
/// example, raises none.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);
/// Events that arrive within this interval cause one redraw.
const COALESCE_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<CommandExit> {
    let scope = Scope::resolve(args.selection.feature.as_deref(), &args.selection.project)?;
    if args.short {
        return print_short(args, &scope);
    }
    let Some(mut connection) =
        DaemonConnection::connect_if_running(&args.selection.project.socket)?
    else {
        if args.watch {
            // Only a daemon can be followed: fails with the fix.
            DaemonConnection::connect(&args.selection.project.socket)?;
        }
        let has_none = scope.root.is_none() && scope.feature.is_none();
        if has_none && roots_below(&args.selection.project).is_empty() {
            // There is no project to scan either: fails with the fix.
            DaemonConnection::connect(&args.selection.project.socket).context(
                "the current directory is in no project, and only a daemon knows others",
            )?;
        }
        return scan_once(args);
    };
    let fetched = fetch(&mut connection, &scope)?;
    if args.watch {
        return follow(connection, &scope, args, fetched);
    }
    let Some(fetched) = fetched else {
        return scan_once(args);
    };
    if args.selection.project.json && args.problems {
        output::print_json(&fetched.json_of_problems()?)?;
    } else if args.selection.project.json {
        output::print_body(&fetched.response.body)?;
    } else {
        for problem in fetched.daemon_problems() {
            output::error(&problem);
        }
        let width = terminal::size().map(|(columns, _)| columns);
        output::print_styled(&fetched.render(args.view(), width))?;
    }
    let diagnostics = match &fetched.model {
        StatusModel::All(status, scope) => query::project_diagnostics(status, scope),
        StatusModel::One(_) => {
            query::project_diagnostics(&connection.get_json(&Request::new("/api/status"))?, &scope)
        }
    };
    Ok(finish(&diagnostics, args))
}

/// Prints problems with the project's files, unless the table contains them.
fn finish(diagnostics: &ProjectDiagnostics, args: &StatusArgs) -> CommandExit {
    if args.selection.project.json || args.selection.feature.is_some() {
        diagnostics.print();
    }
    diagnostics.exit()
}

/// What is printed of each project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusView {
    /// A table of all features.
    Table(FeatureOrder),
    /// A line for each feature with problems.
    Problems,
}

impl StatusArgs {
    fn view(&self) -> StatusView {
        if self.problems { StatusView::Problems } else { StatusView::Table(self.sort) }
    }
}

impl StatusView {
    fn render_project(
        self,
        project: &ProjectStatus<'_>,
        projects: &[ProjectStatus<'_>],
        width: Option<usize>,
    ) -> String {
        let main = status_view::main_project(project, projects);
        match self {
            Self::Table(order) => status_view::project_view(project, main, order, width),
            Self::Problems => status_view::problems_view(project, main, None),
        }
    }

    fn render_feature(self, overview: &Overview<'_>, origin: ViewOrigin) -> String {
        match self {
            Self::Table(_) => status_view::feature_view(overview, origin),
            Self::Problems => match status_view::problem_line(overview) {
                Some(line) => format!("{line}\n"),
                None => format!("{}: no problems\n", escape_unprintable(&overview.feature_slug)),
            },
        }
    }
}

/// Prints the state in one line. Without a daemon it fails: a prompt cannot wait for a scan.
fn print_short(args: &StatusArgs, scope: &Scope) -> anyhow::Result<CommandExit> {
    let project = &args.selection.project;
    let mut connection = DaemonConnection::connect(&project.socket)?;
    let (summary, name) = match fetch(&mut connection, scope)? {
        None => {
            let name = scope.root.as_deref().and_then(Path::file_name).unwrap_or_default();
            (StatusSummary::not_watched(), escape_bytes(name.as_bytes()).into_owned())
        }
        Some(FetchedStatus { model: StatusModel::One(overview), .. }) => {
            let status: Status<'_> = connection.get_json(&Request::new("/api/status"))?;
            let invalid = query::project_diagnostics(&status, scope).errors.len();
            let summary = StatusSummary::new(&[], &[&overview], invalid);
            (summary, overview.feature_slug.to_string())
        }
        Some(FetchedStatus { model: StatusModel::All(status, scope), .. }) => {
            let invalid = query::config_errors(&status).len();
            match scope.find_project(&status) {
                Some(one) => {
                    let summary = StatusSummary::new(&[one], &[], invalid);
                    (summary, one.project.to_string())
                }
                None => {
                    let all: Vec<&ProjectStatus<'_>> = status.projects.iter().collect();
                    (StatusSummary::new(&all, &[], invalid), format!("{} projects", all.len()))
                }
            }
        }
    };
    if project.json {
        output::print_json(&summary)?;
    } else {
        output::print_styled(&format!("{}\n", escape_unprintable(&summary.line(&name))))?;
    }
    Ok(summary.exit)
}

/// A status response and its model.
struct FetchedStatus {
    response: ApiResponse,
    model: StatusModel,
}

enum StatusModel {
    All(Box<Status<'static>>, Scope),
    One(Box<Overview<'static>>),
}

/// Requests the status of the scope; returns `None` if the daemon does not watch it.
fn fetch(
    connection: &mut DaemonConnection,
    scope: &Scope,
) -> anyhow::Result<Option<FetchedStatus>> {
    if scope.feature.is_some() {
        let response = match connection.get(&scope.request_path("/api/dossier/overview")) {
            Ok(response) => response,
            Err(error) if has_problem_status(&error, 404) => {
                // Either the feature is unknown or its project is not watched.
                let status: Status<'_> = connection.get_json(&Request::new("/api/status"))?;
                let is_unwatched = scope.root.is_some() && scope.find_project(&status).is_none();
                return if is_unwatched { Ok(None) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let model = StatusModel::One(Box::new(response.parse()?));
        return Ok(Some(FetchedStatus { response, model }));
    }
    let response = connection.get(&Request::new("/api/status").with_sync())?;
    let status: Status<'_> = response.parse()?;
    if scope.root.is_some() && scope.find_project(&status).is_none() {
        return Ok(None);
    }
    Ok(Some(FetchedStatus { response, model: StatusModel::All(Box::new(status), scope.clone()) }))
}

impl FetchedStatus {
    /// Returns problems of the daemon itself.
    fn daemon_problems(&self) -> Vec<String> {
        match &self.model {
            StatusModel::One(_) => Vec::new(),
            StatusModel::All(status, _) => {
                let config = query::config_errors(status);
                let config = config.first().map(status_view::config_problem);
                status_view::store_problem(&status.store).into_iter().chain(config).collect()
            }
        }
    }

    fn render(&self, view: StatusView, width: Option<usize>) -> String {
        match &self.model {
            StatusModel::One(overview) => view.render_feature(overview, ViewOrigin::Daemon),
            StatusModel::All(status, scope) => {
                let mut text = String::new();
                text.extend(status.delivery.iter().filter_map(status_view::sink_line));
                if status.projects.is_empty() {
                    text.push_str("no project is watched; run `dossierd project add .`\n");
                }
                // The project of the current directory comes first.
                let current = scope.find_project(status).map(|project| &project.root);
                let (first, others): (Vec<_>, Vec<_>) =
                    status.projects.iter().partition(|project| Some(&project.root) == current);
                let shown: Vec<String> = first
                    .into_iter()
                    .chain(others)
                    .map(|project| view.render_project(project, &status.projects, width))
                    .collect();
                text + &shown.join("\n")
            }
        }
    }
}

/// Scans once and notes that the project is not watched.
fn scan_once(args: &StatusArgs) -> anyhow::Result<CommandExit> {
    let selection = &args.selection;
    let Some(name) = &selection.feature else {
        return scan_projects_once(args);
    };
    let target = LocalTarget::from_feature_name(name, &selection.project)?;
    let mut features: Vec<Feature> = Vec::new();
    target.scan(|feature| feature, |feature| features.push(feature))?;
    let feature = features.first().context("the feature was removed during the scan")?;
    let overview = Overview::from(feature);
    if selection.project.json {
        output::print_json(&ScannedOverview { overview, sync: Synced::Scan.into() })?;
    } else {
        output::print_styled(&args.view().render_feature(&overview, ViewOrigin::Scan))?;
    }
    note_unwatched(&selection.project);
    if let Some(error) = &target.discovery_error {
        output::error(error);
        return Ok(CommandExit::Failed);
    }
    Ok(finish(&target.diagnostics(), args))
}

/// Scans the selected project once, or those below a directory that is in none.
fn scan_projects_once(args: &StatusArgs) -> anyhow::Result<CommandExit> {
    let project_args = &args.selection.project;
    let targets = LocalTarget::all_from_project_args(project_args)?;
    let mut scanned: Vec<(Vec<Feature>, ProjectDiagnostics)> = Vec::with_capacity(targets.len());
    for target in &targets {
        let mut features = Vec::new();
        target.scan(|feature| feature, |feature| features.push(feature))?;
        scanned.push((features, target.diagnostics()));
    }
    let mut projects: Vec<ProjectStatus<'_>> = targets
        .iter()
        .zip(&scanned)
        .map(|(target, (features, diagnostics))| project_status(target, features, diagnostics))
        .collect();
    if args.problems && project_args.json {
        for project in &mut projects {
            project.features.retain(|feature| status_view::problem_line(feature).is_some());
        }
    }
    if project_args.json {
        // An invalid configuration ended the command before the scan.
        let path = user_dirs()?.config_file();
        let config = ConfigStatus::valid(escape_bytes(path.as_os_str().as_bytes()));
        output::print_json(&OneShotStatus::new(env!("CARGO_PKG_VERSION"), config, projects))?;
    } else {
        let width = terminal::size().map(|(columns, _)| columns);
        let views: Vec<String> =
            projects.iter().map(|one| args.view().render_project(one, &[], width)).collect();
        output::print_styled(&views.join("\n"))?;
    }
    if targets.iter().all(|target| target.outer_root.is_none()) {
        note_unwatched(project_args);
    }
    let mut has_failed = false;
    for error in targets.iter().filter_map(|target| target.discovery_error.as_ref()) {
        output::error(error);
        has_failed = true;
    }
    if has_failed {
        return Ok(CommandExit::Failed);
    }
    let mut all = ProjectDiagnostics::default();
    for (_, diagnostics) in scanned {
        all.append(diagnostics);
    }
    Ok(finish(&all, args))
}

fn note_unwatched(args: &ProjectArgs) {
    output::note(&format!("not watched; run `{}` to watch it", project_add_command(args)));
}

/// A feature that was scanned, as the API returns it with `sync=true`.
#[derive(Serialize)]
struct ScannedOverview<'a> {
    #[serde(flatten)]
    overview: Overview<'a>,
    #[serde(flatten)]
    sync: SyncStatus,
}

/// What was printed last, to print only changes.
#[derive(Default, PartialEq, Eq)]
struct Rendered {
    problems: Vec<String>,
    text: String,
}

/// Prints the status on every change: redrawn in place on a terminal, appended elsewhere.
fn follow(
    mut connection: DaemonConnection,
    scope: &Scope,
    args: &StatusArgs,
    first: Option<FetchedStatus>,
) -> anyhow::Result<CommandExit> {
    let Some(mut fetched) = first else {
        anyhow::bail!(
            "this project is not watched; run `{}` to watch it",
            project_add_command(&args.selection.project)
        );
    };
    let (as_json, view) = (args.selection.project.json, args.view());
    let on_terminal = terminal::size().is_some() && !as_json;
    exit_on_signal_or_closed_pipe(if on_terminal { terminal::LEAVE_SCREEN } else { "" });
    let _screen = if on_terminal { Some(AlternateScreen::enter()?) } else { None };
    let mut follower = Follower::new(connection.socket(), "now");
    let mut printed = Rendered::default();
    loop {
        if on_terminal {
            let (columns, rows) = terminal::size().unwrap_or(terminal::DEFAULT_SIZE);
            let problems = fetched.daemon_problems();
            let lines = problems.iter().map(|problem| output::format_error(problem) + "\n");
            terminal::draw(
                &(lines.collect::<String>() + &fetched.render(view, Some(columns))),
                rows,
            )?;
        } else {
            let text = match view {
                _ if !as_json => fetched.render(view, None),
                StatusView::Table(_) => json_without_uptime(&fetched.response.body)?,
                StatusView::Problems => {
                    json_without_uptime(&json::to_line(&fetched.json_of_problems()?)?)?
                }
            };
            let problems = if as_json { Vec::new() } else { fetched.daemon_problems() };
            let rendered = Rendered { problems, text };
            if rendered != printed {
                let separator = if printed.text.is_empty() || as_json { "" } else { "\n" };
                for problem in &rendered.problems {
                    output::error(problem);
                }
                output::print_styled(&format!("{separator}{}", rendered.text))?;
                printed = rendered;
            }
        }
        fetched = wait_and_fetch(&mut connection, scope, &mut follower, on_terminal)?;
    }
}

impl FetchedStatus {
    /// Returns the response without the features that have no problems.
    fn json_of_problems(&self) -> anyhow::Result<Value> {
        let mut value: Value = self.response.parse()?;
        let StatusModel::All(status, _) = &self.model else { return Ok(value) };
        let projects = value["projects"].as_array_mut().into_iter().flatten();
        for (project, model) in projects.zip(&status.projects) {
            let Some(features) = project["features"].as_array_mut() else { continue };
            let mut has_problem =
                model.features.iter().map(|one| status_view::problem_line(one).is_some());
            features.retain(|_| has_problem.next().unwrap_or(true));
        }
        Ok(value)
    }
}

/// Returns the JSON without the uptime, which always differs, as one line.
fn json_without_uptime(body: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8(without_uptime(body).concat())?;
    Ok(format!("{}\n", text.trim_end()))
}

/// Waits for an event or [`REFRESH_INTERVAL`], then requests the status again.
fn wait_and_fetch(
    connection: &mut DaemonConnection,
    scope: &Scope,
    follower: &mut Follower,
    on_terminal: bool,
) -> anyhow::Result<FetchedStatus> {
    loop {
        let mut event = connection.block_on(async {
            match timeout(REFRESH_INTERVAL, follower.next()).await {
                Ok(event) => event.map(Some),
                Err(_) => Ok(None),
            }
        })?;
        if let Some(FollowEvent::Disconnected(_)) = &event {
            if on_terminal {
                let (_, rows) = terminal::size().unwrap_or(terminal::DEFAULT_SIZE);
                terminal::draw(&format!("{DISCONNECTED_NOTE}\n"), rows)?;
            } else {
                output::note(DISCONNECTED_NOTE);
            }
            // Without a timeout: the follower reconnects until it succeeds.
            event = connection.block_on(follower.next()).map(Some)?;
            debug_assert!(!matches!(event, Some(FollowEvent::Disconnected(_))));
            let _ = connection.reconnect();
        }
        connection.block_on(async { drain_events(follower).await })?;
        match fetch(connection, scope) {
            Ok(Some(fetched)) => return Ok(fetched),
            Ok(None) => anyhow::bail!("the project is no longer watched"),
            // The daemon is restarting; the follower notices when it is back.
            Err(error) if is_connection_lost(&error) => {
                let _ = connection.reconnect();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Discards the events of the next [`COALESCE_INTERVAL`].
async fn drain_events(follower: &mut Follower) -> Result<(), ClientError> {
    let deadline = tokio::time::Instant::now() + COALESCE_INTERVAL;
    while let Ok(event) = tokio::time::timeout_at(deadline, follower.next()).await {
        if matches!(event?, FollowEvent::Disconnected(_)) {
            break;
        }
    }
    Ok(())
}
