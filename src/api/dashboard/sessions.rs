//! What opens the dashboard's listener: the token for programs, one-time tickets, and the sessions
//! of browsers, which tickets start.
//!
//! All of it belongs to one listener and ends with it. A session is two random values: a cookie, which
//! the browser sends to every port of this host, and a key, which only the page has. Neither is the
//! token, and neither opens anything alone. Rules: `docs/specification.md#dashboard`.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::dashboard::random_token::{RandomToken, TokenDigest, random_hex};
use crate::core::sync::lock;
use crate::core::time::Timestamp;
use crate::wire::dashboard::DashboardSession;

/// Validity of a ticket.
const TICKET_TTL: Duration = Duration::from_mins(5);
/// Maximum number of valid tickets; issuing another one invalidates the oldest.
const MAX_TICKETS: usize = 16;
/// Maximum age of a session.
const MAX_SESSION_AGE: Duration = Duration::from_hours(7 * 24);
/// Maximum number of sessions; starting another one ends the one that was not used for longest.
const MAX_SESSIONS: usize = 64;
/// Maximum length of a stored user agent; the rest is dropped.
const MAX_USER_AGENT_BYTES: usize = 256;

/// The values that one listener accepts.
pub(crate) struct Sessions {
    token: RandomToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Valid tickets with the time of issue, oldest first; at most `MAX_TICKETS`.
    tickets: Vec<(RandomToken, Instant)>,
    /// Oldest first; at most `MAX_SESSIONS`.
    sessions: Vec<Session>,
}

struct Session {
    id: String,
    cookie: RandomToken,
    key: RandomToken,
    /// Time since the machine was started: it continues over a restart of the daemon and in standby, and
    /// cannot be set.
    started: Duration,
    started_at: Timestamp,
    last_used_at: Timestamp,
    user_agent: String,
    /// Ends the session's streams when it is dropped.
    ended: watch::Sender<()>,
}

/// What a browser gets when a ticket has started its session.
pub(crate) struct NewSession {
    pub(crate) cookie: RandomToken,
    pub(crate) key: RandomToken,
}

/// The session of a request.
#[derive(Debug)]
pub(crate) struct SessionLease {
    ended: watch::Receiver<()>,
    remaining: Duration,
}

impl SessionLease {
    /// Waits until the session is revoked or too old.
    pub(crate) async fn ended(mut self) {
        let revoked = async { while self.ended.changed().await.is_ok() {} };
        tokio::select! {
            () = revoked => {}
            () = tokio::time::sleep(self.remaining) => {}
        }
    }
}

/// Sessions and token as the service manager keeps them for the listener over a restart.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptSessions {
    token: String,
    sessions: Vec<KeptSession>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptSession {
    id: String,
    cookie: String,
    key: String,
    started_ms: u64,
    started_at: Timestamp,
    last_used_at: Timestamp,
    user_agent: String,
}

