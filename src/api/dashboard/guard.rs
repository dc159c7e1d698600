//! Access control of the dashboard's listener: `Host`, `Origin` and token of each request, and the
//! one-time tickets that start a browser session. Users are checked elsewhere, by `server::peer`.
//!
//! Every process and every web page on the machine can reach a loopback port. A wrong `Host` is a
//! sign of DNS rebinding, a wrong `Origin` of a cross-site request; neither has the token. All
//! three are checked before a request is processed. Rules: `docs/specification.md#dashboard`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};

use crate::api::dashboard::static_files;
use crate::core::sync::lock;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Path at which a browser starts a session, followed by a ticket.
const TICKET_PATH_PREFIX: &str = "/open/";
/// Validity of a ticket.
const TICKET_TTL: Duration = Duration::from_mins(5);
/// Maximum number of valid tickets; issuing another one invalidates the oldest.
const MAX_TICKETS: usize = 16;
/// Allows no foreign or inline resources, no markup made from strings and no framing.
const CONTENT_SECURITY_POLICY: &str = "\
    default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// 256 random bits, in hexadecimal digits.
#[derive(Clone)]
pub(crate) struct RandomToken(String);

impl RandomToken {
    pub(crate) fn generate() -> io::Result<Self> {
        let mut bytes = [0; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
        }
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Parses a persisted token; returns `None` unless it is 64 lower-case hexadecimal digits.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then_some(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares hashes, so that the duration of the comparison reveals nothing about the token.
    fn matches(&self, text: &[u8]) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(text)
    }
}

/// Credentials and host names that a listener accepts.
pub(crate) struct AccessGuard {
    token: RandomToken,
    cookie_name: String,
    allowed_hosts: Vec<String>,
    /// Valid tickets with the time of issue, oldest first; at most `MAX_TICKETS`.
    tickets: Mutex<Vec<(RandomToken, Instant)>>,
}

impl AccessGuard {
    pub(crate) fn new(address: SocketAddr, token: RandomToken) -> Self {
        let port = address.port();
        Self {
            token,
            // Browsers send a cookie to all ports of a host: daemons need different names.
            cookie_name: format!("dossierd-{port}"),
            allowed_hosts: vec![address.to_string(), format!("localhost:{port}")],
            tickets: Mutex::default(),
        }
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_str()
    }

    /// Creates a ticket.
    pub(crate) fn issue_ticket(&self) -> io::Result<String> {
        let ticket = RandomToken::generate()?;
        let mut tickets = lock(&self.tickets);
        if tickets.len() == MAX_TICKETS {
            tickets.remove(0);
        }
        tickets.push((ticket.clone(), Instant::now()));
        Ok(ticket.0)
    }

    /// Invalidates a ticket; returns true if it was valid.
    fn redeem_ticket(&self, text: &str) -> bool {
        let mut tickets = lock(&self.tickets);
        tickets.retain(|(_, issued)| issued.elapsed() < TICKET_TTL);
        let found = tickets.iter().position(|(ticket, _)| ticket.matches(text.as_bytes()));
        found.map(|at| tickets.remove(at)).is_some()
    }

