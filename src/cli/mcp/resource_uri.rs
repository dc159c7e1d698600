//! URIs of resources: `dossier://<root_id>/<feature>[/<key>]`, each part percent-encoded.

use std::fmt;
use std::str::FromStr;

use crate::client::percent_encode;

/// Scheme of all resources.
const SCHEME: &str = "dossier://";

/// A feature, or an artifact of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResourceUri {
    pub(super) root_id: String,
    pub(super) feature: String,
    /// Key of the artifact; `None` for the feature itself.
    pub(super) key: Option<String>,
}

/// A text is not the URI of a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the URI of a resource; expected dossier://<root_id>/<feature> or \
     dossier://<root_id>/<feature>/<key>, each part percent-encoded"
)]
pub(super) struct ResourceUriError(String);

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, feature) = (percent_encode(&self.root_id), percent_encode(&self.feature));
        write!(f, "{SCHEME}{root}/{feature}")?;
        match &self.key {
            Some(key) => write!(f, "/{}", percent_encode(key)),
            None => Ok(()),
        }
    }
}

impl FromStr for ResourceUri {
    type Err = ResourceUriError;

    fn from_str(text: &str) -> Result<Self, ResourceUriError> {
        let invalid = || ResourceUriError(text.to_owned());
        let parts = text.strip_prefix(SCHEME).ok_or_else(invalid)?;
        let decode = |part: &str| {
            let decoded = percent_encoding::percent_decode_str(part).decode_utf8().ok()?;
            Some(decoded.into_owned()).filter(|text| !text.is_empty())
        };
        let parts: Option<Vec<String>> = parts.split('/').map(decode).collect();
        let mut parts = parts.ok_or_else(invalid)?.into_iter();
        let (Some(root_id), Some(feature)) = (parts.next(), parts.next()) else {
            return Err(invalid());
        };
        let key = parts.next();
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { root_id, feature, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_percent_encoded_and_parsed_back() {
        let uri = |feature: &str, key: Option<&str>| ResourceUri {
            root_id: "9f2c".to_owned(),
            feature: feature.to_owned(),
            key: key.map(str::to_owned),
        };
        for (uri, text) in [
            (uri("001-x", None), "dossier://9f2c/001-x"),
            (uri("archive/a b", None), "dossier://9f2c/archive%2Fa%20b"),
            (uri("001-x", Some("other.a/b?#%")), "dossier://9f2c/001-x/other.a%2Fb%3F%23%25"),
            (uri("\u{fc}\u{202e}", None), "dossier://9f2c/%C3%BC%E2%80%AE"),
        ] {
            assert_eq!(uri.to_string(), text);
            assert_eq!(text.parse(), Ok(uri));
        }
        assert_eq!(
            "dossier://9f2c/001-x/input.spec.main".parse(),
            Ok(uri("001-x", Some("input.spec.main")))
        );
        for text in [
            "",
            "file:///x",
            "dossier://",
            "dossier://a",
            "dossier://a/",
            "dossier://a/b/c/d",
            "dossier://a/%ff",
        ] {
            assert!(text.parse::<ResourceUri>().is_err(), "{text}");
        }
    }
}
