//! The dashboard's door: closed until someone asks at the local socket, then open on loopback, and
//! after a restart open again at the same place, so that a page that is open goes on.
//!
//! What is kept for that, the port and the token, lies in the state folder and is readable by its
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

use super::guard::{Door, Secret};
use super::query::Query;
use super::respond::answer;
use super::{Api, loopback};
use crate::wire::dashboard::{Closed, Opened};
use crate::wire::problem::{Code, Problem};

/// Where the dashboard is to listen, and what it keeps.
#[derive(Debug)]
pub struct DashboardPlan {
    /// Where the configuration has it listen; `None` where it waits to be asked for.
    pub listen: watch::Receiver<Option<SocketAddr>>,
    /// Where port and token are kept.
    pub file: PathBuf,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

/// The dashboard, open or not.
#[derive(Debug)]
pub(super) struct Dashboard {
    plan: DashboardPlan,
    open: Mutex<Option<Open>>,
}

struct Open {
    address: SocketAddr,
    door: Arc<Door>,
    /// Ends the listener and its connections when it turns true or is dropped.
    close: watch::Sender<bool>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is kept from one daemon to the next.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    listen: SocketAddr,
    token: String,
}

pub(super) async fn open(State(api): State<Arc<Api>>, query: Query) -> Response {
    let opened = async {
        query.0?;
        let (address, ticket, token) = api.open_dashboard().await.map_err(|error| {
            Problem::new(Code::Unavailable, format!("the dashboard cannot be opened: {error}"))
                .hint("`http: {listen: ...}` in the configuration chooses where it listens")
        })?;
        let address = format!("http://{address}/");
        Ok::<_, Problem>(answer(&Opened { url: format!("{address}open/{ticket}"), address, token }))
    };
    opened.await.unwrap_or_else(Problem::into_response)
}

pub(super) async fn close(State(api): State<Arc<Api>>, query: Query) -> Response {
    let closed = async {
        query.0?;
        let closed = api.dashboard.close().await;
        let closed = closed.map_err(|error| Problem::new(Code::NotWritten, error.to_string()))?;
        Ok::<_, Problem>(answer(&Closed { closed }))
    };
    closed.await.unwrap_or_else(Problem::into_response)
}

/// Opens the dashboard where the configuration says so, or where it was open before, and follows
/// the configuration; without end.
pub async fn keep_dashboard(api: Arc<Api>) {
    let plan = &api.dashboard.plan;
    let mut listen = plan.listen.clone();
    let first = plan.configured().or(plan.read().map(|kept| kept.listen));
    api.move_dashboard(first).await;
    while listen.changed().await.is_ok() {
        let wanted = *listen.borrow_and_update();
        if wanted.is_none()
            && let Err(error) = api.dashboard.close().await
        {
            warn!(%error, "the dashboard's token is not forgotten");
        }
        api.move_dashboard(wanted).await;
    }
}

impl Api {
    /// Has the dashboard listen there, if it does not.
    async fn move_dashboard(self: &Arc<Self>, to: Option<SocketAddr>) {
        let mut open = self.dashboard.open.lock().await;
        let Some(listen) = to else { return };
        if open.as_ref().is_some_and(|open| open.address == listen) {
            return;
        }
        *open = None;
        let token = self.dashboard.plan.read().map(|kept| kept.token);
        match self.listen(listen, token).await {
            Ok(listening) => *open = Some(listening),
            Err(error) => warn!(%listen, %error, "the dashboard cannot be opened"),
        }
    }

    /// Opens the dashboard if it is not open: where it is, a ticket for one browser, the token.
    async fn open_dashboard(self: &Arc<Self>) -> io::Result<(SocketAddr, String, String)> {
        let dashboard = &self.dashboard;
        let mut open = dashboard.open.lock().await;
        if open.is_none() {
            *open = Some(self.listen_somewhere().await?);
        }
        let open = open.as_ref().ok_or_else(|| io::Error::other("it was closed"))?;
        Ok((open.address, open.door.ticket()?, open.door.token().to_owned()))
    }

    async fn listen_somewhere(self: &Arc<Self>) -> io::Result<Open> {
        let plan = &self.dashboard.plan;
        let kept = plan.read();
        if let Some(listen) = plan.configured() {
            return self.listen(listen, kept.map(|kept| kept.token)).await;
        }
        if let Some(Kept { listen, token }) = kept {
            match self.listen(listen, Some(token)).await {
                // Whoever is there now may have been sent the token by a browser.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                listening => return listening,
            }
        }
        self.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    async fn listen(
        self: &Arc<Self>,
        listen: SocketAddr,
        token: Option<String>,
    ) -> io::Result<Open> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let secret = match token.and_then(Secret::of) {
            Some(secret) => secret,
            None => Secret::new()?,
        };
        let plan = &self.dashboard.plan;
        let kept = Kept { listen: address, token: secret.text().to_owned() };
        if let Err(error) = plan.write(&kept) {
            warn!(file = %plan.file.display(), %error, "a page will not go on after a restart");
        }
        let door = Arc::new(Door::new(address, secret));
        let (close, closed) = watch::channel(false);
        let served = loopback::serve(
            listener,
            Arc::clone(self),
            Arc::clone(&door),
            closed,
            plan.stop.clone(),
        );
        tokio::spawn(served);
        info!(%address, "the dashboard is open");
        Ok(Open { address, door, close })
    }
}

impl Dashboard {
    pub(super) fn new(plan: DashboardPlan) -> Self {
        Self { plan, open: Mutex::default() }
    }

    /// Closes the dashboard and forgets its token; whether it was open.
    async fn close(&self) -> io::Result<bool> {
        let mut open = self.open.lock().await;
        let closed = open.take().is_some_and(|open| open.close.send(true).is_ok());
        match fs::remove_file(&self.plan.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(closed),
        }
    }
}

impl DashboardPlan {
    fn configured(&self) -> Option<SocketAddr> {
        *self.listen.borrow()
    }

    /// What was kept; `None` where there is nothing, or nothing that can be used.
    fn read(&self) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&fs::read(&self.file).ok()?).ok()?;
        (kept.listen.ip().is_loopback() && Secret::of(kept.token.clone()).is_some()).then_some(kept)
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)
    }
}
