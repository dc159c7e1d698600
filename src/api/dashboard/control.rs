//! Opens and closes the dashboard, by a request on the local socket or by the configuration.
//!
//! An open dashboard is reopened after a restart of the daemon, at the same address and with the
//! same token, so that pages reconnect. Closing it deletes both. Rules:
//! `docs/specification.md#dashboard`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::api::dashboard::guard::{AccessGuard, RandomToken};
use crate::api::dashboard::listener;
use crate::api::dashboard::state::{OpenDashboard, PersistedDashboard};
use crate::api::response::json::json_response;
use crate::api::router::Route;
use crate::api::state::ApiState;
use crate::wire::dashboard::{DashboardClosed, DashboardOpened};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Returns the routes that open and close the dashboard; the dashboard itself does not serve them.
pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new("/api/dashboard").post(open_dashboard, &[]).delete(close_dashboard, &[])]
}

async fn open_dashboard(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    let (address, ticket, token) = open_or_reuse(&api).await.map_err(|error| {
        let detail = format!("cannot open the dashboard: {error}");
        Problem::new(ProblemCode::Unavailable, detail, HintCode::DashboardListen)
    })?;
    let address = format!("http://{address}/");
    let url = format!("{address}open/{ticket}");
    Ok(json_response(&DashboardOpened { url, address, token }))
}

async fn close_dashboard(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    let closed = api.dashboard.close().await.map_err(|error| {
        let detail = format!("cannot delete the state of the dashboard: {error}");
        Problem::new(ProblemCode::WriteFailed, detail, HintCode::WriteFailed)
    })?;
    Ok(json_response(&DashboardClosed { closed }))
}

/// Opens the dashboard at the configured address, or where it was open before a restart, then
/// follows changes of the configuration. Runs until the configuration's sender is dropped.
pub async fn run_dashboard(api: Arc<ApiState>) {
    let config = &api.dashboard.config;
    let mut listen = config.listen.clone();
    let persisted = config.load_persisted();
    let first = config.configured_address().or(persisted.map(|persisted| persisted.listen));
    listen_at(&api, first).await;
    while listen.changed().await.is_ok() {
        let address = *listen.borrow_and_update();
        if address.is_none()
            && let Err(error) = api.dashboard.close().await
        {
            warn!(%error, "cannot delete the dashboard's token");
        }
        listen_at(&api, address).await;
    }
}

/// Moves the dashboard to `address`, unless it listens there already; does nothing for `None`.
async fn listen_at(api: &Arc<ApiState>, address: Option<SocketAddr>) {
    let mut open = api.dashboard.open.lock().await;
    let Some(address) = address else { return };
    if open.as_ref().is_some_and(|open| open.address == address) {
        return;
    }
    // Closes the previous listener.
    *open = None;
    let token = api.dashboard.config.load_persisted().map(|persisted| persisted.token);
    match start_listener(api, address, token).await {
        Ok(opened) => *open = Some(opened),
        Err(error) => warn!(%address, %error, "cannot open the dashboard"),
    }
}

/// Opens the dashboard if it is closed; returns its address, a ticket for one browser, and the
/// token.
async fn open_or_reuse(api: &Arc<ApiState>) -> io::Result<(SocketAddr, String, String)> {
    let dashboard = &api.dashboard;
    let mut open = dashboard.open.lock().await;
    if open.is_none() {
        *open = Some(listen_at_preferred(api).await?);
    }
    let open = open.as_ref().ok_or_else(|| io::Error::other("the dashboard was closed"))?;
    Ok((open.address, open.guard.issue_ticket()?, open.guard.token().to_owned()))
}

/// Opens the dashboard at the configured address, else where it was open last, else at a free port.
async fn listen_at_preferred(api: &Arc<ApiState>) -> io::Result<OpenDashboard> {
    let config = &api.dashboard.config;
    let persisted = config.load_persisted();
    if let Some(listen) = config.configured_address() {
        return start_listener(api, listen, persisted.map(|persisted| persisted.token)).await;
    }
    if let Some(PersistedDashboard { listen, token }) = persisted {
        match start_listener(api, listen, Some(token)).await {
            // Browsers send the cookie to the process that has the port now: use a new token.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    start_listener(api, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
}

/// Binds a listener, stores its address and token, and spawns the task that serves it. Without a
/// valid token a new one is generated.
async fn start_listener(
    api: &Arc<ApiState>,
    listen: SocketAddr,
    token: Option<String>,
) -> io::Result<OpenDashboard> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let token = match token.and_then(RandomToken::parse) {
        Some(token) => token,
        None => RandomToken::generate()?,
    };
    let config = &api.dashboard.config;
    let persisted = PersistedDashboard { listen: address, token: token.as_str().to_owned() };
    if let Err(error) = config.persist(&persisted) {
        let file = config.state_file.display();
        warn!(%file, %error, "cannot store the dashboard's token; a restart ends all sessions");
    }
    let guard = Arc::new(AccessGuard::new(address, token));
    let (close, closed) = watch::channel(false);
    let stop = config.stop.clone();
    tokio::spawn(listener::serve(listener, Arc::clone(api), Arc::clone(&guard), closed, stop));
    info!(%address, "dashboard opened");
    Ok(OpenDashboard { address, guard, close })
}
