//! Opens and closes the dashboard, by a request on the local socket or by the configuration, and lists
//! and ends its sessions.
//!
//! A listener and what it accepts live equally long: a browser that has sent its cookie to another
//! process at the same port has given nothing away. Rules: `docs/specification.md#dashboard`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::api::dashboard::guard::AccessGuard;
use crate::api::dashboard::kept::{KeepRequest, KeptDashboard, KeptFile};
use crate::api::dashboard::listener;
use crate::api::dashboard::sessions::Sessions;
use crate::api::dashboard::state::OpenDashboard;
use crate::api::response::json::json_response;
use crate::api::router::Route;
use crate::api::server::peer::detect_peer_check;
use crate::api::state::ApiState;
use crate::core::sync::lock;
use crate::wire::dashboard::{
    DashboardClosed, DashboardOpened, DashboardSessionRevoked, DashboardState, PeerCheck,
};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Why the dashboard cannot be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("cannot open the dashboard: {0}")]
    Io(#[from] io::Error),
    #[error(
        "cannot open the dashboard: neither `NETLINK_SOCK_DIAG` nor `/proc/net/tcp` shows which user \
         connects"
    )]
    NoPeerCheck,
}

/// Returns the routes about the dashboard; the dashboard itself does not serve them.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new("/api/dashboard")
            .get(get_dashboard, &[])
            .post(open_dashboard, &[])
            .delete(close_dashboard, &[]),
        Route::new("/api/dashboard/sessions/{session_id}").delete(revoke_session, &[]),
    ]
}

async fn get_dashboard(State(api): State<Arc<ApiState>>) -> Response {
    let (address, sessions) = match &*api.dashboard.open.lock().await {
        Some(open) => (Some(open.address), open.guard.sessions.list()),
        None => (None, Vec::new()),
    };
    let ip = address.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    let peer_check = find_peer_check(ip).await.unwrap_or(PeerCheck::None);
    let address = address.map(page_url);
    json_response(&DashboardState { address, peer_check, sessions })
}

async fn open_dashboard(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    let (address, ticket, token) = open_or_reuse(&api).await.map_err(|error| {
        let hint = match error {
            OpenError::Io(_) => HintCode::DashboardListen,
            OpenError::NoPeerCheck => HintCode::PeerCheck,
        };
        Problem::new(ProblemCode::Unavailable, error.to_string(), hint)
    })?;
    let address = page_url(address);
    let url = format!("{address}open/{ticket}");
    Ok(json_response(&DashboardOpened { url, address, token }))
}

async fn close_dashboard(State(api): State<Arc<ApiState>>) -> Response {
    json_response(&DashboardClosed { closed: api.dashboard.close().await })
}

async fn revoke_session(
    State(api): State<Arc<ApiState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path(id)) = id else {
        let detail = "the name of the session is not percent-encoded UTF-8";
        let hint = HintCode::InvalidPercentEncoding;
        return Err(Problem::new(ProblemCode::BadRequest, detail, hint));
    };
    let open = api.dashboard.open.lock().await;
    let guard = open.as_ref().map(|open| &open.guard);
    let Some(guard) = guard.filter(|guard| guard.sessions.revoke(&id)) else {
        let detail = format!("no session of the dashboard is named `{id}`");
        return Err(Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchSession));
    };
    guard.keep_sessions();
    Ok(json_response(&DashboardSessionRevoked { id }))
}

/// Returns the URL of the page.
fn page_url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

/// Opens the dashboard at the configured address, or continues with the one that the service manager has
/// kept, then follows changes of the configuration. Runs until the configuration's sender is dropped.
pub async fn run_dashboard(api: Arc<ApiState>) {
    let config = &api.dashboard.config;
    // Older versions stored a token there.
    let _ = fs::remove_file(&config.former_state_file);
    let mut http = config.http.clone();
    let mut listen = http.borrow_and_update().listen();
    let kept = lock(&config.kept).take();
    if let Some(kept) = kept
        && let Err(error) = adopt_kept(&api, kept, listen).await
    {
        warn!(%error, "cannot continue with the dashboard of the last daemon");
        (config.keep)(KeepRequest::Remove);
    }
    listen_at(&api, listen).await;
    while http.changed().await.is_ok() {
        let address = http.borrow_and_update().listen();
        if address == listen {
            continue;
        }
        listen = address;
        if address.is_none() {
            api.dashboard.close().await;
        }
        listen_at(&api, address).await;
    }
}

