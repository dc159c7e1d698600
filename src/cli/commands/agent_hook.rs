//! `dossierd agent-hook`: answers a hook of a coding agent. It never fails, waits for a limited time, and prints nothing
//! unless there is something to report.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cli::agent_hook::{
    HookEvent, HookInput, LostArtifacts, SessionMemory, SessionStore, additional_context,
    lost_text, refusal, session_text, unfinished_text,
};
use crate::cli::args::{AgentHookArgs, LoneArgs, ProjectArgs, SocketArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::local::scanned_status::project_status;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::output;
use crate::cli::scope::{Scope, root_text};
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::core::path::escape_bytes;
use crate::project::LoneFeature;
use crate::wire::events::{JournalPage, ReceivedEvent};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

/// Maximum number of bytes of the input; a longer one is not answered. The input of a tool that writes a file contains
/// the file.
const MAX_INPUT_BYTES: u64 = 64 << 20;
/// Time after which the agent is not kept waiting any longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum number of pages of events that are read; the next hook continues.
const MAX_PAGES: usize = 20;

pub(crate) fn run(args: &AgentHookArgs) -> anyhow::Result<CommandExit> {
    output::set_quiet();
    let (sender, answer) = mpsc::channel();
    let args = args.clone();
    let answering = move || {
        // Whatever fails: the agent continues as if there was no hook.
        let _ = sender.send(answer_hook(&args).ok().flatten());
    };
    thread::Builder::new().name("agent-hook".to_owned()).spawn(answering)?;
    if let Ok(Some(answer)) = answer.recv_timeout(ANSWER_TIMEOUT) {
        output::print_json(&answer)?;
    }
    Ok(CommandExit::Success)
}

fn answer_hook(args: &AgentHookArgs) -> anyhow::Result<Option<Value>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut bytes)?;
    let Some(input) = HookInput::parse(&bytes) else { return Ok(None) };
    drop(bytes);
    let dirs = input.cwd.clone().into_iter().chain(args.fallback_dir.clone());
    let Some(root) = enter_project(dirs, &args.socket) else { return Ok(None) };
    let memory_dir = args.memory.clone().map_or_else(|| Ok(user_dirs()?.state_dir), anyhow::Ok)?;
    let memory_dir = memory_dir.join("agent-sessions");
    match input.event {
        HookEvent::SessionStart => on_session_start(&args.socket, memory_dir, &input, &root),
        HookEvent::PostToolUse => on_tool_use(&args.socket, memory_dir, &input, &root),
        HookEvent::Stop if args.enforce && input.can_be_refused() => {
            on_stop(&args.socket, memory_dir, &input, &root)
        }
        HookEvent::Stop | HookEvent::Other => Ok(None),
    }
}

/// Enters the first of the directories that is in a project, and returns the root of that.
fn enter_project(dirs: impl Iterator<Item = PathBuf>, socket: &SocketArgs) -> Option<PathBuf> {
    let args = ProjectArgs {
        project: None,
        lone: LoneArgs::default(),
        json: false,
        socket: socket.clone(),
    };
    dirs.filter(|dir| std::env::set_current_dir(dir).is_ok())
        .find_map(|_| Scope::resolve(None, &args).ok()?.root)
}

fn on_session_start(
    socket: &SocketArgs,
    memory_dir: PathBuf,
    input: &HookInput,
    root: &Path,
) -> anyhow::Result<Option<Value>> {
    let status = fetch_status(socket)?;
    let watched = status.as_ref().and_then(|status| find_root(status, root));
    let text = match watched {
        Some(project) => session_text(project),
        None => scanned_text(root)?,
    };
    // Without a memory the agent receives this text, and none about changes.
    if let (Some(status), Ok(store)) = (&status, SessionStore::open(memory_dir)) {
        store.remove_old();
        let _ = store.save(&input.session_id, &memory_at(status, root));
    }
    Ok(text.map(|text| additional_context(input.event, &text)))
}

/// Returns the text about a project that no daemon watches.
fn scanned_text(root: &Path) -> anyhow::Result<Option<String>> {
    let targets = LocalTarget::all_from_path(root, LoneFeature::Refuse)?;
    let Some(target) = targets.into_iter().next() else { return Ok(None) };
    let mut features = Vec::new();
    target.scan(|feature| feature, |feature| features.push(feature))?;
    Ok(session_text(&project_status(&target, &features, &target.diagnostics())))
}

/// What changed since the last hook of a session, and the connection and memory by which that was found.
struct SessionChanges {
    store: SessionStore,
    connection: DaemonConnection,
    memory: SessionMemory,
    lost: LostArtifacts,
}

