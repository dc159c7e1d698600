//! What may be written on the command line.

mod color;
mod selection;
mod service;

use std::ffi::OsString;
use std::path::PathBuf;

pub(super) use color::Color;
pub(super) use selection::{DaemonArgs, FeatureArgs, OptionalFeatureArgs, ProjectArgs, SocketArgs};
pub(super) use service::{
    ConfigArgs, ConfigCommand, ConfigFileArgs, DoctorArgs, ServiceArgs, ServiceCommand,
    ServiceInstallArgs, ServiceStatusArgs, ServiceUninstallArgs,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::LogConfig;
use crate::core::digest::Digest;
use crate::core::event::{EVENT_TYPE_PREFIX, EVENT_TYPES, parse_event_type};
use crate::wire::cursor::{CursorError, Since};

/// Says what is missing, deleted or drifted in feature directories.
#[derive(Debug, Parser)]
#[command(name = "dossierd", version, about, max_term_width = 100)]
pub(super) struct Cli {
    /// When to colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    #[command(subcommand)]
    pub(super) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Watch projects: the daemon, in the foreground
    Run(RunArgs),
    /// Show all features at a glance, or one
    Status(StatusArgs),
    /// Show what is wrong now, then what happens, until Ctrl-C
    ///
    /// A daemon is started if none runs: the systemd user unit if it is installed, else one in the
    /// background. It watches the current project for its life if it does not do so already.
    Watch(WatchArgs),
    /// Print the journal of events
    Events(EventsArgs),
    /// Compare what the daemon shows with a fresh scan
    Verify(OptionalFeatureArgs),
    /// Let the daemon compare everything with the disk
    Rescan(OptionalFeatureArgs),
    /// Add, remove or list the projects that the daemon watches
    Project(ProjectsArgs),
    /// Open the dashboard in a browser
    ///
    /// The page is served on this machine's loopback only, to browsers that this command let in,
    /// and stays open over restarts of the daemon until it is closed.
    Dashboard(DashboardArgs),
    /// Stop the daemon
    Stop(SocketArgs),
    /// Look at a project or feature once and print its snapshots; writes nothing
    Scan(ScanArgs),
    /// Say by the exit code whether all is complete, in parity and seen; writes nothing
    ///
    /// Exit codes, the first that applies: 78 a manifest or configuration is broken; 13 something
    /// could not be seen; 12 incomplete and drifted; 11 drifted; 10 incomplete; 0 none of these.
    Check(CheckArgs),
    /// List the artifacts of a feature
    Artifacts(ArtifactsArgs),
    /// Show one artifact with its content
    Show(ShowArgs),
    /// Show how a feature differs from its baseline
    Drift(DriftArgs),
    /// Write a report of a feature that can be attached to a review: one HTML file
    Report(ReportArgs),
    /// Accept, show or clear the baseline of a feature
    Baseline(BaselineArgs),
    /// Install, remove or look at the systemd user service
    Service(ServiceArgs),
    /// Show, check or begin the configuration
    Config(ConfigArgs),
    /// Find what keeps dossierd from working well, each with its mend
    ///
    /// Exit codes: 0 nothing is wrong, or only odd; 1 something is wrong.
    Doctor(DoctorArgs),
    /// Show how events are delivered, and what a receiver refused for good
    Delivery(DeliveryArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Projects to watch, beside those of the configuration
    #[arg(value_name = "PROJECT")]
    pub(super) projects: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
    /// What to log: error, warn, info, debug or trace, also by module; else the configuration says
    #[arg(long, env = "DOSSIERD_LOG", hide_env_values = true, value_name = "FILTER", value_parser = LogConfig::parse)]
    pub(super) log: Option<LogConfig>,
    /// Leave the terminal's session, so that the daemon outlives it
    #[arg(long, hide = true)]
    pub(super) detached: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) selection: OptionalFeatureArgs,
    /// Show it again whenever something changes, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pub(super) selection: OptionalFeatureArgs,
    /// Begin behind this cursor instead of with the present state
    #[arg(long, value_name = "CURSOR", value_parser = parse_cursor)]
    pub(super) since: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only events of these features: slugs, or paths to their directories
    #[arg(value_name = "FEATURE")]
    pub(super) features: Vec<OsString>,
    /// Only events of this type; may be given more than once
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type_parser())]
    pub(super) types: Vec<String>,
    /// Begin behind this cursor, instead of with the oldest event that is kept (`start`)
    #[arg(long, value_name = "CURSOR", value_parser = parse_cursor)]
    pub(super) since: Option<String>,
    /// Go on with what happens, until Ctrl-C
    #[arg(long, short)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// The types of events, shown without what all begin with; understood as the API does.