    /// Returns true if `Host` is this listener's and `Origin` is too, if given.
    ///
    /// Either may be given once only. A target in absolute form must name this listener as well.
    fn has_valid_host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let host = |text: &str| self.allowed_hosts.iter().any(|host| host == text);
        let origin = |text: &str| text.strip_prefix("http://").is_some_and(host);
        let single = |name: HeaderName| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
            [one] => one.to_str().ok(),
            _ => None,
        };
        single(header::HOST).is_some_and(host)
            && uri.authority().is_none_or(|authority| host(authority.as_str()))
            && (!headers.contains_key(header::ORIGIN) || single(header::ORIGIN).is_some_and(origin))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::COOKIE).iter().any(|cookies| {
            cookies.as_bytes().split(|byte| *byte == b';').any(|cookie| {
                let cookie = cookie.trim_ascii();
                let value = cookie.strip_prefix(self.cookie_name.as_bytes());
                value
                    .and_then(|rest| rest.strip_prefix(b"="))
                    .is_some_and(|it| self.token.matches(it))
            })
        })
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let authorization = headers.get(header::AUTHORIZATION);
        authorization
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .is_some_and(|token| self.token.matches(token))
    }

    /// Returns the response that sets the session cookie and loads the page.
    ///
    /// It is a page with a `Refresh` header, not a redirect: after a navigation from another site a
    /// browser follows redirects without cookies that are `SameSite=Strict`.
    fn session_response(&self) -> Response {
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            self.cookie_name,
            self.token.as_str()
        );
        let mut response = static_files::loading_page();
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
        response
    }

    /// Returns the response to a request that does not reach the router; `None` admits the request.
    fn early_response(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let forbidden = |detail: &str| {
            Problem::new(ProblemCode::Forbidden, detail, HintCode::WrongOrigin).into_response()
        };
        if !self.has_valid_host_and_origin(uri, headers) {
            return Some(forbidden("`Host` or `Origin` does not match this server"));
        }
        if let Some(ticket) = uri.path().strip_prefix(TICKET_PATH_PREFIX) {
            // A prefetch must not use up the ticket.
            let is_navigation = method == Method::GET && !headers.contains_key("sec-purpose");
            let is_valid =
                is_navigation && (self.redeem_ticket(ticket) || self.has_cookie(headers));
            return Some(if is_valid {
                self.session_response()
            } else {
                static_files::locked_page()
            });
        }
        if self.has_token(headers) {
            return None;
        }
        if !self.has_cookie(headers) {
            if *method == Method::GET && uri.path() == "/" {
                return Some(static_files::locked_page());
            }
            let detail = "missing or invalid token";
            let problem = Problem::new(ProblemCode::Unauthorized, detail, HintCode::TokenRequired);
            return Some(problem.into_response());
        }
        // `SameSite` does not keep the cookie from pages at other ports of this host: a site has no
        // port.
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let is_same_origin = site.is_none_or(|site| site == b"same-origin" || site == b"none");
        let is_mutation = *method != Method::GET && *method != Method::HEAD;
        if is_same_origin && (!is_mutation || headers.contains_key(header::ORIGIN)) {
            return None;
        }
        Some(forbidden("cross-site request"))
    }
}

/// Middleware that answers requests without access, and adds security headers to all responses.
pub(crate) async fn require_access(
    State(guard): State<Arc<AccessGuard>>,
    request: Request,
    next: Next,
) -> Response {
    let early = guard.early_response(request.method(), request.uri(), request.headers());
    let mut response = match early {
        None => next.run(request).await,
        Some(response) => response,
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

    fn guard() -> AccessGuard {
        AccessGuard::new("127.0.0.1:7433".parse().unwrap(), RandomToken::generate().unwrap())
    }

    #[test]
    fn ticket_is_valid_once() {
        let guard = guard();
        let (first, second) = (guard.issue_ticket().unwrap(), guard.issue_ticket().unwrap());
        assert!(first.len() == 64 && first != second);
        assert!(
            guard.redeem_ticket(&first) && !guard.redeem_ticket(&first) && !guard.redeem_ticket("")
        );
        for _ in 0..MAX_TICKETS {
            guard.issue_ticket().unwrap();
        }
        assert!(!guard.redeem_ticket(&second), "newer tickets invalidated it");
    }

    #[test]
    fn token_parses_only_64_lower_case_hex_digits() {
        let token = RandomToken::generate().unwrap();
        assert!(token.matches(token.as_str().as_bytes()) && !token.matches(b""));
        assert!(RandomToken::parse(token.as_str().to_owned()).is_some());
        for invalid in ["", "x", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(RandomToken::parse(invalid.to_owned()).is_none(), "{invalid}");
        }
    }

    #[test]
    fn cookie_matches_by_exact_name_and_token() {
        let guard = guard();
        let has = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            guard.has_cookie(&headers)
        };
        let token = guard.token();
        assert!(has(format!("dossierd-7433={token}")));
        assert!(has(format!("a=b; dossierd-7433={token}; c=d")));
        for other in
            ["dossierd-7433=", "dossierd-7433", "dossierd-74330=TOKEN", "xdossierd-7433=TOKEN"]
        {
            assert!(!has(other.replace("TOKEN", token)), "{other}");
        }
    }
}
