//! Commands, arguments and help texts.
//!
//! Arguments are parsed into typed values here; nothing is read from disk.

mod check_outputs;
mod color;
mod examples;
mod leading_options;
mod moment;
mod selection;
mod service;

use std::ffi::OsString;
use std::path::PathBuf;

pub(super) use check_outputs::{CheckFormat, CheckOutputs};
pub(super) use color::Color;
pub(super) use examples::examples_of;
use examples::with_examples;
use leading_options::move_leading_options;
pub(super) use moment::Moment;
pub(super) use selection::{
    CurrentFeatureArgs, DaemonArgs, FeatureArgs, LoneArgs, OptionalFeatureArgs, ProjectArgs,
    SocketArgs,
};
pub(super) use service::{
    ConfigArgs, ConfigCommand, ConfigFileArgs, DoctorArgs, ServiceArgs, ServiceCommand,
    ServiceInstallArgs, ServiceStatusArgs, ServiceUninstallArgs,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::LogConfig;
use crate::core::digest::Digest;
use crate::core::event::{EVENT_TYPE_PREFIX, EVENT_TYPES, parse_event_type};

/// Report what is missing, deleted or drifted in feature directories
#[derive(Debug, Parser)]
#[command(name = "dossierd", version, about, max_term_width = 100)]
pub(super) struct Cli {
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    /// Run as if started in this directory
    #[arg(short = 'C', global = true, value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Print no notes and warnings; `check` prints nothing
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Show all times in UTC instead of the local time
    #[arg(long, global = true)]
    pub(super) utc: bool,
    /// Print long output on the terminal without a pager
    #[arg(long, global = true)]
    pub(super) no_pager: bool,
    #[command(subcommand)]
    pub(super) command: CliCommand,
}

impl Cli {
    /// Parses the arguments of this process.
    pub(super) fn parse_args() -> Result<Self, clap::Error> {
        let arguments = move_leading_options(std::env::args_os().collect());
        let mut command = with_examples(Self::command());
        let matches = command.try_get_matches_from_mut(arguments)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        match &cli.command {
            CliCommand::Report(args) if args.feature.project.json => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "`report` writes HTML; for JSON run `dossierd status`, `artifacts`, `show` or `drift` \
                 with `--json`",
            )),
            _ => Ok(cli),
        }
    }
}

