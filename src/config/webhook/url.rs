//! The URL of a webhook: which ones are accepted, and which part of one may be shown.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::config::error::ConfigValueError;

/// The URL of a receiver: https, or http on this machine.
///
/// Its path and query may be secret, so neither `Debug` nor any error shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    uri: Uri,
    redacted: String,
}

impl WebhookUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the URL is invalid or not accepted. The error does not repeat it, because it may contain
    /// a secret.
    pub fn new(text: &str) -> Result<Self, ConfigValueError> {
        let uri: Uri = text.parse().map_err(ConfigValueError::InvalidUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ConfigValueError::IncompleteUrl);
        };
        if authority.as_str().contains('@') {
            return Err(ConfigValueError::UrlCredentials);
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => return Err(ConfigValueError::PlainHttp),
            _ => return Err(ConfigValueError::UnsupportedScheme),
        }
        // The paths of many services are themselves secret.
        let rest = if uri.path() == "/" && uri.query().is_none() { "/" } else { "/…" };
        let redacted = format!("{scheme}://{authority}{rest}");
        Ok(Self { uri, redacted })
    }

    /// Returns the complete URL for requests. It must not be shown.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns true if the scheme is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Returns the host, without brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 });
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// Returns the part that may be shown: scheme, host and port.
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
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
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
            "",
        ] {
            let error = WebhookUrl::new(invalid).unwrap_err().to_string();
            assert!(!error.contains("CANARY"), "{error}");
        }
    }
}
