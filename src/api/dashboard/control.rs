//! The dashboard's door: closed until someone asks at the local socket, then open on loopback, and
//! after a restart open again at the same place, so that a page that is open goes on.
//!
//! What is kept for that, the port and the token, lies in the state directory and is readable by its
//! owner only. Closing the dashboard forgets both.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::api::dashboard::guard::{AccessGuard, RandomToken};
use crate::api::dashboard::listener;
use crate::api::dashboard::state::{OpenDashboard, PersistedDashboard};
use crate::api::request::query::Query;
use crate::api::response::json::json_response;
use crate::api::router::Route;
use crate::api::state::ApiState;
use crate::wire::dashboard::{DashboardClosed, DashboardOpened};
use crate::wire::problem::{Problem, ProblemCode};

/// Where the dashboard is opened and closed: at the local socket only.
pub(crate) fn routes() -> Vec<Route> {
    vec![("/api/dashboard", post(open_dashboard).merge(delete(close_dashboard)))]
}

async fn open_dashboard(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    query.0?;
    let (address, ticket, token) = open_or_reuse(&api).await.map_err(|error| {
        let detail = format!("the dashboard cannot be opened: {error}");
        Problem::new(ProblemCode::Unavailable, detail)
            .with_hint("`http: {listen: ...}` in the configuration chooses where it listens")
    })?;
    let address = format!("http://{address}/");
    let url = format!("{address}open/{ticket}");
    Ok(json_response(&DashboardOpened { url, address, token }))
}

async fn close_dashboard(
    State(api): State<Arc<ApiState>>,
    query: Query,
) -> Result<Response, Problem> {
    query.0?;
    let closed = api.dashboard.close().await;
    let closed =
        closed.map_err(|error| Problem::new(ProblemCode::WriteFailed, error.to_string()))?;
    Ok(json_response(&DashboardClosed { closed }))
}

/// Opens the dashboard where the configuration says so, or where it was open before, and follows
/// the configuration; without end.
pub async fn run_dashboard(api: Arc<ApiState>) {
    let plan = &api.dashboard.config;
    let mut listen = plan.listen.clone();
    let first = plan.configured_address().or(plan.load_persisted().map(|kept| kept.listen));
    listen_at(&api, first).await;
    while listen.changed().await.is_ok() {
        let wanted = *listen.borrow_and_update();
        if wanted.is_none()
            && let Err(error) = api.dashboard.close().await
        {
            warn!(%error, "the dashboard's token is not forgotten");
        }
        listen_at(&api, wanted).await;
    }
}

/// Has the dashboard listen there, if it does not.
async fn listen_at(api: &Arc<ApiState>, to: Option<SocketAddr>) {
    let mut open = api.dashboard.open.lock().await;
    let Some(listen) = to else { return };
    if open.as_ref().is_some_and(|open| open.address == listen) {
        return;
    }
    *open = None;
    let token = api.dashboard.config.load_persisted().map(|kept| kept.token);
    match start_listener(api, listen, token).await {
        Ok(listening) => *open = Some(listening),
        Err(error) => warn!(%listen, %error, "the dashboard cannot be opened"),
    }
}

/// Opens the dashboard if it is not open: where it is, a ticket for one browser, the token.
async fn open_or_reuse(api: &Arc<ApiState>) -> io::Result<(SocketAddr, String, String)> {
    let dashboard = &api.dashboard;
    let mut open = dashboard.open.lock().await;
    if open.is_none() {
        *open = Some(listen_at_preferred(api).await?);
    }
    let open = open.as_ref().ok_or_else(|| io::Error::other("it was closed"))?;
    Ok((open.address, open.guard.issue_ticket()?, open.guard.token().to_owned()))
}

async fn listen_at_preferred(api: &Arc<ApiState>) -> io::Result<OpenDashboard> {
    let plan = &api.dashboard.config;
    let kept = plan.load_persisted();
    if let Some(listen) = plan.configured_address() {
        return start_listener(api, listen, kept.map(|kept| kept.token)).await;
    }
    if let Some(PersistedDashboard { listen, token }) = kept {
        match start_listener(api, listen, Some(token)).await {
            // Whoever is there now may have been sent the token by a browser.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            listening => return listening,
        }
    }
    start_listener(api, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
}

async fn start_listener(
    api: &Arc<ApiState>,
    listen: SocketAddr,
    token: Option<String>,
) -> io::Result<OpenDashboard> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let secret = match token.and_then(RandomToken::parse) {
        Some(secret) => secret,
        None => RandomToken::generate()?,
    };
    let plan = &api.dashboard.config;
    let kept = PersistedDashboard { listen: address, token: secret.as_str().to_owned() };
    if let Err(error) = plan.persist(&kept) {
        warn!(file = %plan.state_file.display(), %error, "a page will not go on after a restart");
    }
    let door = Arc::new(AccessGuard::new(address, secret));
    let (close, closed) = watch::channel(false);
    let served =
        listener::serve(listener, Arc::clone(api), Arc::clone(&door), closed, plan.stop.clone());
    tokio::spawn(served);
    info!(%address, "the dashboard is open");
    Ok(OpenDashboard { address, guard: door, close })
}