impl Cli {
    /// Returns true if the command prints text that may be long, and ends.
    pub(super) fn can_use_pager(&self) -> bool {
        if self.no_pager || self.quiet {
            return false;
        }
        match &self.command {
            CliCommand::Status(args) => !args.watch && !args.short && !args.selection.project.json,
            CliCommand::Events(args) => {
                !args.follow && args.exec.exec.is_none() && !args.project.json
            }
            CliCommand::Artifacts(args) => !args.feature.project.json,
            CliCommand::Log(args) => !args.feature.project.json,
            CliCommand::Show(args) => !args.feature.project.json,
            CliCommand::Diff(args) => !args.feature.project.json,
            CliCommand::Drift(args) => !args.feature.project.json,
            CliCommand::Scan(args) => !args.json,
            CliCommand::Check(args) => args.outputs.is_text_only(),
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the daemon in the foreground
    ///
    /// With glibc the program first executes itself again with `MALLOC_ARENA_MAX=2` and
    /// `MALLOC_TRIM_THRESHOLD_=131072` in its environment, which keeps the daemon's heap small. The
    /// process ID stays the same. To avoid this, set both variables yourself.
    Run(RunArgs),
    /// Show the state of all features, or of one in detail
    ///
    /// Exit codes with `--short`: 0 everything is in order; 10 a feature is incomplete; 11 one has
    /// drifted; 12 both; 13 something is not seen, for example because the project is not watched; 3 no
    /// daemon runs.
    #[command(visible_alias = "st")]
    Status(StatusArgs),
    /// Show current problems, then follow events until Ctrl-C
    ///
    /// If no daemon runs, one is started: the systemd user unit if it is installed, otherwise a
    /// process in the background. If the daemon does not watch the current project, it watches it
    /// until the daemon ends.
    Watch(WatchArgs),
    /// Show all features and live events on the whole screen
    ///
    /// Begins with the features that need attention. Enter opens one: its artifacts, their contents, and
    /// the difference from the baseline; `a` accepts a state, `r` restores an artifact, and `?` explains all
    /// keys. The daemon is started as by `watch`; when it stops, the last state stays and is marked until it
    /// is back.
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// Print the event journal
    Events(EventsArgs),
    /// Compare the daemon's state with a new scan
    Verify(OptionalFeatureArgs),
    /// Ask the daemon to rescan all projects
    Rescan(OptionalFeatureArgs),
    /// Add, remove or list the projects that the daemon watches
    Project(ProjectsArgs),
    /// Open the dashboard in a browser
    ///
    /// The dashboard listens on the loopback address only and admits only browsers that were opened
    /// by this command, for a week. It and its sessions continue over restarts of the systemd service
    /// until `--close`; otherwise they end with the daemon.
    Dashboard(DashboardArgs),
    /// Stop the daemon
    Stop(SocketArgs),
    /// Scan a project or feature once and print the result; read-only
    Scan(ScanArgs),
    /// Check that features are complete and match their baselines
    ///
    /// The result is the exit code, the first of these that applies: 78 a manifest or the
    /// configuration is invalid; 13 something could not be read; 12 incomplete and drifted; 11
    /// drifted; 10 incomplete; 0 none of these. Writes nothing but the files that `-o` names.
    Check(CheckArgs),
    /// List the artifacts of a feature
    #[command(visible_alias = "ls")]
    Artifacts(ArtifactsArgs),
    /// Show one artifact and its content
    Show(ShowArgs),
    /// Show how a feature differs from its baseline
    Drift(DriftArgs),
    /// Show line by line what changed between two states of a feature
    ///
    /// A revision is one of: `baseline`; `now`; `@N`, the state after event N; a duration back, such as
    /// `2h`; a time such as `2026-02-21T10:00:00Z`; for one artifact 8 to 64 digits of a hash. Into a
    /// pipe the output is a unified diff that `git apply` accepts at the root of the project. Exit codes:
    /// 0 equal; 1 different; 2 and more as for all commands.
    Diff(DiffArgs),
    /// List the stored versions of a feature's artifacts
    Log(LogArgs),
    /// Write stored versions of artifacts back
    ///
    /// Without `--from`, a file that is absent gets its last stored content, and one that is present that
    /// of the baseline. A present file is replaced only with `--force`, and its content is stored first.
    /// Exit codes: 0 all; 1 some were not restored.
    Restore(RestoreArgs),
    /// Show or purge the stored versions
    History(HistoryArgs),
    /// Write an HTML report of a feature, to attach to a review
    Report(ReportArgs),
    /// Accept, show or clear the baseline of a feature
    Baseline(BaselineArgs),
    /// Install, remove or show the systemd user service
    Service(ServiceArgs),
    /// Show or check the configuration, or write an example
    Config(ConfigArgs),
    /// Write a project's `.dossierd/config.yaml`, after showing what is recognised
    Init(InitArgs),
    /// List the layouts, and which apply to a project and why
    Layouts(LayoutsArgs),
    /// Diagnose problems with the installation and suggest fixes
    ///
    /// Exit codes: 0 no errors, perhaps warnings; 1 errors were found. Changes nothing.
    Doctor(DoctorArgs),
    /// Show event delivery, and retry or drop dead letters
    Delivery(DeliveryArgs),
    /// Serve an agent on standard input and output (Model Context Protocol)
    ///
    /// Offers what the daemon knows as tools and resources. Where no daemon watches a project, it is
    /// scanned once for each call.
    #[cfg(feature = "mcp")]
    Mcp(McpArgs),
    /// Answer a hook of a coding agent, for the plugin in `integrations/claude-code`
    ///
    /// Reads one JSON object from standard input and prints at most one. Exits with 0 whatever happens, so
    /// that no hook disturbs the agent.
    #[command(hide = true)]
    AgentHook(AgentHookArgs),
    /// Print what the last word of a command line may be, for the scripts that `completions` prints
    #[command(hide = true)]
    CompleteWord(CompleteWordArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Projects to watch in addition to the configured ones
    #[arg(value_name = "PROJECT")]
    pub(super) projects: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
    /// Log filter: error, warn, info, debug or trace, also by module
    #[arg(long, env = "DOSSIERD_LOG", hide_env_values = true, value_name = "FILTER", value_parser = LogConfig::parse)]
    pub(super) log: Option<LogConfig>,
    /// Leave the terminal's session, so that the daemon survives its end
    #[arg(long, hide = true)]
    pub(super) detached: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) selection: OptionalFeatureArgs,
    /// Redraw on every change, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// Print one line, and exit with the code of the state
    #[arg(long, conflicts_with_all = ["watch", "problems"])]
    pub(super) short: bool,
    /// Show only features with problems, and what they are
    #[arg(long)]
    pub(super) problems: bool,
    /// Order of the features in the table
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = FeatureOrder::Trouble)]
    pub(super) sort: FeatureOrder,
}

