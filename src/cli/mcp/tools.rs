//! What each tool does. A failure is a result that the agent can read, with the fix.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::cli::artifact_filters::check_filter_values;
use crate::cli::daemon::connection::{has_hint, has_problem_status, is_not_running};
use crate::cli::local::scanned_status::project_status;
use crate::cli::mcp::daemon_source::DaemonSource;
use crate::cli::mcp::resource_uri::ResourceUri;
use crate::cli::mcp::scan_source::{
    AbsentFeature, FeatureRequest, ScannedProject, project_with, scan_feature, scan_projects,
};
use crate::cli::mcp::tool_arguments::ToolArguments;
use crate::cli::render::{labels, status_view};
use crate::client::{Client, EventStream, RequestPath, percent_encode};
use crate::core::path::escape_bytes;
use crate::wire::artifacts::ArtifactList;
use crate::wire::events::JournalPage;
use crate::wire::hint::HintCode;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

/// Time that `wait_for_change` waits if the client names none.
const DEFAULT_WAIT_SECONDS: u64 = 30;
/// Further events that arrive within this time are part of the same result.
const COALESCE_INTERVAL: Duration = Duration::from_millis(100);
/// Number of events in a result of `wait_for_change`.
const MAX_EVENTS: usize = 100;
/// Number of versions that `history` lists by default.
const DEFAULT_VERSIONS: u16 = 50;

/// The tools, for a client that works in some directories.
pub(super) struct ToolRunner<'a> {
    pub(super) daemon: &'a DaemonSource,
    pub(super) dirs: Vec<PathBuf>,
}

/// A project, watched or scanned.
pub(super) struct ListedProject<'a> {
    pub(super) status: ProjectStatus<'a>,
    is_watched: bool,
}