impl Sessions {
    /// Creates the values of a new listener: a token, and no session.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { token: RandomToken::generate()?, inner: Mutex::default() })
    }

    /// Reads what [`to_kept`](Self::to_kept) returned; `None` if it is invalid.
    pub(crate) fn from_kept(bytes: &[u8]) -> Option<Self> {
        let kept: KeptSessions = serde_json::from_slice(bytes).ok()?;
        let session = |kept: KeptSession| {
            Some(Session {
                id: kept.id,
                cookie: RandomToken::parse(kept.cookie)?,
                key: RandomToken::parse(kept.key)?,
                started: Duration::from_millis(kept.started_ms),
                started_at: kept.started_at,
                last_used_at: kept.last_used_at,
                user_agent: kept.user_agent,
                ended: watch::Sender::new(()),
            })
        };
        let sessions = kept.sessions.into_iter().map(session).collect::<Option<_>>()?;
        let inner = Mutex::new(Inner { tickets: Vec::new(), sessions });
        Some(Self { token: RandomToken::parse(kept.token)?, inner })
    }

    /// Returns the sessions and the token, without tickets.
    pub(crate) fn to_kept(&self) -> Vec<u8> {
        let session = |session: &Session| KeptSession {
            id: session.id.clone(),
            cookie: session.cookie.as_str().to_owned(),
            key: session.key.as_str().to_owned(),
            started_ms: u64::try_from(session.started.as_millis()).unwrap_or(0),
            started_at: session.started_at,
            last_used_at: session.last_used_at,
            user_agent: session.user_agent.clone(),
        };
        let sessions = self.valid_sessions(uptime()).sessions.iter().map(session).collect();
        let kept = KeptSessions { token: self.token.as_str().to_owned(), sessions };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    pub(crate) fn token(&self) -> &RandomToken {
        &self.token
    }

    /// Creates a ticket.
    pub(crate) fn issue_ticket(&self) -> io::Result<RandomToken> {
        let ticket = RandomToken::generate()?;
        let tickets = &mut lock(&self.inner).tickets;
        if tickets.len() == MAX_TICKETS {
            tickets.remove(0);
        }
        tickets.push((ticket.clone(), Instant::now()));
        Ok(ticket)
    }

    /// Returns true if a ticket is valid; it stays so.
    pub(crate) fn has_ticket(&self, ticket: &TokenDigest) -> bool {
        find_ticket(&mut lock(&self.inner).tickets, ticket).is_some()
    }

    /// Starts a session if the ticket is valid, which it is not any more.
    pub(crate) fn redeem_ticket(
        &self,
        ticket: &TokenDigest,
        user_agent: &[u8],
    ) -> io::Result<Option<NewSession>> {
        let mut inner = lock(&self.inner);
        let Some(at) = find_ticket(&mut inner.tickets, ticket) else { return Ok(None) };
        inner.tickets.remove(at);
        drop(inner);
        self.start_session(user_agent, uptime()).map(Some)
    }

    fn start_session(&self, user_agent: &[u8], now: Duration) -> io::Result<NewSession> {
        let (cookie, key) = (RandomToken::generate()?, RandomToken::generate()?);
        let id = random_hex::<4>()?;
        let mut inner = self.valid_sessions(now);
        let sessions = &mut inner.sessions;
        if sessions.len() == MAX_SESSIONS
            && let Some(at) = (0..sessions.len()).min_by_key(|at| sessions[*at].last_used_at)
        {
            sessions.remove(at);
        }
        let now_at = Timestamp::from(SystemTime::now());
        let user_agent = &user_agent[..user_agent.len().min(MAX_USER_AGENT_BYTES)];
        sessions.push(Session {
            id,
            cookie: cookie.clone(),
            key: key.clone(),
            started: now,
            started_at: now_at,
            last_used_at: now_at,
            user_agent: String::from_utf8_lossy(user_agent).into_owned(),
            ended: watch::Sender::new(()),
        });
        Ok(NewSession { cookie, key })
    }

    /// Returns true if a session has this cookie.
    pub(crate) fn has_cookie(&self, cookie: &TokenDigest) -> bool {
        let inner = self.valid_sessions(uptime());
        inner.sessions.iter().any(|session| session.cookie.matches(cookie))
    }

    /// Returns the session with this key, which is used now.
    pub(crate) fn use_key(&self, key: &TokenDigest) -> Option<SessionLease> {
        let now = uptime();
        let mut inner = self.valid_sessions(now);
        let session = inner.sessions.iter_mut().find(|session| session.key.matches(key))?;
        session.last_used_at = SystemTime::now().into();
        let remaining = (session.started + MAX_SESSION_AGE).saturating_sub(now);
        Some(SessionLease { ended: session.ended.subscribe(), remaining })
    }

    /// Returns the valid sessions.
    pub(crate) fn list(&self) -> Vec<DashboardSession> {
        let session = |session: &Session| DashboardSession {
            id: session.id.clone(),
            started_at: session.started_at,
            last_used_at: session.last_used_at,
            expires_at: expiry(session.started_at),
            user_agent: session.user_agent.clone(),
        };
        self.valid_sessions(uptime()).sessions.iter().map(session).collect()
    }

    /// Ends a session and its streams; returns true if it was valid.
    pub(crate) fn revoke(&self, id: &str) -> bool {
        let mut inner = self.valid_sessions(uptime());
        let found = inner.sessions.iter().position(|session| session.id == id);
        found.map(|at| inner.sessions.remove(at)).is_some()
    }

    /// Returns what is valid at `now`.
    fn valid_sessions(&self, now: Duration) -> std::sync::MutexGuard<'_, Inner> {
        let mut inner = lock(&self.inner);
        inner.sessions.retain(|session| now < session.started + MAX_SESSION_AGE);
        inner
    }
}

fn find_ticket(tickets: &mut Vec<(RandomToken, Instant)>, ticket: &TokenDigest) -> Option<usize> {
    tickets.retain(|(_, issued)| issued.elapsed() < TICKET_TTL);
    tickets.iter().position(|(valid, _)| valid.matches(ticket))
}

/// Returns the time at which a session that was started at `started_at` ends.
fn expiry(started_at: Timestamp) -> Timestamp {
    let age = i64::try_from(MAX_SESSION_AGE.as_millis()).unwrap_or(i64::MAX);
    let millis = started_at.as_millis().saturating_add(age);
    Timestamp::from_millis(millis).unwrap_or(started_at)
}

