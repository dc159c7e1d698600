//! Access control of the dashboard's listener: `Host`, `Origin` and credentials of each request, then
//! the user of the client.
//!
//! Every process and every web page on the machine can reach a loopback port. A wrong `Host` is a
//! sign of DNS rebinding, a wrong `Origin` of a cross-site request; neither has the credentials. All
//! of these are checked before a request is processed. Rules: `docs/specification.md#dashboard`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tracing::warn;

use crate::api::dashboard::kept::KeptFile;
use crate::api::dashboard::random_token::TokenDigest;
use crate::api::dashboard::sessions::{SessionLease, Sessions};
use crate::api::dashboard::static_files;
use crate::api::response::problem::internal_error;
use crate::api::server::http_metrics::HttpMetrics;
use crate::api::server::listener_log::ListenerLog;
use crate::api::server::peer::TcpPeer;
use crate::config::HttpConfig;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Path at which a browser starts a session, followed by a ticket.
const TICKET_PATH_PREFIX: &str = "/open/";
/// Path below which everything needs the key of a session, not only its cookie.
const ASSETS_PATH_PREFIX: &str = "/assets/";
/// Header with the key of a session. A page of another origin cannot add it.
const KEY_HEADER: &str = "x-dossierd-session";
/// Allows no foreign or inline resources, no markup made from strings and no framing.
const CONTENT_SECURITY_POLICY: &str = "\
    default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// Removes what another process that had the port before may have left in the browser, above all
/// service workers. Not the cookies: they belong to all ports of the host.
const CLEAR_SITE_DATA: &str = "\"storage\", \"cache\"";

/// Credentials and host names that a listener accepts.
pub(crate) struct AccessGuard {
    pub(crate) sessions: Sessions,
    cookie_name: String,
    allowed_hosts: Vec<String>,
    config: watch::Receiver<HttpConfig>,
    metrics: Arc<HttpMetrics>,
    pub(crate) log: Arc<ListenerLog>,
    /// Where the sessions are kept over a restart.
    kept: Option<KeptFile>,
}

/// What the credentials of a request open.
enum Access {
    /// A browser starts a session.
    Ticket(TokenDigest),
    /// A browser follows its ticket again.
    UsedTicket,
    /// The page itself, without data.
    StaticFile,
    /// Everything, for a program.
    Program,
    /// Everything, for a page.
    Page(SessionLease),
}

impl AccessGuard {
    pub(crate) fn new(
        address: SocketAddr,
        sessions: Sessions,
        kept: Option<KeptFile>,
        config: watch::Receiver<HttpConfig>,
        metrics: Arc<HttpMetrics>,
    ) -> Self {
        let port = address.port();
        Self {
            sessions,
            // Browsers send a cookie to all ports of a host: daemons need different names.
            cookie_name: format!("dossierd-{port}"),
            allowed_hosts: vec![address.to_string(), format!("localhost:{port}")],
            config,
            metrics,
            log: Arc::new(ListenerLog::new("dashboard")),
            kept,
        }
    }

    /// Returns whether root may connect, by the current configuration.
    pub(crate) fn allows_root(&self) -> bool {
        self.config.borrow().allow_root()
    }

    /// Has the sessions kept over a restart, as they are now.
    pub(crate) fn keep_sessions(&self) {
        if let Some(kept) = &self.kept
            && let Err(error) = kept.write(&self.sessions.to_kept())
        {
            warn!(%error, "cannot keep the dashboard's sessions; a restart ends them");
        }
    }