impl ToolRunner<'_> {
    /// Runs a tool and returns its result.
    pub(super) async fn run(&self, tool: &str, args: &ToolArguments) -> anyhow::Result<Value> {
        match tool {
            "status" => self.status(args).await,
            "next_missing" => self.next_missing(args).await,
            "wait_for_change" => self.wait_for_change(args).await,
            "accept_baseline" => {
                let path = self.changed_feature("/api/dossier/baseline", args).await?;
                let body = body_of(args, &["tree_hash_sha256", "scope"]);
                self.daemon.post(&path, &body).await
            }
            "restore" => self.restore(args).await,
            "artifacts" => self.artifacts(args).await,
            "add_project" => {
                let body = json!({"path": args.required("path"), "keep": args.flag("keep")});
                self.daemon.post(&RequestPath::new("/api/projects"), &body).await
            }
            _ => {
                let request = feature_request(tool, args)?;
                self.feature(args.required("feature"), args.text("project"), &request).await
            }
        }
    }

    async fn artifacts(&self, args: &ToolArguments) -> anyhow::Result<Value> {
        let (slug, project) = (args.required("feature"), args.text("project"));
        let (step, work_package) = (args.text("step"), args.text("work_package"));
        if step.or(work_package).is_some() {
            let all = self.feature(slug, project, &FeatureRequest::all_artifacts()).await?;
            let all: ArtifactList<'_> = serde_json::from_value(all)?;
            check_filter_values(slug, step, work_package, &all)?;
        }
        self.feature(slug, project, &feature_request("artifacts", args)?).await
    }

    /// Returns what is requested of a feature: from the daemon, or else from a scan.
    pub(super) async fn feature(
        &self,
        slug: &str,
        project: Option<&str>,
        request: &FeatureRequest,
    ) -> anyhow::Result<Value> {
        let found = match project {
            Some(_) => None,
            None => self.project_with(slug, AbsentFeature::OfAny).await?,
        };
        let project = project.or(found.as_deref());
        let path = request_path(request, slug, project);
        match self.daemon.get(&path).await {
            Ok(value) => Ok(value),
            Err(error) if is_not_running(&error) => self.scan(slug, project, request).await,
            // The feature may be in a project that the daemon does not watch.
            Err(error) if has_problem_status(&error, 404) => {
                let is_unwatched = found.is_some() && has_hint(&error, HintCode::NoSuchProject);
                let scanned = self.scan(slug, project, request).await;
                scanned.map_err(|scan_error| if is_unwatched { scan_error } else { error })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the identity of the client's project that has a feature: another one that is watched may have one
    /// of the same name.
    async fn project_with(
        &self,
        slug: &str,
        absent: AbsentFeature,
    ) -> anyhow::Result<Option<String>> {
        let (dirs, slug) = (self.dirs.clone(), slug.to_owned());
        let find = move || project_with(&dirs, &slug, absent);
        tokio::task::spawn_blocking(find).await.context("the projects cannot be found")?
    }

    /// Returns the path of a request that changes a feature: of the project that is named, or else of that of
    /// the client.
    async fn changed_feature(
        &self,
        path: &str,
        args: &ToolArguments,
    ) -> anyhow::Result<RequestPath> {
        let slug = args.required("feature");
        let project =
            match args.text("project") {
                Some(project) => project.to_owned(),
                None => self.project_with(slug, AbsentFeature::OfOnlyProject).await?.with_context(
                    || format!("the client's projects have no feature `{slug}`; name a `project`"),
                )?,
            };
        Ok(RequestPath::new(path).with("feature", slug).with("project", &project).with_sync())
    }

    async fn scan(
        &self,
        slug: &str,
        project: Option<&str>,
        request: &FeatureRequest,
    ) -> anyhow::Result<Value> {
        let (dirs, slug) = (self.dirs.clone(), slug.to_owned());
        let (project, request) = (project.map(str::to_owned), request.clone());
        let scan = move || scan_feature(&dirs, project.as_deref(), &slug, &request);
        tokio::task::spawn_blocking(scan).await.context("the scan has failed")?
    }

    /// Calls `render` with the status of the daemon, and all projects: those that it watches, and those of the
    /// client that it does not.
    pub(super) async fn projects<T: Send + 'static>(
        &self,
        render: impl FnOnce(Option<&Status<'_>>, &[ListedProject<'_>]) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let path = RequestPath::new("/api/status").with_sync();
        let mut status = self.daemon.status(&path).await?;
        let dirs = self.dirs.clone();
        let collect = move || -> anyhow::Result<T> {
            let watched = status.as_mut().map(|status| std::mem::take(&mut status.projects));
            let watched = watched.unwrap_or_default();
            let is_watched = |root: &Path| {
                let root = escape_bytes(root.as_os_str().as_bytes());
                watched.iter().any(|project| project.root == root)
            };
            let scanned = scan_projects(&dirs, &is_watched)?;
            let watched: Vec<ListedProject<'_>> = watched
                .into_iter()
                .map(|status| ListedProject { status, is_watched: true })
                .collect();
            let scanned = scanned.iter().map(ScannedProject::state);
            let all: Vec<ListedProject<'_>> = watched.into_iter().chain(scanned).collect();
            Ok(render(status.as_ref(), &all))
        };
        tokio::task::spawn_blocking(collect).await.context("the scan has failed")?
    }

    async fn status(&self, args: &ToolArguments) -> anyhow::Result<Value> {
        let selected = args.text("project").map(str::to_owned);
        let problems_only = args.flag("problems_only");
        self.projects(move |status, projects| {
            let projects: Vec<Value> = selected_projects(projects, selected.as_deref())?
                .into_iter()
                .map(|project| project.to_value(problems_only))
                .collect();
            Ok(json!({
                "daemon": status.is_some(),
                "cursor": status.map(|status| format!("{}:{}", status.instance, status.seq)),
                "projects": projects,
            }))
        })
        .await?
    }

    async fn next_missing(&self, args: &ToolArguments) -> anyhow::Result<Value> {
        let project = args.text("project").map(str::to_owned);
        let Some(slug) = args.text("feature") else {
            return self
                .projects(move |_, projects| {
                    let features: Vec<Value> = selected_projects(projects, project.as_deref())?
                        .into_iter()
                        .flat_map(|one| one.status.features.iter().filter_map(next_entry))
                        .collect();
                    Ok(json!({"features": features}))
                })
                .await?;
        };
        let overview = self.feature(slug, project.as_deref(), &FeatureRequest::Overview).await?;
        let missing = FeatureRequest::missing_artifacts();
        let missing = self.feature(slug, project.as_deref(), &missing).await?;
        let artifact = |one: &Value| {
            json!({
                "artifact_key": one["artifact_key"], "relative_path": one["relative_path"],
                "step_id": one["step_id"], "reason": one["error_reason"],
            })
        };
        let missing: Vec<Value> =
            missing["artifacts"].as_array().into_iter().flatten().map(artifact).collect();
        Ok(json!({
            "feature": slug,
            "completeness_status": overview["completeness_status"],
            "step": overview["step"],
            "next_step": overview["next_step"],
            "next_missing": overview["next_missing"],
            "missing_required": missing,
        }))
    }

    async fn wait_for_change(&self, args: &ToolArguments) -> anyhow::Result<Value> {
        let seconds = args.number("timeout_seconds").unwrap_or(DEFAULT_WAIT_SECONDS);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let filtered = || {
            RequestPath::new("/api/events")
                .with_optional("feature", args.text("feature"))
                .with_optional("project", args.text("project"))
        };
        let page =
            |since: &str| filtered().with("since", since).with("limit", &MAX_EVENTS.to_string());
        let since = args.text("cursor").unwrap_or("now");
        let first: JournalPage = serde_json::from_value(self.daemon.get(&page(since)).await?)?;
        if first.gap || !first.events.is_empty() {
            return Ok(page_value(&first, false));
        }
        if let Some(slug) = args.text("feature") {
            // Nothing would ever be reported of one that does not exist.
            let overview = RequestPath::new("/api/dossier/overview").with("feature", slug);
            let overview = overview.with_optional("project", args.text("project"));
            match self.daemon.get(&overview).await {
                Err(error) if has_problem_status(&error, 404) => return Err(error),
                _ => {}
            }
        }
        let client = Client::connect(&self.daemon.socket()?).await?;
        let mut stream = EventStream::open(client, &filtered().with("since", &first.next)).await?;
        let Ok(message) = timeout_at(deadline, stream.next()).await else {
            return Ok(page_value(&first, true));
        };
        message?.context("the daemon is stopping; retry when it runs again")?;
        // What arrives together belongs together.
        let _ = timeout_at(Instant::now() + COALESCE_INTERVAL, std::future::pending::<()>()).await;
        let changed = self.daemon.get(&page(&first.next)).await?;
        Ok(page_value(&serde_json::from_value(changed)?, false))
    }

    async fn restore(&self, args: &ToolArguments) -> anyhow::Result<Value> {
        let keys = args.texts("keys");
        if keys.is_empty() != args.flag("deleted") {
            bail!("name artifacts in `keys`, or set `deleted`");
        }
        let item = |name: &&str| json!({"artifact_key": name, "from": args.text("from")});
        let body = json!({
            "items": keys.iter().map(item).collect::<Vec<Value>>(),
            "deleted": args.flag("deleted"),
            "from": args.text("from").filter(|_| keys.is_empty()),
            "force": args.flag("force"),
            "dry_run": args.flag("dry_run"),
        });
        let path = self.changed_feature("/api/dossier/restore", args).await?;
        self.daemon.post(&path, &body).await
    }
}