/// Returns the time since the machine was started, with standby.
fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn digest(token: &RandomToken) -> TokenDigest {
        TokenDigest::of(token.as_str().as_bytes())
    }

    /// Starts a session by a ticket.
    fn start(sessions: &Sessions, user_agent: &str) -> NewSession {
        let ticket = sessions.issue_ticket().unwrap();
        sessions.redeem_ticket(&digest(&ticket), user_agent.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn ticket_is_valid_once() {
        let sessions = Sessions::new().unwrap();
        let ticket = || digest(&sessions.issue_ticket().unwrap());
        let (first, second) = (ticket(), ticket());
        assert!(sessions.has_ticket(&first) && sessions.has_ticket(&first), "it is not used up");
        let redeem = |ticket: &TokenDigest| sessions.redeem_ticket(ticket, b"").unwrap().is_some();
        assert!(redeem(&first) && !redeem(&first) && !sessions.has_ticket(&first));
        assert!(!redeem(&TokenDigest::of(b"")));
        for _ in 0..MAX_TICKETS {
            ticket();
        }
        assert!(!redeem(&second), "newer tickets invalidated it");
    }

    #[test]
    fn session_has_values_of_its_own_and_ends_when_revoked() {
        let sessions = Sessions::new().unwrap();
        let (one, other) = (start(&sessions, "one"), start(&sessions, "other"));
        let values = [&one.cookie, &one.key, &other.cookie, &other.key, sessions.token()];
        for (at, value) in values.iter().enumerate() {
            assert!(values[..at].iter().all(|before| before != value));
        }
        assert!(sessions.has_cookie(&digest(&one.cookie)));
        assert!(!sessions.has_cookie(&digest(&one.key)), "a key is not a cookie");
        assert!(sessions.use_key(&digest(&one.cookie)).is_none(), "a cookie is not a key");
        assert!(sessions.use_key(&digest(sessions.token())).is_none());
        let lease = sessions.use_key(&digest(&one.key)).unwrap();
        let other_lease = sessions.use_key(&digest(&other.key)).unwrap();
        let list = sessions.list();
        assert_eq!(
            list.iter().map(|one| one.user_agent.as_str()).collect::<Vec<_>>(),
            ["one", "other"]
        );
        assert_eq!(
            (list[0].expires_at.as_millis() - list[0].started_at.as_millis()) / 86_400_000,
            7
        );
        assert!(!sessions.revoke("") && sessions.revoke(&list[0].id));
        assert!(!sessions.revoke(&list[0].id));
        assert!(sessions.use_key(&digest(&one.key)).is_none());
        assert!(!sessions.has_cookie(&digest(&one.cookie)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _runtime = runtime.enter();
        assert!(lease.ended().now_or_never().is_some(), "its streams end");
        assert!(other_lease.ended().now_or_never().is_none());
    }

    #[test]
    fn session_ends_by_its_age_and_by_newer_ones() {
        let sessions = Sessions::new().unwrap();
        let start = |after: Duration| sessions.start_session(b"", after).unwrap();
        let is_valid = |session: &NewSession, at: Duration| {
            let inner = sessions.valid_sessions(at);
            inner.sessions.iter().any(|one| one.key == session.key)
        };
        let second = Duration::from_secs(1);
        let old = start(second);
        assert!(is_valid(&old, MAX_SESSION_AGE));
        assert!(!is_valid(&old, MAX_SESSION_AGE + second));
        let all: Vec<NewSession> = (0..MAX_SESSIONS).map(|_| start(second)).collect();
        lock(&sessions.inner).sessions[3].last_used_at = Timestamp::from_millis(0).unwrap();
        let newest = start(second);
        assert!(is_valid(&all[0], second) && is_valid(&newest, second));
        assert!(!is_valid(&all[3], second), "the one that was not used for longest");
    }

    #[test]
    fn kept_sessions_are_the_same_without_tickets() {
        let sessions = Sessions::new().unwrap();
        let session = start(&sessions, "browser");
        let ticket = digest(&sessions.issue_ticket().unwrap());
        let kept = sessions.to_kept();
        let restored = Sessions::from_kept(&kept).unwrap();
        assert!(restored.token() == sessions.token() && !restored.has_ticket(&ticket));
        assert!(restored.has_cookie(&digest(&session.cookie)));
        assert!(restored.use_key(&digest(&session.key)).is_some());
        assert_eq!(restored.list()[0].id, sessions.list()[0].id);
        for invalid in [&b""[..], b"{}", &kept[..kept.len() - 1]] {
            assert!(Sessions::from_kept(invalid).is_none());
        }
        let short = String::from_utf8(kept).unwrap().replace(session.key.as_str(), "0");
        assert!(Sessions::from_kept(short.as_bytes()).is_none());
    }

    #[test]
    fn user_agent_is_cut() {
        let sessions = Sessions::new().unwrap();
        start(&sessions, &"x".repeat(10_000));
        assert_eq!(sessions.list()[0].user_agent.len(), MAX_USER_AGENT_BYTES);
    }
}
