//! `dossierd status`: everything that is watched at a glance, or one feature.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;

use super::args::{ProjectArgs, StatusArgs};
use super::ending::end_when_unwanted;
use super::exit::Exit;
use super::link::{Link, is_refusal};
use super::place::{Place, root_text};
use super::target::{Findings, Target};
use super::terminal::{self, Screen};
use super::{asked, glance, out, words};
use crate::client::{Answer, ClientError, Follower, News, Target as Request};
use crate::core::feature::Feature;
use crate::wire::json;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Scanned, Status, WatchStatus};

/// When to look again though nothing is said to have happened: not all that is shown is told of,
/// such as a configuration that is broken or folders that cannot be watched.
const REFRESH: Duration = Duration::from_secs(2);
/// What happens within this is shown together.
const TOGETHER: Duration = Duration::from_millis(100);

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let place = Place::of(args.meant.feature.as_deref(), &args.meant.project)?;
    let Some(mut link) = Link::find(&args.meant.project.socket)? else {
        if args.watch {
            // Fails with the mend.
            Link::open(&args.meant.project.socket)?;
        }
        if place.root.is_none() && place.feature.is_none() {
            // Neither a project here nor a daemon to ask.
            Link::open(&args.meant.project.socket)?;
        }
        return scan(args);
    };
    let fetched = fetch(&mut link, &place)?;
    if args.watch {
        return follow(link, &place, &args.meant.project, fetched);
    }
    let Some(fetched) = fetched else {
        return scan(args);
    };
    if args.meant.project.json {
        out::print_body(&fetched.answer.body)?;
    } else {
        for wrong in fetched.faults() {
            out::error(&wrong);
        }
        let width = terminal::size().map(|(columns, _)| columns);
        out::print_as_is(&fetched.show(width))?;
    }
    let findings = match &fetched.model {
        Model::All(status, place) => asked::findings(status, place),
        Model::One(_) => asked::findings(&link.read(&Request::new("/api/status"))?, &place),
    };
    Ok(end(&findings, args))
}

/// Says what is wrong with the project's files, unless the table does.
fn end(findings: &Findings, args: &StatusArgs) -> Exit {
    if args.meant.project.json || args.meant.feature.is_some() {
        findings.say();
    }
    findings.exit()
}

/// What the daemon said, as it said it and as models.
struct Fetched {
    answer: Answer,
    model: Model,
}

