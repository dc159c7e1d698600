//! The URL of a webhook: which ones are accepted, and which part of one may be shown.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;

use crate::config::error::ConfigValueError;

/// The URL of a receiver: https, http on this machine, or `unix:/path/of/socket`, after which `:/path` may
/// follow for the request.
///
/// Its path and query may be secret, so neither `Debug` nor any error shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    address: ReceiverAddress,
    authority: String,
    target: String,
    redacted: String,
}

/// Where a receiver listens.
#[derive(Clone, PartialEq, Eq)]
pub enum ReceiverAddress {
    /// TLS over TCP: a name or address without brackets, and a port.
    Tls(String, u16),
    /// TCP within this machine.
    Loopback(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl WebhookUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the URL is invalid or not accepted. The error does not repeat it, because it may contain
    /// a secret.
    pub fn new(text: &str) -> Result<Self, ConfigValueError> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return Self::of_socket(rest);
        }
        let uri: Uri = text.parse().map_err(ConfigValueError::InvalidUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ConfigValueError::IncompleteUrl);
        };
        if authority.as_str().contains('@') {
            return Err(ConfigValueError::UrlCredentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16();
        let address = match scheme {
            "https" => ReceiverAddress::Tls(host, port.unwrap_or(443)),
            "http" if is_loopback(&host) => ReceiverAddress::Loopback(host, port.unwrap_or(80)),
            "http" => return Err(ConfigValueError::PlainHttp),
            _ => return Err(ConfigValueError::UnsupportedScheme),
        };
        let target = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        // The paths of many services are themselves secret.
        let rest = if target == "/" { "/" } else { "/…" };
        let redacted = format!("{scheme}://{authority}{rest}");
        Ok(Self { address, authority: authority.to_string(), target, redacted })
    }

    fn of_socket(text: &str) -> Result<Self, ConfigValueError> {
        let (path, target) = match text.find(":/") {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, "/"),
        };
        if !Path::new(path).is_absolute() {
            return Err(ConfigValueError::RelativeSocket);
        }
        if path.contains(['?', '#']) {
            return Err(ConfigValueError::SocketQuery);
        }
        let _: Uri = target.parse().map_err(ConfigValueError::InvalidUrl)?;
        // A request without its slash is a part of the path, and as secret as one with it.
        let (shown, rest) = match path.split_once(':') {
            Some((shown, _)) => (shown, ":…"),
            None if target == "/" => (path, ""),
            None => (path, ":/…"),
        };
        Ok(Self {
            address: ReceiverAddress::Unix(path.into()),
            authority: "localhost".to_owned(),
            target: target.to_owned(),
            redacted: format!("unix:{shown}{rest}"),
        })
    }

    /// Returns where the receiver listens.
    #[must_use]
    pub fn address(&self) -> &ReceiverAddress {
        &self.address
    }

    /// Returns the host and port for the header `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns path and query for requests. They must not be shown.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns true if the scheme is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.address, ReceiverAddress::Tls(..))
    }

    /// Returns the part that may be shown: scheme, host and port, or the socket.
    #[must_use]
    pub fn redacted(&self) -> &str {
        &self.redacted
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_accepted_for_loopback_only() {
        for valid in [
            "https://example.org/x",
            "http://localhost:1/x",
            "http://127.0.0.1/",
            "http://127.9.9.9/",
            "http://[::1]:3/",
            "unix:/run/a.sock",
            "unix:/run/a.sock:/b?c=d",
        ] {
            assert!(WebhookUrl::new(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "http://example.org/",
            "http://127.evil.com/",
            "http://localhost.evil.com/",
            "http://10.0.0.1/",
            "http://[::2]/",
            "https://user:CANARY@example.org/",
            "ftp://example.org/",
            "/path",
            "example.org",
            "https://",
            "https://exa mple.org/",
            "unix:",
            "unix:relative/CANARY",
            "unix:/a:/CANARY b",
            "unix:/a?token=CANARY",
            "unix:/a#CANARY",
            "unix:/a:b?token=CANARY",
            "unix:/a?CANARY:/b",
            "",
        ] {
            let error = WebhookUrl::new(invalid).unwrap_err().to_string();
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn socket_and_path_are_separated_by_a_colon() {
        let url = WebhookUrl::new("unix:/run/a.sock:/hook?token=CANARY").unwrap();
        assert!(
            matches!(url.address(), ReceiverAddress::Unix(path) if path == Path::new("/run/a.sock"))
        );
        assert_eq!((url.target(), url.redacted()), ("/hook?token=CANARY", "unix:/run/a.sock:/…"));
        let url = WebhookUrl::new("unix:/run/a.sock").unwrap();
        assert_eq!((url.target(), url.redacted()), ("/", "unix:/run/a.sock"));
        let url = WebhookUrl::new("unix:/run/a:1.sock/CANARY").unwrap();
        assert_eq!(url.redacted(), "unix:/run/a:…", "the request without its slash");
    }
}
