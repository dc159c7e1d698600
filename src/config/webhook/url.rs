//! Where a webhook may be, and what of its address may be shown.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// An address of a receiver: https, or http on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    uri: Uri,
    redacted: String,
}

impl WebhookUrl {
    /// Reads an address. What is wrong is said without repeating it, for it may hold a secret.
    ///
    /// # Errors
    /// What is wrong, and the mend.
    pub fn new(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("no address: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("no address; it begins with `https://`".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("a user name or password does not belong into the address; requests are \
                        signed instead"
                .to_owned());
        }
        let host = authority.host();
        match scheme {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => {
                return Err("http is for this machine only (`localhost`, `127.0.0.1`, `[::1]`); \
                            use `https://`"
                    .to_owned());
            }
            _ => return Err("no address of a webhook; it begins with `https://`".to_owned()),
        }
        // Paths of many services are secrets in themselves.
        let rest = if uri.path() == "/" && uri.query().is_none() { "/" } else { "/…" };
        let shown = format!("{scheme}://{authority}{rest}");
        Ok(Self { uri, redacted: shown })
    }

    /// The address, whole: for requests, never to be shown.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is to be reached with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Host, without brackets, and port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 });
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// Scheme, host and port: what can be shown.
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
    fn http_is_for_this_machine() {
        for good in [
            "https://example.org/x",
            "http://localhost:1/x",
            "http://127.0.0.1/",
            "http://127.9.9.9/",
            "http://[::1]:3/",
        ] {
            assert!(WebhookUrl::new(good).is_ok(), "{good}");
        }
        for bad in [
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
            let error = WebhookUrl::new(bad).unwrap_err();
            assert!(!error.contains("CANARY"), "{error}");
        }
    }
}