/// Order of the features in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FeatureOrder {
    /// Those with problems first, the worst at the top
    Trouble,
    /// By slug
    Name,
    /// The one that changed last first
    Changed,
}

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pub(super) selection: OptionalFeatureArgs,
    #[command(flatten)]
    pub(super) range: RangeArgs,
    #[command(flatten)]
    pub(super) exec: ExecArgs,
    /// Show important changes as notifications of the desktop
    #[arg(long)]
    pub(super) notify: bool,
}

/// Selects a part of the journal, or of the versions.
#[derive(Debug, Args)]
pub(super) struct RangeArgs {
    /// Only what happened after this: `@N` (event N), a duration back (`2h`), a time, or a cursor
    #[arg(long, value_name = "MOMENT")]
    pub(super) since: Option<Moment>,
    /// Only what happened until this
    #[arg(long, value_name = "MOMENT")]
    pub(super) until: Option<Moment>,
}

#[cfg(feature = "top")]
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Root of the project [default: that of the current directory]
    #[arg(long, short, value_name = "ROOT")]
    pub(super) project: Option<PathBuf>,
    /// Let the mouse select rows and scroll
    #[arg(long)]
    pub(super) mouse: bool,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

/// Runs a command for each event.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Run a command for each event
    ///
    /// `sh -c` runs it with the event as JSON on standard input, and its fields in variables such as
    /// `DOSSIERD_EVENT_PATH`: one command at a time for a feature, four in all, each for at most 60
    /// seconds.
    #[arg(long, value_name = "CMD")]
    pub(super) exec: Option<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Features: slug, path, number or part of the slug [default: all]
    #[arg(value_name = "FEATURE")]
    pub(super) features: Vec<OsString>,
    /// Event type to print; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type_parser())]
    pub(super) types: Vec<String>,
    #[command(flatten)]
    pub(super) range: RangeArgs,
    /// Print only the newest N events [default: 50 on a terminal without `--since`, otherwise all]
    #[arg(long, short, value_name = "N")]
    pub(super) number: Option<usize>,
    /// Follow new events until Ctrl-C
    #[arg(long, short)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) exec: ExecArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// Accepts event types with and without their common prefix, like the API; the help shows them
/// without it.
fn event_type_parser() -> impl TypedValueParser<Value = String> {
    let short = |kind: &'static str| kind.strip_prefix(EVENT_TYPE_PREFIX).unwrap_or(kind);
    let types = EVENT_TYPES.map(|kind| PossibleValue::new(short(kind)).alias(kind));
    PossibleValuesParser::new(types)
        .map(|text| parse_event_type(&text).map_or_else(|| text.clone(), str::to_owned))
}