/// Returns the projects with this name, root or identity, or all.
fn selected_projects<'p, 'a>(
    projects: &'p [ListedProject<'a>],
    name: Option<&str>,
) -> anyhow::Result<Vec<&'p ListedProject<'a>>> {
    let selected: Vec<_> = projects.iter().filter(|one| one.is_named(name)).collect();
    if let (Some(name), true) = (name, selected.is_empty()) {
        let roots: Vec<&str> = projects.iter().map(|one| one.status.root.as_ref()).collect();
        bail!("there is no project `{name}`; there are {}", labels::join_truncated(&roots));
    }
    Ok(selected)
}

fn page_value(page: &JournalPage, timed_out: bool) -> Value {
    json!({"events": page.events, "cursor": page.next, "gap": page.gap, "timed_out": timed_out})
}

impl ScannedProject {
    fn state(&self) -> ListedProject<'_> {
        let status = project_status(&self.target, &self.features, &self.diagnostics);
        ListedProject { status, is_watched: false }
    }
}

impl ListedProject<'_> {
    fn is_named(&self, name: Option<&str>) -> bool {
        let status = &self.status;
        name.is_none_or(|name| {
            status.root == name || status.root_id == name || status.project == name
        })
    }

    fn to_value(&self, problems_only: bool) -> Value {
        let status = &self.status;
        let problem = |one: &Overview<'_>| {
            let line = status_view::problem_line(one)?;
            Some(anstream::adapter::strip_str(&line).to_string())
        };
        let features: Vec<Value> = status
            .features
            .iter()
            .filter(|one| !problems_only || problem(one).is_some())
            .map(|one| feature_entry(&status.root_id, one, problem(one).as_deref()))
            .collect();
        let errors: Vec<String> = status.manifest_errors.iter().map(ToString::to_string).collect();
        json!({
            "project": status.project,
            "root": status.root,
            "root_id": status.root_id,
            "is_watched": self.is_watched,
            "watch_state": status.watch.state,
            "synced": status.sync.as_ref().map(|sync| sync.synced),
            "errors": errors,
            "features": features,
        })
    }
}