    /// Returns true if `Host` is this listener's and `Origin` is too, if given.
    ///
    /// Either may be given once only. A target in absolute form must name this listener as well.
    fn has_valid_host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let host = |text: &str| self.allowed_hosts.iter().any(|it| it.eq_ignore_ascii_case(text));
        let origin = |text: &str| text.strip_prefix("http://").is_some_and(host);
        let text = |name| single(headers, name).and_then(|value| value.to_str().ok());
        text(header::HOST).is_some_and(host)
            && uri.authority().is_none_or(|authority| host(authority.as_str()))
            && (!headers.contains_key(header::ORIGIN) || text(header::ORIGIN).is_some_and(origin))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::COOKIE).iter().any(|cookies| {
            cookies.as_bytes().split(|byte| *byte == b';').any(|cookie| {
                let cookie = cookie.trim_ascii();
                let value = cookie.strip_prefix(self.cookie_name.as_bytes());
                value
                    .and_then(|rest| rest.strip_prefix(b"="))
                    .is_some_and(|value| self.sessions.has_cookie(&TokenDigest::of(value)))
            })
        })
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = single(headers, header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = value.and_then(|value| {
            let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii_start())
        });
        token.is_some_and(|token| self.sessions.token().matches(&TokenDigest::of(token)))
    }

    /// Returns what the credentials of a request open, or the response to one without.
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Access, Response> {
        if !self.has_valid_host_and_origin(uri, headers) {
            return Err(forbidden("`Host` or `Origin` does not match this server"));
        }
        if let Some(ticket) = uri.path().strip_prefix(TICKET_PATH_PREFIX) {
            // A prefetch must not use up the ticket.
            let is_navigation = method == Method::GET && !headers.contains_key("sec-purpose");
            let ticket = TokenDigest::of(ticket.as_bytes());
            return if is_navigation && self.sessions.has_ticket(&ticket) {
                Ok(Access::Ticket(ticket))
            } else if is_navigation && self.has_cookie(headers) {
                Ok(Access::UsedTicket)
            } else {
                Err(locked_response())
            };
        }
        if self.has_token(headers) {
            return Ok(Access::Program);
        }
        let is_api = uri.path().starts_with("/api/");
        if !self.has_cookie(headers) {
            if *method == Method::GET && uri.path() == "/" {
                return Err(locked_response());
            }
            // Not for requests of the page: it keeps what it shows after its session has ended.
            return Err(unauthorized("missing or invalid token", !is_api));
        }
        // `SameSite` does not keep the cookie from pages at other ports of this host: a site has no
        // port.
        let is_same_origin = !headers.contains_key("sec-fetch-site")
            || single(headers, HeaderName::from_static("sec-fetch-site"))
                .is_some_and(|site| site == "same-origin" || site == "none");
        let is_read = *method == Method::GET || *method == Method::HEAD;
        if !is_same_origin || !is_read && !headers.contains_key(header::ORIGIN) {
            return Err(forbidden("cross-site request"));
        }
        if is_read && (uri.path() == "/" || uri.path().starts_with(ASSETS_PATH_PREFIX)) {
            return Ok(Access::StaticFile);
        }
        let key = single(headers, HeaderName::from_static(KEY_HEADER));
        let lease = key.and_then(|key| self.sessions.use_key(&TokenDigest::of(key.as_bytes())));
        lease
            .map(Access::Page)
            .ok_or_else(|| unauthorized("missing or invalid `X-Dossierd-Session`", !is_api))
    }

    /// Starts a session; returns the response that sets its cookie and has the page load.
    ///
    /// It is a page, not a redirect: after a navigation from another site a browser follows redirects
    /// without cookies that are `SameSite=Strict`.
    fn start_session(&self, ticket: &TokenDigest, headers: &HeaderMap) -> Response {
        let user_agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
        let session = match self.sessions.redeem_ticket(ticket, user_agent) {
            Ok(Some(session)) => session,
            Ok(None) => return locked_response(),
            Err(error) => return internal_error(error).into_response(),
        };
        self.keep_sessions();
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            self.cookie_name,
            session.cookie.as_str()
        );
        let mut response = static_files::entry_page(session.key.as_str());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        with_cleared_site_data(response)
    }

    /// Returns whether the user of the client may have what its credentials open.
    async fn is_admitted(&self, access: &Access, peer: Option<Arc<TcpPeer>>) -> bool {
        let Some(peer) = peer else { return false };
        let is_admitted = match (peer.is_known_admitted(self.allows_root()), access) {
            (Some(is_admitted), _) => is_admitted,
            // Nothing secret, for a cookie that browsers send to other ports as well: not worth a search.
            (None, Access::StaticFile | Access::UsedTicket) => true,
            (None, Access::Ticket(_) | Access::Program | Access::Page(_)) => {
                peer.is_admitted(self.allows_root(), &self.log).await
            }
        };
        if !is_admitted {
            self.metrics.refused.fetch_add(1, Ordering::Relaxed);
            self.log.warn_of_refused_user();
        }
        is_admitted
    }

    async fn respond(&self, access: Access, request: Request, next: Next) -> Response {
        match access {
            Access::Ticket(ticket) => self.start_session(&ticket, request.headers()),
            Access::UsedTicket => static_files::loading_page(),
            Access::StaticFile | Access::Program => next.run(request).await,
            Access::Page(lease) => end_stream_with(lease, next.run(request).await),
        }
    }
}

/// Returns the value of a header that is given once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn forbidden(detail: &'static str) -> Response {
    Problem::new(ProblemCode::Forbidden, detail, HintCode::WrongOrigin).into_response()
}

