//! The dashboard's door: closed until someone asks at the local socket, then open on loopback, and
//! after a restart open again at the same place, so that a page that is open goes on.
//!
//! What is kept for that, the port and the token, lies in the state directory and is readable by its
//! owner only. Closing the dashboard forgets both.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

use crate::api::ApiState;
use crate::api::dashboard::guard::{AccessGuard, RandomToken};
use crate::api::dashboard::listener;
use crate::api::request::query::Query;
use crate::api::response::render::json_response;
use crate::wire::dashboard::{DashboardClosed, DashboardOpened};
use crate::wire::problem::{Problem, ProblemCode};

/// Where the dashboard is to listen, and what it keeps.
#[derive(Debug)]
pub struct DashboardConfig {
    /// Where the configuration has it listen; `None` where it waits to be asked for.
    pub listen: watch::Receiver<Option<SocketAddr>>,
    /// Where port and token are kept.
    pub state_file: PathBuf,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

/// The dashboard, open or not.
#[derive(Debug)]
pub(crate) struct Dashboard {
    config: DashboardConfig,
    open: Mutex<Option<OpenDashboard>>,
}

struct OpenDashboard {
    address: SocketAddr,
    guard: Arc<AccessGuard>,
    /// Ends the listener and its connections when it turns true or is dropped.
    close: watch::Sender<bool>,
}

impl fmt::Debug for OpenDashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is kept from one daemon to the next.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersistedDashboard {
    listen: SocketAddr,
    token: String,
}

pub(crate) async fn open_dashboard(State(api): State<Arc<ApiState>>, query: Query) -> Response {
    let opened = async {
        query.0?;
        let (address, ticket, token) = api.open_or_reuse().await.map_err(|error| {
            Problem::new(
                ProblemCode::Unavailable,
                format!("the dashboard cannot be opened: {error}"),
            )
            .with_hint("`http: {listen: ...}` in the configuration chooses where it listens")
        })?;
        let address = format!("http://{address}/");
        Ok::<_, Problem>(json_response(&DashboardOpened {
            url: format!("{address}open/{ticket}"),
            address,
            token,
        }))
    };
    opened.await.unwrap_or_else(Problem::into_response)
}

pub(crate) async fn close_dashboard(State(api): State<Arc<ApiState>>, query: Query) -> Response {
    let closed = async {
        query.0?;
        let closed = api.dashboard.close().await;
        let closed =
            closed.map_err(|error| Problem::new(ProblemCode::WriteFailed, error.to_string()))?;
        Ok::<_, Problem>(json_response(&DashboardClosed { closed }))
    };
    closed.await.unwrap_or_else(Problem::into_response)
}

/// Opens the dashboard where the configuration says so, or where it was open before, and follows
/// the configuration; without end.
pub async fn run_dashboard(api: Arc<ApiState>) {
    let plan = &api.dashboard.config;
    let mut listen = plan.listen.clone();
    let first = plan.configured_address().or(plan.load_persisted().map(|kept| kept.listen));
    api.listen_at(first).await;
    while listen.changed().await.is_ok() {
        let wanted = *listen.borrow_and_update();
        if wanted.is_none()
            && let Err(error) = api.dashboard.close().await
        {
            warn!(%error, "the dashboard's token is not forgotten");
        }
        api.listen_at(wanted).await;
    }
}

impl ApiState {
    /// Has the dashboard listen there, if it does not.
    async fn listen_at(self: &Arc<Self>, to: Option<SocketAddr>) {
        let mut open = self.dashboard.open.lock().await;
        let Some(listen) = to else { return };
        if open.as_ref().is_some_and(|open| open.address == listen) {
            return;
        }
        *open = None;
        let token = self.dashboard.config.load_persisted().map(|kept| kept.token);
        match self.start_listener(listen, token).await {
            Ok(listening) => *open = Some(listening),
            Err(error) => warn!(%listen, %error, "the dashboard cannot be opened"),
        }
    }

    /// Opens the dashboard if it is not open: where it is, a ticket for one browser, the token.
    async fn open_or_reuse(self: &Arc<Self>) -> io::Result<(SocketAddr, String, String)> {
        let dashboard = &self.dashboard;
        let mut open = dashboard.open.lock().await;
        if open.is_none() {
            *open = Some(self.listen_at_preferred().await?);
        }
        let open = open.as_ref().ok_or_else(|| io::Error::other("it was closed"))?;
        Ok((open.address, open.guard.issue_ticket()?, open.guard.token().to_owned()))
    }

    async fn listen_at_preferred(self: &Arc<Self>) -> io::Result<OpenDashboard> {
        let plan = &self.dashboard.config;
        let kept = plan.load_persisted();
        if let Some(listen) = plan.configured_address() {
            return self.start_listener(listen, kept.map(|kept| kept.token)).await;
        }
        if let Some(PersistedDashboard { listen, token }) = kept {
            match self.start_listener(listen, Some(token)).await {
                // Whoever is there now may have been sent the token by a browser.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                listening => return listening,
            }
        }
        self.start_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    async fn start_listener(
        self: &Arc<Self>,
        listen: SocketAddr,
        token: Option<String>,
    ) -> io::Result<OpenDashboard> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let secret = match token.and_then(RandomToken::parse) {
            Some(secret) => secret,
            None => RandomToken::generate()?,
        };
        let plan = &self.dashboard.config;
        let kept = PersistedDashboard { listen: address, token: secret.as_str().to_owned() };
        if let Err(error) = plan.persist(&kept) {
            warn!(file = %plan.state_file.display(), %error, "a page will not go on after a restart");
        }
        let door = Arc::new(AccessGuard::new(address, secret));
        let (close, closed) = watch::channel(false);
        let served = listener::serve(
            listener,
            Arc::clone(self),
            Arc::clone(&door),
            closed,
            plan.stop.clone(),
        );
        tokio::spawn(served);
        info!(%address, "the dashboard is open");
        Ok(OpenDashboard { address, guard: door, close })
    }
}

impl Dashboard {
    pub(crate) fn new(plan: DashboardConfig) -> Self {
        Self { config: plan, open: Mutex::default() }
    }

    /// Closes the dashboard and forgets its token; whether it was open.
    async fn close(&self) -> io::Result<bool> {
        let mut open = self.open.lock().await;
        let closed = open.take().is_some_and(|open| open.close.send(true).is_ok());
        match fs::remove_file(&self.config.state_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(closed),
        }
    }
}

impl DashboardConfig {
    fn configured_address(&self) -> Option<SocketAddr> {
        *self.listen.borrow()
    }

    /// What was kept; `None` where there is nothing, or nothing that can be used.
    fn load_persisted(&self) -> Option<PersistedDashboard> {
        let kept: PersistedDashboard =
            serde_json::from_slice(&fs::read(&self.state_file).ok()?).ok()?;
        (kept.listen.ip().is_loopback() && RandomToken::parse(kept.token.clone()).is_some())
            .then_some(kept)
    }

    fn persist(&self, kept: &PersistedDashboard) -> io::Result<()> {
        let fresh = self.state_file.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.state_file)
    }
}