fn feature_entry(root_id: &str, one: &Overview<'_>, problem: Option<&str>) -> Value {
    let uri = ResourceUri {
        root_id: root_id.to_owned(),
        feature: one.feature_slug.to_string(),
        key: None,
    };
    json!({
        "feature": one.feature_slug,
        "uri": uri.to_string(),
        "completeness_status": one.completeness_status,
        "required_present": one.artifact_counts.required_present,
        "required": one.artifact_counts.required,
        "drift_state": one.drift.state,
        "drift_severity": one.drift.severity,
        "progress": one.progress,
        "step": one.step,
        "next_step": one.next_step,
        "archived": one.archived,
        "problem": problem,
    })
}

/// Returns what a feature needs next; `None` if that is nothing.
fn next_entry(one: &Overview<'_>) -> Option<Value> {
    let is_open = one.missing_required_count > 0 || one.next_step.is_some();
    (is_open && !one.archived).then(|| {
        json!({
            "feature": one.feature_slug,
            "completeness_status": one.completeness_status,
            "missing_required_count": one.missing_required_count,
            "step": one.step,
            "next_step": one.next_step,
            "next_missing": one.next_missing,
        })
    })
}

fn feature_request(tool: &str, args: &ToolArguments) -> anyhow::Result<FeatureRequest> {
    let text = |name| args.text(name).map(str::to_owned);
    Ok(match tool {
        "feature" => FeatureRequest::Overview,
        "artifacts" => FeatureRequest::Artifacts {
            class: text("class"),
            step: text("step"),
            work_package: text("work_package"),
            required_only: args.flag("required_only"),
            missing_only: args.flag("missing_only"),
        },
        "read_artifact" => FeatureRequest::Artifact { key: args.required("key").to_owned() },
        "drift" => FeatureRequest::Drift,
        "diff" => FeatureRequest::Diff {
            from: text("from").unwrap_or_else(|| "baseline".to_owned()),
            to: text("to").unwrap_or_else(|| "now".to_owned()),
            keys: args.texts("keys").into_iter().map(str::to_owned).collect(),
        },
        "history" => {
            let limit = args.number("limit").and_then(|limit| u16::try_from(limit).ok());
            FeatureRequest::Versions { key: text("key"), limit: limit.unwrap_or(DEFAULT_VERSIONS) }
        }
        other => bail!("there is no tool `{other}`"),
    })
}

fn request_path(request: &FeatureRequest, slug: &str, project: Option<&str>) -> RequestPath {
    let of = |path: &str| {
        let path = RequestPath::new(path).with("feature", slug);
        path.with_optional("project", project).with_sync()
    };
    match request {
        FeatureRequest::Overview => of("/api/dossier/overview"),
        FeatureRequest::Artifacts { class, step, work_package, required_only, missing_only } => {
            let path = of("/api/dossier/artifacts")
                .with_optional("class", class.as_deref())
                .with_optional("step_id", step.as_deref())
                .with_optional("wp_id", work_package.as_deref());
            let path = if *required_only { path.with("required_only", "true") } else { path };
            if *missing_only { path.with("missing_only", "true") } else { path }
        }
        FeatureRequest::Artifact { key } => {
            of(&format!("/api/dossier/artifacts/{}", percent_encode(key)))
        }
        FeatureRequest::Drift => of("/api/dossier/drift"),
        FeatureRequest::Diff { from, to, keys } => {
            let path = of("/api/dossier/diff").with("from", from).with("to", to);
            keys.iter().fold(path, |path, key| path.with("artifact_key", key))
        }
        FeatureRequest::Versions { key, limit } => of("/api/dossier/versions")
            .with_optional("artifact_key", key.as_deref())
            .with("limit", &limit.to_string()),
    }
}

/// Returns an object with the named arguments that were given.
fn body_of(args: &ToolArguments, names: &[&str]) -> Value {
    let given = names.iter().filter_map(|name| Some(((*name).to_owned(), args.text(name)?.into())));
    Value::Object(given.collect())
}