fn unauthorized(detail: &'static str, clears_site_data: bool) -> Response {
    let problem = Problem::new(ProblemCode::Unauthorized, detail, HintCode::TokenRequired);
    let response = problem.into_response();
    if clears_site_data { with_cleared_site_data(response) } else { response }
}

/// Refuses a client, and closes its connection.
fn other_user_response() -> Response {
    let detail = "the connection is not one of the daemon's user";
    let problem = Problem::new(ProblemCode::Forbidden, detail, HintCode::OtherUser);
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn locked_response() -> Response {
    with_cleared_site_data(static_files::locked_page())
}

fn with_cleared_site_data(mut response: Response) -> Response {
    let value = HeaderValue::from_static(CLEAR_SITE_DATA);
    response.headers_mut().insert("clear-site-data", value);
    response
}

/// Has an event stream end together with its session. Other responses are short.
fn end_stream_with(lease: SessionLease, response: Response) -> Response {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    if media_type.is_none_or(|it| it != "text/event-stream") {
        return response;
    }
    response.map(|body| {
        let ended = Box::pin(lease.ended());
        Body::from_stream(body.into_data_stream().take_until(ended))
    })
}

/// Middleware that answers requests without access, and adds security headers to all responses.
///
/// The client's user is looked up last, and only for credentials that open data: that may be costly.
pub(crate) async fn require_access(
    State(guard): State<Arc<AccessGuard>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Arc<TcpPeer>>().cloned();
    let mut response = match guard.check(request.method(), request.uri(), request.headers()) {
        Err(response) => response,
        Ok(access) if guard.is_admitted(&access, peer).await => {
            guard.respond(access, request, next).await
        }
        Ok(_) => other_user_response(),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dashboard::PeerCheck;

    fn guard() -> AccessGuard {
        AccessGuard::new(
            "127.0.0.1:7433".parse().unwrap(),
            Sessions::new().unwrap(),
            None,
            watch::channel(HttpConfig::default()).1,
            Arc::default(),
        )
    }

    fn new_session(guard: &AccessGuard) -> (String, String) {
        let ticket = guard.sessions.issue_ticket().unwrap();
        let ticket = TokenDigest::of(ticket.as_str().as_bytes());
        let session = guard.sessions.redeem_ticket(&ticket, b"").unwrap().unwrap();
        (session.cookie.as_str().to_owned(), session.key.as_str().to_owned())
    }

    /// Returns the status of a request with these headers, 200 if it is processed.
    fn status(guard: &AccessGuard, request: &str, headers: &[(&'static str, &str)]) -> u16 {
        let (method, uri) = request.split_once(' ').unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let checked = guard.check(&method.parse().unwrap(), &uri.parse().unwrap(), &map);
        checked.map_or_else(|response| response.status().as_u16(), |_| 200)
    }

    #[test]
    fn cookie_matches_by_exact_name_and_value() {
        let guard = guard();
        let has = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            guard.has_cookie(&headers)
        };
        let (cookie, key) = new_session(&guard);
        assert!(has(format!("dossierd-7433={cookie}")));
        assert!(has(format!("a=b; dossierd-7433={cookie}; c=d")));
        for other in
            ["dossierd-7433=", "dossierd-7433", "dossierd-74330=COOKIE", "xdossierd-7433=COOKIE"]
        {
            assert!(!has(other.replace("COOKIE", &cookie)), "{other}");
        }
        for other in [&key, guard.sessions.token().as_str()] {
            assert!(!has(format!("dossierd-7433={other}")), "neither the key nor the token");
        }
    }

    #[test]
    fn cookie_alone_opens_no_data_and_a_key_alone_nothing() {
        let guard = guard();
        let (cookie, key) = new_session(&guard);
        let cookie = format!("dossierd-7433={cookie}");
        let host = ("host", "127.0.0.1:7433");
        let (cookie, key) = (("cookie", cookie.as_str()), (KEY_HEADER, key.as_str()));
        for path in ["/api/status", "/api/nothing", "/healthz", "/metrics", "/nothing"] {
            let request = format!("GET {path}");
            assert_eq!(status(&guard, &request, &[host, cookie]), 401, "{path}");
            assert_eq!(status(&guard, &request, &[host, key]), 401, "{path}");
            assert_eq!(status(&guard, &request, &[host, cookie, key, key]), 401, "{path}");
            assert_eq!(status(&guard, &request, &[host, cookie, key]), 200, "{path}");
        }
        for path in ["/", "/assets/app.js"] {
            assert_eq!(status(&guard, &format!("GET {path}"), &[host, cookie]), 200, "{path}");
            assert_eq!(status(&guard, &format!("GET {path}"), &[host, key]), 401, "{path}");
        }
        assert!(guard.sessions.revoke(&guard.sessions.list()[0].id));
        assert_eq!(status(&guard, "GET /api/status", &[host, cookie, key]), 401);
    }

    #[test]
    fn scheme_and_host_are_compared_without_case_and_headers_count_once() {
        let guard = guard();
        let token = guard.sessions.token().as_str().to_owned();
        let host = ("host", "127.0.0.1:7433");
        let bearer = |scheme: &str| format!("{scheme}{token}");
        for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer  "] {
            let value = bearer(scheme);
            let headers = [host, ("authorization", value.as_str())];
            assert_eq!(status(&guard, "GET /api/status", &headers), 200, "{scheme}");
        }
        for scheme in ["Bearer", "Basic ", "Bearerx ", ""] {
            let value = bearer(scheme);
            let headers = [host, ("authorization", value.as_str())];
            assert_eq!(status(&guard, "GET /api/status", &headers), 401, "{scheme}");
        }
        let value = bearer("Bearer ");
        let token = ("authorization", value.as_str());
        assert_eq!(status(&guard, "GET /api/status", &[host, token, token]), 401, "two tokens");
        for (name, expected) in
            [("LOCALHOST:7433", 200), ("LocalHost:7433", 200), ("localhost", 403), ("a:7433", 403)]
        {
            assert_eq!(status(&guard, "GET /api/status", &[("host", name), token]), expected);
        }
        let (cookie, key) = new_session(&guard);
        let cookie = format!("dossierd-7433={cookie}");
        let page = [host, ("cookie", cookie.as_str()), (KEY_HEADER, key.as_str())];
        for (sites, expected) in [
            (&["same-origin"][..], 200),
            (&["none"], 200),
            (&["same-origin", "cross-site"], 403),
            (&["same-origin", "same-origin"], 403),
            (&["cross-site"], 403),
        ] {
            let mut headers = page.to_vec();
            headers.extend(sites.iter().map(|site| ("sec-fetch-site", *site)));
            assert_eq!(status(&guard, "GET /api/status", &headers), expected, "{sites:?}");
        }
    }

    /// Sends a request to the page behind a guard; returns the response.
    async fn send(guard: &Arc<AccessGuard>, peer: &Arc<TcpPeer>, request: &Request) -> Response {
        use axum::Router;
        use axum::routing::get;
        use hyper::service::Service as _;
        use hyper_util::service::TowerToHyperService;

        let access = axum::middleware::from_fn_with_state(Arc::clone(guard), require_access);
        let router = Router::new().fallback(get(|| async { "served" })).layer(access);
        let mut copy = Request::new(Body::empty());
        *copy.uri_mut() = request.uri().clone();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().insert(Arc::clone(peer));
        TowerToHyperService::new(router).call(copy).await.unwrap()
    }

    #[tokio::test]
    async fn user_is_searched_only_for_credentials_that_open_data() {
        let guard = Arc::new(guard());
        let (cookie, key) = new_session(&guard);
        let cookie = format!("dossierd-7433={cookie}");
        let token = format!("Bearer {}", guard.sessions.token().as_str());
        let ticket = guard.sessions.issue_ticket().unwrap();
        let ticket = format!("/open/{}", ticket.as_str());
        let (cookie, key) = (("cookie", cookie.as_str()), (KEY_HEADER, key.as_str()));
        let token = ("authorization", token.as_str());
        // Nobody is connected so: a search finds no user, and the client is refused.
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:7433".parse().unwrap());
        for (path, credentials, expected) in [
            ("/", &[cookie][..], 200),
            ("/assets/app.js", &[cookie], 200),
            ("/open/used", &[cookie], 200),
            ("/api/status", &[cookie], 401),
            ("/api/status", &[cookie, key], 403),
            ("/", &[token], 403),
            (&ticket, &[], 403),
        ] {
            let peer = Arc::new(TcpPeer::new(from, to, PeerCheck::ProcNet, &guard.log));
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = path.parse().unwrap();
            for (name, value) in [&[("host", "127.0.0.1:7433")], credentials].concat() {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            let response = send(&guard, &peer, &request).await;
            assert_eq!(response.status(), expected, "{path} {credentials:?}");
            let is_searched = peer.is_known_admitted(false).is_some();
            assert_eq!(is_searched, expected == 403, "{path} {credentials:?}");
            let closes = response.headers().get(header::CONNECTION).is_some_and(|it| it == "close");
            assert_eq!(closes, expected == 403, "{path} {credentials:?}");
        }
        assert_eq!(guard.metrics.refused.load(Ordering::Relaxed), 3);
    }
}