fn event_type_parser() -> impl TypedValueParser<Value = String> {
    let short = |kind: &'static str| kind.strip_prefix(EVENT_TYPE_PREFIX).unwrap_or(kind);
    let types = EVENT_TYPES.map(|kind| PossibleValue::new(short(kind)).alias(kind));
    PossibleValuesParser::new(types)
        .map(|said| parse_event_type(&said).map_or_else(|| said.clone(), str::to_owned))
}

#[derive(Debug, Args)]
pub(super) struct ProjectsArgs {
    #[command(subcommand)]
    pub(super) command: ProjectsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProjectsCommand {
    /// Watch a project from now on
    Add(ProjectPathArgs),
    /// Watch a project no more; nothing in it is changed
    Remove(ProjectPathArgs),
    /// List the projects
    List(DaemonArgs),
}

#[derive(Debug, Args)]
pub(super) struct ProjectPathArgs {
    /// Root of the project, or a directory in it
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) daemon: DaemonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// A project, a feature, or any directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    /// Print one JSON object a line: the snapshot of each feature
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A project, a feature, or any directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    /// Also fail on drift of severity `info`, and where completeness is unknown
    #[arg(long)]
    pub(super) strict: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ArtifactsArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
    /// Only this class
    #[arg(long, value_name = "CLASS", value_parser = ARTIFACT_CLASSES)]
    pub(super) class: Option<String>,
    /// Only this work package
    #[arg(long, value_name = "WP")]
    pub(super) wp: Option<String>,
    /// Only this step
    #[arg(long, value_name = "STEP")]
    pub(super) step: Option<String>,
    /// Only required ones
    #[arg(long)]
    pub(super) required: bool,
    /// Only ones that are not present
    #[arg(long)]
    pub(super) missing: bool,
}

/// The classes that can be asked for.
const ARTIFACT_CLASSES: [&str; 7] =
    ["input", "workflow", "output", "evidence", "policy", "runtime", "other"];

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
    /// Key of the artifact
    pub(super) key: String,
}

#[derive(Debug, Args)]
pub(super) struct DriftArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
}

#[derive(Debug, Args)]
pub(super) struct DashboardArgs {
    /// Print the address instead of opening a browser
    #[arg(long)]
    pub(super) no_open: bool,
    /// Close the dashboard, and let no one in any more who was let in
    #[arg(long, conflicts_with = "no_open")]
    pub(super) close: bool,
    /// Print JSON; opens no browser
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
    /// Where to write it; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    pub(super) command: BaselineCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BaselineCommand {
    /// Accept the present state as the one to compare with
    Accept(BaselineAcceptArgs),
    /// Show what was accepted
    Show(FeatureArgs),
    /// Remove what was accepted
    Clear(FeatureArgs),
}

#[derive(Debug, Args)]
pub(super) struct BaselineAcceptArgs {
    /// Features: slugs, or paths to their directories
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "FEATURE")]
    pub(super) features: Vec<OsString>,
    /// All features of the project
    #[arg(long)]
    pub(super) all: bool,
    /// Accept only if this is still the state's tree hash
    #[arg(long, value_name = "HASH", conflicts_with = "all", value_parser = parse_tree_hash)]
    pub(super) tree: Option<Digest>,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeliveryArgs {
    #[command(subcommand)]
    pub(super) command: DeliveryCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeliveryCommand {
    /// List where events are delivered to, and the events that are set aside
    List(DaemonArgs),
    /// Deliver events that are set aside once more, after what came later; and try at once what
    /// waits
    Retry(DeadLetterArgs),
    /// Forget events that are set aside
    Drop(DeadLetterArgs),
}

#[derive(Debug, Args)]
pub(super) struct DeadLetterArgs {
    /// Identities of events, as `delivery list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "EVENT_ID")]
    pub(super) events: Vec<String>,
    /// All that are set aside
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) daemon: DaemonArgs,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write the pages of all commands into this directory instead
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn parse_tree_hash(text: &str) -> Result<Digest, &'static str> {
    Digest::parse(text).ok_or("a tree hash is 64 lower-case hexadecimal digits")
}

fn parse_cursor(text: &str) -> Result<String, CursorError> {
    text.parse::<Since>().map(|_| text.to_owned())
}
