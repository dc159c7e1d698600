//! Who may ask at the loopback listener: a browser or program that has the token, under a name of
//! this listener, on behalf of no other page.
//!
//! Every process and every web page of the machine can reach a loopback port. A foreign name in
//! `Host` is a page whose name was pointed here, a foreign `Origin` a page that asks in its own
//! name, and neither has the token. All three are looked at before anything is answered.

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
use crate::wire::problem::{Problem, ProblemCode};

/// Where a browser is let in; a ticket follows.
const TICKET_PATH_PREFIX: &str = "/open/";
/// A ticket lets in until then.
const TICKET_TTL: Duration = Duration::from_mins(5);
/// Tickets that are out at a time; the oldest is void when another is given.
const MAX_TICKETS: usize = 16;
/// Nothing from elsewhere, nothing inline, no markup from text, no frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

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

    /// One that was made before; `None` for what is none.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then_some(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Hashes are compared, so how long it takes says nothing about the secret.
    fn matches(&self, text: &[u8]) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(text)
    }
}

/// What a listener lets in.
pub(crate) struct AccessGuard {
    token: RandomToken,
    cookie_name: String,
    allowed_hosts: Vec<String>,
    tickets: Mutex<Vec<(RandomToken, Instant)>>,
}

impl AccessGuard {
    pub(crate) fn new(address: SocketAddr, secret: RandomToken) -> Self {
        let port = address.port();
        let hosts = vec![address.to_string(), format!("localhost:{port}")];
        // Cookies do not know ports: those of two daemons must not have one name.
        Self {
            token: secret,
            cookie_name: format!("dossierd-{port}"),
            allowed_hosts: hosts,
            tickets: Mutex::default(),
        }
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_str()
    }

    /// A new ticket.
    pub(crate) fn issue_ticket(&self) -> io::Result<String> {
        let ticket = RandomToken::generate()?;
        let mut tickets = lock(&self.tickets);
        if tickets.len() == MAX_TICKETS {
            tickets.remove(0);
        }
        tickets.push((ticket.clone(), Instant::now()));
        Ok(ticket.0)
    }

    /// Takes a ticket; whether it was one.
    fn redeem_ticket(&self, text: &str) -> bool {
        let mut tickets = lock(&self.tickets);
        tickets.retain(|(_, given)| given.elapsed() < TICKET_TTL);
        let found = tickets.iter().position(|(ticket, _)| ticket.matches(text.as_bytes()));
        found.map(|at| tickets.remove(at)).is_some()
    }

    /// Whether what is asked is asked of this listener, by its own page or by none.
    fn has_valid_host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let host = |text: &str| self.allowed_hosts.iter().any(|host| host == text);
        let origin = |text: &str| text.strip_prefix("http://").is_some_and(host);
        let one = |name: HeaderName| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
            [one] => one.to_str().ok(),
            _ => None,
        };
        one(header::HOST).is_some_and(host)
            && uri.authority().is_none_or(|named| host(named.as_str()))
            && (!headers.contains_key(header::ORIGIN) || one(header::ORIGIN).is_some_and(origin))
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
        let said = headers.get(header::AUTHORIZATION);
        said.and_then(|said| said.as_bytes().strip_prefix(b"Bearer "))
            .is_some_and(|token| self.token.matches(token))
    }

    /// A browser is let in: it gets the cookie, and goes to the page.
    ///
    /// Not by a redirect: a browser that came from another site would follow it without a cookie
    /// that is strict.
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

    /// The answer to a request that is not let through.
    fn rejection(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let problem = |code, why: &str| Some(Problem::new(code, why).into_response());
        if !self.has_valid_host_and_origin(uri, headers) {
            return problem(ProblemCode::Forbidden, "not under this name, and for no other page");
        }
        if let Some(ticket) = uri.path().strip_prefix(TICKET_PATH_PREFIX) {
            // A browser that looks ahead has not been told to open it.
            let opens = method == Method::GET && !headers.contains_key("sec-purpose");
            let known = opens && (self.redeem_ticket(ticket) || self.has_cookie(headers));
            return Some(if known { self.session_response() } else { static_files::locked_page() });
        }
        if self.has_token(headers) {
            return None;
        }
        if !self.has_cookie(headers) {
            if *method == Method::GET && uri.path() == "/" {
                return Some(static_files::locked_page());
            }
            let problem = Problem::new(ProblemCode::Unauthorized, "the token is missing");
            return Some(problem.with_hint("`dossierd dashboard` opens the page").into_response());
        }
        // A cookie is sent whoever made the browser ask: other ports of this host are the same
        // site.
        let from = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let own = from.is_none_or(|from| from == b"same-origin" || from == b"none");
        let changes = *method != Method::GET && *method != Method::HEAD;
        if own && (!changes || headers.contains_key(header::ORIGIN)) {
            return None;
        }
        problem(ProblemCode::Forbidden, "for no other page")
    }
}

/// Lets a request through, or answers it.
pub(crate) async fn require_access(
    State(door): State<Arc<AccessGuard>>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = door.rejection(request.method(), request.uri(), request.headers());
    let mut response = match refusal {
        None => next.run(request).await,
        Some(refusal) => refusal,
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        let how = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
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

    fn door() -> AccessGuard {
        AccessGuard::new("127.0.0.1:7433".parse().unwrap(), RandomToken::generate().unwrap())
    }

    #[test]
    fn a_ticket_lets_in_once() {
        let door = door();
        let (first, second) = (door.issue_ticket().unwrap(), door.issue_ticket().unwrap());
        assert!(first.len() == 64 && first != second);
        assert!(
            door.redeem_ticket(&first) && !door.redeem_ticket(&first) && !door.redeem_ticket("")
        );
        for _ in 0..MAX_TICKETS {
            door.issue_ticket().unwrap();
        }
        assert!(!door.redeem_ticket(&second), "only so many are out");
    }

    #[test]
    fn a_secret_is_what_was_made_and_nothing_else() {
        let secret = RandomToken::generate().unwrap();
        assert!(secret.matches(secret.as_str().as_bytes()) && !secret.matches(b""));
        assert!(RandomToken::parse(secret.as_str().to_owned()).is_some());
        for none in ["", "x", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(RandomToken::parse(none.to_owned()).is_none(), "{none}");
        }
    }

    #[test]
    fn cookies_are_told_apart() {
        let door = door();
        let has = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            door.has_cookie(&headers)
        };
        let token = door.token();
        assert!(has(format!("dossierd-7433={token}")));
        assert!(has(format!("a=b; dossierd-7433={token}; c=d")));
        for none in
            ["dossierd-7433=", "dossierd-7433", "dossierd-74330=TOKEN", "xdossierd-7433=TOKEN"]
        {
            assert!(!has(none.replace("TOKEN", token)), "{none}");
        }
    }
}
