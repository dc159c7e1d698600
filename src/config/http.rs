//! What the configuration says of the dashboard: where it listens, which is on loopback or nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer};

use crate::core::yaml::deserialize_text;

/// The dashboard's listener; off where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    listen: Option<ListenSetting>,
}

impl HttpConfig {
    /// Where the dashboard listens from the start; `None` where it waits to be asked for.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen.and_then(|listen| listen.0)
    }
}

/// An address that no other machine reaches, or that it is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ListenSetting(Option<SocketAddr>);

impl<'de> Deserialize<'de> for ListenSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listen = |text: &str| match text {
            "off" | "false" => Ok(None),
            text => parse_loopback_address(text).map(Some),
        };
        deserialize_text(deserializer, listen).map(Self)
    }
}

fn parse_loopback_address(text: &str) -> Result<SocketAddr, String> {
    let mend = "write `127.0.0.1:PORT`, `[::1]:PORT` or `off`";
    let address: SocketAddr =
        text.parse().map_err(|_| format!("`{text}` is no address and port; {mend}"))?;
    let known = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !known.contains(&address.ip()) {
        return Err(format!("the dashboard is for this machine only, not at `{text}`; {mend}"));
    }
    if address.port() == 0 {
        return Err(format!("`{text}` names no port; {mend}"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn loopback_and_nothing_else() {
        let listen = |text: &str| {
            let config = Config::parse(format!("http: {{listen: {text:?}}}").as_bytes());
            config.map(|config| config.http.listen()).map_err(|error| error.to_string())
        };
        assert_eq!(Config::default().http.listen(), None);
        for good in ["127.0.0.1:7433", "[::1]:7433"] {
            assert_eq!(listen(good).unwrap().unwrap().to_string(), good);
        }
        for off in ["off", "false"] {
            assert_eq!(listen(off).unwrap(), None);
        }
        for foreign in ["0.0.0.0:80", "[::]:80", "192.168.0.2:80", "127.0.0.2:80", "[::2]:1"] {
            let error = listen(foreign).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "1:16: http.listen: the dashboard is for this machine only, not at \
                     `{foreign}`; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`"
                )
            );
        }
        for none in ["localhost:80", "127.0.0.1", "7433", "127.0.0.1:99999", "[::1%lo]:80"] {
            assert!(listen(none).unwrap_err().contains("no address and port"), "{none}");
        }
        assert!(listen("127.0.0.1:0").unwrap_err().contains("names no port"));
    }
}
