//! The `http` setting: the loopback address on which the dashboard listens, and who may connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer};

use super::error::ConfigValueError;
use crate::core::yaml::deserialize_text;

/// The dashboard's listener; off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    listen: Option<ListenSetting>,
    allow_root: bool,
}

impl HttpConfig {
    /// Returns the address on which the dashboard listens from the start; `None` if it is opened
    /// only on request.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen.and_then(|setting| setting.0)
    }

    /// Returns true if processes of root may connect, too. Otherwise only those of the daemon's user
    /// may.
    #[must_use]
    pub fn allow_root(&self) -> bool {
        self.allow_root
    }
}

/// A loopback address with a port; `None` for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ListenSetting(Option<SocketAddr>);

impl<'de> Deserialize<'de> for ListenSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| match text {
            "off" | "false" => Ok(None),
            text => parse_loopback_address(text).map(Some),
        };
        deserialize_text(deserializer, parse).map(Self)
    }
}

fn parse_loopback_address(text: &str) -> Result<SocketAddr, ConfigValueError> {
    let address: SocketAddr =
        text.parse().map_err(|_| ConfigValueError::InvalidAddress(text.to_owned()))?;
    let allowed = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !allowed.contains(&address.ip()) {
        return Err(ConfigValueError::NotLoopback(text.to_owned()));
    }
    if address.port() == 0 {
        return Err(ConfigValueError::NoPort(text.to_owned()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn only_loopback_addresses_with_a_port_are_accepted() {
        let listen = |text: &str| {
            let config = Config::parse(format!("http: {{listen: {text:?}}}").as_bytes());
            config.map(|config| config.http.listen()).map_err(|error| error.to_string())
        };
        assert_eq!(Config::default().http.listen(), None);
        for valid in ["127.0.0.1:7433", "[::1]:7433"] {
            assert_eq!(listen(valid).unwrap().unwrap().to_string(), valid);
        }
        for off in ["off", "false"] {
            assert_eq!(listen(off).unwrap(), None);
        }
        for foreign in ["0.0.0.0:80", "[::]:80", "192.168.0.2:80", "127.0.0.2:80", "[::2]:1"] {
            let error = listen(foreign).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "1:16: http.listen: `{foreign}` is not a loopback address; write \
                     `127.0.0.1:PORT`, `[::1]:PORT` or `off`"
                )
            );
        }
        for invalid in ["localhost:80", "127.0.0.1", "7433", "127.0.0.1:99999", "[::1%lo]:80"] {
            let error = listen(invalid).unwrap_err();
            assert!(error.contains("is not an IP address with a port"), "{invalid}");
        }
        assert!(listen("127.0.0.1:0").unwrap_err().contains("has no valid port"));
    }
}