impl SessionChanges {
    /// Reads what changed; returns `None` if no daemon runs, or the session is not remembered yet.
    fn read(
        socket: &SocketArgs,
        memory_dir: PathBuf,
        input: &HookInput,
        root: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let store = SessionStore::open(memory_dir)?;
        let Some(mut connection) = DaemonConnection::connect_if_running(socket)? else {
            return Ok(None);
        };
        let Some(mut memory) = memory_of(&mut connection, &store, input, root)? else {
            return Ok(None);
        };
        let mut lost = read_events(&mut connection, &mut memory)?;
        memory.add_changed(std::mem::take(&mut lost.changed_features));
        Ok(Some(Self { store, connection, memory, lost }))
    }
}

fn on_tool_use(
    socket: &SocketArgs,
    memory_dir: PathBuf,
    input: &HookInput,
    root: &Path,
) -> anyhow::Result<Option<Value>> {
    let Some(changes) = SessionChanges::read(socket, memory_dir, input, root)? else {
        return Ok(None);
    };
    changes.store.save(&input.session_id, &changes.memory)?;
    Ok(lost_text(&changes.lost).map(|text| additional_context(input.event, &text)))
}

fn on_stop(
    socket: &SocketArgs,
    memory_dir: PathBuf,
    input: &HookInput,
    root: &Path,
) -> anyhow::Result<Option<Value>> {
    let Some(changes) = SessionChanges::read(socket, memory_dir, input, root)? else {
        return Ok(None);
    };
    let SessionChanges { store, mut connection, mut memory, .. } = changes;
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    let Some(project) = find_root(&status, root) else { return Ok(None) };
    let current = std::env::current_dir()?;
    let current = escape_bytes(current.as_os_str().as_bytes());
    let is_selected = |overview: &&Overview<'_>| {
        memory.has_changed(&overview.feature_slug)
            || Path::new(&*current).starts_with(&*overview.feature_dir)
                && *overview.feature_dir != *project.root
                && !overview.feature_dir.is_empty()
    };
    let selected: Vec<&Overview<'_>> = project.features.iter().filter(is_selected).collect();
    let (text, state) = unfinished_text(&selected).unzip();
    let answer = text.filter(|_| state != memory.refused_state).map(|text| refusal(&text));
    memory.refused_state = state;
    // If this cannot be remembered, the agent may stop: nothing is refused twice.
    store.save(&input.session_id, &memory)?;
    Ok(answer)
}

/// Returns the status of the daemon; `None` if none runs.
fn fetch_status(socket: &SocketArgs) -> anyhow::Result<Option<Status<'static>>> {
    match DaemonConnection::connect_if_running(socket)? {
        Some(mut connection) => {
            connection.get_json(&RequestPath::new("/api/status").with_sync()).map(Some)
        }
        None => Ok(None),
    }
}

fn find_root<'s, 'a>(status: &'s Status<'a>, root: &Path) -> Option<&'s ProjectStatus<'a>> {
    let root = root_text(root);
    status.projects.iter().find(|project| project.root == root)
}

fn memory_at(status: &Status<'_>, root: &Path) -> SessionMemory {
    let cursor = format!("{}:{}", status.instance, status.seq);
    SessionMemory::starting_at(&cursor, &root_text(root))
}

/// Returns the memory of the session; one that begins now, which is saved, is not returned.
fn memory_of(
    connection: &mut DaemonConnection,
    store: &SessionStore,
    input: &HookInput,
    root: &Path,
) -> anyhow::Result<Option<SessionMemory>> {
    let memory = store.load(&input.session_id);
    if memory.cursor.is_some() && memory.root == root_text(root) {
        return Ok(Some(memory));
    }
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    store.save(&input.session_id, &memory_at(&status, root))?;
    Ok(None)
}

/// Reads the events of the project after the cursor of the memory, which advances. Events that are not available any
/// more are left out.
fn read_events(
    connection: &mut DaemonConnection,
    memory: &mut SessionMemory,
) -> anyhow::Result<LostArtifacts> {
    let mut lost = LostArtifacts::default();
    for page in 0..MAX_PAGES {
        let path = RequestPath::new("/api/events")
            .with("project", &memory.root)
            .with_optional("since", memory.cursor.as_deref());
        // The first request waits until the effects of the tool are committed.
        let path = if page == 0 { path.with_sync() } else { path };
        let received: JournalPage = connection.get_json(&path)?;
        memory.cursor = Some(received.next);
        for event in &received.events {
            if let Ok(event) = serde_json::from_str::<ReceivedEvent>(event.get()) {
                lost.add(&event);
            }
        }
        if received.events.is_empty() {
            break;
        }
    }
    Ok(lost)
}