/// Continues with a kept dashboard, unless the configuration names another address.
async fn adopt_kept(
    api: &Arc<ApiState>,
    kept: KeptDashboard,
    configured: Option<SocketAddr>,
) -> Result<(), OpenError> {
    let KeptDashboard { listener, sessions } = kept;
    let address = listener.local_addr()?;
    let is_listening = socket_acceptconn(&listener).map_err(io::Error::from)?;
    if !is_listening || !address.ip().is_loopback() {
        return Err(io::Error::other("it does not listen on loopback").into());
    }
    if configured.is_some_and(|configured| configured != address) {
        (api.dashboard.config.keep)(KeepRequest::Remove);
        return Ok(());
    }
    listener.set_nonblocking(true)?;
    let check = find_peer_check(address.ip()).await?;
    if check == PeerCheck::None {
        return Err(OpenError::NoPeerCheck);
    }
    let (kept, content) = KeptFile::from_kept(sessions)?;
    let sessions = Sessions::from_kept(&content);
    let sessions = sessions.map_or_else(Sessions::new, Ok)?;
    let listener = TcpListener::from_std(listener)?;
    let opened = serve(api, listener, sessions, Some(kept), check)?;
    // They may be new ones, or fewer: what is kept must not be older than what is served.
    opened.guard.keep_sessions();
    *api.dashboard.open.lock().await = Some(opened);
    Ok(())
}

/// Moves the dashboard to `address`, unless it listens there already; does nothing for `None`.
async fn listen_at(api: &Arc<ApiState>, address: Option<SocketAddr>) {
    let mut open = api.dashboard.open.lock().await;
    let Some(address) = address else { return };
    if open.as_ref().is_some_and(|open| open.address == address) {
        return;
    }
    // Closes the previous listener.
    if open.take().is_some() {
        (api.dashboard.config.keep)(KeepRequest::Remove);
    }
    match start_listener(api, address).await {
        Ok(opened) => *open = Some(opened),
        Err(error) => warn!(%address, %error, "cannot open the dashboard at its address"),
    }
}

/// Opens the dashboard if it is closed; returns its address, a ticket for one browser, and the
/// token.
async fn open_or_reuse(api: &Arc<ApiState>) -> Result<(SocketAddr, String, String), OpenError> {
    let dashboard = &api.dashboard;
    let mut open = dashboard.open.lock().await;
    if open.is_none() {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = dashboard.config.http.borrow().listen().unwrap_or(any_port);
        *open = Some(start_listener(api, address).await?);
    }
    let open = open.as_ref().ok_or_else(|| io::Error::other("the dashboard was closed"))?;
    let sessions = &open.guard.sessions;
    let ticket = sessions.issue_ticket()?.as_str().to_owned();
    Ok((open.address, ticket, sessions.token().as_str().to_owned()))
}

/// Binds a listener, with a new token and without sessions, and serves it.
async fn start_listener(
    api: &Arc<ApiState>,
    listen: SocketAddr,
) -> Result<OpenDashboard, OpenError> {
    let check = find_peer_check(listen.ip()).await?;
    if check == PeerCheck::None {
        return Err(OpenError::NoPeerCheck);
    }
    let listener = TcpListener::bind(listen).await?;
    let kept = KeptFile::create()
        .inspect_err(|error| warn!(%error, "cannot keep the dashboard over a restart"))
        .ok();
    // What the service manager is to keep. It is notified last: it must not keep what is not served.
    let copies = kept.as_ref().map(|kept| {
        Ok::<_, io::Error>((
            listener.as_fd().try_clone_to_owned()?,
            kept.as_fd().try_clone_to_owned()?,
        ))
    });
    let copies = copies.transpose()?;
    let opened = serve(api, listener, Sessions::new()?, kept, check)?;
    opened.guard.keep_sessions();
    if let Some((listener, sessions)) = &copies {
        let (listener, sessions) = (listener.as_fd(), sessions.as_fd());
        (api.dashboard.config.keep)(KeepRequest::Keep { listener, sessions });
    }
    Ok(opened)
}

/// Spawns the task that serves a listener.
fn serve(
    api: &Arc<ApiState>,
    listener: TcpListener,
    sessions: Sessions,
    kept: Option<KeptFile>,
    check: PeerCheck,
) -> io::Result<OpenDashboard> {
    let address = listener.local_addr()?;
    let config = &api.dashboard.config;
    let (http, metrics) = (config.http.clone(), Arc::clone(&api.http_metrics));
    let guard = Arc::new(AccessGuard::new(address, sessions, kept, http, metrics));
    let (close, closed) = watch::channel(false);
    let task = listener::serve(
        listener,
        Arc::clone(api),
        Arc::clone(&guard),
        check,
        [closed, config.stop.clone()],
    );
    tokio::spawn(task);
    info!(%address, ?check, "dashboard opened");
    Ok(OpenDashboard { address, guard, close })
}

/// Returns how the users of connections are found. It connects to a listener of its own, and may read
/// the kernel's tables.
async fn find_peer_check(ip: IpAddr) -> io::Result<PeerCheck> {
    spawn_blocking(move || detect_peer_check(ip)).await.map_err(io::Error::other)?
}