#[derive(Debug, Args)]
pub(super) struct ProjectsArgs {
    #[command(subcommand)]
    pub(super) command: ProjectsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProjectsCommand {
    /// Watch a project, also after a restart of the daemon
    Add(ProjectPathArgs),
    /// Stop watching a project; changes nothing in it
    Remove(ProjectPathArgs),
    /// List the watched projects
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
    /// Project, feature, or a directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) lone: LoneArgs,
    /// Print the snapshot of each feature as one line of JSON
    #[arg(long, short = 'j')]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Project, feature, or a directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) lone: LoneArgs,
    /// Also fail on `info` drift, unknown completeness, skipped directories
    #[arg(long)]
    pub(super) strict: bool,
    #[command(flatten)]
    pub(super) outputs: CheckOutputs,
    /// Check only features with changes since this commit of git
    #[arg(long, value_name = "GITREV")]
    pub(super) changed_since: Option<String>,
    /// Also list archived features without a finding
    #[arg(long)]
    pub(super) archived: bool,
}

#[derive(Debug, Args)]
pub(super) struct ArtifactsArgs {
    #[command(flatten)]
    pub(super) feature: CurrentFeatureArgs,
    /// List only this class
    #[arg(long, value_name = "CLASS", value_parser = ARTIFACT_CLASSES)]
    pub(super) class: Option<String>,
    /// List only this work package
    #[arg(long, value_name = "WP")]
    pub(super) wp: Option<String>,
    /// List only this step
    #[arg(long, value_name = "STEP")]
    pub(super) step: Option<String>,
    /// List only required artifacts
    #[arg(long)]
    pub(super) required: bool,
    /// List only artifacts that are not present
    #[arg(long)]
    pub(super) missing: bool,
    /// List the files that are ignored, and by which pattern
    #[arg(long, conflicts_with_all = ["class", "wp", "step", "required", "missing"])]
    pub(super) ignored: bool,
}

/// How a command that changes something names a feature.
const EXACT_FEATURE: &str = "Feature: slug, path or number";
/// Artifact classes that `--class` accepts.
const ARTIFACT_CLASSES: [&str; 7] =
    ["input", "workflow", "output", "evidence", "policy", "runtime", "other"];

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
    /// Key of the artifact, or its path in the feature
    #[arg(value_name = "KEY|PATH")]
    pub(super) key: String,
    /// Print the content alone, of this state, as for `diff`
    #[arg(long, value_name = "REV")]
    pub(super) at: Option<String>,
    /// Print the content alone; the same as `--at now`
    #[arg(long, conflicts_with = "at")]
    pub(super) raw: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    pub(super) feature: CurrentFeatureArgs,
    /// Artifacts, by key or path; all if none is named
    #[arg(value_name = "KEY|PATH")]
    pub(super) names: Vec<String>,
    /// First state
    #[arg(long, value_name = "REV", default_value = "baseline")]
    pub(super) from: String,
    /// Second state
    #[arg(long, value_name = "REV", default_value = "now")]
    pub(super) to: String,
    /// Show only the numbers of changed lines
    #[arg(long)]
    pub(super) stat: bool,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    pub(super) feature: CurrentFeatureArgs,
    /// Artifact, by key or path; all if none is named
    #[arg(value_name = "KEY|PATH")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) range: RangeArgs,
    /// List only the newest N versions [default: 50 on a terminal without `--since`, otherwise 5000]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub(super) number: Option<u16>,
}

#[derive(Debug, Args)]
// What is changed becomes the last argument, so the names follow the feature again.
#[command(mut_arg("feature", |feature| feature.help(EXACT_FEATURE)), mut_arg("names", |names| names))]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    pub(super) feature: FeatureArgs,
    /// Artifacts, by key or path
    #[arg(
        value_name = "KEY|PATH",
        required_unless_present = "deleted",
        conflicts_with = "deleted"
    )]
    pub(super) names: Vec<String>,
    /// Restore every deleted file, except renamed ones
    #[arg(long)]
    pub(super) deleted: bool,
    /// State whose content is restored, as for `diff`
    #[arg(long, value_name = "REV")]
    pub(super) from: Option<String>,
    /// Show what would be restored; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Replace files that are present; their content is stored first
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    pub(super) command: HistoryCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum HistoryCommand {
    /// Show what is stored, and what was not or was evicted
    Status(DaemonArgs),
    /// Remove the stored versions of a feature, or all
    Purge(HistoryPurgeArgs),
}

#[derive(Debug, Args)]
pub(super) struct HistoryPurgeArgs {
    /// Feature: slug, path or number [default: all of all projects]
    pub(super) feature: Option<OsString>,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

#[derive(Debug, Args)]
pub(super) struct DriftArgs {
    #[command(flatten)]
    pub(super) feature: CurrentFeatureArgs,
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "one for each flag")]
pub(super) struct DashboardArgs {
    /// Print the URL instead of opening a browser
    #[arg(long)]
    pub(super) no_open: bool,
    /// Close the dashboard and end all its sessions
    #[arg(long, conflicts_with = "no_open")]
    pub(super) close: bool,
    /// List the browsers that have a session
    #[arg(long, conflicts_with_all = ["no_open", "close"])]
    pub(super) sessions: bool,
    /// End one session, by its ID in the list
    #[arg(long, value_name = "ID", conflicts_with_all = ["no_open", "close", "sessions"])]
    pub(super) revoke: Option<String>,
    /// Print JSON instead of opening a browser
    #[arg(long, short = 'j')]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) feature: CurrentFeatureArgs,
    /// Output file; `-` is standard output
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
    /// Accept the current state as the baseline
    Accept(BaselineAcceptArgs),
    /// Show the baseline
    Show(CurrentFeatureArgs),
    /// List the baseline and those that it replaced
    Log(CurrentFeatureArgs),
    /// Remove the baseline
    #[command(mut_arg("feature", |feature| feature.help(EXACT_FEATURE)))]
    Clear(FeatureArgs),
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(super) struct BaselineAcceptArgs {
    /// Features: slug, path or number
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "FEATURE")]
    pub(super) features: Vec<OsString>,
    /// Accept all features of the project
    #[arg(long)]
    pub(super) all: bool,
    /// Accept only if the tree hash is still this one
    #[arg(long, value_name = "HASH", conflicts_with = "all", value_parser = parse_tree_hash)]
    pub(super) tree: Option<Digest>,
    /// Accept for the team, in `.dossierd/baselines/`, which is committed
    #[arg(long, conflicts_with = "local")]
    pub(super) shared: bool,
    /// Accept for this machine and user only
    #[arg(long)]
    pub(super) local: bool,
    /// Put the baseline back that was replaced last
    #[arg(long, conflicts_with_all = ["all", "tree"])]
    pub(super) undo: bool,
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
    /// List sinks and dead letters
    List(DaemonArgs),
    /// Send dead letters again, and retry waiting events at once
    Retry(DeadLetterArgs),
    /// Delete dead letters
    Drop(DeadLetterArgs),
}