enum Model {
    All(Box<Status<'static>>, Place),
    One(Box<Overview<'static>>),
}

/// Asks for what is meant; `None` where the daemon does not watch it.
fn fetch(link: &mut Link, place: &Place) -> anyhow::Result<Option<Fetched>> {
    if place.feature.is_some() {
        let answer = match link.get(&place.target("/api/dossier/overview")) {
            Ok(answer) => answer,
            Err(error) if is_refusal(&error, 404) => {
                // Unknown, or of a project that is not watched?
                let status: Status<'_> = link.read(&Request::new("/api/status"))?;
                let unwatched = place.root.is_some() && place.watched(&status).is_none();
                return if unwatched { Ok(None) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let model = Model::One(Box::new(answer.read()?));
        return Ok(Some(Fetched { answer, model }));
    }
    let answer = link.get(&Request::new("/api/status").synced())?;
    let status: Status<'_> = answer.read()?;
    if place.root.is_some() && place.watched(&status).is_none() {
        return Ok(None);
    }
    Ok(Some(Fetched { answer, model: Model::All(Box::new(status), place.clone()) }))
}

impl Fetched {
    /// What is wrong with the daemon itself.
    fn faults(&self) -> Vec<String> {
        match &self.model {
            Model::One(_) => Vec::new(),
            Model::All(status, _) => [glance::store(&status.store), glance::config(status)]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    fn show(&self, width: Option<usize>) -> String {
        match &self.model {
            Model::One(overview) => glance::feature(overview),
            Model::All(status, place) => {
                let mut text = String::new();
                text.extend(status.delivery.iter().filter_map(glance::sink));
                if status.projects.is_empty() {
                    text.push_str("no project is watched; dossierd project add .\n");
                }
                // The one that the reader is in comes first.
                let here = place.watched(status).map(|project| &project.root);
                let (first, others): (Vec<_>, Vec<_>) =
                    status.projects.iter().partition(|project| Some(&project.root) == here);
                let shown: Vec<String> = first
                    .into_iter()
                    .chain(others)
                    .map(|project| glance::project(project, width))
                    .collect();
                text + &shown.join("\n")
            }
        }
    }
}

/// Looks once, and says that no one watches.
fn scan(args: &StatusArgs) -> anyhow::Result<Exit> {
    let meant = &args.meant;
    let target = match &meant.feature {
        Some(feature) => Target::of_name(feature, &meant.project)?,
        None => Target::of_project(&meant.project)?,
    };
    let mut features: Vec<Feature> = Vec::new();
    target.survey(|feature| feature, |feature| features.push(feature))?;
    let width = terminal::size().map(|(columns, _)| columns);
    let findings = target.findings();
    if meant.feature.is_some() {
        let feature = features.first().context("the feature went away")?;
        let overview = Overview::from(feature);
        if meant.project.json {
            out::print_json(&overview)?;
        } else {
            out::print_as_is(&glance::feature(&overview))?;
        }
    } else {
        let project = scanned(&target, &features, &findings);
        if meant.project.json {
            out::print_json(&Scanned::new(env!("CARGO_PKG_VERSION"), project))?;
        } else {
            out::print_as_is(&glance::project(&project, width))?;
        }
    }
    out::note(&format!("not watched; {}", words::add(&meant.project)));
    if let Some(why) = &target.undiscovered {
        out::error(why);
        return Ok(Exit::Failed);
    }
    Ok(end(&findings, args))
}

fn scanned<'a>(
    target: &'a Target,
    features: &'a [Feature],
    findings: &'a Findings,
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
    mut link: Link,
    place: &Place,
    args: &ProjectArgs,
    first: Option<Fetched>,
) -> anyhow::Result<Exit> {
    let Some(mut fetched) = first else {
        anyhow::bail!("this project is not watched; `{}`", words::add(args));
    };
    let as_json = args.json;
    let on_terminal = terminal::size().is_some() && !as_json;
    end_when_unwanted(if on_terminal { terminal::LEAVE } else { "" });
    let _screen = if on_terminal { Some(Screen::enter()?) } else { None };
    let mut follower = Follower::new(link.socket(), "now");
    let mut last = (Vec::new(), String::new());
    loop {
        if on_terminal {
            let (columns, rows) = terminal::size().unwrap_or((80, 24));
            let faults = fetched.faults();
            let lines = faults.iter().map(|wrong| out::error_line(wrong) + "\n");
            terminal::draw(&(lines.collect::<String>() + &fetched.show(Some(columns))), rows)?;
        } else {
            let text = if as_json { fetched.steady()? } else { fetched.show(None) };
            let said = if as_json { Vec::new() } else { fetched.faults() };
            if (&said, &text) != (&last.0, &last.1) {
                let gap = if last.1.is_empty() || as_json { "" } else { "\n" };
                for wrong in &said {
                    out::error(wrong);
                }
                out::print_as_is(&format!("{gap}{text}"))?;
                last = (said, text);
            }
        }
        fetched = next(&mut link, place, &mut follower, on_terminal)?;
    }
}

impl Fetched {
    /// The JSON without what changes by itself.
    fn steady(&self) -> anyhow::Result<String> {
        let mut value: serde_json::Value = self.answer.read()?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("uptime_s");
        }
        Ok(String::from_utf8(json::line(&value)?)?)
    }
}

/// Waits until something happened, or long enough, and asks again.
fn next(
    link: &mut Link,
    place: &Place,
    follower: &mut Follower,
    on_terminal: bool,
) -> anyhow::Result<Fetched> {
    loop {
        let mut news = link.block_on(async {
            match timeout(REFRESH, follower.next()).await {
                Ok(news) => news.map(Some),
                Err(_) => Ok(None),
            }
        })?;
        if let Some(News::Away(_)) = &news {
            if on_terminal {
                let (_, rows) = terminal::size().unwrap_or((80, 24));
                terminal::draw("the daemon is away; waiting for it\n", rows)?;
            } else {
                out::note("the daemon is away; waiting for it");
            }
            // However long that takes.
            news = link.block_on(follower.next()).map(Some)?;
            debug_assert!(!matches!(news, Some(News::Away(_))));
            let _ = link.reconnect();
        }
        link.block_on(async { drain(follower).await })?;
        match fetch(link, place) {
            Ok(Some(fetched)) => return Ok(fetched),
            Ok(None) => anyhow::bail!("the project is watched no more"),
            // Between two daemons; the stream tells.
            Err(error) if is_passing(&error) => {
                let _ = link.reconnect();
            }
            Err(error) => return Err(error),
        }
    }
}

async fn drain(follower: &mut Follower) -> Result<(), ClientError> {
    let until = tokio::time::Instant::now() + TOGETHER;
    while let Ok(news) = tokio::time::timeout_at(until, follower.next()).await {
        if matches!(news?, News::Away(_)) {
            break;
        }
    }
    Ok(())
}

fn is_passing(error: &anyhow::Error) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    matches!(client, Some(ClientError::Broken { .. } | ClientError::NoDaemon(_)))
}