#[derive(Debug, Args)]
pub(super) struct DeadLetterArgs {
    /// Event IDs, as printed by `delivery list`
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "EVENT_ID")]
    pub(super) events: Vec<String>,
    /// Select all dead letters
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) daemon: DaemonArgs,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Project, or a directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    /// Layout of the project instead of those recognised; can be repeated
    #[arg(long = "layout", value_name = "NAME")]
    pub(super) layouts: Vec<String>,
    /// Use baselines that the team shares
    #[arg(long)]
    pub(super) shared: bool,
}

#[derive(Debug, Args)]
pub(super) struct LayoutsArgs {
    /// Project, or a directory in one
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    /// Print JSON
    #[arg(long, short = 'j')]
    pub(super) json: bool,
}

#[cfg(feature = "mcp")]
#[derive(Debug, Args)]
pub(super) struct McpArgs {
    /// Offer tools that accept baselines, restore files and add projects
    #[arg(long)]
    pub(super) allow_writes: bool,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct AgentHookArgs {
    /// Refuse once per state to stop while a feature is incomplete
    #[arg(long)]
    pub(super) enforce: bool,
    /// Directory for what is remembered between hooks [default: the state directory]
    #[arg(long, env = "CLAUDE_PLUGIN_DATA", hide_env_values = true, value_name = "DIR")]
    pub(super) memory: Option<PathBuf>,
    /// Directory whose project is examined if the agent works outside of all
    #[arg(long, env = "CLAUDE_PROJECT_DIR", hide_env_values = true, value_name = "DIR")]
    pub(super) fallback_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct CompleteWordArgs {
    /// Shell whose line is completed
    #[arg(value_enum)]
    pub(super) shell: CompletingShell,
    /// The words, of which the last one is completed; of bash the line, and the characters that end words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<OsString>,
}

/// Shells whose scripts call `complete-word`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompletingShell {
    /// Bash, which neither splits nor quotes as needed
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to generate the script for
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write the pages of all commands to this directory instead
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn parse_tree_hash(text: &str) -> Result<Digest, &'static str> {
    Digest::parse(text).ok_or(
        "expected a tree hash, 64 lower-case hexadecimal digits, as `status FEATURE` and `accept` print it",
    )
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::examples::EXAMPLES;
    use super::*;

    /// Collects the words of all visible commands.
    fn visible(command: &Command, words: &str, found: &mut Vec<String>) {
        found.push(words.to_owned());
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            visible(sub, format!("{words} {}", sub.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_examples() {
        let mut commands = Vec::new();
        visible(&Cli::command(), "", &mut commands);
        let without: Vec<&String> =
            commands.iter().filter(|words| examples_of(words).is_empty()).collect();
        assert!(without.is_empty(), "add examples to examples.rs: {without:?}");
    }

    #[test]
    fn examples_are_valid_arguments_of_their_command() {
        for (command, examples) in EXAMPLES {
            for (example, what) in *examples {
                let is_left_out = cfg!(not(feature = "mcp")) && *command == "mcp"
                    || cfg!(not(feature = "top")) && *command == "top";
                if is_left_out {
                    continue;
                }
                assert!(example.starts_with(command), "{example}");
                assert!(what.chars().count() <= 70, "{what}");
                // What a shell passes; quotes are around one argument with spaces only.
                let arguments = example.split(['|', '>']).next().unwrap();
                let mut words = vec!["dossierd"];
                for (at, part) in arguments.split('\'').enumerate() {
                    if at % 2 == 0 {
                        words.extend(part.split_whitespace());
                    } else {
                        words.push(part);
                    }
                }
                let parsed = Cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }
}
